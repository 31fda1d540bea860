"""The edge node: camera images in, bottlenecks out."""

from __future__ import annotations  # rclpy's classes are generic from Kilted on

import math
import threading
import time
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
from mtl_split.msg import Bottleneck, LinkReport
from rclpy.parameter import Parameter as RosParameter
from rclpy.publisher import Publisher
from rclpy.subscription import Subscription

from mtl_split_core.bundle import Bundle, load_bundle
from mtl_split_core.control.controller import Controller, is_measured, menu_of
from mtl_split_core.control.learned import learned
from mtl_split_core.control.link import Fate, LinkState
from mtl_split_core.control.policy import (
    ALONE,
    FIXED,
    LEARNED,
    MOST_COPIES,
    Action,
    Menu,
    Own,
    Policy,
    Situation,
    alone,
    find_policy,
    fixed,
    outage,
)
from mtl_split_core.errors import (
    ImageError,
    InferenceError,
    InputError,
    SignatureError,
    TooLargeError,
    UnsignedError,
)
from mtl_split_core.halves import EdgeHalf, Encoded
from mtl_split_core.share import bundle_folder
from mtl_split_edge.answering import COUNTS, ERRORS, Answering, Frame
from mtl_split_edge.camera_input import COMPRESSED, IMAGES_LOST, RAW, TOPICS, TRANSPORTS, CameraInput
from mtl_split_ros.diagnostics import Stream, plausible_age
from mtl_split_ros.images import CameraMessage, to_picture
from mtl_split_ros.lifecycle import COMMON_PARAMETERS, ManagedNode
from mtl_split_ros.mailbox import Mailbox
from mtl_split_ros.messages import HeaderError, ReportError, check_header, check_signature, sign, to_report
from mtl_split_ros.parameters import Parameter, Parameters
from mtl_split_ros.process import run
from mtl_split_ros.qos import MANY, NEWEST, advertise, subscribe
from mtl_split_ros.results import result_parameters

PARAMETERS = Parameters(
    "edge",
    *COMMON_PARAMETERS,
    Parameter(
        "transport",
        "Subscribe to `image_raw` (raw), to `image_raw/compressed` (compressed), or to raw images where they arrive and"
        " else to compressed ones (auto).",
        choices=TRANSPORTS,
    ),
    Parameter(
        "operating_point",
        "With the policy fixed, and without answer_by: quality of the bottleneck, a name from the bundle's manifest;"
        " empty: its default. May be changed at any time.",
        live=True,
    ),
    Parameter(
        "max_payload_bytes",
        "A frame that takes more goes out at the next coarser operating point. May be changed at any time.",
        range=(64, 1_000_000),
        live=True,
    ),
    Parameter(
        "copies",
        "With the policy fixed: how often each bottleneck is sent: of two copies, hardly ever both get lost. May be"
        " changed at any time.",
        range=(1, 2),
        live=True,
    ),
    Parameter(
        "answer_by",
        "Publish one final answer per image at most so many seconds after its stamp: the server's, which then has to be"
        " told to publish under `remote/` (its results_namespace), or the edge's own; 0: the server publishes them,"
        " and the policy is fixed.",
        range=(0.0, 10.0),
    ),
    Parameter(
        "local_suffix",
        "With answer_by: load the server's half, too, so that the edge can answer by itself, as well as the server. An"
        " exit of the bundle is always loaded.",
    ),
    Parameter(
        "policy",
        "With answer_by: what chooses for each frame whether, at which operating point and how often it is sent, and"
        " what answers on the edge: `predictive` weighs what each is worth by the state of the link, `ladder` goes by"
        " the time that the server takes, `learned:PATH` is an ONNX file of `mtl-split train-policy`, `fixed` sends all"
        " at operating_point, as often as copies says; `exit` and `whole` send nothing, and the edge answers at once"
        " with the bundle's exit or with the whole network.",
    ),
    Parameter(
        "processor_share",
        "Part of one processor core that the edge's own answers may take. Where that is spent, an exit answers instead"
        " of the whole network, and as late as possible.",
        range=(0.0, 1.0),
    ),
    Parameter(
        "second_price",
        "Accuracy that a second of own answers has to bring: at 1, an own answer of 10 ms counts 0.01 less.",
        range=(0.0, 1000.0),
    ),
    Parameter(
        "megabyte_price",
        "Accuracy that a megabyte on the link has to bring: at 1, a bottleneck of 1,000 bytes counts 0.001 less.",
        range=(0.0, 1000.0),
    ),
    *result_parameters(" Only with answer_by."),
    Parameter("max_pixels", "Images with more pixels are refused, before they are decoded.", range=(1, 2**30)),
)

