"""Frames to be evaluated: pictures, what is known of them that the tasks ask for, and what was answered, as JSON."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mtl_split_core.kinds import KINDS
from mtl_split_core.scene import Image, Results, Task, Truth

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


def join_truths(one: Truth, other: Truth) -> Truth:
    """Return all that two truths of one picture say."""
    return Truth(
        np.concatenate([one.boxes, other.boxes]),
        one.labels + other.labels,
        np.concatenate([one.visible, other.visible]),
        np.concatenate([one.ignore, other.ignore]),
        one.classes | other.classes,
        None if one.labelled is None or other.labelled is None else one.labelled | other.labelled,
    )


def keep_known(truth: Truth, tasks: Sequence[Task], skipped: Counter[str]) -> Truth:
    """Return what of a truth the tasks were taught: nobody is asked for anything else. Count the rest in `skipped`."""
    taught = frozenset(label for task in tasks if task.kind == "detection" for label in task.labels)
    answers = {task.name: task.labels for task in tasks if task.kind == "classification"}
    classes = {task: label for task, label in truth.classes.items() if label in answers.get(task, ())}
    skipped["objects of classes that the bundle does not know"] += sum(label not in taught for label in truth.labels)
    skipped["classes that the bundle does not know"] += len(truth.classes.keys() & answers.keys()) - len(classes)
    labelled = taught if truth.labelled is None else taught & truth.labelled
    return replace(truth, classes=classes, labelled=labelled)


def results_to_json(results: Results, tasks: Sequence[Task]) -> dict[str, Any]:
    """Return the tasks' results, as far as there are any, ready for JSON; their numbers are exact."""
    return {task.name: KINDS[task.kind].to_json(results[task.name]) for task in tasks if task.name in results}
