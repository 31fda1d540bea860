"""Detections as vision_msgs/Detection2DArray."""

from collections import Counter
from itertools import compress

import numpy as np
from std_msgs.msg import Header
from vision_msgs.msg import (
    BoundingBox2D,
    Detection2D,
    Detection2DArray,
    ObjectHypothesis,
    ObjectHypothesisWithPose,
    Point2D,
    Pose2D,
)

from mtl_split_core.errors import InputError
from mtl_split_core.scene import Detections, Task, Truth

MESSAGE = Detection2DArray

TRUTH_TOPIC = "ground_truth/detections"
"""The objects of all tasks."""

IGNORE = "ignore"
"""The `id` of a true object that is to be ignored in scoring."""

LARGEST_COORDINATE = 1e6
"""Boxes with a coordinate beyond this many pixels are invalid."""


def topic(task: Task) -> str:
    """The usual task has the usual name."""
    return "detections" if task.name == "detection" else f"detections/{task.name}"


def truth_topic(task: Task) -> str:
    """Return the topic of all objects, whatever the task."""
    return TRUTH_TOPIC


def to_message(result: Detections, header: Header) -> Detection2DArray:
    """Write each detection with the header and one hypothesis."""
    rows = zip(result.boxes.tolist(), result.labels, result.scores.tolist(), strict=True)
    return Detection2DArray(header=header, detections=[_detection(header, *row) for row in rows])


def to_result(message: Detection2DArray) -> Detections:
    """Read detections, each with its first hypothesis.

    Raises InputError where one has no hypothesis, an invalid box, or a score that is no number.
    """
    if not all(detection.results for detection in message.detections):
        raise InputError("a detection has no hypothesis, expected its class and score")
    found = _read(message)
    valid = (np.abs(found.boxes) < LARGEST_COORDINATE).all(axis=1) & np.isfinite(found.scores)
    if not valid.all():
        first = int(valid.argmin())
        raise InputError(f"a detection has the box {found.boxes[first]} and the score {found.scores[first]}")
    return found


def _read(message: Detection2DArray) -> Detections:
    boxes = np.zeros((len(message.detections), 4), np.float32)
    for row, detection in zip(boxes, message.detections, strict=True):
        centre, box = detection.bbox.center.position, detection.bbox
        half_width, half_height = box.size_x / 2, box.size_y / 2
        row[:] = centre.x - half_width, centre.y - half_height, centre.x + half_width, centre.y + half_height
    hypotheses = [detection.results[0].hypothesis for detection in message.detections]
    scores = np.array([hypothesis.score for hypothesis in hypotheses], np.float32)
    return Detections(boxes, tuple(hypothesis.class_id for hypothesis in hypotheses), scores)


def truth_messages(truth: Truth, header: Header) -> dict[str, Detection2DArray]:
    """Write the objects of all tasks."""
    objects = to_message(Detections(truth.boxes, truth.labels, np.ones(len(truth.labels), np.float32)), header)
    for detection, ignore in zip(objects.detections, truth.ignore, strict=True):
        detection.id = IGNORE if ignore else ""
    return {TRUTH_TOPIC: objects}


def to_truth(task: str, message: Detection2DArray, skipped: Counter[str]) -> Truth | None:
    """Read the objects, each as if wholly visible; invalid boxes are left out. None if one of them has no class."""
    if not all(detection.results for detection in message.detections):
        skipped["truths without a class"] += 1
        return None
    objects = _read(message)
    boxes, ignore = objects.boxes, np.array([one.id == IGNORE for one in message.detections], np.bool_)
    in_order = boxes[:, :2] < boxes[:, 2:]
    valid = np.all(np.concatenate([np.abs(boxes) < LARGEST_COORDINATE, in_order], axis=1), axis=1)
    skipped["objects whose box is invalid"] += int((~valid).sum())
    labels = tuple(compress(objects.labels, valid))
    return Truth(boxes[valid], labels, np.ones(len(labels), np.float32), ignore[valid])


def _detection(header: Header, box: list[float], label: str, score: float) -> Detection2D:
    left, top, right, bottom = box
    centre = Point2D(x=(left + right) / 2, y=(top + bottom) / 2)
    return Detection2D(
        header=header,
        results=[ObjectHypothesisWithPose(hypothesis=ObjectHypothesis(class_id=label, score=score))],
        bbox=BoundingBox2D(center=Pose2D(position=centre), size_x=right - left, size_y=bottom - top),
    )
