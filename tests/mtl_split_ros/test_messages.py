"""Topics and labels of tasks, the truth of all kinds, and stamps of serialised messages."""

import re
from array import array
from pathlib import Path

import pytest
from builtin_interfaces.msg import Time
from hypothesis import given
from hypothesis import strategies as st
from mtl_split.msg import AnswerInfo, Bottleneck
from rclpy.serialization import serialize_message
from std_msgs.msg import Header
from vision_msgs.msg import Classification as ClassificationMessage
from vision_msgs.msg import Detection2DArray

from mtl_split_core.scene import Task, Truth
from mtl_split_ros.messages import (
    MOST_CHARACTERS,
    MOST_FRAME_ID_BYTES,
    NOT_SENT,
    SOURCES,
    HeaderError,
    Origin,
    check_header,
    label_info,
    result_topic,
    stamp_of,
    to_origin,
    truth_messages,
)

LABELS = ("car", "traffic light", "dawn/dusk")


def test_labels_are_numbered_in_order() -> None:
    info = label_info(Task("detection", "detection", LABELS), Header(), 0.25)
    assert [(entry.class_id, entry.class_name) for entry in info.class_map] == list(enumerate(LABELS))
    assert info.threshold == 0.25


def test_labels_have_a_threshold_where_one_applies() -> None:
    assert label_info(Task("weather", "classification", LABELS), Header(), 0.25).threshold == 0


def test_every_task_has_a_topic_of_its_own() -> None:
    tasks = [Task("detection", "detection", LABELS), Task("lights", "detection", LABELS)]
    tasks.append(Task("weather", "classification", LABELS))
    assert list(map(result_topic, tasks)) == ["detections", "detections/lights", "classification/weather"]


def test_the_truth_of_all_kinds_is_written() -> None:
    messages = truth_messages(Truth(classes={"weather": "clear"}), Header())
    assert list(messages) == ["ground_truth/detections", "ground_truth/classification/weather"]


@given(st.integers(-(2**31), 2**31 - 1), st.integers(0, 10**9 - 1), st.text("a/_", max_size=20))
@pytest.mark.parametrize("kind", [Bottleneck, ClassificationMessage, Detection2DArray])
def test_the_stamp_of_a_serialised_message(kind: type, seconds: int, nanoseconds: int, frame: str) -> None:
    message = kind(header=Header(stamp=Time(sec=seconds, nanosec=nanoseconds), frame_id=frame))
    assert stamp_of(serialize_message(message)) == seconds * 10**9 + nanoseconds


def test_the_stamp_of_a_machine_that_writes_the_high_byte_first() -> None:
    message = bytes([0, 0, 0, 0]) + (7).to_bytes(4, "big") + (9).to_bytes(4, "big")
    assert stamp_of(message) == 7 * 10**9 + 9
    assert stamp_of(message[:11]) == 0


def test_where_an_answer_comes_from_is_called_as_in_the_message() -> None:
    assert SOURCES == {AnswerInfo.SERVER: "server", AnswerInfo.EXIT: "exit", AnswerInfo.WHOLE: "whole"}
    known = AnswerInfo(source=AnswerInfo.WHOLE, operating_point="fine", age=0.5, late=True)
    assert to_origin(known) == Origin("whole", "fine", 0.5, True)
    strange = to_origin(AnswerInfo(source=200, operating_point="p" * 1000))
    assert strange == Origin("source 200", "p" * MOST_CHARACTERS, 0.0, False)
    assert to_origin(AnswerInfo()).operating_point == NOT_SENT


@pytest.mark.parametrize("frame_id", ["", "camera", "a" * MOST_FRAME_ID_BYTES, "ä" * (MOST_FRAME_ID_BYTES // 2)])
def test_a_frame_of_reference_has_any_name_of_some_length(frame_id: str) -> None:
    check_header(Header(frame_id=frame_id))


@pytest.mark.parametrize("frame_id", ["a" * (MOST_FRAME_ID_BYTES + 1), "ä" * MOST_FRAME_ID_BYTES, "a" * 4_000_000])
def test_a_frame_of_reference_that_is_too_long_to_repeat_is_refused(frame_id: str) -> None:
    with pytest.raises(HeaderError, match=f"frame_id has {len(frame_id.encode())} bytes") as error:
        check_header(Header(frame_id=frame_id))
    assert len(str(error.value)) < 200


def test_a_bottleneck_has_as_many_bytes_beside_its_payload_as_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "wire-format.md").read_text()
    [told] = re.findall(r"a message has (\d+) bytes beside its payload", page)
    header, payload = Header(frame_id="camera"), array("B", bytes(1200))
    message = Bottleneck(header=header, contract="0123456789abcdef", payload=payload)
    assert len(serialize_message(message)) - len(payload) == int(told)
