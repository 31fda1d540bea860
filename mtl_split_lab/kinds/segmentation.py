"""Semantic segmentation, scored: intersection over union."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mtl_split_core.label_map import UNKNOWN, Segmentation, renumber, scale
from mtl_split_core.scene import Task, Truth
from mtl_split_lab.kinds.calibration import Calibration
from mtl_split_lab.kinds.sheet import Sheet

LEAST_OVERLAP = 0.5
"""A label with less intersection over union in one picture is a mistake."""


@dataclass(frozen=True)
class Places:
    """How often which label (row) was answered as which (column) in a picture: int64 (labels, labels)."""

    labels: tuple[str, ...]
    counts: npt.NDArray[np.int64]


@dataclass(frozen=True)
class SegmentationScore:
    """One task's answers; iou: intersection over union by label, 0 to 1, of those that were there or answered."""

    iou: dict[str, float]

    @property
    def miou(self) -> float:
        """The labels' mean."""
        return sum(self.iou.values()) / len(self.iou)


def object_labels(task: Task) -> tuple[str, ...]:
    """None: an area is no object with a box."""
    return ()


def labels_in(task: Task, truth: Truth) -> set[str]:
    """All that the task's mask may have, if there is one: to look into it would take long."""
    return set(truth.masks[task.name].labels) if task.name in truth.masks else set()


def keep_known(truth: Truth, tasks: Sequence[Task], skipped: Counter[str]) -> Truth:
    """Keep the masks of these tasks that have any of their labels."""
    labels = {task.name: set(task.labels) for task in tasks}
    masks = {task: mask for task, mask in truth.masks.items() if labels.get(task, set()).intersection(mask.labels)}
    skipped["masks without a label that the bundle knows"] += len(truth.masks.keys() & labels.keys()) - len(masks)
    return replace(truth, masks=masks)


def pair(truth: Truth, results: Mapping[str, Segmentation]) -> dict[str, Places] | None:
    """The counts by task, where the truth is known, at its resolution."""
    return {task: _compare(truth, task, found) for task, found in results.items() if task in truth.masks} or None


def _compare(truth: Truth, task: str, found: Segmentation) -> Places:
    true = renumber(truth.masks[task], found.labels)
    answers = scale(found.indices(), (true.shape[1], true.shape[0]))
    known, labels = true != UNKNOWN, len(found.labels)
    pairs = np.bincount(true[known].astype(np.int64) * labels + answers[known], minlength=labels**2)
    return Places(found.labels, pairs.reshape(labels, labels))


def as_truth(tasks: Sequence[Task], results: Mapping[str, Segmentation]) -> Truth:
    """Results as masks, as they are."""
    return Truth(masks=dict(results), labelled=frozenset())


def score(pairs: Sequence[Mapping[str, Places]]) -> dict[str, SegmentationScore]:
    """Score every task that there is a truth of, over all places of all pictures."""
    tasks = dict.fromkeys(task for picture in pairs for task in picture)
    scores = {task: _score([picture[task] for picture in pairs if task in picture]) for task in tasks}
    return {task: found for task, found in scores.items() if found.iou}


def _score(places: Sequence[Places]) -> SegmentationScore:
    counts = np.sum([picture.counts for picture in places], axis=0)
    hits, there = counts.diagonal(), counts.sum(0) + counts.sum(1) - counts.diagonal()
    ious = zip(places[0].labels, hits.tolist(), there.tolist(), strict=True)
    return SegmentationScore({label: hit / either for label, hit, either in ious if either})


def accuracy(score: Mapping[str, SegmentationScore], task: str) -> float:
    """The mean intersection over union."""
    return score[task].miou


def count(
    tasks: Sequence[Task], pairs: Sequence[Mapping[str, Places]]
) -> Callable[[npt.NDArray[np.int64]], dict[str, float]]:
    """Add up the places of the pictures, each as often as it counts."""

    def accuracies(counts: npt.NDArray[np.int64]) -> dict[str, float]:
        times = counts.tolist()
        chosen = [
            {task: Places(places.labels, places.counts * often) for task, places in pair.items()}
            for pair, often in zip(pairs, times, strict=True)
            if often
        ]
        return {task: found.miou for task, found in score(chosen).items()}

    return accuracies


def figures(score: Mapping[str, SegmentationScore]) -> dict[str, Any]:
    """Mean intersection over union by task, and by task and label."""
    return {
        "miou": {task: found.miou for task, found in score.items()},
        "iou": {task: found.iou for task, found in score.items()},
    }


def calibrate(task: Task, answered: Sequence[tuple[Truth, Segmentation]]) -> Calibration:
    """Nothing is corrected: results have labels without scores."""
    return Calibration(np.ones(len(task.labels), np.float32), np.zeros(len(task.labels), np.float32))


def columns(figures: Mapping[str, Any]) -> dict[str, float | None]:
    """Mean intersection over union by task."""
    return {f"{task}, mIoU": miou for task, miou in figures["miou"].items()}


def sheets(ways: Mapping[str, Mapping[str, Any]]) -> list[Sheet]:
    """Intersection over union by label of each task, of all ways."""
    tasks = dict.fromkeys(task for figures in ways.values() for task in figures["iou"])
    return [_by_label(task, {way: figures["iou"].get(task, {}) for way, figures in ways.items()}) for task in tasks]


def _by_label(task: str, ways: Mapping[str, Mapping[str, float]]) -> Sheet:
    labels = dict.fromkeys(label for iou in ways.values() for label in iou)
    rows = [[label, *(iou.get(label) for iou in ways.values())] for label in labels]
    return Sheet(f"{task}: intersection over union by label", ["label", *ways], rows)


def sheet(task: Task, results: Sequence[Segmentation], score: Mapping[str, SegmentationScore]) -> Sheet:
    """The share of the pictures' places, and intersection over union."""
    own = score.get(task.name)
    shares = np.zeros(len(task.labels))
    for found in results:
        numbers = found.indices()
        shares += np.bincount(numbers.ravel(), minlength=len(shares)) / (numbers.size * len(results))
    rows = [
        (label, float(share), own.iou.get(label) if own else None)
        for label, share in zip(task.labels, shares, strict=True)
    ]
    return Sheet("", (task.name, "share", "IoU"), [*rows, ("all", "", own.miou if own else None)])


def find_mistakes(truth: Truth, results: Mapping[str, Segmentation]) -> Counter[str]:
    """Name the labels whose intersection over union is below LEAST_OVERLAP."""
    scores = score([pair(truth, results) or {}])
    return Counter(
        f"{task} {label} off"
        for task, found in scores.items()
        for label, overlap in found.iou.items()
        if overlap < LEAST_OVERLAP
    )
