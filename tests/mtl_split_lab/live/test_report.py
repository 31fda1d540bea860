"""The report of a recording whose figures are known."""

import json
from dataclasses import replace
from pathlib import Path
from unittest.mock import ANY

import av
import cv2
import numpy as np
import pytest
from mtl_split.msg import AnswerInfo

from mtl_split_core.scene import Classification, Detections, Floats, Task, Truth
from mtl_split_lab.live.recording import Frame, PictureStore, Recording
from mtl_split_lab.live.report import (
    SPANS,
    STAGES,
    figures,
    limits,
    summarise,
    tables,
    write_answers,
    write_frames,
    write_pictures,
)
from mtl_split_ros.messages import NOT_SENT, to_origin

TASKS = (Task("detection", "detection", ("car", "bus")), Task("weather", "classification", ("clear", "rainy")))
BOX: Floats = np.array([[10, 10, 60, 40]], np.float32)
PERIOD = 100_000_000


def frame(latency: float, weather: str = "clear", answered: bool = True) -> Frame:
    """A frame with one car in it, found, on a rainy day."""
    truth = Truth(BOX, ("car",), np.ones(1, np.float32), np.zeros(1, np.bool_))
    if not answered:
        return Frame(sent=True, truths={"objects": truth})
    scores = np.array([0.9, 0.1] if weather == "clear" else [0.2, 0.8], np.float32)
    return Frame(
        sent=True,
        payload_bytes=round(latency * 100),
        results={
            "detection": Detections(BOX, ("car",), np.array([0.8], np.float32)),
            "weather": Classification(("clear", "rainy"), scores),
        },
        arrivals={"detection": latency - 1, "weather": latency},
        truths={"objects": truth, "weather": Truth(classes={"weather": "rainy"}, labelled=frozenset())},
    )


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    """Ten frames: two before discovery, the fifth unanswered; and an eleventh after the last that counts."""
    recording = Recording(TASKS, PictureStore(tmp_path))
    for number in range(11):
        unanswered = number in (0, 1, 4)
        weather = "rainy" if number % 2 else "clear"
        recording.frames[number * PERIOD] = frame(10.0 * number, weather, not unanswered)
        recording.pictures.put(number * PERIOD, np.full((90, 160, 3), 10 * number, np.uint8))
    recording.last = 9 * PERIOD
    recording.stages.update({"prefix": [3.0, 5.0, 4.0], "image_transport": [1.0], "novelty": [2.0]})
    recording.fates.update({"server/dropped": 1, "edge/dropped": 0})
    recording.pictures.finish()
    return recording


def test_only_frames_that_every_task_answered_are_answered_by_every_task(recording: Recording) -> None:
    del recording.frames[5 * PERIOD].results["weather"], recording.frames[6 * PERIOD].results["detection"]
    summary = summarise(recording)
    assert summary["results_ratio"] == 6 / 8 and summary["complete"] == 5
    assert "8 frames at 10.0 frames/s, 62.5% of them answered by every task" in figures(summary)


def test_in_simulated_time_an_image_is_waited_for_by_nobody(recording: Recording) -> None:
    summary = summarise(replace(recording, simulated_time=True))
    assert list(summary["stages_ms"]) == ["prefix", "novelty", "other"]
    assert "latency from the image's arrival: p50 60" in figures(summary)


def test_figures_are_those_of_the_frames_that_count(recording: Recording) -> None:
    summary = summarise(recording)
    assert summary["frames_sent"] == 8
    assert summary["frames_sent_before_discovery"] == 2
    assert summary["results"] == {"detection": 7, "weather": 7}
    assert summary["results_ratio"] == 7 / 8 and summary["complete"] == 7
    assert summary["latency_ms"]["p50"] == 60
    assert summary["late"] == 0 and summary["fates"] == {"server/dropped": 1}
    assert summary["bytes_per_frame"] == {"median": 6000, "p95": 8700, "max": 9000}
    assert summary["rate"] == 10
    assert summary["accuracy"]["map50"] == pytest.approx(1)
    assert summary["accuracy"]["ap50"] == pytest.approx({"car": 1})
    assert summary["accuracy"]["classification"] == {"weather": 4 / 7}
    assert summary["pictures_lost"] == 0


def test_stages_come_in_the_order_of_a_frames_way_and_explain_the_latency(recording: Recording) -> None:
    recording.stages["server"] = [12.0]  # which is in the others already
    stages = summarise(recording)["stages_ms"]
    expected = {"image_transport": 1, "prefix": 4, "novelty": 2, "other": 53, "server": 12}
    assert list(stages.items()) == list(expected.items())


