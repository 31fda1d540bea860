"""The server node as its neighbours see it: results per task and vehicle, labels, what it refuses, restarts."""

import itertools
import signal
from array import array
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import yaml
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from mtl_split.msg import Bottleneck, LinkReport
from rclpy.duration import Duration
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import Classification, Detection2DArray, LabelInfo

from mtl_split_core.bundle import SUFFIX, Bundle
from mtl_split_core.errors import InputError
from mtl_split_core.halves import EdgeHalf
from mtl_split_core.scene import Image as Picture
from mtl_split_ros.kinds import classification, detection, segmentation
from mtl_split_ros.qos import LATCHED, MANY, NEWEST, RESULT
from mtl_split_server.node import read_deadlines

from ..conftest import Start
from ..processes import Probe, header, image_message, plain
from ..tiny_bundle import COLOURS, THING, add_areas, add_last_step, write_tiny_bundle

ANY_AGE = ("-p", "max_age:=0.0")
"""What the tests send is stamped with seconds after 1970."""

RED, GREEN, BLACK = (0, 0, 255), (0, 255, 0), (0, 0, 0)


@pytest.fixture(scope="module")
def edge_half(bundle: Bundle) -> EdgeHalf:
    return EdgeHalf(bundle)


def bottleneck(edge: EdgeHalf, picture: Picture, second: int, sequence: int = 0) -> Bottleneck:
    """What an edge node would send of a picture."""
    return Bottleneck(
        header=header(second),
        sequence=sequence,
        contract=edge.bundle.contract.fingerprint,
        image_width=picture.shape[1],
        image_height=picture.shape[0],
        payload=array("B", edge.encode(picture).payload),
    )


def test_every_task_is_answered_with_the_header_also_where_nothing_is_found(
    edge_half: EdgeHalf, probe: Probe, start: Start
) -> None:
    server = start("server", *ANY_AGE, "-p", f"bundle:={edge_half.bundle.folder}")
    detections = probe.listen(Detection2DArray, "/detections", RESULT)
    colours = probe.listen(Classification, "/classification/colour", RESULT)
    edge = probe.publisher(Bottleneck, "/bottleneck", NEWEST)
    red = bottleneck(edge_half, plain(RED, 640, 480), 1)
    found = detection.to_result(probe.exchange(edge, red, detections))
    # 640 x 480 is scaled by 1 / 15 into 64 x 32, where it leaves bars of 10.67 pixels left and right.
    left, top, right, bottom = THING
    expected = [(left - 10.5) * 15, top * 15, (right - 10.5) * 15, bottom * 15]
    np.testing.assert_allclose(found.boxes, [expected], atol=10)
    assert found.labels == ("thing",)
    colour = classification.to_result(probe.exchange(edge, red, colours))
    assert colour.labels[0] == "red" and set(colour.labels) == set(COLOURS)
    assert all(better >= worse for better, worse in pairwise(colour.scores))
    nothing = probe.exchange(edge, bottleneck(edge_half, plain(BLACK), 2, 1), detections)
    assert not nothing.detections
    assert server.end(signal.SIGTERM) == 0


def test_areas_are_answered_as_a_png_and_to_whom_asks_as_an_image(tmp_path: Path, probe: Probe, start: Start) -> None:
    half = EdgeHalf(add_areas(write_tiny_bundle(tmp_path / "tiny")))
    server = start("server", *ANY_AGE, "-p", f"bundle:={half.bundle.folder}")
    packed = probe.listen(CompressedImage, "/segmentation/areas/compressed", RESULT)
    edge = probe.publisher(Bottleneck, "/bottleneck", NEWEST)
    two = np.concatenate([plain(RED, 320, 320), plain(GREEN, 320, 320)], axis=1)
    message = probe.exchange(edge, bottleneck(half, two, 1), packed)
    found = segmentation.to_result(message, half.bundle.tasks[2]).indices()
    assert message.header == header(1) and found.shape == (320, 640)
    assert (found[:, :280] == COLOURS.index("red")).all() and (found[:, 360:] == COLOURS.index("green")).all()
    raw = probe.listen(Image, "/segmentation/areas", RESULT)
    message = probe.exchange(edge, bottleneck(half, two, 2, 1), raw)
    assert message.header == header(2) and message.encoding == "mono8"
    assert np.array_equal(np.frombuffer(message.data, np.uint8).reshape(320, 640), found)
    assert server.end(signal.SIGTERM) == 0


