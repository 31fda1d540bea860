"""The kinds of task, one module each, and the table of them: what the network's outputs mean."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mtl_split_core.geometry import Letterbox
from mtl_split_core.kinds import classification, detection
from mtl_split_core.scene import Task


class Tracker(Protocol):
    """Follows the objects in the results of one vehicle for one task.

    score_threshold: the lowest score that is wanted; may be set anew between two frames.
    """

    score_threshold: float

    def follow(self, result: Any, stamp: int) -> Any:
        """Return the next frame's result with identities, without the objects below the tracker's score threshold.

        stamp: of the camera image, in nanoseconds. Frames may be missing. One that is older than the one before is
        late, or where it is much older, a new beginning.
        """


class Kind(Protocol):
    """What both halves and whoever reads their results need of one kind of task. Its results are of a class of its own.

    To add a kind, write one such module in mtl_split_core, mtl_split_net, mtl_split_ros and mtl_split_lab each, and
    name it in the four tables.
    """

    @property
    def HAS_THRESHOLD(self) -> bool:
        """Whether results below a score are left out."""

    def outputs(self, task: Task) -> dict[str, tuple[int | None, ...]]:
        """Return the shapes of the suffix's outputs for a task, by name; None stands for any length."""

    def result(
        self,
        task: Task,
        outputs: Mapping[str, npt.NDArray[np.generic]],
        score_threshold: float,
        overlap_threshold: float,
    ) -> Any:
        """Turn a suffix's outputs for one picture, a batch of 1, into the task's result in pixels of the input.

        The thresholds, 0 to 1, are for kinds that choose among candidates: the lowest score of a result, and the
        intersection over union above which the better of two results replaces the other.
        """

    def to_picture(self, result: Any, letterbox: Letterbox) -> Any:
        """Map a result from pixels of the input to pixels of the original picture, and leave out what is beside it."""

    def tracker(self, score_threshold: float, name: Callable[[], str]) -> Tracker | None:
        """Return what follows the objects of results; None for a kind without objects.

        score_threshold: the lowest score that is wanted in the end; name: returns a new identity. Raises InputError
        where a library is missing.
        """

    def to_json(self, result: Any) -> Any:
        """Return a result ready for JSON; its numbers are exact."""


KINDS: dict[str, Kind] = {"detection": detection, "classification": classification}
"""By Task.kind."""
