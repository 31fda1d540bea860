"""Frames to be evaluated: pictures, what is known of them that the tasks ask for, and what was answered, as JSON."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from mtl_split_core.kinds import KINDS as CORE_KINDS
from mtl_split_core.kinds import by_kind, results_of
from mtl_split_core.scene import Image, Results, Task, Truth
from mtl_split_lab.kinds import KINDS

NOTHING_KNOWN = Truth(labelled=frozenset())


@dataclass(frozen=True)
class Frame:
    """One picture.

    name: what tells it apart, a stamp in nanoseconds or a file's name; truth: what is known of it; read: returns the
    picture, or raises InputError for a damaged one; stamp: in nanoseconds, where frames follow each other in time;
    recording: of several, the one that it is of.
    """

    name: str
    truth: Truth
    read: Callable[[], Image]
    stamp: int | None = None
    recording: str = ""

    @property
    def known(self) -> list[str]:
        """Of what anything is known: `objects`, and the tasks of classification and segmentation."""
        objects = ["objects"] if self.truth.labelled != NOTHING_KNOWN.labelled else []
        return [*objects, *self.truth.classes, *self.truth.masks]


def join_truths(one: Truth, other: Truth) -> Truth:
    """Return all that two truths of one picture say."""
    return Truth(
        np.concatenate([one.boxes, other.boxes]),
        one.labels + other.labels,
        np.concatenate([one.visible, other.visible]),
        np.concatenate([one.ignore, other.ignore]),
        one.classes | other.classes,
        _joined_labels(one, other),
        tuple(known for truth in (one, other) for known in truth.ids or ("",) * len(truth.labels)),
        {**one.masks, **other.masks},
    )


def _joined_labels(one: Truth, other: Truth) -> frozenset[str] | None:
    if one.labelled is None or other.labelled is None:
        return None
    return one.labelled | other.labelled


def keep_known(truth: Truth, tasks: Sequence[Task], skipped: Counter[str]) -> Truth:
    """Return what of a truth the tasks were taught: nobody is asked for anything else. Count the rest in `skipped`."""
    for kind, own in by_kind(tasks).items():
        truth = KINDS[kind].keep_known(truth, own, skipped)
    return truth


def as_truth(results: Results, tasks: Sequence[Task]) -> Truth:
    """Return a truth that says what the results of these tasks say, to measure how far others agree with them."""
    truths = [KINDS[kind].as_truth(own, results_of(own, results)) for kind, own in by_kind(tasks).items()]
    return reduce(join_truths, truths, NOTHING_KNOWN)


def results_to_json(results: Results, tasks: Sequence[Task]) -> dict[str, Any]:
    """Return the tasks' results, as far as there are any, ready for JSON; their numbers are exact."""
    return {task.name: CORE_KINDS[task.kind].to_json(results[task.name]) for task in tasks if task.name in results}