def test_an_object_has_the_same_identity_until_its_vehicle_begins_anew(
    edge_half: EdgeHalf, probe: Probe, start: Start
) -> None:
    server = start("server", *ANY_AGE, "-p", f"bundle:={edge_half.bundle.folder}", "-p", "vehicles:=[car1, car2]")
    detections = {name: probe.listen(Detection2DArray, f"/{name}/detections", RESULT) for name in ("car1", "car2")}
    edges = {name: probe.publisher(Bottleneck, f"/{name}/bottleneck", NEWEST) for name in detections}

    def identity(name: str, second: int, session: int = 1) -> str:
        message = bottleneck(edge_half, plain((255, 255, 255)), second, second)
        message.session = session
        [found] = probe.exchange(edges[name], message, detections[name]).detections
        return str(found.id)

    assert identity("car1", 5) == identity("car1", 6) == "5123-1"
    assert identity("car2", 6) == "6123-1"
    assert identity("car1", 7, session=2) == "7123-2"
    assert server.end(signal.SIGTERM) == 0


def test_refusals_are_told_once_and_counted_and_good_ones_still_answered(
    edge_half: EdgeHalf, probe: Probe, start: Start
) -> None:
    name = "/server: /bottleneck"
    server = start("server", *ANY_AGE, "-p", f"bundle:={edge_half.bundle.folder}", "-p", "diagnostics_period:=0.1")
    probe.status(name, lambda status, _: status.message == "waiting for /bottleneck")
    colours = probe.listen(Classification, "/classification/colour", RESULT)
    edge = probe.publisher(Bottleneck, "/bottleneck", QoSProfile(depth=1))
    probe.exchange(edge, bottleneck(edge_half, plain(RED), 1), colours)
    foreign = bottleneck(edge_half, plain(RED), 2)
    foreign.contract = "fedcba9876543210"
    for times in range(1, 4):
        edge.publish(foreign)
        probe.value(name, "refused/OtherContractError", str(times))
    refusals = [line for line in server.log.splitlines() if "fedcba9876543210" in line]
    assert len(refusals) == 1 and f"expected {edge_half.bundle.contract.fingerprint!r}" in refusals[0]
    mutated = bottleneck(edge_half, plain(RED), 3)
    mutated.payload[-8] ^= 1
    edge.publish(mutated)
    probe.value(name, "refused/PayloadError", "1")
    zero_size = bottleneck(edge_half, plain(RED), 4)
    zero_size.image_width = 0
    edge.publish(zero_size)
    probe.value(name, "refused/PayloadError", "2")
    assert probe.statuses[name].level == DiagnosticStatus.ERROR
    assert {colour.header.stamp.sec for colour in colours} == {1}
    probe.exchange(edge, bottleneck(edge_half, plain(GREEN), 5), colours)
    probe.status(name, lambda status, _: "frames/s" in status.message and "synchronise the clocks" in status.message)
    assert server.end(signal.SIGINT) == 0


def test_a_bottleneck_without_an_answer_is_refused_and_the_next_one_answered(
    edge_half: EdgeHalf, probe: Probe, start: Start, tmp_path: Path
) -> None:
    """The reciprocal of a black picture's score is not finite."""
    name = "/server: /bottleneck"
    bundle = add_last_step(write_tiny_bundle(tmp_path / "tiny"), SUFFIX, "detection.scores", "Reciprocal")
    server = start("server", *ANY_AGE, "-p", f"bundle:={bundle.folder}", "-p", "diagnostics_period:=0.1")
    colours = probe.listen(Classification, "/classification/colour", RESULT)
    edge = probe.publisher(Bottleneck, "/bottleneck", QoSProfile(depth=1))
    probe.exchange(edge, bottleneck(edge_half, plain(RED), 1), colours)
    edge.publish(bottleneck(edge_half, plain(BLACK), 2, 1))
    probe.value(name, "refused/InferenceError", "1")
    long_name = bottleneck(edge_half, plain(RED), 3, 2)
    long_name.header.frame_id = "x" * 257
    edge.publish(long_name)
    probe.value(name, "refused/HeaderError", "1")
    probe.exchange(edge, bottleneck(edge_half, plain(GREEN), 4, 3), colours)
    assert {colour.header.stamp.sec for colour in colours} == {1, 4}
    assert "Traceback" not in server.log
    assert server.end(signal.SIGTERM) == 0


