"""A subscription that is matched and silent is made anew, then in a new participant, and told when that has helped."""

from collections.abc import Iterator

import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.publisher import Publisher
from rclpy.topic_endpoint_info import TopicEndpointInfo
from std_msgs.msg import Header

from mtl_split_ros import subscriptions
from mtl_split_ros.diagnostics import Stream
from mtl_split_ros.qos import NEWEST, RESULT
from mtl_split_ros.subscriptions import SILENCE, Subscriptions, Watch

from ..processes import Probe
from .test_diagnostics import Log, report

CAMERA, ANOTHER = frozenset({b"camera"}), frozenset({b"another"})


def overdue(watch: Watch, publishers: frozenset[bytes], until: int) -> list[int]:
    """The seconds, of those until then, at which the subscription is made anew."""
    return [second for second in range(until) if watch.is_overdue(second, publishers)]


def test_the_pauses_between_two_attempts_grow() -> None:
    assert overdue(Watch(0.0), CAMERA, 220) == [3, 6, 12, 24, 48, 96, 156, 216]


def test_nobody_is_waited_for() -> None:
    assert not overdue(Watch(0.0), frozenset(), 100)


def test_a_message_or_another_publisher_ends_a_silence() -> None:
    watch = Watch(0.0)
    assert overdue(watch, CAMERA, 14) == [3, 6, 12]
    assert watch.has_arrived(14.0, 1) and not watch.has_arrived(14.5, 1)
    assert not watch.is_overdue(16.9, CAMERA) and watch.is_overdue(17.0, CAMERA) and watch.attempts == 1
    assert not watch.is_overdue(30.0, ANOTHER) and watch.is_overdue(30.0 + SILENCE, ANOTHER)


def test_who_publishes_is_known_once_something_has_arrived_and_until_another_does() -> None:
    watch = Watch(0.0)
    assert watch.is_overdue(3.0, CAMERA) is watch.known is False
    assert watch.has_arrived(4.0, 1) and watch.known
    assert watch.is_overdue(7.0, CAMERA) and watch.known
    assert not watch.is_overdue(8.0, frozenset()) and not watch.known
    assert watch.has_arrived(9.0, 2) and not watch.is_overdue(10.0, ANOTHER) and watch.known


class Listener:
    """Two topics of one node that are listened to in the probe's executor."""

    def __init__(self, probe: Probe) -> None:
        self.log = Log()
        self.probe = probe
        self.subscriptions = Subscriptions(probe.node)
        self.streams = [self._listen("left"), self._listen("right")]

    def _listen(self, topic: str) -> Stream:
        stream = Stream(f"/{topic}", (), (), (), self.probe.node.get_clock(), self.log, {})
        self.subscriptions.subscribe(Header, topic, lambda message: stream.count("received"), NEWEST, stream)
        return stream

    def renewed(self, stream: Stream) -> int:
        return int(report(stream)[1]["renewed"])

    def send(self, publisher: Publisher[Header], stream: Stream) -> None:
        before = stream.arrived

        def arrived() -> bool:
            publisher.publish(Header(stamp=Time(sec=1)))
            return stream.arrived > before

        self.probe.wait_for("a message", arrived)


@pytest.fixture
def listener(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    monkeypatch.setattr(subscriptions, "SILENCE", 0.5)
    listener = Listener(probe)
    yield listener
    listener.subscriptions.close()


def test_silent_topics_move_to_one_new_participant_and_are_heard_there(listener: Listener, probe: Probe) -> None:

    def participants() -> set[bytes]:
        """The first 12 bytes of an endpoint's identifier are its participant's."""
        found = [one for stream in listener.streams for one in probe.node.get_subscriptions_info_by_topic(stream.topic)]
        return {bytes(one.endpoint_gid)[:12] for one in found}

    at_first = participants()
    talker = Probe(probe.node.context.get_domain_id())
    try:
        publishers = [talker.publisher(Header, stream.topic, NEWEST) for stream in listener.streams]
        probe.wait_for("a new participant", lambda: len(participants()) == 1 and participants() != at_first)
        for publisher, stream in zip(publishers, listener.streams, strict=True):
            listener.send(publisher, stream)
    finally:
        talker.close()
    assert any("though /probe advertises it: it was subscribed to anew" in warning for warning in listener.log.warnings)


@pytest.mark.parametrize("before", [True, False])
def test_what_has_helped_is_an_error_once_unless_it_may_just_have_begun(
    listener: Listener, probe: Probe, before: bool
) -> None:
    left, right = listener.streams
    talker = Probe(probe.node.context.get_domain_id())
    try:
        publisher = talker.publisher(Header, left.topic, NEWEST)
        if before:
            listener.send(publisher, left)
        probe.wait_for("an attempt", lambda: bool(listener.log.warnings))
        listener.send(publisher, left)
        if before:
            probe.wait_for("an error", lambda: bool(listener.log.errors))
            assert listener.log.errors[0].startswith("nothing arrived on /left until it was subscribed to anew")
            assert report(left)[0].level == DiagnosticStatus.ERROR != report(left)[0].level
        else:
            probe.wait_for("the next attempt", lambda: len(listener.log.warnings) > 1)
            assert not listener.log.errors
    finally:
        talker.close()
    assert not listener.renewed(right)


def test_a_publisher_whose_profile_does_not_match_is_no_reason(listener: Listener, probe: Probe) -> None:
    reliable = Stream("/results", (), (), (), probe.node.get_clock(), listener.log, {})
    listener.subscriptions.subscribe(Header, "results", lambda message: None, RESULT, reliable)
    talker = Probe(probe.node.context.get_domain_id())
    try:
        talker.node.create_publisher(Header, "results", NEWEST)
        talker.publisher(Header, "left", NEWEST)
        probe.wait_for("an attempt elsewhere", lambda: listener.renewed(listener.streams[0]) > 1)
    finally:
        talker.close()
    assert not listener.renewed(reliable)


def test_a_publisher_on_another_machine_is_no_reason(
    listener: Listener, probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, right = listener.streams
    publishers_of = probe.node.get_publishers_info_by_topic

    def info(topic: str) -> list[TopicEndpointInfo]:
        found = publishers_of(topic)
        for one in found:
            if topic == left.topic:
                one.endpoint_gid = [byte ^ 1 for byte in one.endpoint_gid]
        return found

    monkeypatch.setattr(probe.node, "get_publishers_info_by_topic", info)
    talker = Probe(probe.node.context.get_domain_id())
    try:
        for stream in listener.streams:
            talker.publisher(Header, stream.topic, NEWEST)
        probe.wait_for("an attempt elsewhere", lambda: listener.renewed(right) > 1)
    finally:
        talker.close()
    assert not listener.renewed(left)
