"""The edge node as its neighbours see it: a process, its topics, services, diagnostics, log and exit code."""

import signal
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from mtl_split.msg import Bottleneck
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image

from mtl_split_core.bundle import PREFIX, Bundle, load_bundle
from mtl_split_core.halves import EdgeHalf
from mtl_split_core.share import bundle_folder
from mtl_split_ros.qos import NEWEST

from ..conftest import Start
from ..processes import Probe, header, image_message, plain
from ..tiny_bundle import add_last_step, write_tiny_bundle

RED = (0, 0, 255)
CAMERA = QoSProfile(depth=1)
"""What most camera drivers offer: reliable, and so is the probe, so that its images arrive."""


def test_bottleneck_carries_the_header_the_size_and_the_payload(bundle: Bundle, probe: Probe, start: Start) -> None:
    edge = start("edge", "-p", f"bundle:={bundle.folder}", "-p", "operating_point:=coarse", "-r", "__ns:=/car1")
    bottlenecks = probe.listen(Bottleneck, "/car1/bottleneck", NEWEST)
    camera = probe.publisher(Image, "/car1/image_raw", CAMERA)
    picture = plain((10, 200, 30))
    first = probe.exchange(camera, image_message(picture, 1), bottlenecks)
    assert first.header == header(1)
    assert (first.image_width, first.image_height, first.contract) == (128, 64, bundle.contract.fingerprint)
    assert first.payload.tobytes() == EdgeHalf(bundle).encode(picture, 0).payload
    second = probe.exchange(camera, image_message(picture[:, ::-1], 2, "rgb8"), bottlenecks)
    assert second.sequence > first.sequence and second.session == first.session > 0
    assert not first.signature.any()
    assert edge.end(signal.SIGTERM) == 0


def test_the_engine_that_auto_takes_is_told(bundle: Bundle, probe: Probe, start: Start) -> None:
    edge = start("edge", "-p", f"bundle:={bundle.folder}", "-p", "engine:=auto", "-p", "diagnostics_period:=0.1")
    values = probe.status("/edge: /image_raw", lambda _, values: "engine" in values)
    assert values["engine"].split(",")[0] in ("onnxruntime", "openvino")
    assert values["engine/onnxruntime"].endswith(" ms") and values["engine/openvino"].endswith(" ms")
    assert f"prefix: {values['engine']} (onnxruntime: {values['engine/onnxruntime']}; " in edge.log
    assert f"bundle tiny, contract {bundle.contract.fingerprint}" in edge.log
    assert edge.end(signal.SIGTERM) == 0


def test_compressed_images(bundle: Bundle, probe: Probe, start: Start) -> None:
    edge = start("edge", "-p", f"bundle:={bundle.folder}", "-p", "transport:=compressed")
    bottlenecks = probe.listen(Bottleneck, "/bottleneck", NEWEST)
    camera = probe.publisher(CompressedImage, "/image_raw/compressed", CAMERA)
    picture = plain(RED)
    message = CompressedImage(header=header(1), format="png", data=cv2.imencode(".png", picture)[1].tobytes())
    assert probe.exchange(camera, message, bottlenecks).payload.tobytes() == EdgeHalf(bundle).encode(picture).payload
    assert edge.end(signal.SIGINT) == 0