@pytest.mark.parametrize(
    ("transition", "override", "topics"),
    [
        (
            Transition.TRANSITION_ACTIVATE,
            "/car2/bottleneck.subscription",
            ("/car1/bottleneck",),
        ),
        (
            Transition.TRANSITION_CONFIGURE,
            "/car2/detections.publisher",
            ("/car1/detections", "/car1/label_info/detection", "/car1/label_info/weather"),
        ),
    ],
)
def test_a_step_that_fails_leaves_nothing_behind(
    transition: int, override: str, topics: tuple[str, ...], edge_half: EdgeHalf, probe: Probe, start: Start
) -> None:
    """Labels are latched: those of a server that could not be configured would lie there for ever."""
    server = start(
        *("server", *ANY_AGE, "-p", f"bundle:={edge_half.bundle.folder}", "-p", "vehicles:=[car1, car2]"),
        *("-p", "diagnostics_period:=0.1", "-p", "autostart:=false"),
        *("-p", f"qos_overrides.{override}.reliability:=relable"),
    )
    if transition == Transition.TRANSITION_ACTIVATE:
        assert probe.change_state("/server", Transition.TRANSITION_CONFIGURE)
    assert not probe.change_state("/server", transition)
    probe.status("/server", lambda status, _: status.level == DiagnosticStatus.ERROR)
    assert override.partition(".")[0] in probe.statuses["/server"].message
    assert "relable" in probe.statuses["/server"].message

    def somebody(topic: str) -> int:
        return probe.node.count_publishers(topic) + probe.node.count_subscribers(topic)

    probe.wait_for("nobody at the topics", lambda: not any(map(somebody, topics)))
    assert "Traceback" not in server.log
    assert server.end(signal.SIGTERM) == 0


def test_thresholds_count_from_the_next_frame_on(edge_half: EdgeHalf, probe: Probe, start: Start) -> None:
    server = start("server", *ANY_AGE, "-p", f"bundle:={edge_half.bundle.folder}")
    detections = probe.listen(Detection2DArray, "/detections", RESULT)
    labels = probe.listen(LabelInfo, "/label_info/detection", LATCHED)
    edge = probe.publisher(Bottleneck, "/bottleneck", NEWEST)
    seconds = itertools.count()

    def found(colour: tuple[int, int, int]) -> int:
        """How many objects there are in a picture; the score of the only one is its brightness."""
        second = next(seconds)
        message = bottleneck(edge_half, plain(colour), second, second)
        return len(probe.exchange(edge, message, detections).detections)

    assert found(RED) == 1
    assert probe.set_parameter("/server", "score_threshold", 1.0).successful
    assert found(RED) == 0
    probe.wait_for("the labels with the new threshold", lambda: labels[-1].threshold == 1.0)
    assert found(BLACK) == 0
    assert probe.set_parameter("/server", "score_threshold", 0.0).successful
    assert found(BLACK) == 1
    refusal = probe.set_parameter("/server", "score_threshold", 1.5)
    assert not refusal.successful and "1.5" in refusal.reason and "Max: 1.0" in refusal.reason
    for value in (float("nan"), "0.5"):
        assert not probe.set_parameter("/server", "overlap_threshold", value).successful
    assert "workers is read when" in probe.set_parameter("/server", "workers", 1).reason
    assert server.end(signal.SIGTERM) == 0


def test_gaps_in_the_sequence_are_counted_and_a_new_edge_is_no_gap(
    edge_half: EdgeHalf, probe: Probe, start: Start
) -> None:
    server = start("server", *ANY_AGE, "-p", f"bundle:={edge_half.bundle.folder}", "-p", "diagnostics_period:=0.1")
    edge = probe.publisher(Bottleneck, "/bottleneck", QoSProfile(depth=1))
    colours = probe.listen(Classification, "/classification/colour", RESULT)
    probe.exchange(edge, bottleneck(edge_half, plain(RED), 1, 7), colours)
    for second, (sequence, lost) in enumerate([(8, "0"), (11, "2"), (0, "2"), (1, "2"), (3, "3")], 2):
        probe.exchange(edge, bottleneck(edge_half, plain(RED), second, sequence), colours)
        probe.value("/server: /bottleneck", "lost", lost)
    assert server.end(signal.SIGTERM) == 0


