"""The node for Autoware as its neighbours see it: a process, its topics, services, diagnostics and exit code."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import Header
from vision_msgs.msg import Detection2D, Detection2DArray

from mtl_split_autoware.messages import CURES, find_messages
from mtl_split_core.scene import Detections
from mtl_split_ros.kinds.detection import to_message
from mtl_split_ros.qos import RESULT

from ..conftest import Start
from ..processes import Probe, header

FUSION = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
"""What image_projection_based_fusion asks for; traffic_light_selector asks for the default, which is reliable."""

WITHOUT = """
import sys

for package in {packages}:
    sys.modules[package] = None
"""


def detections(labels: Sequence[str], header: Header) -> Detection2DArray:
    boxes = np.array([[10 * i, 20, 10 * i + 5, 40] for i in range(len(labels))], np.float32).reshape(-1, 4)
    return to_message(Detections(boxes, tuple(labels), np.full(len(labels), 0.5, np.float32)), header)


def test_without_autowares_messages_the_node_says_what_to_install(
    probe: Probe, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(WITHOUT.format(packages=tuple(CURES)))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ['PYTHONPATH']}")
    node = start("autoware", "-p", "diagnostics_period:=0.1")
    package, cure = next(iter(CURES.items()))
    words = f"the message package {package} is not installed: source Autoware's workspace, or {cure}"
    probe.wait_for("the line in the log", lambda: words in node.log)
    assert "Traceback" not in node.log


@pytest.fixture
def autoware() -> None:
    for package in CURES:
        pytest.importorskip(f"{package}.msg", reason=f"{package} is not installed")


@pytest.mark.usefixtures("autoware")
def test_objects_and_traffic_lights_are_published_apart_with_the_images_header(probe: Probe, start: Start) -> None:
    node = start("autoware", "-r", "__ns:=/car1", "-p", "diagnostics_period:=0.1")
    array = find_messages().array
    objects = probe.listen(array, "/car1/autoware/rois", FUSION)
    lights = probe.listen(array, "/car1/autoware/traffic_light_rois", QoSProfile(depth=1))
    server = probe.publisher(Detection2DArray, "/car1/detections", RESULT)
    sent = detections(["car", "traffic light", "pedestrian", "kite", "kite"], header(1))
    answer = probe.exchange(server, sent, objects)
    assert answer.header == header(1)
    places = [(one.object.classification[0].label, one.feature.roi.x_offset) for one in answer.feature_objects]
    assert places == [(1, 0), (7, 20)]
    [light] = probe.exchange(server, sent, lights).feature_objects
    assert (light.feature.roi.x_offset, light.feature.roi.height, light.object.existence_probability) == (10, 20, 0.5)
    values = probe.status("/car1/autoware: /car1/detections", lambda _, values: "left_out/kite" in values)
    assert values["left_out"] == values["left_out/kite"] and int(values["left_out"]) % 2 == 0
    assert not probe.exchange(server, detections([], header(2)), objects).feature_objects
    assert not probe.exchange(server, detections([], header(2)), lights).feature_objects
    assert node.end(signal.SIGTERM) == 0


@pytest.mark.usefixtures("autoware")
def test_a_detection_without_a_class_is_refused_in_words_and_the_next_picture_converted(
    probe: Probe, start: Start
) -> None:
    node = start("autoware", "-p", "diagnostics_period:=0.1")
    objects = probe.listen(find_messages().array, "/autoware/rois", FUSION)
    server = probe.publisher(Detection2DArray, "/detections", RESULT)
    server.publish(Detection2DArray(header=header(1), detections=[Detection2D()]))
    probe.status("/autoware: /detections", lambda status, _: status.level == DiagnosticStatus.ERROR)
    assert "a detection has no hypothesis" in node.log
    assert len(probe.exchange(server, detections(["car"], header(2)), objects).feature_objects) == 1
    assert node.end(signal.SIGINT) == 0


@pytest.mark.usefixtures("autoware")
def test_a_map_of_ones_own_says_what_a_label_is(probe: Probe, start: Start, tmp_path: Path) -> None:
    path = tmp_path / "map.yaml"
    path.write_text("kite: HAZARD_\n")
    node = start("autoware", "-p", f"label_map:={path}")
    probe.wait_for("the line in the log", lambda: "'kite' is 'HAZARD_', expected a label with one of" in node.log)
    path.write_text("kite: ANIMAL\n")
    start("autoware", "-p", f"label_map:={path}", "-r", "__ns:=/car1")
    objects = probe.listen(find_messages().array, "/car1/autoware/rois", FUSION)
    server = probe.publisher(Detection2DArray, "/car1/detections", RESULT)
    [kite] = probe.exchange(server, detections(["kite", "car"], header(1)), objects).feature_objects
    assert kite.object.classification[0].label == find_messages().classes["ANIMAL"]
