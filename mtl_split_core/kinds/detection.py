"""Detection: boxes with a label and a score."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from mtl_split_core.byte_track import ByteTracker
from mtl_split_core.canvas import PALE, Canvas, colour_of
from mtl_split_core.errors import InputError
from mtl_split_core.geometry import Letterbox
from mtl_split_core.scene import Detections, Floats, Task, Truth

MOST_CANDIDATES = 1000
"""Only so many candidates of a picture, the best, go through non-maximum suppression, so that its time is bounded."""

MOST_DETECTIONS = 500
"""Only so many detections of a picture, the best, are kept."""

SHOWN_SCORE = 0.3
"""Detections below this score are not shown and are no mistakes, though they count for the average precision."""

_ROW = np.dtype([("box", "<u2", 4), ("score", "<u2"), ("label", "<u2")])
_STEPS = np.float32(65535)

HAS_THRESHOLD = True

MOST_LABELS = None


def outputs(task: Task) -> dict[str, tuple[int | None, ...]]:
    """P candidates: boxes x1, y1, x2, y2 in pixels of the input, and scores, 0 to 1."""
    return {f"{task.name}.boxes": (1, None, 4), f"{task.name}.scores": (1, None, len(task.labels))}


def result(
    task: Task, outputs: Mapping[str, npt.NDArray[np.generic]], score_threshold: float, overlap_threshold: float
) -> Detections:
    """Choose among the candidates: see suppress."""
    boxes = outputs[f"{task.name}.boxes"][0].astype(np.float32, copy=False)
    scores = outputs[f"{task.name}.scores"][0].astype(np.float32, copy=False)
    return suppress(task.labels, boxes, scores, score_threshold, overlap_threshold)


def to_picture(result: Detections, letterbox: Letterbox) -> Detections:
    """Map and clip the boxes; those in the grey bars around the picture are left out."""
    boxes = letterbox.to_picture(result.boxes)
    kept = np.all(boxes[:, 2:] > boxes[:, :2], axis=1)
    return replace(result, boxes=boxes).take(np.flatnonzero(kept))


def tracker(score_threshold: float, name: Callable[[], str]) -> ByteTracker:
    """Follow boxes, whatever their label."""
    return ByteTracker(score_threshold, name)


def to_json(result: Detections) -> dict[str, Any]:
    """Boxes, labels and scores, a list each, and where objects are followed, their identities."""
    ids = {"ids": result.ids} if result.ids else {}
    return {"boxes": result.boxes.tolist(), "labels": result.labels, "scores": result.scores.tolist()} | ids


def select(result: Detections, score_threshold: float) -> Detections:
    """Leave out the detections below the threshold."""
    return result.take(np.flatnonzero(result.scores >= score_threshold))


def to_bytes(result: Detections, task: Task, letterbox: Letterbox) -> bytes:
    """Of each detection, box and score in steps of 1/65535 of the picture's sides and of 1, and the label's number."""
    rows = np.zeros(len(result.labels), _ROW)
    rows["box"] = np.rint(np.clip(result.boxes / _sides(letterbox), 0, 1) * _STEPS)
    rows["score"] = np.rint(np.clip(result.scores, 0, 1) * _STEPS)
    rows["label"] = [task.labels.index(label) for label in result.labels]
    return rows.tobytes()


def from_bytes(data: bytes, task: Task, letterbox: Letterbox) -> Detections:
    """Read the detections."""
    if len(data) % _ROW.itemsize or len(data) > MOST_DETECTIONS * _ROW.itemsize:
        raise InputError(
            f"the answer to {task.name} has {len(data)} bytes, expected {_ROW.itemsize} for each of at most"
            f" {MOST_DETECTIONS} detections"
        )
    rows = np.frombuffer(data, _ROW)
    if (rows["label"] >= len(task.labels)).any():
        most = len(task.labels) - 1
        raise InputError(f"the answer to {task.name} has the label {rows['label'].max()}, expected 0 to {most}")
    boxes = rows["box"].astype(np.float32) / _STEPS * _sides(letterbox)
    return Detections(
        boxes, tuple(task.labels[label] for label in rows["label"]), rows["score"].astype(np.float32) / _STEPS
    )


def _sides(letterbox: Letterbox) -> Floats:
    return np.array((*letterbox.source, *letterbox.source), np.float32)


def draw(canvas: Canvas, tasks: Sequence[Task], results: Mapping[str, Detections], truth: Truth | None) -> None:
    """Draw the true objects, but for those to be ignored, in white, and the detections in their labels' colours."""
    if truth is not None:
        objects = truth.boxes[~truth.ignore]
        canvas.rectangles(objects, [PALE] * len(objects), edged=True)
    labels = [label for task in tasks for label in task.labels]
    for found in results.values():
        shown = np.flatnonzero(found.scores >= SHOWN_SCORE)[::-1]  # the best is drawn last, on top
        boxes, names = found.boxes[shown], [found.labels[i] for i in shown]
        colours = [colour_of(labels, name) for name in names]
        texts = [f"{name} {score:.2f}" for name, score in zip(names, found.scores[shown], strict=True)]
        if found.ids:
            # All identities of a drive begin with the same milliseconds.
            numbers = [found.ids[i].rpartition("-")[2] for i in shown]
            texts = [f"{text} #{number}" if number else text for text, number in zip(texts, numbers, strict=True)]
        canvas.rectangles(boxes, colours)
        canvas.tags(boxes[::-1], texts[::-1], colours[::-1])