def test_bottlenecks_of_old_images_are_dropped_where_that_is_asked_for(
    edge_half: EdgeHalf, probe: Probe, start: Start
) -> None:
    server = start(
        *("server", "-p", f"bundle:={edge_half.bundle.folder}", "-p", "max_age:=60.0"),
        *("-p", "diagnostics_period:=0.1"),
    )
    edge = probe.publisher(Bottleneck, "/bottleneck", QoSProfile(depth=1))
    colours = probe.listen(Classification, "/classification/colour", RESULT)
    new = bottleneck(edge_half, plain(RED), 1)
    new.header.stamp = probe.node.get_clock().now().to_msg()
    probe.exchange(edge, new, colours)
    edge.publish(bottleneck(edge_half, plain(RED), 1, 1))
    probe.value("/server: /bottleneck", "too_old", "1")
    assert all(colour.header == new.header for colour in colours)
    assert server.end(signal.SIGTERM) == 0


def test_a_second_publisher_is_refused_until_the_first_is_gone_and_junk_ends_nothing(
    edge_half: EdgeHalf, probe: Probe, start: Start
) -> None:
    name = "/server: /bottleneck"
    server = start("server", *ANY_AGE, "-p", f"bundle:={edge_half.bundle.folder}", "-p", "diagnostics_period:=0.1")
    edge = probe.publisher(Bottleneck, "/bottleneck", QoSProfile(depth=1))
    colours = probe.listen(Classification, "/classification/colour", RESULT)
    probe.exchange(edge, bottleneck(edge_half, plain(RED), 1), colours)
    rival = probe.publisher(Bottleneck, "/bottleneck", QoSProfile(depth=1))
    # Whose it is the server does not know from the first moment on.
    for number in itertools.count(1):
        rival.publish(bottleneck(edge_half, plain(GREEN), 1 + number))
        probe.value(name, "refused/SecondPublisherError", str(number))
        if "second_publisher//probe" in {value.key for value in probe.statuses[name].values}:
            break
    assert "/probe publishes too, but /probe was first" in probe.statuses[name].message
    assert {colour.header.stamp.sec for colour in colours} == {1}
    probe.node.destroy_publisher(edge)
    for junk in (b"", bytes(4), b"\x00\x01\x00\x00" + b"\xff" * 100):
        rival.publish(junk)
    probe.exchange(rival, bottleneck(edge_half, plain(GREEN), 1000), colours)
    assert server.end(signal.SIGTERM) == 0


def test_with_a_key_only_what_the_edge_has_signed_is_answered_and_only_once(
    bundle: Bundle, probe: Probe, start: Start, tmp_path: Path
) -> None:
    name = "/server: /fleet/b"
    keys = tmp_path / "keys"
    keys.write_text(bytes(range(32)).hex())
    keys.chmod(0o644)
    arguments = ("-p", f"bundle:={bundle.folder}", "-p", f"key_file:={keys}", "-r", "bottleneck:=/fleet/b")
    server = start("server", *ANY_AGE, *arguments, "-p", "diagnostics_period:=0.1")
    edge = start("edge", *arguments, "-p", "diagnostics_period:=0.1")
    bottlenecks = probe.listen(Bottleneck, "/fleet/b", NEWEST)
    colours = probe.listen(Classification, "/classification/colour", RESULT)
    camera = probe.publisher(Image, "/image_raw", QoSProfile(depth=1))
    probe.exchange(camera, image_message(plain(RED), 1), colours)
    again = probe.first(bottlenecks)
    rival = probe.publisher(Bottleneck, "/fleet/b", QoSProfile(depth=1))
    # The newest once more is a copy. It is not the newest any more where the camera's image had to be sent again.
    probe.exchange(camera, image_message(plain(RED), 2), colours)
    probe.publish_until(rival, again, name, "refused/ReplayError")
    again.image_width += 1
    probe.publish_until(rival, again, name, "refused/SignatureError")
    again.signature[:] = 0
    probe.publish_until(rival, again, name, "refused/UnsignedError")
    probe.exchange(camera, image_message(plain(GREEN), 3), colours)
    assert {colour.header.stamp.sec for colour in colours} == {1, 2, 3}

    def knows_the_link(_: DiagnosticStatus, values: dict[str, str]) -> bool:
        return "n/a" not in (values["stage_ms/round_trip"], values["stage_ms/server"])

    forger = probe.publisher(LinkReport, "/link_report", MANY)
    probe.publish_until(forger, LinkReport(), "/edge: /image_raw", "refused/UnsignedError")
    probe.node.create_timer(0.05, lambda: camera.publish(image_message(plain(RED), 4)))
    values = probe.status("/edge: /image_raw", knows_the_link)
    assert values["refused/SignatureError"] == values["refused/ReportError"] == "0"
    assert "/link_report: the link report is not signed" in edge.log
    for process in (server, edge):
        assert process.end(signal.SIGTERM) == 0
        assert "chmod 600" in process.log and bytes(range(32)).hex() not in process.log


