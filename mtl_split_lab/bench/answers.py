"""How a stream of camera frames was answered: how many in time, how late, with what gaps."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

DEADLINE = 0.1
"""Seconds from a camera image's stamp within which the last of its results has to come."""

STALE = 1.0
"""Seconds after which an answer is worse than none: it tells of a place that the vehicle has left."""


@dataclass(frozen=True)
class Answers:
    """What became of the frames of a while.

    frames: those that the camera sent; answered: those with a result of every task, however late; in_time: those of
    them within DEADLINE; p50, p99: percentiles of the milliseconds that the answered ones took, None without any;
    gap: the longest time without such an answer, in seconds; stale: answers older than STALE.
    """

    frames: int
    answered: int
    in_time: int
    p50: float | None
    p99: float | None
    gap: float
    stale: int

    @property
    def share(self) -> float:
        """The part of the frames that was answered in time, 0 to 1; 0 without frames."""
        return self.in_time / self.frames if self.frames else 0.0


def answered(results: Collection[Mapping[int, int]]) -> dict[int, int]:
    """Return when each frame was answered by all tasks: the arrival of its last result by stamp, both in nanoseconds.

    results: of each task, the arrivals by stamp.
    """
    complete = set.intersection(*(set(arrivals) for arrivals in results))
    return {stamp: max(arrivals[stamp] for arrivals in results) for stamp in complete}


def first_in_time(answers: Mapping[int, int]) -> int | None:
    """Return the stamp of the first frame that was answered within DEADLINE, None if there is none."""
    return min((stamp for stamp, arrival in answers.items() if arrival - stamp <= DEADLINE * 1e9), default=None)


def judge(sent: Collection[int], answers: Mapping[int, int], begin: int, end: int) -> Answers:
    """Judge the answers to the frames with stamps from `begin` up to but without `end`, all times in nanoseconds.

    sent: stamps of the camera's frames; answers: as `answered` returns them.
    """
    frames = [stamp for stamp in sent if begin <= stamp < end]
    latencies = [(answers[stamp] - stamp) / 1e9 for stamp in frames if stamp in answers]
    moments = sorted(min(answers[stamp], end) for stamp in frames if stamp in answers)
    edges = [begin, *moments, end]
    p50, p99 = (float(value) * 1e3 for value in np.percentile(latencies, (50, 99))) if latencies else (None, None)
    return Answers(
        frames=len(frames),
        answered=len(latencies),
        in_time=sum(latency <= DEADLINE for latency in latencies),
        p50=p50,
        p99=p99,
        gap=max(after - before for before, after in pairwise(edges)) / 1e9,
        stale=sum(latency > STALE for latency in latencies),
    )
