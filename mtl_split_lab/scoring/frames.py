"""Frames to be evaluated: pictures, what is known of them that the tasks ask for, and what was answered, as JSON."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mtl_split_core.contract import Task
from mtl_split_core.scene import Detections, Image, Results, Truth

NOTHING_KNOWN = Truth(labelled=frozenset())


@dataclass(frozen=True)
class Frame:
    """One picture.

    name: what tells it apart, a stamp in nanoseconds or a file's name; truth: what is known of it; read: returns the
    picture, or raises InputError for a damaged one.
    """

    name: str
    truth: Truth
    read: Callable[[], Image]

    @property
    def known(self) -> list[str]:
        """Of what anything is known: `objects`, and the classification tasks."""
        return [*(["objects"] if self.truth.labelled != NOTHING_KNOWN.labelled else []), *self.truth.classes]


def keep_known(truth: Truth, tasks: Sequence[Task], skipped: Counter[str]) -> Truth:
    """Return what of a truth the tasks were taught: nobody is asked for anything else. Count the rest in `skipped`."""
    taught = frozenset(label for task in tasks if task.kind == "detection" for label in task.labels)
    answers = {task.name: task.labels for task in tasks if task.kind == "classification"}
    classes = {task: label for task, label in truth.classes.items() if label in answers.get(task, ())}
    skipped["objects of classes that the bundle does not know"] += sum(label not in taught for label in truth.labels)
    skipped["classes that the bundle does not know"] += len(truth.classes.keys() & answers.keys()) - len(classes)
    labelled = taught if truth.labelled is None else taught & truth.labelled
    return replace(truth, classes=classes, labelled=labelled)


def results_to_json(results: Results) -> dict[str, Any]:
    """Return results ready for JSON; their numbers are exact."""
    return {
        task: {"boxes": result.boxes.tolist(), "labels": result.labels, "scores": result.scores.tolist()}
        if isinstance(result, Detections)
        else dict(zip(result.labels, result.scores.tolist(), strict=True))
        for task, result in results.items()
    }
