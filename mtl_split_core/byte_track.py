"""ByteTrack: which object of a frame is which of the frames before, by its box alone, for one vehicle and one task."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from mtl_split_core.errors import InputError, in_one_line
from mtl_split_core.scene import Detections

LEAST_SCORE = 0.1
"""Detections below this score are not followed."""

BEGINNING_SCORE = 0.45
"""Detections from this score on begin a track where they belong to none; those below only continue one."""

LEAST_OVERLAP = 0.1
"""Lowest intersection over union of a detection and the place where the object of a track is expected."""

MEMORY = 1_000_000_000
"""Nanoseconds after which an object that was not seen is forgotten."""

STEP = 1_000_000_000 // 30
"""The motion of objects is continued in steps of so many nanoseconds, so that lost frames count as time that passed."""

MOST_FOLLOWED = 100
"""Only so many detections of a picture, the best, are followed."""

MOST_TRACKS = 150
"""With more objects than this in memory all of them are forgotten, so that the time for a picture is bounded."""


class ByteTracker:
    """Implements mtl_split_core.kinds.Tracker for detections, with the library edgefirst-tracker.

    An object that is another one's label for a frame stays the same object.
    """

    def __init__(self, score_threshold: float, name: Callable[[], str]) -> None:
        """Keep results from a score on; `name` returns a new identity. Raises InputError without the library."""
        try:
            from edgefirst.tracker import ByteTrack
        except ImportError as error:
            raise InputError(
                f"tracking is 'bytetrack', which needs edgefirst-tracker, but {in_one_line(error)}: "
                "pip install edgefirst-tracker, or set tracking to none"
            ) from error
        self.score_threshold = score_threshold
        self._name = name
        # The correction is the Kalman filter's own: the library would reduce it to a quarter.
        self._begin = partial(ByteTrack, BEGINNING_SCORE, LEAST_OVERLAP, 1.0, MEMORY)
        self._stamp: int | None = None
        self._forget()

    def follow(self, result: Detections, stamp: int) -> Detections:
        """See mtl_split_core.kinds.Tracker.

        Time that goes back a little is a late frame, whose objects get no identities; going back by more than MEMORY is
        a new beginning. A repeated stamp counts as one STEP.
        """
        passed = MEMORY + 1 if self._stamp is None else stamp - self._stamp
        ids = [""] * len(result.scores)
        if passed >= 0 or passed < -MEMORY:
            self._stamp = stamp
            self._pass_time(passed or STEP)
            count = min(int((result.scores >= LEAST_SCORE).sum()), MOST_FOLLOWED)
            ids[:count] = self._update(result, count)
        kept = np.flatnonzero(result.scores >= self.score_threshold)
        return replace(result, ids=tuple(ids)).take(kept)

    def _forget(self) -> None:
        # The library counts time without a sign, and stamps may be anything.
        self._now = 0
        self._tracker = self._begin()
        self._seen: dict[str, tuple[str, int]] = {}

    def _pass_time(self, passed: int) -> None:
        if not 0 < passed <= MEMORY or len(self._seen) > MOST_TRACKS:
            self._forget()
            return
        nothing = Detections(np.zeros((0, 4), np.float32), (), np.zeros(0, np.float32))
        steps = max(1, round(passed / STEP))
        start = self._now
        for step in range(1, steps):
            self._now = start + step * STEP
            self._update(nothing, 0)
        self._now = start + passed

    def _update(self, result: Detections, count: int) -> list[str]:
        """Take the first detections of a frame at the time `_now`; returns their identities."""
        boxes = np.ascontiguousarray(result.boxes[:count])
        tracks = self._tracker.update(boxes, result.scores[:count].copy(), np.zeros(count, np.uintp), self._now)
        ids = []
        for track in tracks:
            if track is not None:
                known = self._seen.get(track.uuid)
                self._seen[track.uuid] = (known[0] if known else self._name(), self._now)
            ids.append(self._seen[track.uuid][0] if track is not None else "")
        self._seen = {uuid: one for uuid, one in self._seen.items() if self._now - one[1] <= MEMORY}
        return ids
