"""The identities of what one vehicle sees: a tracker for every task whose kind has one."""

import itertools
from collections.abc import Collection, Iterator, Sequence

from mtl_split_core.byte_track import LEAST_SCORE
from mtl_split_core.kinds import KINDS, Tracker
from mtl_split_core.scene import Results, Task

BYTETRACK, NONE = "bytetrack", "none"
TRACKING = (BYTETRACK, NONE)
"""How objects are followed from frame to frame, if at all."""


def needed_score(tracking: str, score_threshold: float) -> float:
    """Return the lowest score that a ServerHalf has to answer with: trackers also use detections that are not wanted.

    tracking: one of TRACKING; score_threshold: the lowest score that is wanted in the end.
    """
    return score_threshold if tracking == NONE else min(score_threshold, LEAST_SCORE)


class Tracks:
    """Follows the objects of one vehicle.

    The same results with the same stamps get the same identities, wherever that is. An identity is
    `<milliseconds>-<number>`: the stamp of the first frame, and a number that is not used again.
    """

    def __init__(
        self, tasks: Sequence[Task], tracking: str, score_threshold: float, numbers: Iterator[int] | None = None
    ) -> None:
        """Begin without an object.

        tasks: of the results to come; tracking, score_threshold: see needed_score; numbers: the next ones to use (None:
        from 1 on). Raises InputError where a library is missing.
        """
        self._given = tasks, tracking
        self._score_threshold = score_threshold
        self._numbers = itertools.count(1) if numbers is None else numbers
        self._first: int | None = None
        self._trackers: dict[str, Tracker] = {}
        if tracking != NONE:
            found = {task.name: KINDS[task.kind].tracker(score_threshold, self._name) for task in tasks}
            self._trackers = {name: tracker for name, tracker in found.items() if tracker is not None}

    @property
    def followed(self) -> Collection[str]:
        """The names of the tasks whose objects get identities."""
        return self._trackers.keys()

    def anew(self) -> "Tracks":
        """Return others for the same vehicle that know no object, and never use an identity of these."""
        return Tracks(*self._given, self._score_threshold, self._numbers)

    @property
    def score_threshold(self) -> float:
        """The lowest score that is wanted; may be set anew between two frames."""
        return self._score_threshold

    @score_threshold.setter
    def score_threshold(self, score_threshold: float) -> None:
        self._score_threshold = score_threshold
        for tracker in self._trackers.values():
            tracker.score_threshold = score_threshold

    def follow(self, results: Results, stamp: int) -> Results:
        """Return the results of the next frame with identities, without those that are not wanted.

        stamp: of the camera image, in nanoseconds; see mtl_split_core.kinds.Tracker.
        """
        if self._first is None:
            self._first = stamp // 1_000_000
        return {
            name: self._trackers[name].follow(result, stamp) if name in self._trackers else result
            for name, result in results.items()
        }

    def _name(self) -> str:
        return f"{self._first}-{next(self._numbers)}"
