"""Results and what is really there as messages of vision_msgs, and back."""

import itertools
import struct
from collections import Counter
from typing import Any

import numpy as np
from std_msgs.msg import Header
from vision_msgs.msg import (
    BoundingBox2D,
    Detection2D,
    Detection2DArray,
    LabelInfo,
    ObjectHypothesis,
    ObjectHypothesisWithPose,
    Point2D,
    Pose2D,
    VisionClass,
)
from vision_msgs.msg import Classification as ClassificationMessage

from mtl_split_core.contract import Task
from mtl_split_core.scene import Classification, Detections, Truth

MESSAGE_TYPES = {"detection": Detection2DArray, "classification": ClassificationMessage}
"""The type of a task's messages by its kind."""

IGNORE = "ignore"
"""The `id` of an object in ground_truth/detections that is to be ignored in scoring."""

LARGEST_COORDINATE = 1e6
"""Pixels beyond which nothing is a box."""


def result_topic(task: Task) -> str:
    """The relative name of the topic with a task's results."""
    if task.kind == "classification":
        return f"classification/{task.name}"
    return "detections" if task.name == "detection" else f"detections/{task.name}"


def to_message(result: Detections | Classification, header: Header) -> Detection2DArray | ClassificationMessage:
    """Write a result with its image's header; of a classification all labels, best first."""
    if isinstance(result, Classification):
        order = np.argsort(-result.scores, kind="stable")
        hypotheses = [ObjectHypothesis(class_id=result.labels[i], score=float(result.scores[i])) for i in order]
        return ClassificationMessage(header=header, results=hypotheses)
    rows = zip(result.boxes.tolist(), result.labels, result.scores.tolist(), strict=True)
    return Detection2DArray(header=header, detections=[_detection(header, *row) for row in rows])


def to_detections(message: Detection2DArray) -> Detections:
    """Read detections, each with its first hypothesis."""
    boxes = np.zeros((len(message.detections), 4), np.float32)
    for row, detection in zip(boxes, message.detections, strict=True):
        centre, box = detection.bbox.center.position, detection.bbox
        half_width, half_height = box.size_x / 2, box.size_y / 2
        row[:] = centre.x - half_width, centre.y - half_height, centre.x + half_width, centre.y + half_height
    hypotheses = [detection.results[0].hypothesis for detection in message.detections]
    scores = np.array([hypothesis.score for hypothesis in hypotheses], np.float32)
    return Detections(boxes, tuple(hypothesis.class_id for hypothesis in hypotheses), scores)


def to_classification(message: ClassificationMessage) -> Classification:
    """Read a classification; its labels are in the order of the message, best first."""
    scores = np.array([hypothesis.score for hypothesis in message.results], np.float32)
    return Classification(tuple(hypothesis.class_id for hypothesis in message.results), scores)


def truth_messages(truth: Truth, header: Header) -> dict[str, Any]:
    """Write what is really in a picture in the words of the results, with scores of 1; by topic."""
    objects = to_message(Detections(truth.boxes, truth.labels, np.ones(len(truth.labels), np.float32)), header)
    for detection, ignore in zip(objects.detections, truth.ignore, strict=True):
        detection.id = IGNORE if ignore else ""
    messages = {"ground_truth/detections": objects}
    for task, label in truth.classes.items():
        answer = Classification((label,), np.ones(1, np.float32))
        messages[f"ground_truth/classification/{task}"] = to_message(answer, header)
    return messages


def to_truth(task: str, message: Detection2DArray | ClassificationMessage, skipped: Counter[str]) -> Truth | None:
    """Read what one task is to answer; objects as if each were wholly visible.

    None if a class is missing, for what is there is then not known. That is counted in `skipped`, as are the objects
    left out because their box is none.
    """
    is_class = isinstance(message, ClassificationMessage)
    if not all(one.results for one in ([message] if is_class else message.detections)):
        skipped["truths without a class"] += 1
        return None
    if is_class:
        return Truth(classes={task: to_classification(message).best})
    objects = to_detections(message)
    boxes, ignore = objects.boxes, np.array([one.id == IGNORE for one in message.detections], np.bool_)
    in_order = boxes[:, :2] < boxes[:, 2:]
    sound = np.all(np.concatenate([np.abs(boxes) < LARGEST_COORDINATE, in_order], axis=1), axis=1)
    skipped["objects whose box is none"] += int((~sound).sum())
    labels = tuple(itertools.compress(objects.labels, sound.tolist()))
    return Truth(boxes[sound], labels, np.ones(len(labels), np.float32), ignore[sound])


def stamp_of(message: bytes) -> int:
    """Read the stamp, in nanoseconds, of a serialised message that begins with a header; 0 where it is truncated."""
    if len(message) < 12:
        return 0
    seconds, nanoseconds = struct.unpack_from("<iI" if message[1] & 1 else ">iI", message, 4)
    return int(seconds * 10**9 + nanoseconds)


def label_info(task: Task, header: Header, threshold: float) -> LabelInfo:
    """The labels of a task, numbered; `threshold` is the lowest score that is published."""
    classes = [VisionClass(class_id=number, class_name=label) for number, label in enumerate(task.labels)]
    return LabelInfo(header=header, class_map=classes, threshold=threshold)


def _detection(header: Header, box: list[float], label: str, score: float) -> Detection2D:
    left, top, right, bottom = box
    centre = Point2D(x=(left + right) / 2, y=(top + bottom) / 2)
    return Detection2D(
        header=header,
        results=[ObjectHypothesisWithPose(hypothesis=ObjectHypothesis(class_id=label, score=score))],
        bbox=BoundingBox2D(center=Pose2D(position=centre), size_x=right - left, size_y=bottom - top),
    )
