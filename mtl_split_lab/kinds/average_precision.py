"""COCO's average precision of detections."""

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mtl_split_core.scene import Detections, Floats, Truth
from mtl_split_lab.kinds.identities import IdentityScore

SIZES = {"small": [0.0, 32.0**2], "medium": [32.0**2, 96.0**2], "large": [96.0**2, np.inf]}
"""COCO's sizes of objects: areas of their boxes in square pixels of the picture."""

RECALLS = np.linspace(0.0, 1.0, 101)
"""At which COCO takes the precision."""

MOST_DETECTIONS = 100
"""Detections per picture and label that count, as in COCO."""


@dataclass(frozen=True)
class DetectionScore:
    """COCO's average precisions, 0 to 1, over the labels that have at least one object to be found.

    map: mean over the overlaps 0.50, 0.55, ... 0.95; map50: at 0.50; ap50: the latter by label; map50_by_size: by those
    of SIZES that there are objects of. Nothing to be found: 0 and {}. identities: how well objects were followed, None
    where that is not known.
    """

    map: float
    map50: float
    ap50: dict[str, float]
    map50_by_size: dict[str, float]
    identities: IdentityScore | None = None


def score_detections(pairs: Sequence[tuple[Truth, Detections]]) -> DetectionScore:
    """Score the detections of some pictures against their truths.

    Objects marked as to be ignored neither reward nor punish, as COCO's crowds; in a picture whose truth names its
    `labelled` labels, neither objects nor detections of other labels count.
    """
    labels = sorted({label for truth, _ in pairs for label in truth.labels})
    category = {label: number for number, label in enumerate(labels, 1)}
    evaluator = _evaluate(pairs, category)
    precision = np.full((10, 101, len(category), 1 + len(SIZES)), -1.0)
    if evaluator is not None:
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools narrates
            evaluator.accumulate()
        precision = evaluator.eval["precision"][..., 0]
    present = [label for label in labels if precision[0, 0, category[label] - 1, 0] > -1]
    if not present:
        return DetectionScore(0.0, 0.0, {}, {})
    chosen = precision[:, :, [category[label] - 1 for label in present]]
    ap50 = dict(zip(present, chosen[0, :, :, 0].mean(axis=0).tolist(), strict=True))
    by_size = {
        size: float(at_50[:, at_50[0] > -1].mean())
        for size, at_50 in zip(SIZES, np.moveaxis(chosen[0, :, :, 1:], 2, 0), strict=True)
        if (at_50 > -1).any()
    }
    return DetectionScore(float(chosen[..., 0].mean()), float(chosen[0, :, :, 0].mean()), ap50, by_size)


class CountedPrecision:
    """mAP50 of pictures of which each may count any number of times: they are matched once, and so it is quick."""

    def __init__(self, pairs: Sequence[tuple[Truth, Detections]]) -> None:
        """Match the detections of all pictures with their truths, see score_detections."""
        self._labels = sorted({label for truth, _ in pairs for label in truth.labels})
        self._objects = np.zeros((len(self._labels), len(pairs)), np.int64)
        for number, (truth, _) in enumerate(pairs):
            for label, ignore in zip(truth.labels, truth.ignore, strict=True):
                counted = truth.labelled is None or label in truth.labelled
                self._objects[self._labels.index(label), number] += counted and not ignore
        found = sorted(match_detections(pairs), key=lambda match: -match[1])
        self._matches = [
            (np.array([at for name, _, _, at in found if name == label], np.intp),
             np.array([right for name, _, right, _ in found if name == label], np.bool_))
            for label in self._labels
        ]  # fmt: skip

    def __call__(self, counts: npt.NDArray[np.int64]) -> float:
        """Return mAP50, 0 to 1, by how often each picture counts (pictures,); 0 without an object to be found."""
        precisions = []
        for objects, (pictures, right) in zip(self._objects @ counts, self._matches, strict=True):
            if not objects:
                continue
            weights = counts[pictures]
            hits = np.cumsum(weights * right)
            precision = hits / np.maximum(1, np.cumsum(weights))
            highest = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
            precisions.append(highest[np.searchsorted(hits / objects, RECALLS)].mean())
        return float(np.mean(precisions)) if precisions else 0.0


def match_detections(pairs: Sequence[tuple[Truth, Detections]]) -> list[tuple[str, float, bool, int]]:
    """Return every detection that counts: label, score, whether it is right at an overlap of 0.5, the pair's index."""
    labels = dict(enumerate(sorted({label for _, found in pairs for label in found.labels}), 1))
    evaluator = _evaluate(pairs, {label: number for number, label in labels.items()})
    if evaluator is None:
        return []
    everything = evaluator.params.areaRng[0]
    return [
        (labels[image["category_id"]], score, bool(match), image["image_id"] - 1)
        for image in evaluator.evalImgs
        if image is not None and image["aRng"] == everything
        for score, match, ignored in zip(image["dtScores"], image["dtMatches"][0], image["dtIgnore"][0], strict=True)
        if not ignored
    ]


def _annotation(image: int, category: int, box: Floats) -> dict[str, Any]:
    x1, y1, x2, y2 = map(float, box)
    width, height = x2 - x1, y2 - y1
    return {"image_id": image, "category_id": category, "bbox": [x1, y1, width, height], "area": width * height}


def _evaluate(pairs: Sequence[tuple[Truth, Detections]], category: Mapping[str, int]) -> COCOeval | None:
    """Match detections with objects as COCO does, of the labels in `category`. None without an object to be found."""
    objects: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for image, (truth, answer) in enumerate(pairs, 1):
        counted = category.keys() if truth.labelled is None else category.keys() & truth.labelled
        for box, label, ignore in zip(truth.boxes, truth.labels, truth.ignore, strict=True):
            if label in counted:
                objects.append(_annotation(image, category[label], box) | {"iscrowd": int(ignore)})
        for box, label, score in zip(answer.boxes, answer.labels, answer.scores, strict=True):
            if label in counted:
                found.append(_annotation(image, category[label], box) | {"iscrowd": 0, "score": float(score)})
    if not objects:
        return None
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools narrates
        evaluator = COCOeval(_index(len(pairs), category, objects), _index(len(pairs), category, found), "bbox")
        evaluator.params.areaRng = [[0.0, np.inf], *SIZES.values()]
        evaluator.params.areaRngLbl = ["all", *SIZES]
        evaluator.params.maxDets = [MOST_DETECTIONS]
        evaluator.evaluate()
    return evaluator


def _index(images: int, category: Mapping[str, int], annotations: list[dict[str, Any]]) -> COCO:
    index = COCO()
    dataset: Any = {
        "images": [{"id": image} for image in range(1, images + 1)],
        "categories": [{"id": number, "name": label} for label, number in category.items()],
        # pycocotools takes the number 0 for "no match".
        "annotations": [{"id": number, **annotation} for number, annotation in enumerate(annotations, 1)],
    }
    index.dataset = dataset
    index.createIndex()
    return index
