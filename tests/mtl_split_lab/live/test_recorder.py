"""Whatever is heard is taken or counted: no message ends a recording."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header, UInt64
from vision_msgs.msg import Classification, Detection2D, Detection2DArray, ObjectHypothesis, ObjectHypothesisWithPose

from mtl_split_core.bundle import Bundle
from mtl_split_lab.live.demo import StalledError, _last_frame
from mtl_split_lab.live.recorder import Recorder
from mtl_split_lab.live.recording import UNSTAMPED, PictureStore

from ...bags import PERIOD, START, header

INFO: Any = {"received_timestamp": START + PERIOD}


@pytest.fixture
def recorder(domain: int, tmp_path: Path, bundle: Bundle) -> Iterator[Recorder]:
    rclpy.init(domain_id=domain)
    recorder = Recorder(bundle, "", PictureStore(tmp_path))
    yield recorder
    recorder.destroy_node()
    rclpy.shutdown()


def answer(recorder: Recorder, stamp: Header) -> None:
    objects, colour = recorder.recording.tasks
    recorder._hear_result(objects, Detection2DArray(header=stamp), INFO)
    label = ObjectHypothesis(class_id="red", score=1.0)
    recorder._hear_result(colour, Classification(header=stamp, results=[label]), INFO)


def test_a_stamp_that_comes_twice_is_counted(recorder: Recorder) -> None:
    for stamp in (header(0), header(0), Header(), header(1)):
        recorder._hear_camera_info(CameraInfo(header=stamp))
        answer(recorder, stamp)
    recording = recorder.recording
    assert recording.sent == 2 and list(recording.counted()) == [START, START + PERIOD]
    assert recording.skipped == {UNSTAMPED: 2} and not recorder.ended.done()
    assert len(recorder.recent) == 3
    recorder._hear_end(UInt64(data=4))
    assert _last_frame(recorder, 0, False) == START + PERIOD


def test_a_stream_without_any_stamp_has_ended_without_a_frame(recorder: Recorder) -> None:
    for _ in range(5):
        recorder._hear_camera_info(CameraInfo())
    assert _last_frame(recorder, 300, False) is None
    recorder._hear_end(UInt64(data=5))
    with pytest.raises(StalledError, match=f"without a frame that counts:(.|\n)*5 {UNSTAMPED}"):
        _last_frame(recorder, 0, False)


@pytest.mark.parametrize("score", [None, math.nan, math.inf])
def test_results_that_are_none_are_counted(recorder: Recorder, score: float | None) -> None:
    hypotheses = [] if score is None else [ObjectHypothesis(class_id="red", score=score)]
    detection = Detection2D(results=[ObjectHypothesisWithPose(hypothesis=one) for one in hypotheses])
    objects, colour = recorder.recording.tasks
    recorder._hear_camera_info(CameraInfo(header=header(0)))
    recorder._hear_result(objects, Detection2DArray(header=header(0), detections=[detection]), INFO)
    recorder._hear_result(colour, Classification(header=header(0), results=hypotheses), INFO)
    assert recorder.recording.skipped == {"results that are none": 2} and not recorder.recording.counted()
    answer(recorder, header(0))
    assert list(recorder.recording.counted()) == [START]


def test_diagnostics_that_are_no_numbers_are_counted(recorder: Recorder) -> None:
    values = {
        "stage_ms/link": "nan",
        "stage_ms/prefix": "1.5",
        "stage_ms/suffix": "fast",
        "dropped": "1e9",
        "lost": "2",
    }
    status = DiagnosticStatus(
        name="/car/edge: /image_raw", values=[KeyValue(key=key, value=value) for key, value in values.items()]
    )
    recorder._hear_diagnostics(DiagnosticArray(status=[status]))
    assert recorder.recording.stages == {"prefix": [1.5]} and recorder.recording.fates == {"edge/lost": 2}
    assert recorder.recording.skipped == {"diagnostics that are no numbers": 3}
