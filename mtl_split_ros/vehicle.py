"""One vehicle being served: which of the frames on its topics are taken, which refused, and by whom they are.

A server and a roadside unit take them alike.
"""

from __future__ import annotations  # rclpy's classes are generic from Kilted on

import math
import time
from array import array
from collections.abc import Callable, Iterable, Mapping
from dataclasses import InitVar, dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from mtl_split.msg import Answer, Features, LinkReport
from rclpy.clock import JumpHandle, JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher

from mtl_split_core.answer import pack_results
from mtl_split_core.bundle import Bundle
from mtl_split_core.control.link import Fate
from mtl_split_core.errors import (
    InferenceError,
    InputError,
    PayloadError,
    ReplayError,
    SecondPublisherError,
    SignatureError,
    UnsignedError,
)
from mtl_split_core.geometry import Letterbox
from mtl_split_core.halves import check_size
from mtl_split_core.handover import Handover
from mtl_split_core.scene import Results, Size
from mtl_split_core.serving import Waiting
from mtl_split_core.session import Arrival, Session
from mtl_split_core.signing import Keys
from mtl_split_core.tracks import Tracks
from mtl_split_ros.diagnostics import MOST_AHEAD, Stream, nanoseconds, plausible_age
from mtl_split_ros.messages import HeaderError, Sent, check_header, check_signature, sign
from mtl_split_ros.qos import full_name

if TYPE_CHECKING:
    from rclpy.subscription import MessageInfo

LOOK_INTERVAL = 0.2
"""Seconds between two looks at who publishes on a topic: a flood of messages must not become a flood of looks."""

SILENCE = 1.0
"""Seconds after which a publisher counts as gone where it cannot be looked up, where a signature proves who comes next,
or where the next one is the same node.
"""

ELSEWHERE = "elsewhere"
"""How the bottlenecks are counted that another server answers."""

LEFT = "left_to_unit"
"""And those that the roadside unit passes on."""

_UNKNOWN = "_NODE_NAME_UNKNOWN_"
"""How rmw calls the node of a publisher before it has heard of the node."""


class OtherContractError(InputError):
    """A bottleneck that was encoded under another contract."""


class OtherDivisionError(InputError):
    """Features of a division that this node has not loaded."""


REFUSALS = (PayloadError, OtherContractError, HeaderError, SecondPublisherError, InferenceError)
"""What a node that takes a vehicle's frames refuses."""

SIGNED_REFUSALS = (UnsignedError, SignatureError, ReplayError)
"""And with keys."""

COUNTS = ("dropped", "lost", "repeated", "too_old", "in_future", "out_of_order")
"""What it counts beside."""


def topic_within(vehicle: str, name: str) -> str:
    """Return the name of a vehicle's topic, relative to the node's namespace, as the vehicle's is."""
    return f"{vehicle.rstrip('/')}/{name}" if vehicle else name


def forget_stamps_on_jumps_back(node: Node, vehicles: Iterable[Vehicle[Any]]) -> JumpHandle:
    """Let the sessions forget their stamps whenever the node's clock goes back, until the handle is unregistered."""

    def forget(_: TimeJump) -> None:
        for vehicle in vehicles:
            vehicle.session.forget_stamps()

    back = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True)
    return node.get_clock().create_jump_callback(back, post_callback=forget)


def check_vehicles(node: Node, vehicles: list[str]) -> None:
    """Raise InputError where vehicles are not names of namespaces, each of them once, at least one."""
    try:
        topics = {full_name(node, topic_within(vehicle, "bottleneck")) for vehicle in vehicles}
    except InputError as error:
        raise InputError(f"vehicles expects names of namespaces: {error}") from error
    if not vehicles or len(topics) < len(vehicles):
        raise InputError(f"vehicles is {vehicles}, expected at least one, and each of them once")


class Form(Protocol):
    """What payloads have to look like: PayloadFormat for bottlenecks, FeatureFormat for a division's features."""

    @property
    def largest(self) -> int:
        """The most bytes that it can have."""
        ...

    def check_length(self, length: int) -> None:
        """Raise PayloadError for more bytes than it can have."""
        ...

    def parse(self, payload: bytes) -> object:
        """Check what can be known without decoding it. Raises PayloadError."""
        ...


