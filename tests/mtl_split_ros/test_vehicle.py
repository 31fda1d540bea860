"""What a vehicle's topic brings is taken or refused on arrival, by its publisher, signature, contents and time."""

import math
import random
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from hypothesis import given, settings
from hypothesis import strategies as st
from mtl_split.msg import Answer, Bottleneck, Features, LinkReport
from rclpy.clock import Clock
from rclpy.node import Node
from rclpy.serialization import serialize_message
from std_msgs.msg import Header

from mtl_split_core import handover
from mtl_split_core.answer import unpack_results
from mtl_split_core.bundle import Bundle
from mtl_split_core.control.link import Fate, Link
from mtl_split_core.division import Division
from mtl_split_core.errors import (
    InputError,
    PayloadError,
    ReplayError,
    SecondPublisherError,
    SignatureError,
    UnsignedError,
)
from mtl_split_core.features import FeatureFormat
from mtl_split_core.geometry import Letterbox
from mtl_split_core.halves import EdgeHalf, MiddleHalf, ServerHalf
from mtl_split_core.handover import Handover
from mtl_split_core.session import MOST_ANSWERED
from mtl_split_core.signing import Keys
from mtl_split_core.tracks import BYTETRACK, Tracks
from mtl_split_lab.learning.division import divide
from mtl_split_ros import vehicle as module
from mtl_split_ros.diagnostics import MOST_NAMED, Stream
from mtl_split_ros.messages import Sent, answer_statement, report_statement, statement, to_report
from mtl_split_ros.vehicle import LEFT, OtherContractError, OtherDivisionError, Receipt, TopicPublishers, Vehicle

from ..fuzz_signatures import TOPIC, fate
from ..processes import plain
from ..tiny_bundle import write_tiny_bundle

KEYS = Keys([bytes(range(32))])
SIZE = (128, 64)
FEATURES_TOPIC = "/car1/features"
EDGE, RIVAL = bytes([1] * 16), bytes([2] * 16)


@dataclass
class Graph:
    """The part of a node that knows who publishes; counts how often it is asked."""

    names: dict[bytes, str] = field(default_factory=lambda: {EDGE: "edge", RIVAL: "rival"})
    asked: int = 0

    def get_publishers_info_by_topic(self, topic: str) -> list[Any]:
        assert topic == TOPIC
        self.asked += 1
        return [
            SimpleNamespace(endpoint_gid=list(gid), node_name=name, node_namespace="/car1")
            for gid, name in self.names.items()
        ]


@dataclass
class Log:
    """Keeps the errors that are logged."""

    errors: list[str] = field(default_factory=list)

    def error(self, message: str) -> bool:
        self.errors.append(message)
        return True

    def warning(self, message: str) -> bool:
        return True


@dataclass
class Reports:
    """A publisher that keeps what it is given."""

    topic_name: str = "/car1/link_report"
    published: list[LinkReport] = field(default_factory=list)

    def publish(self, message: LinkReport) -> None:
        self.published.append(message)


@dataclass
class Answers:
    """A publisher that keeps what it is given, for so many subscriptions."""

    topic_name: str = "/car1/answer"
    published: list[Answer] = field(default_factory=list)
    listeners: int = 1

    def publish(self, message: Answer) -> None:
        self.published.append(message)

    def get_subscription_count(self) -> int:
        return self.listeners


@dataclass
class Served:
    """A vehicle, and what it is served with."""

    vehicle: Vehicle
    graph: Graph
    log: Log
    reports: Reports
    answers: Answers

    def take(self, message: Sent, publisher: bytes | None = EDGE) -> Receipt | None:
        """Let a message of a publisher arrive; None: rclpy does not tell."""
        gid = {} if publisher is None else {"publisher_gid": {"implementation_identifier": "rmw", "data": publisher}}
        return self.vehicle.take(message, cast(Any, gid))

    def values(self) -> Mapping[str, str]:
        return {value.key: value.value for value in self.vehicle.stream.report("/server").values}

    def counted(self) -> dict[str, int]:
        """What was counted, without zeros."""
        values = self.values()
        kinds = ("refused/", "second_publisher/", "lost", "repeated", "too_old", "in_future", "out_of_order")
        return {name: int(value) for name, value in values.items() if name.startswith(kinds) and value != "0"}


