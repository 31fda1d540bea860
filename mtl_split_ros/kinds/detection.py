"""Detections as vision_msgs/Detection2DArray."""

from collections import Counter

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
from mtl_split_ros.kinds.form import Form

MESSAGE = Detection2DArray

TRUTH_TOPIC = "ground_truth/detections"
"""The objects of all tasks."""

IGNORE = "ignore"
"""The class of a second hypothesis of a true object that is to be ignored in scoring. In recordings from before objects
had identities it is the `id` of such an object."""

LARGEST_COORDINATE = 1e6
"""Boxes with a coordinate beyond this many pixels are invalid."""


def topic(task: Task) -> str:
    """The usual task has the usual name."""
    return "detections" if task.name == "detection" else f"detections/{task.name}"


def truth_topic(task: Task) -> str:
    """Return the topic of all objects, whatever the task."""
    return TRUTH_TOPIC


def to_message(result: Detections, header: Header) -> Detection2DArray:
    """Write each detection with the header, one hypothesis and its identity."""
    ids = result.ids or ("",) * len(result.labels)
    rows = zip(result.boxes.tolist(), result.labels, result.scores.tolist(), ids, strict=True)
    return Detection2DArray(header=header, detections=[_detection(header, *row) for row in rows])


def further_forms(task: Task) -> dict[str, Form]:
    """None."""
    return {}


def to_result(message: Detection2DArray, task: Task | None = None) -> Detections:
    """Read detections, each with its first hypothesis; they are the same for every task.

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
    ids = tuple(detection.id for detection in message.detections)
    return Detections(boxes, tuple(hypothesis.class_id for hypothesis in hypotheses), scores, ids if any(ids) else ())


def truth_messages(truth: Truth, header: Header) -> dict[str, Detection2DArray]:
    """Write the objects of all tasks."""
    ones = np.ones(len(truth.labels), np.float32)
    objects = to_message(Detections(truth.boxes, truth.labels, ones, truth.ids), header)
    for at in np.flatnonzero(truth.ignore):
        objects.detections[at].results.append(_hypothesis(IGNORE, 1.0))
    return {TRUTH_TOPIC: objects}


def to_truth(task: Task, message: Detection2DArray, skipped: Counter[str]) -> Truth | None:
    """Read the objects, each as if wholly visible; invalid boxes are left out. None if one of them has no class."""
    if not all(detection.results for detection in message.detections):
        skipped["truths without a class"] += 1
        return None
    objects = _read(message)
    boxes, ignore = objects.boxes, np.array([_is_ignored(one) for one in message.detections], np.bool_)
    in_order = boxes[:, :2] < boxes[:, 2:]
    valid = np.all(np.concatenate([np.abs(boxes) < LARGEST_COORDINATE, in_order], axis=1), axis=1)
    skipped["objects whose box is invalid"] += int((~valid).sum())
    kept = objects.take(np.flatnonzero(valid))
    ids = tuple("" if one == IGNORE else one for one in kept.ids)
    return Truth(kept.boxes, kept.labels, np.ones(len(kept.labels), np.float32), ignore[valid], ids=ids)


def _is_ignored(detection: Detection2D) -> bool:
    return detection.id == IGNORE or any(one.hypothesis.class_id == IGNORE for one in detection.results[1:])


def _hypothesis(label: str, score: float) -> ObjectHypothesisWithPose:
    return ObjectHypothesisWithPose(hypothesis=ObjectHypothesis(class_id=label, score=score))


def _detection(header: Header, box: list[float], label: str, score: float, identity: str) -> Detection2D:
    left, top, right, bottom = box
    centre = Point2D(x=(left + right) / 2, y=(top + bottom) / 2)
    return Detection2D(
        header=header,
        results=[_hypothesis(label, score)],
        bbox=BoundingBox2D(center=Pose2D(position=centre), size_x=right - left, size_y=bottom - top),
        id=identity,
    )