def caption(result: Detections) -> str:
    """Nothing: they are drawn into the picture."""
    return ""


def in_words(result: Detections) -> str:
    """How many of each label."""
    return ", ".join(f"{number} {label}" for label, number in count_objects(result).most_common()) or "nothing"


def count_objects(result: Detections) -> Counter[str]:
    """Those that are shown."""
    return Counter(result.labels[i] for i in np.flatnonzero(result.scores >= SHOWN_SCORE))


def suppress(
    labels: tuple[str, ...],
    boxes: Floats,
    scores: Floats,
    score_threshold: float,
    overlap_threshold: float,
) -> Detections:
    """Choose among the network's candidates for one picture: boxes (N, 4) x1, y1, x2, y2, scores (N, labels).

    Those with a score below `score_threshold` are left out, and of two with the same label whose intersection over
    union is above `overlap_threshold`, the one with the lower score. Of the rest, the best MOST_DETECTIONS are kept.
    """
    # Flat, as this takes half of the time.
    found = np.flatnonzero(scores >= score_threshold)
    order = np.argsort(-scores.reshape(-1)[found], kind="stable")[:MOST_CANDIDATES]
    candidates, indices = np.divmod(found[order], len(labels))
    corners = boxes[candidates]
    # Every label has a place of its own, where only its boxes can overlap; NMSBoxesBatched, which would see to that, is
    # missing in OpenCV 4.6, which Ubuntu 24.04 has.
    corners_64 = corners.astype(np.float64)  # their range may exceed that of float32
    places = float(np.ptp(corners_64)) + 1.0 if len(corners) else 1.0
    shifted = corners_64[:, :2] + places * indices[:, None]
    rectangles = np.concatenate([shifted, corners_64[:, 2:] - corners_64[:, :2]], axis=1)
    # NMSBoxes would leave out scores that are equal to its threshold, and take equal ones in an order of its own.
    ranks = np.arange(len(order), 0.0, -1.0).tolist()
    kept = cv2.dnn.NMSBoxes(rectangles.tolist(), ranks, 0.0, overlap_threshold)
    best = np.sort(np.array(kept, np.intp).reshape(-1))[:MOST_DETECTIONS]
    return Detections(corners[best], tuple(labels[i] for i in indices[best]), scores[candidates[best], indices[best]])
