"""Two servers of a group: each vehicle is served by one of them, whoever is killed, and no frame is answered twice."""

import itertools
import signal
from collections import Counter
from functools import partial

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from mtl_split.msg import Bottleneck, LinkReport, ServerState
from rclpy.qos import QoSProfile
from vision_msgs.msg import Classification

from mtl_split_core.bundle import Bundle
from mtl_split_core.group import GroupError, Holding, Place, Server, State
from mtl_split_core.halves import EdgeHalf
from mtl_split_ros.messages import state_message, to_state
from mtl_split_ros.qos import ALIVE, MANY, NEWEST

from ..conftest import Start
from ..processes import Probe, plain
from .test_node import ANY_AGE, RED, bottleneck

CARS = [f"/car{number}" for number in range(4)]
FRAMES_PER_SECOND = 20


def test_what_a_server_tells_is_what_the_others_read() -> None:
    state = State(Server("machine:/one", 7), 3, True, {"a": Holding(True, Place(5, 2**63)), "b": Holding()})
    assert to_state(state_message(state)) == state


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (ServerState(vehicles=["a"], serves=[True], sessions=[1]), "lists of 1, 1, 1, 0, expected one length"),
        (ServerState(server="one", vehicles=["a"], sessions=[1]), "lists of 1, 0, 1, 0"),
        (ServerState(server="x" * 300), "a name of 300 bytes"),
    ],
)  # fmt: skip
def test_a_state_that_no_server_sends(message: ServerState, words: str) -> None:
    with pytest.raises(GroupError, match=words):
        to_state(message)


@pytest.mark.timeout(180)
def test_one_of_two_is_killed_and_comes_back(bundle: Bundle, probe: Probe, start: Start) -> None:
    arguments = ("-p", f"vehicles:={CARS}", "-p", "group:=fleet", "-p", "diagnostics_period:=0.1")
    run = partial(start, "server", *ANY_AGE, "-p", f"bundle:={bundle.folder}", *arguments)
    one, two = run("-r", "__node:=one"), run("-r", "__node:=two")
    sequences, payload = itertools.count(), bottleneck(EdgeHalf(bundle), plain(RED), 0)
    answers = {car: probe.listen(Classification, f"{car}/classification/colour", QoSProfile(depth=100)) for car in CARS}
    reports = {car: probe.listen(LinkReport, f"{car}/link_report", MANY) for car in CARS}
    senders = [probe.publisher(Bottleneck, f"{car}/bottleneck", NEWEST) for car in CARS]

    def send() -> None:
        payload.sequence = next(sequences)
        payload.header.stamp.sec = payload.sequence
        for sender in senders:
            sender.publish(payload)

    probe.node.create_timer(1 / FRAMES_PER_SECOND, send)

    def answered(car: str) -> Counter[int]:
        return Counter(answer.header.stamp.sec for answer in answers[car])

    def all_are_served() -> bool:
        newest = payload.sequence - FRAMES_PER_SECOND // 2
        return all(any(sequence > newest for sequence in answered(car)) for car in CARS)

    def serves(name: str, number: int) -> None:
        probe.status(f"/{name}: /servers/fleet", lambda status, _: f"serves {number} of 4" in status.message)

    for name in ("one", "two"):
        serves(name, 2)
    probe.wait_for("answers for all vehicles", all_are_served)
    one.kill()
    serves("two", 4)
    probe.wait_for("answers for all vehicles", all_are_served)
    one = run("-r", "__node:=one")
    for name in ("one", "two"):
        serves(name, 2)
    begun = payload.sequence
    probe.wait_for("more frames", lambda: payload.sequence > begun + FRAMES_PER_SECOND)
    probe.wait_for("answers for all vehicles", all_are_served)
    for car in CARS:
        twice = {sequence: count for sequence, count in answered(car).items() if count > 1}
        assert not twice, (car, twice)
        assert max(Counter(report.sequence for report in reports[car]).values()) == 1
    # The vehicles of the other one are no fault.
    statuses = [probe.statuses[f"/two: {car}/bottleneck"] for car in CARS]
    elsewhere = [status for status in statuses if ":/one, of 2" in status.message]
    assert len(elsewhere) == 2 and all(status.level == DiagnosticStatus.OK for status in elsewhere)
    stranger = probe.publisher(ServerState, "/servers/fleet", ALIVE)
    probe.publish_until(stranger, ServerState(server="x" * 300), "/two: /servers/fleet", "refused/GroupError")
    assert one.end(signal.SIGTERM) == 0  # it leaves its vehicles to the other one
    serves("two", 4)
    assert two.end(signal.SIGTERM) == 0


def test_a_group_with_a_name_that_no_topic_can_have(start: Start) -> None:
    server = start("server", "-p", "group:=a b")
    assert server.end() == 1
    assert "group is 'a b', expected letters, digits and _" in server.log and "Traceback" not in server.log