Serve = Callable[..., Served]


@pytest.fixture
def serve(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> Serve:
    monkeypatch.setattr(module, "LOOK_INTERVAL", 0.0)

    def serve(keys: Keys | None = None, max_age: float = 0.0, deadline: float = 0.0) -> Served:
        graph, log, reports, answers = Graph(), Log(), Reports(), Answers()
        stream = Stream(TOPIC, (), (), (), Clock(), log, {})
        publishers = TopicPublishers(cast(Node, graph), TOPIC, keys is not None)
        tracks = Tracks(bundle.tasks, BYTETRACK, 0.3)
        formats = {(bundle.contract.fingerprint, ""): bundle.payload_format}
        out = cast(Any, None), cast(Any, reports), cast(Any, answers)
        vehicle = Vehicle(
            *("car1", TOPIC, formats, stream, *out, publishers, max_age, deadline, keys),
            tracks,
        )
        return Served(vehicle, graph, log, reports, answers)

    return serve


@pytest.fixture(scope="module")
def payload(bundle: Bundle) -> bytes:
    return EdgeHalf(bundle).encode(plain((0, 0, 255))).payload


Send = Callable[..., Bottleneck]


@pytest.fixture
def send(bundle: Bundle, payload: bytes) -> Send:
    def send(sequence: int, second: int = 0, session: int = 7, keys: Keys | None = None, **fields: Any) -> Bottleneck:
        message = Bottleneck(
            header=Header(stamp=Time(sec=second or 1000 + sequence), frame_id="camera"),
            session=session,
            sequence=sequence,
            contract=bundle.contract.fingerprint,
            image_width=128,
            image_height=64,
            payload=array("B", payload),
        )
        for name, value in fields.items():
            setattr(message, name, value)
        return sign(message, keys) if keys else message

    return send


def sign(message: Sent, keys: Keys, topic: str = TOPIC) -> Sent:
    message.signature = np.frombuffer(keys.sign(statement(message, topic)), np.uint8)
    return message


def test_a_second_publisher_is_named_and_refused_until_the_first_is_gone(serve: Serve, send: Send) -> None:
    served = serve()
    assert served.take(send(0))
    assert not served.take(send(1), RIVAL) and not served.take(send(2), RIVAL)
    assert served.take(send(1))
    assert served.counted() == {"refused/SecondPublisherError": 2, "second_publisher//car1/rival": 2}
    assert "/car1/rival publishes too, but /car1/edge was first" in served.log.errors[0]
    del served.graph.names[EDGE]
    assert served.take(send(0, 5000, session=8), RIVAL)


def test_a_node_that_was_killed_and_starts_again_need_not_wait_until_it_is_forgotten(
    serve: Serve, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve()
    served.graph.names[RIVAL] = "edge"
    assert served.take(send(0))
    assert not served.take(send(0, 5000, session=8), RIVAL)
    monkeypatch.setattr(module, "SILENCE", -1.0)
    assert served.take(send(0, 5000, session=8), RIVAL)
    served.graph.names[RIVAL] = "rival"
    assert not served.take(send(1, 5001))


def test_junk_does_not_make_a_publisher_the_first(serve: Serve, send: Send) -> None:
    served = serve()
    assert not served.take(send(0, payload=array("B", b"junk")), RIVAL)
    assert not served.take(send(0, contract="fedcba9876543210"), RIVAL)
    assert served.take(send(0)) and not served.take(send(1), RIVAL)


def test_where_rclpy_does_not_tell_the_publisher_its_session_does(
    serve: Serve, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve()
    assert served.take(send(0), None) and served.take(send(1), None)
    assert not served.take(send(2, session=8), None)
    assert "session 8 publishes too, but session 7 was first" in served.log.errors[0]
    monkeypatch.setattr(module, "SILENCE", -1.0)
    assert served.take(send(2, session=8), None)


def test_a_flood_asks_the_middleware_now_and_then_and_names_few(
    serve: Serve, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_INTERVAL", 1e6)
    served = serve()
    assert served.take(send(0))
    for number in range(2, 200):
        assert not served.take(send(1), number.to_bytes(1) * 16)
    assert served.graph.asked == 1
    counts = {name: count for name, count in served.counted().items() if name.startswith("second_publisher/")}
    assert len(counts) == MOST_NAMED + 1 and counts["second_publisher/others"] == sum(counts.values()) - MOST_NAMED


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"contract": "fedcba9876543210"}, OtherContractError),
        ({"image_width": 0}, PayloadError),
        ({"image_height": 2**32 - 1}, PayloadError),
        ({"payload": array("B", b"")}, PayloadError),
        ({"payload": array("B", bytes(1 << 20))}, PayloadError),
    ],
)
@pytest.mark.parametrize("keys", [None, KEYS])
def test_what_cannot_be_decoded_is_refused_before_it_could_replace_anything(
    fields: dict[str, Any], error: type[InputError], keys: Keys | None, serve: Serve, send: Send
) -> None:
    served = serve(keys)
    assert not served.take(send(0, keys=keys, **fields))
    assert served.counted() == {f"refused/{error.__name__}": 1}
    assert served.take(send(0, keys=keys))