def test_a_bad_image_is_refused_once_in_words_and_the_next_good_one_answered(
    bundle: Bundle, probe: Probe, start: Start
) -> None:
    name = "/edge: /image_raw"
    edge = start("edge", "-p", f"bundle:={bundle.folder}", "-p", "diagnostics_period:=0.1")
    waiting = probe.status(name, lambda status, _: status.level == DiagnosticStatus.WARN)
    assert probe.statuses[name].message == "waiting for /image_raw"
    assert waiting["age_ms"] == waiting["bytes_per_frame"] == waiting["stage_ms/prefix"] == "n/a"
    bottlenecks = probe.listen(Bottleneck, "/bottleneck", NEWEST)
    camera = probe.publisher(Image, "/image_raw", CAMERA)
    probe.exchange(camera, image_message(plain(RED), 0), bottlenecks)

    unknown_encoding = image_message(plain(RED), 1, "32FC1")
    for times in range(1, 4):
        camera.publish(unknown_encoding)
        probe.value(name, "refused/ImageError", str(times))
    assert edge.log.count("32FC1") == 1
    zero_size, wrong_length = image_message(plain(RED), 2), image_message(plain(RED), 3)
    zero_size.width = 0
    wrong_length.data = wrong_length.data[:-1]
    for times, message in enumerate([zero_size, wrong_length], 4):
        camera.publish(message)
        probe.value(name, "refused/ImageError", str(times))
    assert not [bottleneck for bottleneck in bottlenecks if bottleneck.header.stamp.sec]
    probe.exchange(camera, image_message(plain(RED), 4), bottlenecks)
    values = probe.status(name, lambda status, _: "frames/s" in status.message)
    assert values["refused/ImageError"] == "5"
    assert edge.end(signal.SIGTERM) == 0


def test_a_frame_without_an_answer_is_refused_and_the_next_one_answered(
    probe: Probe, start: Start, tmp_path: Path
) -> None:
    """The logarithm of a black picture is not finite."""
    name = "/edge: /image_raw"
    bundle = add_last_step(write_tiny_bundle(tmp_path / "tiny"), PREFIX, "latents", "Log")
    edge = start(
        *("edge", "-p", f"bundle:={bundle.folder}", "-p", "diagnostics_period:=0.1"),
        *("-p", f"max_pixels:={128 * 64}"),
    )
    bottlenecks = probe.listen(Bottleneck, "/bottleneck", NEWEST)
    camera = probe.publisher(Image, "/image_raw", CAMERA)
    white = plain((255, 255, 255))
    probe.exchange(camera, image_message(white, 1), bottlenecks)
    camera.publish(image_message(plain((0, 0, 0)), 2))
    probe.value(name, "refused/InferenceError", "1")
    long_name = image_message(white, 3)
    long_name.header.frame_id = "x" * 257
    camera.publish(long_name)
    probe.value(name, "refused/HeaderError", "1")
    camera.publish(image_message(plain((255, 255, 255), width=129), 4))
    probe.value(name, "refused/ImageError", "1")
    probe.exchange(camera, image_message(white, 5), bottlenecks)
    assert {bottleneck.header.stamp.sec for bottleneck in bottlenecks} == {1, 5}
    assert "Traceback" not in edge.log
    assert edge.end(signal.SIGTERM) == 0


def test_quality_and_size_follow_their_parameters_from_the_next_frame_on(probe: Probe, start: Start) -> None:
    half = EdgeHalf(load_bundle(bundle_folder("street")))
    picture = np.random.default_rng(0).integers(0, 256, (360, 640, 3), np.uint8)
    payloads = [half.encode(picture, point).payload for point in range(3)]
    default = half.bundle.default_point
    name = "/edge: /image_raw"
    edge = start("edge", "-p", "max_payload_bytes:=100000", "-p", "diagnostics_period:=0.1")
    bottlenecks = probe.listen(Bottleneck, "/bottleneck", NEWEST)
    camera = probe.publisher(Image, "/image_raw", CAMERA)

    def send(second: int) -> bytes:
        return bytes(probe.exchange(camera, image_message(picture, second), bottlenecks).payload.tobytes())

    assert send(1) == half.encode(picture, default).payload
    assert probe.set_parameter("/edge", "operating_point", "coarse").successful
    assert send(2) == payloads[1]
    refusal = probe.set_parameter("/edge", "operating_point", "finer")
    assert not refusal.successful and "'finer', expected one of coarsest, coarse, default" in refusal.reason
    assert send(3) == payloads[1]
    assert probe.status(name, lambda _, values: int(values["published"]) >= 3)["coarser"] == "0"
    assert probe.set_parameter("/edge", "max_payload_bytes", len(payloads[1]) - 1).successful
    assert send(4) == payloads[0]
    probe.status(name, lambda _, values: int(values["coarser"]) >= 1)
    assert probe.set_parameter("/edge", "max_payload_bytes", len(payloads[0]) - 1).successful
    probe.publish_until(camera, image_message(picture, 5), name, "refused/TooLargeError")
    assert "at the coarsest operating point" in edge.log
    assert not probe.set_parameter("/edge", "max_payload_bytes", 1).successful
    assert "usually take" not in edge.log
    assert probe.set_parameter("/edge", "max_payload_bytes", 2017).successful
    assert "'coarse' usually take 550 bytes, max_payload_bytes is 2017" not in edge.log
    assert probe.set_parameter("/edge", "operating_point", "fine").successful
    told = "frames at operating_point 'fine' usually take 2018 bytes, max_payload_bytes is 2017"
    probe.wait_for("a warning", lambda: told in edge.log)
    assert edge.end(signal.SIGTERM) == 0