class TopicPublishers:
    """Who publishes on a topic, as the middleware knows it: implements mtl_split_core.session.Publishers."""

    def __init__(self, node: Node, topic: str, signed: bool) -> None:
        """Look at the resolved name of a topic; signed: see SILENCE."""
        self._node = node
        self._topic = topic
        self._signed = signed
        self._names: dict[str, str] = {}
        self._look_at = self._heard_at = 0.0

    def heard(self) -> None:
        """Note that the publisher that has the vehicle has just sent something that was taken."""
        self._heard_at = time.monotonic()

    def may_follow(self, publisher: str, other: str) -> bool:
        """Whether the first one is not there any more, or silent, see SILENCE, and the other one its like."""
        silent = time.monotonic() > self._heard_at + SILENCE
        if publisher.startswith(_SESSION) or self._signed:
            return silent
        self._look()
        # A node that was killed is still known for a while: the one of its name is itself, started again.
        again = silent and self._names.get(other) == self._names.get(publisher)
        return publisher not in self._names or again

    def name(self, publisher: str) -> str:
        """Return the full name of a publisher's node; its identifier, where the node is not known (yet)."""
        self._look()
        return self._names.get(publisher, publisher)

    def _look(self) -> None:
        if (now := time.monotonic()) < self._look_at:
            return
        self._look_at = now + LOOK_INTERVAL
        self._names = {
            (gid := bytes(info.endpoint_gid).hex()): gid
            if info.node_name == _UNKNOWN
            else f"{info.node_namespace.rstrip('/')}/{info.node_name}"[:80]
            for info in self._node.get_publishers_info_by_topic(self._topic)
        }


@dataclass(frozen=True)
class Receipt:
    """A good bottleneck's place among the others, and when it arrived, in seconds of the monotonic clock.

    received: see mtl_split_core.session.Session.receive.
    """

    session: int
    sequence: int
    received: int
    arrived: float


Key = tuple[str, str]
"""The fingerprints of a contract and of one of its divisions; the latter is empty for what a bottleneck brings."""

Out = TypeVar("Out")