def now(ahead: float = 0.0) -> Header:
    nanoseconds = Clock().now().nanoseconds + round(ahead * 1e9)
    return Header(stamp=Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9))


def test_old_and_future_stamps_are_dropped_where_the_age_is_limited(serve: Serve, send: Send) -> None:
    served = serve(max_age=60.0)
    assert not served.take(send(0, header=now(-100))) and not served.take(send(1, header=now(100)))
    assert served.counted() == {"too_old": 1, "in_future": 1}
    assert served.take(send(2, header=now()))
    old = send(3, header=now(-100))
    assert not served.vehicle.is_timely(old) and served.counted()["too_old"] == 2
    unlimited = serve()
    assert unlimited.take(send(0, 1)) and unlimited.take(send(1, header=now(1e6)))


def test_stamps_that_go_back_are_dropped_until_the_clock_jumps_back(serve: Serve, send: Send) -> None:
    served = serve(max_age=60.0)
    newest = now()
    assert served.take(send(0, header=newest)) and not served.take(send(0, header=newest))
    assert served.counted() == {"repeated": 1} and not served.take(send(1, header=newest))
    assert not served.take(send(2, header=now(-20)))
    assert served.counted() == {"repeated": 1, "out_of_order": 2}
    served.vehicle.session.forget_stamps()
    assert served.take(send(3, header=now(-20)))


def test_numbers_at_their_limits(serve: Serve, send: Send) -> None:
    served = serve()
    for number, sequence in enumerate([0, 2**64 - 1, 0, 2**64 - 1, 5]):
        assert served.take(send(sequence, 1 + number, session=2**64 - 1))
    earliest = send(6, session=0)
    earliest.header.stamp = Time(sec=-(2**31), nanosec=2**32 - 1)
    assert served.take(earliest)
    assert served.counted() == {}


def test_with_a_key_only_what_is_signed_new_and_the_vehicles_own_is_taken(serve: Serve, send: Send) -> None:
    served = serve(KEYS)
    first, second = send(0, keys=KEYS), send(1, keys=KEYS)
    assert not served.take(send(0))
    assert not served.take(send(0, keys=Keys([bytes(32)])))
    assert not served.take(sign(send(0), KEYS, "/car2/bottleneck"))
    assert served.take(first, RIVAL) and served.take(second)  # who delivers it does not matter
    assert not served.take(first) and not served.take(second)
    assert not served.take(send(9, session=6, keys=KEYS))
    counted = {UnsignedError: 1, SignatureError: 2, ReplayError: 2}
    refused = {f"refused/{error.__name__}": count for error, count in counted.items()}
    assert served.counted() == {**refused, "repeated": 1}