def remove_prefix(bundle: Path) -> None:
    (bundle / "prefix.onnx").unlink()


def damage_prefix(bundle: Path) -> None:
    (bundle / "prefix.onnx").write_bytes(b"no network")


@pytest.mark.parametrize("harm", [remove_prefix, damage_prefix])
def test_an_unusable_bundle_is_told_and_a_good_one_then_taken(
    harm: Callable[[Path], None], bundle: Bundle, probe: Probe, start: Start, tmp_path: Path
) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    for path in bundle.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    harm(folder)
    edge = start("edge", "-p", f"bundle:={folder}", "-p", "diagnostics_period:=0.1", "-p", "autostart:=false")
    assert not probe.change_state("/edge", Transition.TRANSITION_CONFIGURE)
    probe.status("/edge", lambda status, _: status.level == DiagnosticStatus.ERROR)
    assert "unconfigured" in probe.statuses["/edge"].message and "prefix.onnx" in probe.statuses["/edge"].message
    assert edge.log.count("prefix.onnx") == 1
    assert probe.set_parameter("/edge", "bundle", str(bundle.folder)).successful
    assert probe.change_state("/edge", Transition.TRANSITION_CONFIGURE)
    assert probe.change_state("/edge", Transition.TRANSITION_ACTIVATE)
    refusal = probe.set_parameter("/edge", "bundle", str(bundle.folder))
    assert not refusal.successful and "bundle" in refusal.reason
    probe.exchange(
        probe.publisher(Image, "/image_raw", CAMERA),
        image_message(plain(RED), 1),
        probe.listen(Bottleneck, "/bottleneck", NEWEST),
    )
    assert edge.end(signal.SIGTERM) == 0