def test_stamps_may_go_back_with_the_clock(edge_half: EdgeHalf, probe: Probe, start: Start) -> None:
    server = start(
        *("server", "-p", f"bundle:={edge_half.bundle.folder}", "-p", "use_sim_time:=true"),
        *("-p", "diagnostics_period:=0.1"),
    )
    probe.status("/server", lambda status, _: status.level == DiagnosticStatus.WARN and "/clock" in status.message)
    edge = probe.publisher(Bottleneck, "/bottleneck", QoSProfile(depth=1))
    colours = probe.listen(Classification, "/classification/colour", RESULT)
    clock = probe.publisher(Clock, "/clock", QoSProfile(depth=1))
    time = Clock()
    probe.node.create_timer(0.05, lambda: clock.publish(time))
    message = bottleneck(edge_half, plain(RED), 0)

    def is_answered() -> bool:
        """Whether there is an answer; sends one more bottleneck, whose stamp is new."""
        message.sequence += 1
        message.header.stamp.nanosec += 1000
        edge.publish(message)
        return any(colour.header.stamp.sec == time.clock.sec for colour in colours)

    for second in (100, 50, 60):
        time.clock, message.header.stamp = Time(sec=second), Time(sec=second)
        probe.wait_for(f"an answer at {second} s", is_answered)
    probe.status("/server", lambda status, _: status.level == DiagnosticStatus.OK)
    assert server.end(signal.SIGTERM) == 0