def test_with_a_key_another_edge_waits_until_the_first_is_silent(
    serve: Serve, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SILENCE", 1e6)
    served = serve(KEYS)
    assert served.take(send(0, keys=KEYS))
    assert not served.take(send(0, session=8, keys=KEYS), RIVAL)
    assert served.counted() == {f"refused/{SecondPublisherError.__name__}": 1, "second_publisher//car1/rival": 1}
    monkeypatch.setattr(module, "SILENCE", -1.0)
    assert served.take(send(0, session=8, keys=KEYS), RIVAL)
    assert not served.take(send(1, keys=KEYS))


def test_an_edge_learns_from_the_reports_what_was_lost_late_replaced_and_answered(serve: Serve, send: Send) -> None:
    served = serve(KEYS, max_age=60.0)
    link = Link(session=7)
    for sequence in range(6):
        link.sent(sequence, 100, now=0.0)

    def arrive(sequence: int, age: float = 0.0) -> Receipt | None:
        return served.take(send(sequence, header=now(-age), keys=KEYS))

    first, third = arrive(0), arrive(2)
    assert first and third and served.reports.published == []
    served.vehicle.report(replace(first, arrived=first.arrived - 0.25), Fate.REPLACED, third.arrived)
    served.vehicle.report(replace(third, arrived=third.arrived - 0.25), Fate.ANSWERED, third.arrived)
    assert arrive(4, age=100) is None
    assert served.take(send(4, header=now(), keys=Keys([bytes(32)]))) is None
    fates = []
    for message in served.reports.published:
        KEYS.check(report_statement(message, "/car1/link_report"), message.signature.tobytes())
        report = to_report(message)
        fates.append(report.fate)
        assert link.reported(report, now=1.0)
    assert fates == [Fate.REPLACED, Fate.ANSWERED, Fate.UNTIMELY]
    assert served.reports.published[1].queued == pytest.approx(0.25)
    state = link.observe(1.0)
    assert state.loss == pytest.approx(2 / 5) and state.in_flight == 1 and state.unanswered == pytest.approx(1 / 3)


def test_a_report_takes_at_most_100_bytes(serve: Serve, send: Send) -> None:
    served = serve(KEYS)
    receipt = served.take(send(0, keys=KEYS))
    assert receipt
    served.vehicle.report(receipt, Fate.ANSWERED, receipt.arrived)
    [report] = served.reports.published
    assert len(serialize_message(report)) <= 100


@settings(max_examples=50)
@given(st.integers(0, 2**32))
def test_one_bit_of_a_signed_message_is_enough(seed: int) -> None:
    fate(random.Random(seed), KEYS)


def test_a_deadline_counts_from_the_stamp_and_not_from_one_of_another_clock(serve: Serve, send: Send) -> None:
    served = serve(deadline=0.5)
    for sequence, (age, left) in enumerate([(0.2, 0.3), (0.0, 0.5), (-1e6, 0.5)]):
        message = send(sequence, header=now(-age))
        receipt = served.take(message)
        assert receipt
        waiting = served.vehicle.wait(message, receipt)
        assert waiting.deadline - receipt.arrived == pytest.approx(left, abs=0.1)
        assert waiting.contract == message.contract
    endless = serve()
    receipt = endless.take(send(0))
    assert receipt and endless.vehicle.wait(send(0), receipt).deadline == math.inf


def test_a_bottleneck_that_comes_again_is_answered_again(serve: Serve, send: Send, bundle: Bundle) -> None:
    served = serve(KEYS, max_age=60.0)
    message = send(0, header=now(), keys=KEYS)
    receipt = served.take(message)
    assert receipt and served.take(message) is None and served.answers.published == []
    results = ServerHalf(bundle).decode(message.payload.tobytes(), SIZE)
    served.vehicle.answer(receipt, bundle, results, SIZE)
    served.vehicle.report(receipt, Fate.ANSWERED, receipt.arrived)
    assert len(served.answers.published) == 2 and served.reports.published[0].copies == 2
    assert served.take(message) is None
    assert len(served.answers.published) == 3
    assert [to_report(report).copies for report in served.reports.published][-1] == 3
    for answer in served.answers.published:
        KEYS.check(answer_statement(answer, "/car1/answer"), answer.signature.tobytes())
        assert (answer.session, answer.sequence) == (message.session, 0)
        letterbox = Letterbox(SIZE, bundle.input_size)
        assert unpack_results(bundle.tasks, answer.results.tobytes(), letterbox).keys() == results.keys()
    last = served.reports.published[-1]
    KEYS.check(report_statement(last, "/car1/link_report"), last.signature.tobytes())
    for _ in range(2 * MOST_ANSWERED):
        served.take(message)
    assert len(served.answers.published) == MOST_ANSWERED
    newer = send(1, header=now(), keys=KEYS)
    assert served.take(newer) and served.take(newer) is None
    assert len(served.answers.published) == MOST_ANSWERED


def test_nothing_is_packed_where_no_edge_wants_it(serve: Serve, send: Send, bundle: Bundle) -> None:
    served = serve()
    served.answers.listeners = 0
    receipt = served.take(send(0))
    assert receipt
    served.vehicle.answer(receipt, bundle, ServerHalf(bundle).decode(send(0).payload.tobytes(), SIZE), SIZE)
    assert served.answers.published == []


@pytest.fixture(scope="module")
def divided(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Division]:
    bundle, division, _ = divide(write_tiny_bundle(tmp_path_factory.mktemp("divided") / "tiny"), "means")
    return bundle, division


@pytest.fixture
def relay(divided: tuple[Bundle, Division], payload: bytes) -> Send:
    features = MiddleHalf(divided[0]).forward(payload, "means")

    def relay(message: Bottleneck, keys: Keys | None = None, **fields: Any) -> Features:
        said = {name: getattr(message, name) for name in message.get_fields_and_field_types() if name != "signature"}
        relayed = Features(**{**said, "division": divided[1].fingerprint, "payload": array("B", features), **fields})
        return sign(relayed, keys, FEATURES_TOPIC) if keys else relayed

    return relay


@pytest.fixture
def serve_both(serve: Serve, divided: tuple[Bundle, Division]) -> Serve:
    """Serves a vehicle that may send its frames itself, or through a roadside unit."""

    def serve_both(keys: Keys | None = None, max_age: float = 0.0) -> Served:
        served = serve(keys, max_age)
        served.vehicle.features_topic = FEATURES_TOPIC
        key = divided[0].contract.fingerprint, divided[1].fingerprint
        served.vehicle.formats = {**served.vehicle.formats, key: FeatureFormat(divided[1])}
        return served

    return serve_both


@pytest.mark.parametrize("keys", [None, KEYS])
def test_a_vehicle_changes_from_frame_to_frame_between_sending_itself_and_through_a_roadside_unit(
    keys: Keys | None, serve_both: Serve, send: Send, relay: Send
) -> None:
    served = serve_both(keys, max_age=60.0)
    tracks = served.vehicle.session.tracks
    for sequence in range(6):
        message = send(sequence, header=now(), keys=keys)
        taken = relay(message, keys) if sequence % 2 else message
        assert served.take(taken, RIVAL if sequence % 2 else EDGE)
        assert not served.take(message if sequence % 2 else relay(message, keys))  # the other way arrives later
    assert served.counted() == ({"repeated": 6} if keys else {"out_of_order": 6})
    assert served.vehicle.session.tracks is tracks
    passed_on = relay(send(6, header=now()), keys, division="", payload=send(6).payload)
    assert served.take(passed_on) and served.take(send(7, header=now(), keys=keys))


@pytest.mark.parametrize("keys", [None, KEYS])
def test_bottlenecks_are_left_to_a_roadside_unit_until_it_is_silent(
    keys: Keys | None, serve_both: Serve, send: Send, relay: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve_both(keys, max_age=60.0)
    served.vehicle.handover = Handover()
    sent = [send(sequence, header=now(), keys=keys) for sequence in range(5)]
    assert not served.take(sent[0]) and served.take(relay(sent[0], keys))
    assert not served.take(sent[1])
    # Junk is no sign of life.
    assert not served.take(relay(sent[1], keys, payload=array("B", bytes(1 << 20))))
    with monkeypatch.context() as later:
        later.setattr(handover, "PATIENCE", -1.0)
        assert served.take(sent[2])
    assert served.take(sent[3])
    # The unit is back; what it passes on first is answered already.
    assert not served.take(relay(sent[3], keys)) and not served.take(sent[4])
    values = served.values()
    assert (values["received"], values[LEFT]) == ("5", "3")


def test_a_roadside_unit_speaks_only_for_the_session_that_the_vehicle_has(
    serve_both: Serve, send: Send, relay: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve_both()
    assert served.take(send(0)) and not served.take(relay(send(1, session=8)))
    assert served.counted() == {"refused/SecondPublisherError": 1, "second_publisher/session 8": 1}
    monkeypatch.setattr(module, "SILENCE", -1.0)
    del served.graph.names[EDGE]
    assert served.take(relay(send(1, session=8)))


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"division": "fedcba9876543210"}, OtherDivisionError),
        ({"contract": "fedcba9876543210"}, OtherContractError),
        ({"image_width": 0}, PayloadError),
        ({"payload": array("B", b"")}, PayloadError),
        ({"payload": array("B", bytes(1 << 20))}, PayloadError),
        ({"division": ""}, PayloadError),
    ],
)
@pytest.mark.parametrize("keys", [None, KEYS])
def test_features_that_cannot_be_used_are_refused_before_they_could_replace_anything(
    fields: dict[str, Any], error: type[InputError], keys: Keys | None, serve_both: Serve, send: Send, relay: Send
) -> None:
    served = serve_both(keys)
    assert not served.take(relay(send(0), keys, **fields))
    assert served.counted() == {f"refused/{error.__name__}": 1}
    assert served.take(relay(send(0), keys))


