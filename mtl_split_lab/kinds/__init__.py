"""The kinds of task as they are scored and shown, one module each, and the table of them."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mtl_split_core.scene import Results, Task, Truth
from mtl_split_lab.kinds import classification, detection, segmentation
from mtl_split_lab.kinds.calibration import Calibration
from mtl_split_lab.kinds.sheet import Sheet

Counted = Callable[[npt.NDArray[np.int64]], Mapping[str, float]]
"""Gives each task's accuracy, 0 to 1, by its name, where each picture counts so many times: int64 (pictures,)."""


class Kind(Protocol):
    """How the results of one kind of task are compared with the truth, and how they are shown.

    `tasks` and `results` are always those of this kind alone, `results` by the task's name.
    """

    def object_labels(self, task: Task) -> tuple[str, ...]:
        """Return the labels for which a truth has objects with boxes."""

    def labels_in(self, task: Task, truth: Truth) -> set[str]:
        """Return the labels that a truth has, whether or not they are the task's."""

    def keep_known(self, truth: Truth, tasks: Sequence[Task], skipped: Counter[str]) -> Truth:
        """Return a truth without what these tasks were never taught, which is counted in `skipped` by reason."""

    def pair(self, truth: Truth, results: Results) -> Any | None:
        """Return what scoring needs of one picture; None where nothing of its truth is known."""

    def as_truth(self, tasks: Sequence[Task], results: Results) -> Truth:
        """Return a truth that says what results say, to measure how far others agree with them."""

    def score(self, pairs: Sequence[Any]) -> Any:
        """Score what `pair` returned of some pictures."""

    def accuracy(self, score: Any, task: str) -> float:
        """Return the one figure of the task of this name, 0 to 1. Raises KeyError where nothing of it is known."""

    def count(self, tasks: Sequence[Task], pairs: Sequence[Any]) -> Counted:
        """Return what tells `accuracy` of any choice of the pictures that `pair` returned these of, again and again."""

    def figures(self, score: Any) -> dict[str, Any]:
        """Return a score ready for JSON. Every kind has keys of its own; None and {} stand for what is unknown."""

    def calibrate(self, task: Task, answered: Sequence[tuple[Truth, Any]]) -> Calibration:
        """Return what makes a task's scores true, given its results in pictures, unknown to training, and the truth."""

    def columns(self, figures: Mapping[str, Any]) -> dict[str, float | None]:
        """Return the accuracies, 0 to 1, by which ways to send a picture are compared, by name."""

    def sheets(self, ways: Mapping[str, Mapping[str, Any]]) -> list[Sheet]:
        """Return further tables about the figures of some ways, by name, the most important way first."""

    def sheet(self, task: Task, results: Sequence[Any], score: Any) -> Sheet:
        """Return a table of a task's labels: how often each was answered in a recording, and how well."""

    def find_mistakes(self, truth: Truth, results: Results) -> Counter[str]:
        """Count what is wrong in one picture, by what it is in words; what is not known of its truth is not."""


KINDS: dict[str, Kind] = {
    "detection": detection,
    "classification": classification,
    "segmentation": segmentation,
}
"""By Task.kind."""


def object_labels(tasks: Sequence[Task]) -> list[str]:
    """Return the labels of some tasks for which a truth has objects with boxes."""
    return [label for task in tasks for label in KINDS[task.kind].object_labels(task)]
