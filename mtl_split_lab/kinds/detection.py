"""Detections scored and shown: average precision, boxes drawn into the picture."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mtl_split_core.kinds.detection import SHOWN_SCORE, count_objects
from mtl_split_core.scene import Detections, Task, Truth
from mtl_split_lab.kinds.average_precision import CountedPrecision, DetectionScore, match_detections, score_detections
from mtl_split_lab.kinds.calibration import Calibration, fit_logistic
from mtl_split_lab.kinds.identities import score_identities
from mtl_split_lab.kinds.overlaps import overlaps
from mtl_split_lab.kinds.sheet import Sheet


def object_labels(task: Task) -> tuple[str, ...]:
    """All of them."""
    return task.labels


def labels_in(task: Task, truth: Truth) -> set[str]:
    """Those of all objects."""
    return set(truth.labels)


def keep_known(truth: Truth, tasks: Sequence[Task], skipped: Counter[str]) -> Truth:
    """Keep all objects, but only the labels of these tasks as labelled."""
    taught = frozenset(label for task in tasks for label in task.labels)
    skipped["objects of classes that the bundle does not know"] += sum(label not in taught for label in truth.labels)
    return replace(truth, labelled=taught if truth.labelled is None else taught & truth.labelled)


def pair(truth: Truth, results: Mapping[str, Detections]) -> tuple[Truth, Detections] | None:
    """The truth, and the detections of all tasks as one, for no object says which task is to find it."""
    return (truth, join(list(results.values()))) if results and truth.labelled != frozenset() else None


def as_truth(tasks: Sequence[Task], results: Mapping[str, Detections]) -> Truth:
    """The detections that are shown, as all objects of the labels of these tasks."""
    if not results:
        return Truth(labelled=frozenset())
    found = join(list(results.values()))
    shown = found.take(np.flatnonzero(found.scores >= SHOWN_SCORE))
    count = len(shown.labels)
    return Truth(
        shown.boxes,
        shown.labels,
        visible=np.ones(count, np.float32),
        ignore=np.zeros(count, np.bool_),
        labelled=frozenset(label for task in tasks for label in task.labels),
        ids=shown.ids,
    )


def score(pairs: Sequence[tuple[Truth, Detections]]) -> DetectionScore:
    """Score all tasks together, and where objects are followed and their identities known, the tracks too."""
    return replace(score_detections(pairs), identities=score_identities(pairs, SHOWN_SCORE))


def accuracy(score: DetectionScore, task: str) -> float:
    """The mAP50 of all detection tasks."""
    if not score.ap50:
        raise KeyError(task)
    return score.map50


def count(
    tasks: Sequence[Task], pairs: Sequence[tuple[Truth, Detections]]
) -> Callable[[npt.NDArray[np.int64]], dict[str, float]]:
    """The mAP50 of all detection tasks; the detections are matched once."""
    precision = CountedPrecision(pairs)

    def accuracies(counts: npt.NDArray[np.int64]) -> dict[str, float]:
        found = precision(counts)
        return {task.name: found for task in tasks}

    return accuracies


def figures(score: DetectionScore) -> dict[str, Any]:
    """Return what DetectionScore has; map50 and map are None without an object to be found.

    `tracking` is there where there are figures of it.
    """
    tracking = {"tracking": asdict(score.identities)} if score.identities else {}
    return {
        "map50": score.map50 if score.ap50 else None,
        "map": score.map if score.ap50 else None,
        "map50_by_size": score.map50_by_size,
        "ap50": score.ap50,
        **tracking,
    }


def calibrate(task: Task, answered: Sequence[tuple[Truth, Detections]]) -> Calibration:
    """Label by label; those that are seldom there as all of them together."""
    found = match_detections(answered)
    scores, right = (np.array([entry[at] for entry in found]) for at in (1, 2))
    together = fit_logistic(scores, right.astype(np.bool_)) or (1.0, 0.0)

    def fit(label: str) -> tuple[float, float]:
        own = np.array([entry[0] == label for entry in found], np.bool_)
        return fit_logistic(scores[own], right[own].astype(np.bool_)) or together

    scale, offset = np.array([fit(label) for label in task.labels], np.float32).T
    return Calibration(scale, offset)


def columns(figures: Mapping[str, Any]) -> dict[str, float | None]:
    """mAP50, mAP, mAP50 by size, and of tracking, IDF1 and HOTA."""
    tracking = figures.get("tracking", {})
    names = {"IDF1": "idf1", "HOTA": "hota"}
    return {
        "mAP50": figures["map50"],
        "mAP": figures["map"],
        **figures["map50_by_size"],
        **{name: tracking[key] for name, key in names.items() if key in tracking},
    }


def sheets(ways: Mapping[str, Mapping[str, Any]]) -> list[Sheet]:
    """AP50 by label, of all ways, and what tracking has of figures."""
    labels = dict.fromkeys(label for figures in ways.values() for label in figures["ap50"])
    rows = [[label, *(figures["ap50"].get(label) for figures in ways.values())] for label in labels]
    sheets = [Sheet("Detection, AP50 by label", ["label", *ways], rows)]
    tracked = {way: figures["tracking"] for way, figures in ways.items() if "tracking" in figures}
    if tracked:
        names = {"idf1": "IDF1", "hota": "HOTA", "deta": "DetA", "assa": "AssA"}
        rows = [[name, *(figures[key] for figures in tracked.values())] for key, name in names.items()]
        rows.append(["identity switches", *(f"{figures['switches']:,}" for figures in tracked.values())])
        sheets.append(Sheet("Tracking, whatever the label", ["figure", *tracked], rows))
    return sheets


def sheet(task: Task, results: Sequence[Detections], score: DetectionScore) -> Sheet:
    """How many were shown, and AP50."""
    counts = sum(map(count_objects, results), Counter[str]())
    rows = [(label, f"{counts[label]:,}", score.ap50.get(label)) for label in task.labels]
    total = ("all", f"{counts.total():,}", score.map50 if score.ap50 else None)
    return Sheet("", (task.name, f"count, score >= {SHOWN_SCORE}", "AP50"), [*rows, total])


def find_mistakes(truth: Truth, results: Mapping[str, Detections]) -> Counter[str]:
    """Count objects missed and detections of nothing, by label.

    Detections count from SHOWN_SCORE on, best first, and find an object of their label that they overlap by half; those
    half inside an object to be ignored are no mistakes.
    """
    if not results:
        return Counter()
    found = join(list(results.values()))
    counted = set(found.labels) | set(truth.labels) if truth.labelled is None else truth.labelled
    wanted = np.array([label in counted for label in truth.labels], np.bool_) & ~truth.ignore
    missed, mistakes = set(np.flatnonzero(wanted).tolist()), Counter[str]()
    shared, inside = overlaps(found.boxes, truth.boxes)
    for i, (label, score) in enumerate(zip(found.labels, found.scores, strict=True)):
        if score < SHOWN_SCORE or label not in counted:
            continue
        same = np.array([label == other for other in truth.labels], np.bool_)
        hits = [j for j in np.flatnonzero(same & (shared[i] >= 0.5)).tolist() if j in missed]
        if hits:
            missed.remove(max(hits, key=lambda j: shared[i, j]))
        else:
            mistakes[f"false {label}"] += not (same & truth.ignore & (inside[i] >= 0.5)).any()
    mistakes.update(f"missed {truth.labels[j]}" for j in missed)
    return +mistakes


def join(parts: Sequence[Detections]) -> Detections:
    """Return the detections of several tasks as one, best first."""
    scores = np.concatenate([part.scores for part in parts])
    labels = tuple(label for part in parts for label in part.labels)
    ids = tuple(one for part in parts for one in part.ids or ("",) * len(part.labels))
    boxes = np.concatenate([part.boxes for part in parts])
    every = Detections(boxes, labels, scores, ids if any(part.ids for part in parts) else ())
    return every.take(np.argsort(-scores, kind="stable"))