def test_a_lifecycle_manager_takes_it_up_and_down_again_and_again(bundle: Bundle, probe: Probe, start: Start) -> None:
    edge = start("edge", "-p", f"bundle:={bundle.folder}", "-p", "autostart:=false")
    bottlenecks = probe.listen(Bottleneck, "/bottleneck", NEWEST)
    for second in range(2):
        assert probe.change_state("/edge", Transition.TRANSITION_CONFIGURE)
        assert not probe.change_state("/edge", Transition.TRANSITION_CONFIGURE)
        assert not probe.node.count_subscribers("/image_raw")
        assert probe.change_state("/edge", Transition.TRANSITION_ACTIVATE)
        camera = probe.publisher(Image, "/image_raw", CAMERA)
        assert probe.exchange(camera, image_message(plain(RED), second), bottlenecks).sequence == 0
        assert probe.change_state("/edge", Transition.TRANSITION_DEACTIVATE)
        probe.wait_for("the edge to unsubscribe", lambda: not probe.node.count_subscribers("/image_raw"))
        assert probe.change_state("/edge", Transition.TRANSITION_CLEANUP)
        probe.node.destroy_publisher(camera)
    assert probe.change_state("/edge", Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
    assert edge.end(signal.SIGTERM) == 0


def test_mismatched_quality_of_service_names_both_sides(bundle: Bundle, probe: Probe, start: Start) -> None:
    edge = start(
        *("edge", "-p", f"bundle:={bundle.folder}", "-p", "diagnostics_period:=0.1"),
        *("-p", "qos_overrides./image_raw.subscription.reliability:=reliable"),
    )
    probe.node.create_publisher(Image, "/image_raw", QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
    probe.status("/edge: /image_raw", lambda status, _: "reliability" in status.message)
    told = (
        "/image_raw: reliability does not match, so nothing passes: /edge requests reliable, /probe offers best_effort"
    )
    assert probe.statuses["/edge: /image_raw"].message == told
    assert edge.log.count(told) == 1
    assert edge.end(signal.SIGINT) == 0


def test_a_camera_that_was_silent_is_heard_in_a_new_participant(bundle: Bundle, probe: Probe, start: Start) -> None:
    edge = start("edge", "-p", f"bundle:={bundle.folder}", "-p", "diagnostics_period:=0.1")
    bottlenecks = probe.listen(Bottleneck, "/bottleneck", NEWEST)
    camera = probe.publisher(Image, "/image_raw", CAMERA)
    probe.value("/edge: /image_raw", "renewed", "2")
    assert probe.exchange(camera, image_message(plain(RED), 1), bottlenecks).header == header(1)
    assert "though /probe advertises it: it was subscribed to anew in a new participant" in edge.log
    assert edge.end(signal.SIGTERM) == 0


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("/image_raw.subscription.reliability:=relable", "relable"),
        ("/image_raw.subscription.depth:=ten", "ten"),
        ("/bottleneck.publisher.reliability:=relable", "relable"),
    ],
)
def test_an_override_that_cannot_be_is_told_in_one_line(
    override: str, words: str, bundle: Bundle, start: Start
) -> None:
    edge = start("edge", "-p", f"bundle:={bundle.folder}", "-p", f"qos_overrides.{override}")
    assert edge.end() == 1
    told = [line for line in edge.log.splitlines() if "qos_overrides" in line]
    assert len(told) == 1 and words in told[0] and "FATAL" in told[0] and "Traceback" not in edge.log


def test_an_edge_that_cannot_be_configured_at_its_start_ends(bundle: Bundle, start: Start, tmp_path: Path) -> None:
    edge = start("edge", "-p", f"bundle:={tmp_path}/nowhere")
    assert edge.end() == 1
    assert edge.log.count(f"{tmp_path}/nowhere") == 1 and len(edge.log.splitlines()) == 1


def test_it_lives_through_a_clock_that_jumps_back(bundle: Bundle, probe: Probe, start: Start) -> None:
    edge = start(
        *("edge", "-p", f"bundle:={bundle.folder}", "-p", "diagnostics_period:=0.1", "-p", "use_sim_time:=true")
    )
    bottlenecks = probe.listen(Bottleneck, "/bottleneck", NEWEST)
    probe.status("/edge", lambda status, _: status.level == DiagnosticStatus.WARN and "/clock" in status.message)
    clock = probe.publisher(Clock, "/clock", CAMERA)
    camera = probe.publisher(Image, "/image_raw", CAMERA)
    for second in (100, 50, 60):
        clock.publish(Clock(clock=Time(sec=second)))
        probe.exchange(camera, image_message(plain(RED), second), bottlenecks)
    values = probe.status("/edge: /image_raw", lambda _, values: int(values["published"]) >= 3)
    assert values["stamps_back"] == "1"
    assert edge.end(signal.SIGTERM) == 0


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("threads:=0", "threads"),
        ("transport:=carrier_pigeon", "expected one of auto, raw, compressed"),
        ("bundle:=5", "bundle"),
    ],
)
def test_a_parameter_that_cannot_be_ends_the_start(argument: str, words: str, start: Start) -> None:
    edge = start("edge", "-p", argument)
    assert edge.end() == 1
    assert words in edge.log and "Traceback" not in edge.log