def test_with_a_key_features_are_only_taken_as_they_were_signed(serve_both: Serve, send: Send, relay: Send) -> None:
    served = serve_both(KEYS)
    message = relay(send(0), KEYS)
    for other in (
        relay(send(0)),
        relay(send(0), Keys([bytes(32)])),
        sign(relay(send(0)), KEYS, TOPIC),
        relay(send(0), payload=message.payload, signature=send(0, keys=KEYS).signature),
    ):
        assert not served.take(other)
    changed = relay(send(0), KEYS)
    changed.division, changed.payload = "", send(0).payload
    assert not served.take(changed) and served.take(message)
    assert served.counted() == {"refused/UnsignedError": 1, "refused/SignatureError": 4}


def test_a_node_without_divisions_takes_no_features(serve: Serve, send: Send, relay: Send) -> None:
    served = serve()
    assert not served.take(relay(send(0)))
    assert "expected none: give roadside unit and server the same bundle" in served.log.errors[0]


@pytest.mark.parametrize(("copies", "counted"), [(1, 1), (2, 2), (0, 1), (255, MOST_ANSWERED)])
def test_a_roadside_unit_tells_how_many_copies_have_arrived_there(
    copies: int, counted: int, serve_both: Serve, send: Send, relay: Send
) -> None:
    served = serve_both(KEYS)
    receipt = served.take(relay(send(0), KEYS, copies=copies))
    assert receipt
    served.vehicle.report(receipt, Fate.ANSWERED, receipt.arrived)
    assert [message.copies for message in served.reports.published] == [counted]


def test_what_another_server_answers_is_remembered_so_that_this_one_can_go_on(serve: Serve, send: Send) -> None:
    served = serve(KEYS, max_age=1e10)
    mine = False
    served.vehicle.serves = lambda arrival: mine and arrival.sequence != 5
    tracks = served.vehicle.session.tracks
    assert not served.take(send(1, keys=KEYS)) and not served.take(send(3, keys=KEYS))
    served.take(send(4, 2 * 10**9, keys=KEYS))  # in the future: that is told by who has the vehicle
    assert served.reports.published == []
    assert served.counted() == {"lost": 1, "in_future": 1} and served.values()[module.ELSEWHERE] == "2"
    mine = True
    assert not served.take(send(2, keys=KEYS))  # a replay
    assert not served.take(send(5, keys=KEYS)) and served.vehicle.session.tracks is tracks
    receipt = served.take(send(6, keys=KEYS))
    assert receipt and receipt.received & 0b111111 == 0b101111 and served.vehicle.session.tracks is not tracks
    followed = served.vehicle.session.tracks
    assert served.take(send(7, keys=KEYS)) and served.vehicle.session.tracks is followed