@dataclass(eq=False)
class Vehicle(Generic[Out]):
    """What a node knows and wants of one vehicle whose frames it takes.

    namespace: as in the node's parameters; topic: resolved name of its bottlenecks' topic; formats: of the payloads
    that it may send, see `key_of`; stream: the account of them; out: the publishers of what is made of them; reports,
    answers: the publishers of what becomes of each of them, and of all results at once (None: of none); max_age: in
    seconds, 0 disables the limit; deadline: of an answer, in seconds from the stamp, 0: none; keys: None: signatures do
    not count; tracks: without an object; features_topic: resolved name of the topic of what roadside units send;
    handover: whether a bottleneck is left to a roadside unit, None: none is; serves: whether a good bottleneck is this
    server's to answer, which it is asked once. What another server answers is only remembered, so that this one can go
    on with it.
    """

    namespace: str
    topic: str
    formats: Mapping[Key, Form]
    stream: Stream
    out: Out
    reports: Publisher[LinkReport]
    answers: Publisher[Answer] | None
    publishers: TopicPublishers
    max_age: float
    deadline: float
    keys: Keys | None
    tracks: InitVar[Tracks]
    features_topic: str = ""
    handover: Handover | None = None
    serves: Callable[[Arrival], bool] = lambda _: True
    session: Session = field(init=False)
    _told: LinkReport | None = field(init=False, default=None)
    _answer: Answer | None = field(init=False, default=None)
    _served: bool = field(init=False, default=True)

    def __post_init__(self, tracks: Tracks) -> None:
        # Without a limit of age, any recording may be played, and in a loop.
        self.session = Session(self.publishers, self.keys is not None, any_stamp=not self.max_age, tracks=tracks)

    def take(self, message: Sent, info: MessageInfo) -> Receipt | None:
        """Count a bottleneck that arrived, and refuse it (None) or not, by all that is known before it is decoded."""
        stamp, relayed = nanoseconds(message.header.stamp), isinstance(message, Features)
        copies = message.copies if relayed else 1
        arrival = Arrival(_publisher(message, info), message.session, message.sequence, stamp, relayed, copies)
        try:
            self._authenticate(message)
        except InputError as error:
            self.stream.count("received")
            self.stream.refuse(error)
            return None
        if self._is_left_to_unit(arrival):
            self.stream.count(LEFT)
            return None
        self.stream.count("received")
        try:
            if self.session.repeats(arrival):
                self.stream.count("repeated")
                self._repeat(message)
                return None
            self._check(message, arrival)
        except InputError as error:
            if isinstance(error, SecondPublisherError):
                self.stream.count_of("second_publisher", self.publishers.name(arrival.publisher))
            self.stream.refuse(error)
            return None
        self.stream.note(message.header.stamp)
        receipt = Receipt(message.session, message.sequence, self.session.receive(arrival), time.monotonic())
        served = self._is_served(arrival)
        if not self.is_timely(message):
            if served:
                self.report(receipt, Fate.UNTIMELY, receipt.arrived)
            return None
        lost = self.session.take(arrival)
        if lost is None:
            # No report: it is repeated, or that of a newer one has told that it arrived.
            self.stream.count("out_of_order")
            return None
        self.publishers.heard()
        self.stream.count("lost", lost)
        if not served:
            self.stream.count(ELSEWHERE)
            return None
        return receipt

    def _is_left_to_unit(self, arrival: Arrival) -> bool:
        if self.handover is None:
            return False
        place, now = (arrival.session, arrival.sequence), time.monotonic()
        if not arrival.relayed:
            return self.handover.leave(place, now)
        self.handover.passed_on(place, now)
        return False

    def wait(self, message: Sent, receipt: Receipt) -> Waiting[Vehicle[Out]]:
        """Return what the order of serving needs to know of a bottleneck that was taken."""
        left = self.deadline - plausible_age(self.stream.age(message.header.stamp)) if self.deadline else math.inf
        return Waiting(self, "".join(key_of(message)), receipt.arrived, time.monotonic() + left)

    def report(self, receipt: Receipt, fate: Fate, begun: float) -> None:
        """Tell the edge what has become of a bottleneck; `begun`: when the work on it began, by the monotonic clock."""
        self._told = LinkReport(
            session=receipt.session,
            sequence=receipt.sequence,
            received=receipt.received,
            queued=begun - receipt.arrived,
            service=time.monotonic() - begun,
            fate=int(fate),
        )
        self._publish_report(self._told)

    def answer(self, receipt: Receipt, bundle: Bundle, results: Results, size: Size) -> None:
        """Send all results of a bundle for a picture of a size at once, where an edge wants them.

        They go out as often as the bottleneck has come. One that comes again after that is answered again.
        """
        if self.answers is None or not self.answers.get_subscription_count():
            return
        packed = pack_results(bundle.tasks, results, Letterbox(size, bundle.input_size))
        answer = Answer(session=receipt.session, sequence=receipt.sequence, results=array("B", packed))
        if self.keys is not None:
            sign(answer, self.keys, self.answers.topic_name)
        self._answer = answer
        for _ in range(self.session.answers(receipt.session, receipt.sequence)):
            self.answers.publish(answer)

    def _repeat(self, message: Sent) -> None:
        """Answer and report again where both are done already: what was sent before may have got lost."""
        told, answer = self._told, self._answer
        again = self.session.count_copy()
        if told is None or (told.session, told.sequence) != (message.session, message.sequence) or not again:
            return
        if self.answers and answer and (answer.session, answer.sequence) == (message.session, message.sequence):
            self.answers.publish(answer)
        self._publish_report(told)

    def _publish_report(self, report: LinkReport) -> None:
        report.copies = self.session.copies(report.session, report.sequence)
        if self.keys is not None:
            sign(report, self.keys, self.reports.topic_name)
        self.reports.publish(report)

    def is_timely(self, message: Sent) -> bool:
        """Whether a bottleneck's stamp is neither too old nor in the future; counts those that are."""
        age = self.stream.age(message.header.stamp)
        if not self.max_age or -MOST_AHEAD <= age <= self.max_age:
            return True
        self.stream.count("in_future" if age < 0 else "too_old")
        return False

    def _is_served(self, arrival: Arrival) -> bool:
        before, self._served = self._served, self.serves(arrival)
        if self._served and not before:
            # Its objects were followed by another server meanwhile.
            self.session.tracks = self.session.tracks.anew()
        return self._served

    def _authenticate(self, message: Sent) -> None:
        """Raise InputError for a bottleneck that no vehicle of ours has sent, or that is not even worth looking at."""
        check_header(message.header)
        max(self.formats.values(), key=lambda form: form.largest).check_length(len(message.payload))
        if self.keys is not None:
            check_signature(message, self.keys, self.features_topic if isinstance(message, Features) else self.topic)

    def _check(self, message: Sent, arrival: Arrival) -> None:
        """Raise InputError for a bottleneck that cannot be used; what is hardest to forge comes first."""
        self.session.admit(arrival)
        contracts = [contract for contract, division in self.formats if not division]
        if message.contract not in contracts:
            raise OtherContractError(
                f"the bottleneck has the contract {message.contract[:64]!r}, expected"
                f" {' or '.join(map(repr, contracts))}: give edge and server bundles of the same training"
            )
        if key_of(message) not in self.formats:
            divisions = [division for contract, division in self.formats if division and contract == message.contract]
            raise OtherDivisionError(
                f"the features have the division {message.division[:64]!r}, expected"
                f" {' or '.join(map(repr, divisions)) or 'none'}: give roadside unit and server the same bundle"
            )
        check_size((message.image_width, message.image_height))
        self.formats[key_of(message)].parse(message.payload.tobytes())


def key_of(message: Sent) -> Key:
    """Return what tells which part of which network goes on with a frame: its contract and division."""
    return message.contract, message.division if isinstance(message, Features) else ""


_SESSION = "session "


def _publisher(message: Sent, info: MessageInfo) -> str:
    """Identify a publisher; where rclpy does not tell (up to Kilted), by its session, which it may choose itself.

    So it is for features, too: any roadside unit may speak for a vehicle whose session it repeats.
    """
    gid = None if isinstance(message, Features) else info.get("publisher_gid")
    return bytes(gid["data"]).hex() if gid else f"{_SESSION}{message.session}"