def test_a_lifecycle_manager_takes_it_up_and_down_again_and_again(
    edge_half: EdgeHalf, probe: Probe, start: Start
) -> None:
    server = start("server", *ANY_AGE, "-p", f"bundle:={edge_half.bundle.folder}", "-p", "autostart:=false")
    colours = probe.listen(Classification, "/classification/colour", RESULT)
    for second in range(2):
        assert probe.change_state("/server", Transition.TRANSITION_CONFIGURE)
        assert probe.change_state("/server", Transition.TRANSITION_ACTIVATE)
        edge = probe.publisher(Bottleneck, "/bottleneck", QoSProfile(depth=1))
        probe.exchange(edge, bottleneck(edge_half, plain(RED), second), colours)
        assert probe.change_state("/server", Transition.TRANSITION_DEACTIVATE)
        probe.wait_for("the server to unsubscribe", lambda: not probe.node.count_subscribers("/bottleneck"))
        assert probe.change_state("/server", Transition.TRANSITION_CLEANUP)
        probe.wait_for("its topics to go", lambda: not probe.node.count_publishers("/classification/colour"))
        probe.node.destroy_publisher(edge)
    assert probe.change_state("/server", Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
    assert server.end(signal.SIGTERM) == 0


def test_two_vehicles_with_one_server(edge_half: EdgeHalf, probe: Probe, start: Start) -> None:
    vehicles = {"/car1": (RED, "red"), "/fleet/car2": (GREEN, "green")}
    server = start(
        *("server", *ANY_AGE, "-p", f"bundle:={edge_half.bundle.folder}", "-r", "__ns:=/fleet"),
        *("-p", "vehicles:=['/car1', 'car2']", "-p", "diagnostics_period:=0.1"),
    )
    for second, (vehicle, (colour, word)) in enumerate(vehicles.items()):
        edge = probe.publisher(Bottleneck, f"{vehicle}/bottleneck", NEWEST)
        colours = probe.listen(Classification, f"{vehicle}/classification/colour", RESULT)
        message = bottleneck(edge_half, plain(colour), second)
        assert classification.to_result(probe.exchange(edge, message, colours)).best == word
        assert all(answer.header == header(second) for answer in colours)
        probe.status(f"/fleet/server: {vehicle}/bottleneck", lambda _, values: int(values["published"]) > 0)
        # Somebody who comes late still gets the labels.
        labels = probe.listen(LabelInfo, f"{vehicle}/label_info/colour", LATCHED)
        assert [entry.class_name for entry in probe.first(labels).class_map] == list(COLOURS)
    assert server.end(signal.SIGTERM) == 0


def test_vehicles_may_use_several_bundles_and_what_would_be_late_is_given_up(
    edge_half: EdgeHalf, probe: Probe, start: Start, tmp_path: Path
) -> None:
    name = "/server: /bottleneck"
    other = EdgeHalf(add_areas(write_tiny_bundle(tmp_path / "other", "fedcba9876543210")))
    server = start(
        *("server", *ANY_AGE, "-p", f"bundle:={edge_half.bundle.folder}", "-p", "diagnostics_period:=0.1"),
        *("-p", f"further_bundles:=['{other.bundle.folder}']", "-p", "deadlines:=['=2.0']"),
    )
    colours = probe.listen(Classification, "/classification/colour", RESULT)
    areas = probe.listen(CompressedImage, "/segmentation/areas/compressed", RESULT)
    reports = probe.listen(LinkReport, "/link_report", MANY)
    edge = probe.publisher(Bottleneck, "/bottleneck", NEWEST)
    probe.exchange(edge, bottleneck(edge_half, plain(RED), 1), colours)
    assert not areas
    message = bottleneck(other, plain(GREEN), 2, 1)
    assert classification.to_result(probe.exchange(edge, message, colours)).best == "green"
    assert probe.first(areas).header == header(2)
    probe.status(name, lambda _, values: values["antt"] != "n/a" and int(values["in_time"]) >= 2)
    late = bottleneck(other, plain(RED), 3, 2)
    late.header.stamp = (probe.node.get_clock().now() - Duration(seconds=3)).to_msg()
    probe.publish_until(edge, late, name, "hopeless")
    probe.wait_for("a report that it is hopeless", lambda: any(r.fate == LinkReport.HOPELESS for r in reports))
    probe.status("/server", lambda _, values: int(values["hopeless"]) > 0 and int(values["in_time"]) >= 2)
    assert {colour.header.stamp.sec for colour in colours} == {1, 2}
    assert server.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("deadlines", ["['car2=0.1']", "['car1']", "['car1=-1']", "['car1=nan']", "['car1=61']"])
def test_deadlines_that_are_none(deadlines: str) -> None:
    values = {"vehicles": ["car1"], "deadline": 0.2, "deadlines": yaml.safe_load(deadlines)}
    with pytest.raises(
        InputError, match=r"deadlines has '.*', expected NAMESPACE=SECONDS with one of 'car1' and 0 to 60"
    ):
        read_deadlines(values)
    assert read_deadlines({**values, "deadlines": ["car1=0.1"]}) == {"car1": 0.1}
    assert read_deadlines({**values, "deadlines": [""]}) == {"car1": 0.2}


@pytest.mark.parametrize(
    "vehicles",
    [
        *("['car 1']", "['cars//1']", "['a//b']", f"[{'x' * 300}]"),
        *("['car1', 'car1']", "['car1', '/car1']", "['', '/']"),
    ],
)
def test_vehicles_that_are_no_namespaces(vehicles: str, start: Start) -> None:
    server = start("server", "-p", f"vehicles:={vehicles}")
    assert server.end() == 1
    assert server.log.count("vehicles") == 1 and "Traceback" not in server.log


@pytest.mark.parametrize("victim", ["edge", "server"])
def test_one_of_the_pair_is_killed_and_started_again(victim: str, bundle: Bundle, probe: Probe, start: Start) -> None:
    arguments = ("-p", f"bundle:={bundle.folder}", "-p", "diagnostics_period:=0.1")
    more = {"edge": (), "server": ANY_AGE}
    pair = {name: start(name, *arguments, *more[name]) for name in more}
    bottlenecks = probe.listen(Bottleneck, "/bottleneck", NEWEST)
    colours = probe.listen(Classification, "/classification/colour", RESULT)
    camera = probe.publisher(Image, "/image_raw", QoSProfile(depth=1))
    probe.exchange(camera, image_message(plain(RED), 1), colours)
    pair[victim].kill()
    if victim == "server":
        probe.exchange(camera, image_message(plain(RED), 2), bottlenecks)
    pair[victim] = start(victim, *arguments, *more[victim])
    probe.exchange(camera, image_message(plain(GREEN), 3), colours)
    if victim == "server":
        assert all(later.sequence > earlier.sequence for earlier, later in pairwise(bottlenecks))
    for process, number in zip(pair.values(), (signal.SIGINT, signal.SIGTERM), strict=True):
        assert process.end(number) == 0
