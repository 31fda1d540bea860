"""Detections and true objects survive the way through their message; unusable ones are counted."""

from collections import Counter
from itertools import compress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rclpy.serialization import deserialize_message, serialize_message
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
from mtl_split_ros.kinds.detection import TRUTH_TOPIC, to_message, to_result, to_truth, truth_messages

from ...processes import header

LABELS = ("car", "traffic light", "dawn/dusk")
TASK = Task("detection", "detection", LABELS)


@st.composite
def detections(draw: st.DrawFn) -> Detections:
    labels = draw(st.lists(st.sampled_from(LABELS), max_size=5).map(tuple))
    pixels = st.integers(0, 8192).map(lambda eighths: eighths / 8)
    corners = np.sort(draw(arrays(np.float32, (len(labels), 2, 2), elements=pixels)), axis=1)
    scores = draw(arrays(np.float32, len(labels), elements=st.floats(0, 1, width=32)))
    known = draw(st.lists(st.sampled_from(["", "1700-1", "1700-2"]), min_size=len(labels), max_size=len(labels)))
    ids = tuple(known) if any(known) else ()
    return Detections(corners.reshape(-1, 4), labels, scores, ids)


@given(found=detections())
def test_a_result(found: Detections) -> None:
    message = deserialize_message(serialize_message(to_message(found, header(1))), Detection2DArray)
    assert message.header == header(1)
    read = to_result(message)
    assert read.labels == found.labels and read.ids == found.ids
    np.testing.assert_array_equal(read.boxes, found.boxes)
    np.testing.assert_array_equal(read.scores, found.scores)


@given(there=detections(), data=st.data())
def test_the_truth(there: Detections, data: st.DataObject) -> None:
    count = len(there.labels)
    ignore = data.draw(arrays(np.bool_, count))
    known = Truth(there.boxes, there.labels, np.ones(count, np.float32), ignore, ids=there.ids)
    objects = truth_messages(known, header(3))[TRUTH_TOPIC]
    skipped: Counter[str] = Counter()
    read = to_truth(TASK, deserialize_message(serialize_message(objects), Detection2DArray), skipped)
    valid = np.all(there.boxes[:, :2] < there.boxes[:, 2:], axis=1)
    assert read and objects.header == header(3) and read.labels == tuple(compress(there.labels, valid.tolist()))
    np.testing.assert_array_equal(read.boxes, there.boxes[valid])
    np.testing.assert_array_equal(read.ignore, ignore[valid])
    assert any(read.ids) == any(compress(there.ids, valid.tolist()))
    assert read.ids in ((), tuple(compress(there.ids, valid.tolist())))
    assert read.labelled is None and skipped == {"objects whose box is invalid": (~valid).sum()}


def test_objects_to_be_ignored_in_earlier_recordings() -> None:
    """They were marked where there is an identity now."""
    there = Detections(np.array([[0, 0, 9, 9]] * 2, np.float32), ("car", "bus"), np.ones(2, np.float32), ("ignore", ""))
    read = to_truth(TASK, to_message(there, header(1)), Counter())
    assert read and read.ignore.tolist() == [True, False] and not any(read.ids)


@given(numbers=st.lists(st.tuples(*[st.floats(-1e30, 1e30) | st.sampled_from([np.nan, np.inf])] * 4), max_size=5))
def test_invalid_boxes_are_left_out(numbers: list[tuple[float, ...]]) -> None:
    message = Detection2DArray(detections=[
        Detection2D(
            results=[ObjectHypothesisWithPose(hypothesis=ObjectHypothesis(class_id="car"))],
            bbox=BoundingBox2D(center=Pose2D(position=Point2D(x=x, y=y)), size_x=width, size_y=height),
        )
        for x, y, width, height in numbers
    ])  # fmt: skip
    skipped: Counter[str] = Counter()
    read = to_truth(TASK, message, skipped)
    assert read and len(read.labels) == len(read.boxes) == len(numbers) - skipped["objects whose box is invalid"]
    assert np.isfinite(read.boxes).all() and (read.boxes[:, :2] < read.boxes[:, 2:]).all()


def test_without_a_class_nothing_is_known() -> None:
    skipped: Counter[str] = Counter()
    assert to_truth(TASK, Detection2DArray(detections=[Detection2D()]), skipped) is None and skipped == {
        "truths without a class": 1
    }


@pytest.mark.parametrize(
    ("size", "score", "hypotheses", "words"),
    [
        (4.0, 0.5, 0, "a detection has no hypothesis"),
        (np.nan, 0.5, 1, r"the box \[ *nan"),
        (1e30, 0.5, 1, "the box"),
        (4.0, np.inf, 1, "the score inf"),
    ],
)
def test_a_message_that_is_no_result_is_refused(size: float, score: float, hypotheses: int, words: str) -> None:
    hypothesis = ObjectHypothesisWithPose(hypothesis=ObjectHypothesis(class_id="car", score=score))
    box = BoundingBox2D(size_x=size, size_y=4.0)
    message = Detection2DArray(detections=[Detection2D(results=[hypothesis] * hypotheses, bbox=box)])
    with pytest.raises(InputError, match=words):
        to_result(message)
