"""What is published beside and around the results of the kinds of task: labels, truth, topics, what is signed."""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from mtl_split.msg import Answer, AnswerInfo, Bottleneck, Features, LinkReport, ServerState
from std_msgs.msg import Header
from vision_msgs.msg import LabelInfo, VisionClass

from mtl_split_core.control.link import Fate, Report
from mtl_split_core.errors import InputError
from mtl_split_core.group import MOST_VEHICLES, GroupError, Holding, Place, Server, State
from mtl_split_core.kinds import KINDS as CORE_KINDS
from mtl_split_core.scene import Task, Truth
from mtl_split_core.signing import (
    AnswerStatement,
    BottleneckStatement,
    FeaturesStatement,
    Keys,
    ReportStatement,
    Statement,
    StateStatement,
)
from mtl_split_ros.kinds import KINDS

MOST_FRAME_ID_BYTES = 256

MOST_NAME_BYTES = 256
"""Of a server, and of a vehicle's topic."""

MOST_CHARACTERS = 40
"""Of the name of an operating point."""


_CONSTANTS: Mapping[str, Any] = type(AnswerInfo).__prepare__("", ())

SOURCES: dict[int, str] = {number: name.lower() for name, number in _CONSTANTS.items()}
"""Where the answers of an edge with a deadline come from, by the constants of AnswerInfo: "server" and so on."""


NOT_SENT = "nothing"
"""What stands for the operating point where no bottleneck was sent."""


@dataclass(frozen=True)
class Origin:
    """Where a final answer comes from, as AnswerInfo says it.

    source: one of SOURCES; operating_point: that the bottleneck was sent at, or NOT_SENT; age: of the image when the
    answer was published, in seconds; late: whether that was after the deadline.
    """

    source: str
    operating_point: str
    age: float
    late: bool


def to_origin(message: AnswerInfo) -> Origin:
    """Read where an answer comes from; of a name that no bundle has, only so much as fits on a line."""
    source = SOURCES.get(message.source, f"source {message.source}")
    return Origin(source, message.operating_point[:MOST_CHARACTERS] or NOT_SENT, message.age, message.late)


FEATURES = "features"
"""Within a vehicle's namespace, the topic of what a roadside unit sends to the server."""

Sent: TypeAlias = Bottleneck | Features
"""What brings a frame to the server."""


class HeaderError(InputError):
    """A header that no camera sends."""


def check_header(header: Header) -> None:
    """Raise HeaderError for a `frame_id` of more than MOST_FRAME_ID_BYTES: every detection repeats it."""
    length = len(header.frame_id.encode())
    if length > MOST_FRAME_ID_BYTES:
        raise HeaderError(
            f"frame_id has {length} bytes, {header.frame_id[:40]!r} and so on, expected at most {MOST_FRAME_ID_BYTES}"
        )


def result_topic(task: Task) -> str:
    """The relative name of the topic with a task's results."""
    return KINDS[task.kind].topic(task)


_FIRST_PARTS = {kind.topic(Task("", name, ())).partition("/")[0] for name, kind in KINDS.items()}


def may_be_result(topic: str) -> bool:
    """Whether a topic is named as those of results and truth are."""
    return not _FIRST_PARTS.isdisjoint(topic.split("/"))


def truth_messages(truth: Truth, header: Header) -> dict[str, Any]:
    """Write what is really in a picture in the words of the results, with scores of 1; by topic."""
    return {topic: message for kind in KINDS.values() for topic, message in kind.truth_messages(truth, header).items()}


def statement(message: Sent, vehicle: str) -> BottleneckStatement:
    """Return what the signature of a vehicle's frame covers; the vehicle is the resolved name of the topic."""
    stamp = message.header.stamp
    said = {
        "vehicle": vehicle,
        "stamp": (stamp.sec, stamp.nanosec),
        "frame_id": message.header.frame_id,
        "session": message.session,
        "sequence": message.sequence,
        "contract": message.contract,
        "size": (message.image_width, message.image_height),
        "payload": message.payload.tobytes(),
    }
    if isinstance(message, Features):
        return FeaturesStatement(**said, copies=message.copies, division=message.division)
    return BottleneckStatement(**said)


class ReportError(InputError):
    """A link report that no server sends."""


def report_statement(message: LinkReport, vehicle: str) -> ReportStatement:
    """Return what the signature of a link report covers; the vehicle is the resolved name of the topic."""
    return ReportStatement(
        vehicle=vehicle,
        session=message.session,
        sequence=message.sequence,
        received=message.received,
        queued=message.queued,
        service=message.service,
        fate=message.fate,
        copies=message.copies,
    )


