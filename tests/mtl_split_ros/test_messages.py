"""Results survive the way through their messages."""

from collections import Counter
from itertools import compress
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mtl_split.msg import Bottleneck
from rclpy.serialization import deserialize_message, serialize_message
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
from vision_msgs.msg import Classification as ClassificationMessage

from mtl_split_core.contract import Task
from mtl_split_core.scene import Classification, Detections, Truth
from mtl_split_ros.messages import (
    label_info,
    result_topic,
    stamp_of,
    to_classification,
    to_detections,
    to_message,
    to_truth,
    truth_messages,
)

from ..processes import header

LABELS = ("car", "traffic light", "dawn/dusk")


@st.composite
def detections(draw: st.DrawFn) -> Detections:
    labels = draw(st.lists(st.sampled_from(LABELS), max_size=5).map(tuple))
    pixels = st.integers(0, 8192).map(lambda eighths: eighths / 8)
    corners = np.sort(draw(arrays(np.float32, (len(labels), 2, 2), elements=pixels)), axis=1)
    scores = draw(arrays(np.float32, len(labels), elements=st.floats(0, 1, width=32)))
    return Detections(corners.reshape(-1, 4), labels, scores)


@given(found=detections())
def test_detections(found: Detections) -> None:
    message = deserialize_message(serialize_message(to_message(found, header(1))), Detection2DArray)
    assert message.header == header(1)
    read = to_detections(message)
    assert read.labels == found.labels
    np.testing.assert_array_equal(read.boxes, found.boxes)
    np.testing.assert_array_equal(read.scores, found.scores)


@given(there=detections(), data=st.data())
def test_what_is_really_there(there: Detections, data: st.DataObject) -> None:
    count = len(there.labels)
    ignore = data.draw(arrays(np.bool_, count))
    classes = {"weather": "clear", "timeofday": "dawn/dusk"}
    messages = truth_messages(Truth(there.boxes, there.labels, np.ones(count, np.float32), ignore, classes), header(3))
    objects = messages.pop("ground_truth/detections")
    skipped: Counter[str] = Counter()
    read = to_truth("detection", deserialize_message(serialize_message(objects), Detection2DArray), skipped)
    sound = np.all(there.boxes[:, :2] < there.boxes[:, 2:], axis=1)
    assert read and objects.header == header(3) and read.labels == tuple(compress(there.labels, sound.tolist()))
    np.testing.assert_array_equal(read.boxes, there.boxes[sound])
    np.testing.assert_array_equal(read.ignore, ignore[sound])
    assert skipped == {"objects whose box is none": (~sound).sum()}
    prefix = "ground_truth/classification/"
    assert {topic: to_classification(message).best for topic, message in messages.items()} == {
        prefix + task: label for task, label in classes.items()
    }


@given(numbers=st.lists(st.tuples(*[st.floats(-1e30, 1e30) | st.sampled_from([np.nan, np.inf])] * 4), max_size=5))
def test_of_objects_that_cannot_be_only_the_boxes_are_read(numbers: list[tuple[float, ...]]) -> None:
    message = Detection2DArray(detections=[
        Detection2D(
            results=[ObjectHypothesisWithPose(hypothesis=ObjectHypothesis(class_id="car"))],
            bbox=BoundingBox2D(center=Pose2D(position=Point2D(x=x, y=y)), size_x=width, size_y=height),
        )
        for x, y, width, height in numbers
    ])  # fmt: skip
    skipped: Counter[str] = Counter()
    read = to_truth("detection", message, skipped)
    assert read and len(read.labels) == len(read.boxes) == len(numbers) - skipped["objects whose box is none"]
    assert np.isfinite(read.boxes).all() and (read.boxes[:, :2] < read.boxes[:, 2:]).all()


@pytest.mark.parametrize("message", [ClassificationMessage(), Detection2DArray(detections=[Detection2D()])])
def test_without_a_class_nothing_is_known(message: Any) -> None:
    skipped: Counter[str] = Counter()
    assert to_truth("task", message, skipped) is None and skipped == {"truths without a class": 1}


def test_a_classification_comes_best_first() -> None:
    message = to_message(Classification(LABELS, np.array([0.25, 0.125, 0.625], np.float32)), header(2))
    read = to_classification(deserialize_message(serialize_message(message), ClassificationMessage))
    assert message.header == header(2)
    assert read.labels == ("dawn/dusk", "car", "traffic light") and read.best == "dawn/dusk"
    assert read.scores.tolist() == [0.625, 0.25, 0.125]


def test_labels_are_numbered_in_order() -> None:
    info = label_info(Task("weather", "classification", LABELS), Header(), 0.25)
    assert [(entry.class_id, entry.class_name) for entry in info.class_map] == list(enumerate(LABELS))
    assert info.threshold == 0.25


def test_every_task_has_a_topic_of_its_own() -> None:
    tasks = [Task("detection", "detection", LABELS), Task("lights", "detection", LABELS)]
    tasks.append(Task("weather", "classification", LABELS))
    assert list(map(result_topic, tasks)) == ["detections", "detections/lights", "classification/weather"]


@given(st.integers(-(2**31), 2**31 - 1), st.integers(0, 10**9 - 1), st.text("a/_", max_size=20))
@pytest.mark.parametrize("kind", [Bottleneck, ClassificationMessage, Detection2DArray])
def test_the_stamp_of_a_serialised_message(kind: type, seconds: int, nanoseconds: int, frame: str) -> None:
    message = kind(header=Header(stamp=Time(sec=seconds, nanosec=nanoseconds), frame_id=frame))
    assert stamp_of(serialize_message(message)) == seconds * 10**9 + nanoseconds


def test_the_stamp_of_a_machine_that_writes_the_high_byte_first() -> None:
    message = bytes([0, 0, 0, 0]) + (7).to_bytes(4, "big") + (9).to_bytes(4, "big")
    assert stamp_of(message) == 7 * 10**9 + 9
    assert stamp_of(message[:11]) == 0
