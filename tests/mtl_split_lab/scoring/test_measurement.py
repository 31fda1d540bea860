"""A measurement scores every kind of task, and only what is known."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from mtl_split_core.scene import Classification, Detections, Task, Truth
from mtl_split_lab.scoring.frames import NOTHING_KNOWN
from mtl_split_lab.scoring.measurement import MOST_BYTES, Measurement, find_mistakes

BOXES = np.array([[10, 10, 50, 40], [100, 20, 180, 90]], np.float32)
TRUTH = Truth(BOXES, ("car", "bus"), np.ones(2, np.float32), np.zeros(2, np.bool_), {"weather": "rainy"})
TASKS = [
    Task("cars", "detection", ("car",)),
    Task("buses", "detection", ("bus",)),
    Task("weather", "classification", ("clear", "rainy")),
]
RESULTS = {
    "cars": Detections(BOXES[:1], ("car",), np.array([0.8], np.float32)),
    "buses": Detections(BOXES[1:], ("bus",), np.array([0.9], np.float32)),
    "weather": Classification(("clear", "rainy"), np.array([0.9, 0.1], np.float32)),
}


def test_two_detection_tasks_are_scored_together() -> None:
    measurement = Measurement(TASKS)
    measurement.add(TRUTH, 7, RESULTS)
    summary = measurement.summary()
    assert summary["map50"] == 1 and summary["ap50"] == {"bus": 1, "car": 1} and summary["bytes"]["max"] == 7
    assert summary["classification"] == {"weather": 0} and summary["confusion"] == {"weather": {"rainy": {"clear": 1}}}


def test_without_a_truth_there_is_no_score() -> None:
    measurement = Measurement(TASKS)
    measurement.add(NOTHING_KNOWN, 7, RESULTS)
    summary = measurement.summary()
    assert summary["map50"] is None and summary["classification"] == {} and summary["frames"] == 1
    assert measurement.accuracies() == {}


def test_every_task_has_one_accuracy_if_anything_of_it_is_known() -> None:
    measurement = Measurement(TASKS)
    measurement.add(TRUTH, 7, RESULTS)
    assert measurement.accuracies() == pytest.approx({"cars": 1, "buses": 1, "weather": 0})
    unknown = Measurement(TASKS)
    unknown.add(Truth(classes={"weather": "clear"}, labelled=frozenset()), 7, RESULTS)
    assert unknown.accuracies() == {"weather": 1}


def test_the_mistakes_of_all_kinds_are_added_up() -> None:
    assert find_mistakes(TRUTH, RESULTS, TASKS).total() == 1
    assert find_mistakes(TRUTH, {}, TASKS).total() == 0
    assert find_mistakes(TRUTH, RESULTS | {"buses": RESULTS["cars"]}, TASKS).total() == 3


def test_measured_is_what_an_edge_node_sends_by_default() -> None:
    config = yaml.safe_load((Path(__file__).parents[3] / "config" / "edge.yaml").read_text())
    assert config["/**"]["ros__parameters"]["max_payload_bytes"] == MOST_BYTES