def answer_statement(message: Answer, vehicle: str) -> AnswerStatement:
    """Return what the signature of an answer covers; the vehicle is the resolved name of the topic."""
    return AnswerStatement(vehicle, message.session, message.sequence, message.results.tobytes())


def state_statement(message: ServerState, topic: str) -> StateStatement:
    """Return what the signature of a server's state covers, by the resolved name of the topic.

    Raises GroupError for lists that are not of one length, and for what is too long.
    """
    lists = [tuple(getattr(message, name)) for name in ("vehicles", "serves", "sessions", "sequences")]
    if len(set(map(len, lists))) > 1 or len(message.vehicles) > MOST_VEHICLES:
        raise GroupError(
            f"a server's state has lists of {', '.join(str(len(one)) for one in lists)}, expected one length, at most"
            f" {MOST_VEHICLES}"
        )
    longest = max(len(name.encode()) for name in (message.server, *message.vehicles))
    if longest > MOST_NAME_BYTES:
        raise GroupError(f"a server's state has a name of {longest} bytes, expected at most {MOST_NAME_BYTES}")
    return StateStatement(topic, message.server, message.session, message.number, message.ready, *lists)


def state_message(state: State) -> ServerState:
    """Write what a server of a group tells the others."""
    holdings = state.vehicles.values()
    return ServerState(
        server=state.server.name,
        session=state.server.session,
        number=state.number,
        ready=state.ready,
        vehicles=list(state.vehicles),
        serves=[holding.serves for holding in holdings],
        sessions=[holding.newest.session for holding in holdings],
        sequences=[holding.newest.sequence for holding in holdings],
    )


def to_state(message: ServerState) -> State:
    """Read what a server of a group tells the others. Raises GroupError as `state_statement` does."""
    said = state_statement(message, "")
    holdings = map(Holding, said.serves, map(Place, said.sessions, said.sequences))
    vehicles = dict(zip(said.vehicles, holdings, strict=True))
    return State(Server(said.server, said.session), said.number, said.ready, vehicles)


Signed: TypeAlias = Sent | LinkReport | Answer | ServerState


def sign(message: Signed, keys: Keys, topic: str) -> None:
    """Put the signature into a message that goes out on a topic, by its resolved name."""
    message.signature = np.frombuffer(keys.sign(_statement_of(message, topic)), np.uint8)


def check_signature(message: Signed, keys: Keys, topic: str) -> None:
    """Check the signature of a message that came on a topic, by its resolved name. Raises as Keys.check does."""
    keys.check(_statement_of(message, topic), message.signature.tobytes())


def _statement_of(message: Signed, topic: str) -> Statement:
    match message:
        case Bottleneck() | Features():
            return statement(message, topic)
        case LinkReport():
            return report_statement(message, topic)
        case ServerState():
            return state_statement(message, topic)
        case _:
            return answer_statement(message, topic)


def to_report(message: LinkReport) -> Report:
    """Read a link report. Raises ReportError for an unknown fate, times that cannot be, and where nothing arrived."""
    if message.fate not in set(Fate):
        raise ReportError(f"a link report's fate is {message.fate}, expected 0 to {max(Fate)}: update this node")
    for name, seconds in (("queued", message.queued), ("service", message.service)):
        if not 0 <= seconds < math.inf:
            raise ReportError(f"a link report says {name} is {seconds}, expected seconds from 0 on")
    if not message.copies:
        raise ReportError("a link report says that 0 copies have arrived, expected 1 at least")
    return Report(
        message.session,
        message.sequence,
        message.received,
        message.queued,
        message.service,
        Fate(message.fate),
        message.copies,
    )


def type_name(message: type[Any]) -> str:
    """Return the name of a message's type, such as sensor_msgs/msg/Image."""
    return f"{message.__module__.partition('.')[0]}/msg/{message.__name__}"


def stamp_of(message: bytes) -> int:
    """Read the stamp, in nanoseconds, of a serialised message that begins with a header; 0 where it is truncated."""
    if len(message) < 12:
        return 0
    seconds, nanoseconds = struct.unpack_from("<iI" if message[1] & 1 else ">iI", message, 4)
    return int(seconds * 10**9 + nanoseconds)


def label_info(task: Task, header: Header, score_threshold: float) -> LabelInfo:
    """The labels of a task, numbered; its threshold, the lowest score that is published, is 0 where none applies."""
    classes = [VisionClass(class_id=number, class_name=label) for number, label in enumerate(task.labels)]
    threshold = score_threshold if CORE_KINDS[task.kind].HAS_THRESHOLD else 0.0
    return LabelInfo(header=header, class_map=classes, threshold=threshold)
