"""The kinds of task, one module each, and the table of them: what the network's outputs mean."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mtl_split_core.canvas import Canvas
from mtl_split_core.geometry import Letterbox
from mtl_split_core.kinds import classification, detection, segmentation
from mtl_split_core.scene import Results, Task, Truth


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

    @property
    def MOST_LABELS(self) -> int | None:
        """How many labels a task may have; None: any number."""

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

    def select(self, result: Any, score_threshold: float) -> Any:
        """Return a result without what is below a score, where that applies to the kind."""

    def to_bytes(self, result: Any, task: Task, letterbox: Letterbox) -> bytes:
        """Write a result for the original picture in few bytes; docs/wire-format.md tells each of them."""

    def from_bytes(self, data: bytes, task: Task, letterbox: Letterbox) -> Any:
        """Read what `to_bytes` writes. Raises InputError for anything else."""

    def draw(self, canvas: Canvas, tasks: Sequence[Task], results: Results, truth: Truth | None) -> None:
        """Draw the results of some tasks of this kind, by the task's name, and below them the truth."""

    def caption(self, result: Any) -> str:
        """Return a result of the whole picture in a word or two; empty for what is drawn into it."""

    def in_words(self, result: Any) -> str:
        """Return all of a result in a few words."""

    def count_objects(self, result: Any) -> Counter[str]:
        """Count the objects that a result shows, by label."""


KINDS: dict[str, Kind] = {
    "detection": detection,
    "classification": classification,
    "segmentation": segmentation,
}
"""By Task.kind."""


def by_kind(tasks: Sequence[Task]) -> dict[str, list[Task]]:
    """Sort tasks by their kinds; every kind is there."""
    sorted_tasks: dict[str, list[Task]] = {kind: [] for kind in KINDS}
    for task in tasks:
        sorted_tasks[task.kind].append(task)
    return sorted_tasks


def results_of(tasks: Sequence[Task], results: Results) -> Results:
    """Return the results of these tasks, as far as there are any."""
    return {task.name: results[task.name] for task in tasks if task.name in results}
