"""Segmentations and true masks survive the way through their message; hostile ones are refused."""

from collections import Counter

import cv2
import numpy as np
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image

from mtl_split_core.errors import InputError
from mtl_split_core.label_map import MOST_PLACES, UNKNOWN, Segmentation, pack
from mtl_split_core.scene import Task, Truth
from mtl_split_ros.images import to_picture
from mtl_split_ros.kinds.segmentation import (
    MOST_BYTES,
    further_forms,
    to_message,
    to_result,
    to_truth,
    topic,
    truth_messages,
    truth_topic,
)

from ...processes import header

TASK = Task("ground", "segmentation", ("background", "road", "grass"))
NUMBERS = np.array([[0, 1, 2, 2], [0, 0, 1, 2]], np.uint8)
FOUND = Segmentation(TASK.labels, pack(NUMBERS))


def compressed(data: bytes) -> CompressedImage:
    return CompressedImage(data=data, format="png")


def test_a_result_is_a_picture_that_standard_tools_can_decode() -> None:
    message = deserialize_message(serialize_message(to_message(FOUND, header(1))), CompressedImage)
    assert message.header == header(1) and topic(TASK) == "segmentation/ground/compressed"
    assert to_result(message, TASK) == FOUND
    assert np.array_equal(to_picture(message)[..., 0], NUMBERS)
    assert message.format.split(";")[0] == "mono8" and "png compressed" in message.format


def test_it_is_written_with_a_pixel_for_every_place() -> None:
    found = Segmentation(TASK.labels, pack(NUMBERS), (8, 4))
    assert to_result(to_message(found, header(1)), TASK).indices().tolist() == found.indices().tolist()
    assert to_picture(to_message(found, header(1))).shape == (4, 8, 3)


def test_the_same_as_an_image_that_is_not_compressed() -> None:
    [(name, form)] = further_forms(TASK).items()
    message = deserialize_message(serialize_message(form.write(FOUND, header(2))), Image)
    assert name == "segmentation/ground" and form.message is Image
    assert message.header == header(2) and (message.encoding, message.step) == ("mono8", 4)
    assert np.array_equal(to_picture(message)[..., 0], NUMBERS)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "no picture"),
        (FOUND.png[:-9], "truncated"),
        (cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes(), "8-bit grey"),
        (cv2.imencode(".png", np.zeros((MOST_PLACES // 1000 + 1, 1000), np.uint8))[1].tobytes(), "pixels in all"),
        (pack(np.full((2, 2), 3, np.uint8)), "has the number 3, expected 0 to 2"),
        (bytes(MOST_BYTES + 1), f"at most {MOST_BYTES}"),
    ],
)
def test_a_message_that_is_no_result_is_refused(data: bytes, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        to_result(compressed(data), TASK)


def test_each_mask_has_a_topic_of_its_own_and_what_is_unknown_stays_so() -> None:
    numbers = np.array([[0, 1, 2, UNKNOWN]], np.uint8)
    doubled = Segmentation(("background", "road", "road"), pack(numbers))
    messages = truth_messages(Truth(masks={"ground": FOUND, "road": doubled}), header(3))
    assert messages.keys() == {truth_topic(TASK), "ground_truth/segmentation/road/compressed"}
    skipped: Counter[str] = Counter()
    read = to_truth(TASK, messages[truth_topic(TASK)], skipped)
    assert read and read.masks == {"ground": FOUND} and read.labelled == frozenset() and not skipped
    road = Task("road", "segmentation", ("background", "road"))
    read = to_truth(road, messages[truth_topic(road)], skipped)
    assert read and read.masks["road"].indices().tolist() == [[0, 1, 1, UNKNOWN]]
    assert to_truth(road, compressed(b"none"), skipped) is None and skipped == {"truths that are damaged": 1}
