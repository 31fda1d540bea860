"""What a bag recorded of the live pair is what comes out of it again: without ROS, and through the live pair."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mtl_split.msg import Bottleneck
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import Classification, Detection2D, Detection2DArray, LabelInfo

from mtl_split_core import scene
from mtl_split_core.bundle import Bundle, load_bundle
from mtl_split_core.label_map import Segmentation
from mtl_split_core.scene import Detections, Results, Task
from mtl_split_core.share import bundle_folder
from mtl_split_lab.command import main
from mtl_split_lab.live.recording import UNSTAMPED
from mtl_split_lab.recordings.replay import FRAMES, REPORT

from ...bags import header, plain, read_messages, results_by_stamp, write_bag
from ..live.test_demo import SMALL, StartDemo, demo
from .test_bags import image, truth

__all__ = ["demo"]  # a fixture

TASKS = load_bundle(bundle_folder("street")).tasks
NAMES = {task.name for task in TASKS}


def assert_same(one: Results, other: Results) -> None:
    for task, (first, second) in ((task, (plain(one)[task], plain(other)[task])) for task in one):
        if task == "detection":
            # Messages have middles and sizes instead of corners.
            assert np.allclose(np.reshape(first[0], (-1, 4)), np.reshape(second[0], (-1, 4)), atol=1e-3)
            first, second = first[1:], second[1:]
        assert first == second, task


@pytest.mark.timeout(300)
def test_a_recorded_drive(demo: StartDemo, tmp_path: Path) -> None:
    drive, again = tmp_path / "drive", tmp_path / "again"
    code, output = demo("--source", "sim:5", "--frames", "30", "--rate", "5", "--record", str(drive), *SMALL).end()
    assert code == 0, output
    recorded = results_by_stamp(drive, TASKS)
    complete = {stamp: results for stamp, results in recorded.items() if results.keys() == NAMES}
    assert len(complete) >= 20
    assert len(read_messages(drive, "/label_info/weather", LabelInfo)) == 1
    images = {stamp(message) for message in read_messages(drive, "/image_raw", Image)}

    main(["replay", str(drive), "--ways", "split", "--out", str(tmp_path / "offline")])
    report = json.loads((tmp_path / "offline" / REPORT).read_text())
    assert report["ways"]["split"]["frames"] == len(images)
    known = {"objects" if task.kind == "detection" else task.name for task in TASKS}
    assert report["frames_with_truth"] == dict.fromkeys(known, len(images))
    split = report["ways"]["split"]
    assert split["classification"].keys() | split["miou"].keys() == known - {"objects"}
    lines = [json.loads(line) for line in (tmp_path / "offline" / FRAMES).read_text().splitlines()]
    offline = {int(line["frame"]): line["ways"]["split"] for line in lines}
    sizes = {stamp(message): len(message.payload) for message in read_messages(drive, "/bottleneck", Bottleneck)}
    both = complete.keys() & images
    assert len(both) >= 20
    for number in both:
        assert offline[number]["bytes"] == sizes[number]
        assert_same(complete[number], from_json(offline[number]["results"]))

    code, output = demo("--source", f"bag:{drive}", "--frames", "0", "--rate", "0.5", "--record", str(again)).end()
    assert code == 0, output
    live = results_by_stamp(again, TASKS)
    both = live.keys() & complete.keys()
    assert len(both) >= 20
    for number in both:
        if live[number].keys() == NAMES:
            assert_same(complete[number], live[number])


def test_a_drive_in_a_namespace_with_truth_that_is_none(demo: StartDemo, tmp_path: Path, bundle: Bundle) -> None:
    known = [one for number in range(1, 10) for one in (("/image_raw", image(number)), *truth(number))]
    unknown = [
        ("/image_raw", image(0)),
        ("/ground_truth/detections", Detection2DArray(header=header(0), detections=[Detection2D()])),
        ("/ground_truth/classification/colour", Classification(header=header(0))),
    ]
    drive = write_bag(tmp_path / "drive", [(f"/car1{topic}", message) for topic, message in unknown + known])
    again = tmp_path / "again"
    source = ("--source", f"bag:{drive}", "--rate", "0.02", "--bundle", str(bundle.folder))
    run = demo(*source, "--record", str(again))
    code, output = run.end()
    assert code == 0, output
    summary = run.summary()
    assert summary["frames_sent"] + summary["frames_sent_before_discovery"] == 10
    assert summary["skipped"] == {"truths without a class": 2}
    assert summary["accuracy"]["classification"].keys() == {"colour"} and "map50" in summary["accuracy"]
    assert read_messages(again, "/car1/bottleneck", Bottleneck) and read_messages(again, "/car1/image_raw", Image)


@pytest.mark.parametrize("header_of_all", [Header(), header(0)])
def test_images_without_stamps_of_their_own_are_counted(
    demo: StartDemo, tmp_path: Path, bundle: Bundle, header_of_all: Header
) -> None:
    picture = image(0)
    picture.header = header_of_all
    drive = write_bag(tmp_path / "drive", [("/image_raw", picture)] * 5)
    run = demo("--source", f"bag:{drive}", "--rate", "0.01", "--bundle", str(bundle.folder))
    code, output = run.end()
    assert "Traceback" not in output
    if header_of_all.stamp.sec:
        assert code == 0, output
        assert run.summary()["frames_sent"] == 1 and run.summary()["skipped"] == {UNSTAMPED: 4}
    else:
        assert code == 1
        assert "the stream has ended without a frame that counts:" in output and f"5 {UNSTAMPED}" in output


def stamp(message: Any) -> int:
    return int(message.header.stamp.sec * 10**9 + message.header.stamp.nanosec)


def from_json(results: dict[str, Any]) -> Results:
    return {task.name: _read(task, results[task.name]) for task in TASKS}


def _read(task: Task, value: dict[str, Any]) -> Any:
    match task.kind:
        case "detection":
            boxes = np.array(value["boxes"], np.float32).reshape(-1, 4)
            return Detections(boxes, tuple(value["labels"]), np.array(value["scores"], np.float32))
        case "classification":
            return scene.Classification(tuple(value), np.array(list(value.values()), np.float32))
    return Segmentation(tuple(value["labels"]), base64.b64decode(value["png"]))
