"""Images of any camera reach the edge, or /diagnostics says what keeps them from it and what to do."""

from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from mtl_split.msg import Bottleneck
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from mtl_split_core.bundle import Bundle
from mtl_split_core.share import fast_dds_profile
from mtl_split_edge.camera_input import LEAST_LOST, WINDOW, CameraInput, Losses
from mtl_split_ros.diagnostics import Stream
from mtl_split_ros.fast_dds import PROFILES_FILE
from mtl_split_ros.images import CameraMessage
from mtl_split_ros.qos import NEWEST

from ..conftest import Start
from ..mtl_split_ros.test_diagnostics import Log
from ..processes import NodeProcess, Probe, header, image_message, plain

STATUS = "/edge: /image_raw"
Camera = Callable[..., NodeProcess]


def test_too_many_lost_images_are_noticed_at_once_and_few_are_not() -> None:
    losses = Losses(0.0)
    assert losses.judge(0.5, 0, LEAST_LOST - 1) is None
    assert losses.judge(1.0, 0, LEAST_LOST) is True
    assert losses.judge(1.5, 100, LEAST_LOST + 9) is None, "counted from the last judgement on"
    assert losses.judge(1.0 + WINDOW, 100, LEAST_LOST + 9) is False
    assert losses.judge(2.0 + WINDOW, 118, LEAST_LOST + 9 + 2) is None
    assert losses.judge(2.5 + WINDOW, 118, LEAST_LOST + 9 + 3) is True
    assert losses.judge(9.0 + 2 * WINDOW, 118, LEAST_LOST + 9 + 3) is None, (
        "of a camera that is silent nothing is known"
    )