def test_where_the_answers_of_an_edge_with_a_deadline_come_from_is_told(recording: Recording, tmp_path: Path) -> None:
    assert summarise(recording)["answers"] is None and not write_answers(recording, tmp_path / "none.png")
    for number in range(10):  # of which the first two do not count
        info = AnswerInfo(source=AnswerInfo.SERVER, operating_point="fine", age=0.03)
        if number in (2, 3):
            info = AnswerInfo(source=AnswerInfo.WHOLE, age=0.12, late=number == 2)
        recording.frames[number * PERIOD].origin = to_origin(info)
    summary = summarise(recording)
    assert summary["answers"] == {
        "answered_by": {"server": 0.75, "whole": 0.25},
        "sent_at": {"fine": 0.75, NOT_SENT: 0.25},
        "late": 0.125,
    }
    line = "final answers: 75.0% server, 25.0% whole; 12.5% after the deadline; sent at: 75.0% fine, 25.0% nothing"
    assert line in figures(summary)
    write_frames(recording, tmp_path / "frames.jsonl")
    first = json.loads((tmp_path / "frames.jsonl").read_text().splitlines()[0])
    assert first["origin"] == {"source": "whole", "operating_point": NOT_SENT, "age": ANY, "late": True}
    assert write_answers(recording, tmp_path / "answers.png")
    picture = cv2.imread(str(tmp_path / "answers.png"))
    assert picture is not None and picture.shape[1] > 1000


def test_jpeg_bytes_are_those_of_the_same_frames(recording: Recording) -> None:
    sizes = [
        len(cv2.imencode(".jpg", np.full((90, 160, 3), 10 * number, np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 90])[1])
        for number in range(2, 10)
    ]
    assert summarise(recording)["jpeg_bytes_per_frame"]["median"] == np.median(sizes)


def test_without_truth_there_is_no_accuracy(recording: Recording) -> None:
    for recorded in recording.frames.values():
        recorded.truths = {}
    assert summarise(recording)["accuracy"] is None
    assert "clear" in tables(recording)


def test_without_any_answer_nothing_counts(tmp_path: Path) -> None:
    recording = Recording(TASKS, PictureStore(tmp_path))
    recording.frames[0] = frame(1.0, answered=False)
    assert recording.counted() == {}
    assert summarise(recording)["results_ratio"] == 0


def test_every_frame_that_counts_is_a_line(recording: Recording, tmp_path: Path) -> None:
    write_frames(recording, tmp_path / "frames.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "frames.jsonl").read_text().splitlines()]
    assert [int(line["frame"]) // PERIOD for line in lines] == list(range(2, 10))
    assert lines[2]["results"] == {} and lines[3]["bytes"] == 5000
    assert lines[3]["results"]["detection"]["boxes"] == BOX.tolist()
    assert lines[3]["arrivals_ms"] == {"detection": 49, "weather": 50}


def test_tables_name_every_label_and_task(recording: Recording) -> None:
    text = tables(recording)
    rows = {tuple(line.split()) for line in text.splitlines()}
    assert {("car", "7", "1.000"), ("bus", "0", "-"), ("rainy", "0.571", "0.571"), ("clear", "0.429", "-")} <= rows
    assert "87.5%" in figures(summarise(recording))


def test_every_stage_that_is_printed_is_explained(recording: Recording) -> None:
    recording.stages.update({stage: [1.0] for stage in (*STAGES, *SPANS)})
    lines = figures(summarise(recording)).splitlines()
    explained = {words[0]: words[3:] for words in map(str.split, lines) if words[0] in (*STAGES, *SPANS, "other")}
    assert explained.keys() == {*STAGES, *SPANS, "other"} and all(explained.values())


def test_what_limited_a_run_is_told_with_a_cure(recording: Recording) -> None:
    recording.fates.clear()
    assert limits(summarise(recording)) == []
    recording.wanted_rate = 28.8
    recording.fates.update({"edge/dropped": 4, "server/dropped": 5, "server/lost": 3, "server/too_old": 3})
    recording.stages["suffix"] = [250.0]
    source, edge, server, lost, old = limits(summarise(recording))
    assert source == "the source reached 10.0 of 28.8 frames/s; try RATE=9"
    assert "the edge takes 4 ms for a frame: 4 were replaced" in edge and edge.endswith("try RATE=9")
    assert "the server takes 250 ms" in server and server.endswith("try RATE=3")
    assert "3 bottlenecks were lost" in lost and "max_age" in old


def test_the_video_has_every_frame_and_the_sheet_is_one_picture(recording: Recording, tmp_path: Path) -> None:
    write_pictures(recording, tmp_path)
    video = cv2.VideoCapture(str(tmp_path / "annotated.mp4"))
    pictures = []
    while (read := video.read())[0]:
        pictures.append(read[1])
    assert len(pictures) == 8
    assert video.get(cv2.CAP_PROP_FPS) == 10
    with av.open(str(tmp_path / "annotated.mp4")) as written:
        context = written.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
    # Browsers begin to play when they have read where everything is.
    data = (tmp_path / "annotated.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    height, width = pictures[0].shape[:2]
    assert width / height == pytest.approx(160 / 90, abs=0.1)
    # The pictures grow brighter from frame to frame.
    means = [float(picture[: height // 2].mean()) for picture in pictures]
    assert means == sorted(means)
    sheet = cv2.imread(str(tmp_path / "contact_sheet.png"))
    assert sheet is not None
    assert sheet.shape[1] > 3 * 600
