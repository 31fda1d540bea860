"""How good what the consumer had at the deadline was: the real answers to labelled frames, each from where it came."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mtl_split_core.bundle import EXIT, Bundle
from mtl_split_core.control.policy import Own
from mtl_split_core.errors import InputError
from mtl_split_core.halves import EdgeHalf, ServerHalf
from mtl_split_core.kinds import by_kind, results_of
from mtl_split_core.scene import Image, Results, Truth
from mtl_split_lab.adaptation.simulator import Outcome
from mtl_split_lab.kinds import KINDS
from mtl_split_lab.scoring.frames import keep_known

Source = int | Own
"""Where an answer is from: the server, by the index of the operating point, or a network on the edge."""


@dataclass(frozen=True)
class Answered:
    """A labelled frame, answered in every way.

    sizes: bytes of its payload at each operating point; results: by where they are from.
    """

    truth: Truth
    sizes: tuple[int, ...]
    results: Mapping[Source, Results]


def answer_every_way(bundle: Bundle, frames: Iterable[tuple[Image, Truth]], points: int) -> list[Answered]:
    """Answer frames at the first so many operating points, by the whole network on the edge, and by the bundle's exit.

    The exit where the bundle has one.
    """
    edge, server = EdgeHalf(bundle), ServerHalf(bundle)
    own = {Own.WHOLE: server}
    if EXIT in bundle.files:
        own[Own.EXIT] = ServerHalf(bundle, role=EXIT)
    answered = []
    for image, truth in frames:
        size = (image.shape[1], image.shape[0])
        latents = edge.latents(image)
        payloads = [edge.pack(latents, point).payload for point in range(points)]
        results: dict[Source, Results] = {i: server.decode(payload, size) for i, payload in enumerate(payloads)}
        results |= {name: half.answer(latents, size) for name, half in own.items()}
        known = keep_known(truth, bundle.tasks, Counter())
        answered.append(Answered(known, tuple(map(len, payloads)), results))
    return answered


def count_sources(
    outcomes: Sequence[Outcome], answer_by: float, frames: int, sources: Sequence[Source]
) -> npt.NDArray[np.int64]:
    """Return how often each frame had its answer from where by the deadline: int64 (frames, sources).

    The drive saw so many frames again and again, in their order.
    """
    counts = np.zeros((frames, len(sources)), np.int64)
    for number, outcome in enumerate(outcomes):
        source = outcome.in_time(answer_by)
        if source is not None:
            counts[number % frames, sources.index(source)] += 1
    return counts


class Scorer:
    """Scores drives by the answers that they had.

    sources: that there are answers from.
    """

    def __init__(self, bundle: Bundle, answered: Sequence[Answered]) -> None:
        """Match all answers with the truth, once. Raises InputError where the frames have a truth of no task."""
        self.sources = list(answered[0].results)
        self._counted = []
        for kind, tasks in by_kind(bundle.tasks).items():
            pairs = [
                KINDS[kind].pair(frame.truth, results_of(tasks, frame.results[source]))
                for frame in answered
                for source in self.sources
            ]
            known = np.array([pair is not None for pair in pairs])
            if known.any():
                self._counted.append((known, KINDS[kind].count(tasks, [pair for pair in pairs if pair is not None])))
        if not self._counted:
            raise InputError(f"nothing is known of {[task.name for task in bundle.tasks]} in the frames to be scored")
        every = np.ones(len(answered) * len(self.sources), np.int64)
        self._tasks = [task for known, counted in self._counted for task in counted(every[known])]

    def accuracies(self, counts: npt.NDArray[np.int64], frames: int) -> dict[str, float]:
        """Return each task's accuracy, 0 to 1, of what was there by the deadline: mAP50, share of right classes, mIoU.

        counts: as `count_sources` returns them, of so many frames of a drive. Without an answer nothing is right: the
        accuracy of those that were answered counts by their share.
        """
        found = dict.fromkeys(self._tasks, 0.0)
        for known, counted in self._counted:
            found |= counted(counts.ravel()[known])
        return {task: accuracy * int(counts.sum()) / frames for task, accuracy in found.items()}