@pytest.fixture
def foreign(domain: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Camera:
    """Starts somebody else's camera; neither it nor what is started after it finds settings in the environment."""
    for name in PROFILES_FILE:
        monkeypatch.delenv(name, raising=False)

    def start_camera(start: Start, reliability: str, compressed: bool = False) -> NodeProcess:
        arguments = ("-p", f"reliability:={reliability}", "-p", f"compressed:={str(compressed).lower()}")
        return start("foreign", *arguments, module="tests.foreign_camera")

    return start_camera


def started_edge(start: Start, bundle: Bundle, *more: str) -> NodeProcess:
    return start("edge", "-p", f"bundle:={bundle.folder}", "-p", "diagnostics_period:=0.1", *more)


def test_images_that_get_lost_are_requested_reliably(
    bundle: Bundle, probe: Probe, start: Start, foreign: Camera
) -> None:
    edge = started_edge(start, bundle)
    foreign(start, "RELIABLE")
    before = probe.status(STATUS, lambda _, values: values["transport"] == "raw, requested reliably")
    enough = int(before["received"]) + 20
    after = probe.status(STATUS, lambda _, values: int(values["received"]) >= enough)
    assert int(after["images_lost"]) - int(before["images_lost"]) <= 1, "one may have been on its way"
    assert "images on /image_raw get lost on their way from /foreign: they are now requested reliably" in edge.log


def test_compressed_images_are_taken_where_raw_ones_get_lost(
    bundle: Bundle, probe: Probe, start: Start, foreign: Camera
) -> None:
    edge = started_edge(start, bundle)
    foreign(start, "BEST_EFFORT", compressed=True)
    before = probe.status(STATUS, lambda _, values: values["transport"] == "compressed")
    after = probe.status(STATUS, lambda _, values: int(values["published"]) >= int(before["published"]) + 10)
    assert int(after["images_lost"]) - int(before["images_lost"]) <= 1
    assert f"=/{str(fast_dds_profile())[1:]} in its environment" in edge.log


@pytest.mark.parametrize("transport", ["auto", "raw"])
def test_where_nothing_helps_the_cause_and_the_cure_are_told(
    transport: str, bundle: Bundle, probe: Probe, start: Start, foreign: Camera
) -> None:
    started_edge(start, bundle, "-p", f"transport:={transport}")
    foreign(start, "BEST_EFFORT")
    told = "images on /image_raw get lost on their way from /foreign: start /foreign with F"
    probe.status(STATUS, lambda status, _: told in status.message)
    status = probe.statuses[STATUS]
    assert status.level == DiagnosticStatus.WARN and str(fast_dds_profile()) in status.message
    assert "/image_raw/compressed" in status.message


CAMERA = QoSProfile(depth=1)


def jpeg(second: int) -> CompressedImage:
    return CompressedImage(
        header=header(second), format="jpeg", data=cv2.imencode(".jpg", plain((0, 0, 255)))[1].tobytes()
    )


def test_raw_images_take_the_place_of_compressed_ones_where_they_come(
    bundle: Bundle, probe: Probe, start: Start
) -> None:
    """The raw topic has a publisher that begins late, as a camera does that has to warm up."""
    started_edge(start, bundle)
    bottlenecks = probe.listen(Bottleneck, "/bottleneck", NEWEST)
    raw = probe.publisher(Image, "/image_raw", CAMERA)
    compressed = probe.publisher(CompressedImage, "/image_raw/compressed", CAMERA)
    probe.value(STATUS, "transport", "raw; compressed")
    probe.exchange(compressed, jpeg(1), bottlenecks)
    probe.value(STATUS, "transport", "compressed")

    probe.node.destroy_publisher(raw)
    another = probe.publisher(Image, "/image_raw", CAMERA)
    probe.value(STATUS, "transport", "compressed; raw")
    probe.exchange(another, image_message(plain((0, 0, 255)), 2), bottlenecks)
    probe.value(STATUS, "transport", "raw")
    probe.exchange(another, image_message(plain((0, 0, 255)), 3), bottlenecks)


def test_an_image_that_comes_both_ways_is_taken_once(probe: Probe) -> None:
    taken: list[CameraMessage] = []
    facts: dict[str, str] = {}
    stream = Stream("/image_raw", (), (), (), probe.node.get_clock(), Log(), {})
    camera = CameraInput(probe.node, "auto", taken.append, stream, facts)
    compressed = probe.node.create_publisher(CompressedImage, "/image_raw/compressed", CAMERA)
    probe.wait_for("both topics", lambda: facts["transport"] == "raw; compressed")

    def arrived() -> bool:
        compressed.publish(jpeg(1))
        return bool(taken)

    probe.wait_for("a compressed image", arrived)
    raw = probe.publisher(Image, "/image_raw", CAMERA)
    raw.publish(image_message(plain((0, 0, 255)), 1))
    probe.wait_for("the raw image", lambda: facts["transport"] == "raw")
    assert {type(image) for image in taken} == {CompressedImage}
    raw.publish(image_message(plain((0, 0, 255)), 2))
    probe.wait_for("the next one", lambda: isinstance(taken[-1], Image))
    assert [image.header.stamp.sec for image in taken if isinstance(image, Image)] == [2]
    camera.close()


def test_another_camera_that_offers_no_reliability_is_heard(
    bundle: Bundle, probe: Probe, start: Start, foreign: Camera
) -> None:
    started_edge(start, bundle)
    camera = foreign(start, "RELIABLE")
    probe.value(STATUS, "transport", "raw, requested reliably")
    camera.kill()
    bottlenecks = probe.listen(Bottleneck, "/bottleneck", NEWEST)
    best_effort = probe.node.create_publisher(
        Image, "/image_raw", QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    )
    probe.value(STATUS, "transport", "raw")
    probe.exchange(best_effort, image_message(plain((0, 0, 255)), 9), bottlenecks)


def test_an_override_of_the_other_topic_that_cannot_be_is_told(bundle: Bundle, probe: Probe, start: Start) -> None:
    edge = started_edge(start, bundle, "-p", "qos_overrides./image_raw/compressed.subscription.depth:=ten")
    probe.node.create_publisher(CompressedImage, "/image_raw/compressed", CAMERA)
    probe.status(STATUS, lambda status, _: "qos_overrides of /image_raw/compressed" in status.message)
    bottlenecks = probe.listen(Bottleneck, "/bottleneck", NEWEST)
    probe.exchange(probe.publisher(Image, "/image_raw", CAMERA), image_message(plain((0, 0, 255)), 1), bottlenecks)
    assert edge.runs and "Traceback" not in edge.log