_STAGES = ("image_transport", "convert", "prepare", "prefix", "choose", "encode", "round_trip", "server")
_PAYLOAD_PARAMETERS = ("operating_point", "max_payload_bytes")


@dataclass(frozen=True)
class Received:
    """A camera's message, its age in seconds when it arrived, and when that was, by the monotonic clock."""

    message: CameraMessage
    age: float
    arrived: float


class EdgeNode(ManagedNode):
    """Encodes the newest camera image and publishes the bottleneck with the image's header."""

    _half: EdgeHalf
    _publisher: Publisher[Bottleneck]
    _reports: Subscription[LinkReport]
    _controller: Controller
    _input: CameraInput
    _mailbox: Mailbox[Stream, Received]

    def __init__(self) -> None:
        """Declare the parameters, then configure and activate where `autostart` says so."""
        super().__init__("edge", PARAMETERS)
        self._points: dict[str, int] = {}
        self._answering: Answering | None = None
        self._session = 0
        self.check_changes(self._check)
        self.add_post_set_parameters_callback(self._warn_of_large_payloads)
        self.autostart()

    def configure(self, values: dict[str, Any]) -> None:
        """Load and warm up the bundle's prefix."""
        bundle = load_bundle(bundle_folder(values["bundle"]))
        points = _index_operating_points(bundle)
        _check_operating_point(values["operating_point"], points)
        self._keys = self.read_keys(values["key_file"])
        self._transport: str = values["transport"]
        cv2.setNumThreads(values["threads"])
        half = EdgeHalf(bundle, values["threads"], values["engine"])
        self.get_logger().info(f"bundle {bundle.name}, contract {bundle.contract.fingerprint}")
        self.get_logger().info(f"prefix: {half.choice.words}")
        self._publisher = advertise(self, Bottleneck, "bottleneck", NEWEST)
        self._answering = Answering(self, bundle, values, self._keys) if values["answer_by"] else None
        self._menu, self._policy = self._choices(bundle, values)
        self._half, self._points = half, points
        self._max_pixels: int = values["max_pixels"]
        self._warn_of_large_payloads()

    def _choices(self, bundle: Bundle, values: dict[str, Any]) -> tuple[Menu, Policy | None]:
        """Return what there is to choose from, and what chooses; None: all frames are treated alike."""
        networks = self._answering.seconds if self._answering else {}
        menu = menu_of(
            *(bundle, networks, values["answer_by"] or math.inf),
            **{name: values[name] for name in ("processor_share", "second_price")},
            byte_price=values["megabyte_price"] / 1e6,
        )
        name: str = values["policy"]
        if not name.startswith(LEARNED) and name not in (FIXED, *ALONE):
            find_policy(name)
        if not networks or name == FIXED:
            return menu, None
        if name in ALONE:
            if Own(name) not in networks:
                raise InputError(
                    f"policy is {name}, but the edge can answer only with {', '.join(own.value for own in networks)}:"
                    " the bundle needs an exit for exit, and local_suffix has to be true for whole"
                )
            return menu, alone(Own(name))
        if not is_measured(bundle, networks):
            self.get_logger().warning(
                f"the bundle {bundle.name} does not tell how good its answers are, which policy {name} would weigh: all"
                " frames go out at operating_point, as with policy:=fixed; `mtl-split export` measures them"
            )
            return menu, None
        if name.startswith(LEARNED):
            example = Situation(0.0, networks, 0.0, LinkState())
            return menu, learned(Path(name.removeprefix(LEARNED)), menu, example)
        return menu, find_policy(name)

    def activate(self) -> None:
        """Subscribe to the camera and to the server's reports, and start the worker."""
        signatures = (UnsignedError, SignatureError) if self._keys else ()
        # A later session needs a larger number: by the wall clock, because a simulated one begins anew.
        self._session = max(self._session + 1, time.time_ns())
        self._sequence = 0
        seconds = self._answering.seconds if self._answering else {}
        # Without a policy, what is fixed may be changed from frame to frame.
        self._controller = Controller(self._menu, self._policy or fixed(0), self._session, seconds)
        self._sending = threading.Lock()
        facts = {
            **self._half.choice.facts,
            "policy": self.get_parameter("policy").value if self._policy else FIXED,
        }
        stream = Stream(
            self.resolve_topic_name(TOPICS[COMPRESSED if self._transport == COMPRESSED else RAW][1]),
            stages=(*_STAGES, *(["local"] if self._answering else [])),
            errors=(ImageError, HeaderError, InferenceError, TooLargeError, ReportError, *ERRORS, *signatures),
            counts=("dropped", IMAGES_LOST, "coarser", "lost", "unanswered", *(COUNTS if self._answering else ())),
            clock=self.get_clock(),
            logger=self.get_logger(),
            facts=facts,
            figures=partial(_figures, self._controller),
        )

        def receive(message: CameraMessage) -> None:
            received = Received(message, stream.received(message.header.stamp), time.monotonic())
            stream.count("dropped", self._mailbox.put(stream, received) is not None)

        self._reports = subscribe(self, LinkReport, "link_report", partial(self._hear, stream), MANY, stream.warn)
        self._input = CameraInput(self, self._transport, receive, stream, facts)
        if self._answering:
            self.end_with(self._answering.activate(stream, self._controller, self._session, self._send_again))
        self._mailbox = Mailbox([self._process], Stream.refuse)
        self.end_with(self._mailbox.ended)
        self.streams = [stream]

    def deactivate(self) -> None:
        """Unsubscribe, and stop the worker after the image it is at."""
        self._input.close()
        self.destroy_subscription(self._reports)
        self._mailbox.close()
        if self._answering:
            self._answering.deactivate()

    def cleanup(self) -> None:
        """Release the network and the publishers."""
        self.destroy_publisher(self._publisher)
        if self._answering:
            self._answering.cleanup()
        self._answering = None
        del self._half
        self._points = {}

    def _check(self, name: str, value: Any) -> None:
        """Refuse an operating point that the bundle at work does not have."""
        if name == "operating_point" and self._points:
            _check_operating_point(value, self._points)

    def _warn_of_large_payloads(self, changes: Sequence[RosParameter[Any]] = ()) -> None:
        """Warn where frames at the operating point usually take more bytes than they may."""
        if not self._points or (changes and not any(change.name in _PAYLOAD_PARAMETERS for change in changes)):
            return
        wanted, limit = (self.get_parameter(name).value for name in _PAYLOAD_PARAMETERS)
        bundle = self._half.bundle
        point = bundle.payload_format.operating_points[self._points[wanted]].name
        usual = bundle.median_bytes.get(point, 0)
        if usual > limit:
            self.get_logger().warning(
                f"frames at operating_point {point!r} usually take {usual:.0f} bytes, max_payload_bytes is {limit}:"
                " most will go out at a coarser one, or not at all; raise max_payload_bytes or choose another"
            )

    def _process(self, stream: Stream, received: Received) -> None:
        message, stopwatch = received.message, self._half.stopwatch
        with stopwatch.stage("convert"):
            check_header(message.header)
            picture = to_picture(message, self._max_pixels)
        size = picture.shape[1], picture.shape[0]
        latents = self._half.latents(picture)
        limit: int = self.get_parameter("max_payload_bytes").value
        with stopwatch.stage("choose"):
            action, link = self._choose(stream, received, limit)
        age = plausible_age(received.age)
        frame = Frame(message.header, received.arrived, age, size, latents, "", None, action, link)
        encoded = None
        if action.point is not None:
            try:
                encoded = self._half.pack(latents, action.point, limit)
            except TooLargeError:
                self._expect(frame)
                raise
            stream.count("coarser", encoded.operating_point < action.point)
            self._send(frame, encoded)
        else:
            self._expect(frame)
        stages = {"image_transport": received.age * 1e3, **stopwatch.milliseconds}
        if encoded is None:
            stages.pop("encode", None)  # is another frame's
        stream.published(stages, None if encoded is None else len(encoded.payload))

    def _choose(self, stream: Stream, received: Received, limit: int) -> tuple[Action, LinkState]:
        """Choose what to do with a frame; returns it, and what was known of the link."""
        controller, begun = self._controller, time.monotonic()
        if limit != controller.menu.most_bytes:
            controller.menu = replace(self._menu, most_bytes=limit)
        if self._policy is None:
            point, copies = (self.get_parameter(name).value for name in ("operating_point", "copies"))
            controller.policy = fixed(self._points[point], copies)
        situation = controller.observe(plausible_age(received.age) + begun - received.arrived, begun)
        try:
            action = controller.choose(situation)
        except InferenceError as error:
            stream.refuse(error)
            action = controller.answer_alone(situation)
        if self._answering:
            stream.count(f"chosen/{self._in_words(action)}")
        return action, situation.link

    def _in_words(self, action: Action) -> str:
        if action.point is None:
            return action.own.value if action.own else "skip"
        name = self._half.bundle.payload_format.operating_points[action.point].name
        own = f" and {action.own.value}" if action.own and action.at_once else ""
        return f"{name}{' twice' * (action.copies > 1)}{own}"

    def _send(self, frame: Frame, encoded: Encoded) -> None:
        """Publish a frame's bottleneck, as often as was chosen."""
        bundle = self._half.bundle
        bottleneck = Bottleneck(
            header=frame.header,
            session=self._session,
            sequence=self._sequence,
            contract=bundle.contract.fingerprint,
            image_width=frame.size[0],
            image_height=frame.size[1],
            payload=array("B", encoded.payload),
        )
        if self._keys is not None:
            sign(bottleneck, self._keys, self._publisher.topic_name)
        point = bundle.payload_format.operating_points[encoded.operating_point].name
        with self._sending:
            copies = frame.action.copies
            self._controller.sent(self._sequence, len(encoded.payload), copies, time.monotonic())
            self._expect(replace(frame, point=point, bottleneck=bottleneck))
            self._publish(bottleneck, copies)
            self._sequence += 1

    def _send_again(self, frame: Frame) -> bool:
        """Publish a frame's bottleneck again, unless it is not the newest: an older one would be out of order."""
        bottleneck = frame.bottleneck
        with self._sending:
            if bottleneck is None or bottleneck.sequence + 1 != self._sequence:
                return False
            self._controller.sent_again(bottleneck.sequence, MOST_COPIES, time.monotonic())
            self._publish(bottleneck, MOST_COPIES)
        return True

    def _publish(self, bottleneck: Bottleneck, copies: int) -> None:
        for _ in range(copies):
            self._publisher.publish(bottleneck)

    def _expect(self, frame: Frame) -> None:
        if self._answering:
            self._answering.expect(frame)

    def _hear(self, stream: Stream, message: LinkReport) -> None:
        """Take in what the server reports of a bottleneck."""
        try:
            if self._keys is not None:
                check_signature(message, self._keys, self._reports.topic_name)
            report = to_report(message)
        except InputError as error:
            stream.refuse(error, self._reports.topic_name)
            return
        account = self._controller.reported(report, time.monotonic())
        if account is not None:
            stream.count("lost", account.lost)
            stream.count("unanswered", report.fate != Fate.ANSWERED)
            in_server = report.queued + report.service
            if self._answering:
                self._answering.settle(report)
            stream.measured({"round_trip": account.round_trip * 1e3, "server": in_server * 1e3})


def _figures(controller: Controller) -> dict[str, str]:
    """What choices are made by, as it is now."""
    situation = controller.observe(0.0, time.monotonic())
    link = situation.link
    return {
        "own_share": f"{situation.busy:.2f}",
        "own_seconds": f"{controller.own_seconds:.3f}",
        "link/outage": f"{outage(link):.2f}",
        "link/silence_s": f"{link.silence:.2f}",
        "link/in_flight": str(link.in_flight),
        "link/overdue": str(link.overdue),
        "link/loss": f"{link.loss:.3f}",
        "link/rate_kbit_s": f"{link.rate * 8e-3:.1f}",
        "link/round_trip_ms": f"{link.round_trip * 1e3:.1f}",
        "link/shortest_ms": f"{link.shortest * 1e3:.1f}",
        "link/size_bytes": f"{link.size:.0f}",
        "link/spread_ms": f"{link.spread * 1e3:.1f}",
        "link/server_ms": f"{link.server * 1e3:.1f}",
        "link/unanswered": f"{link.unanswered:.2f}",
    }


def _index_operating_points(bundle: Bundle) -> dict[str, int]:
    points = bundle.payload_format.operating_points
    return {"": bundle.default_point} | {point.name: index for index, point in enumerate(points)}


def _check_operating_point(name: str, known: Iterable[str]) -> None:
    if name not in known:
        raise InputError(f"operating_point is {name!r}, expected one of {', '.join(filter(None, known))}")


def main() -> int:
    """Run the node; returns its exit code."""
    return run(EdgeNode, over_link=True)


if __name__ == "__main__":
    raise SystemExit(main())
