"""The edge node: camera images in, bottlenecks out."""

from __future__ import annotations  # rclpy's classes are generic from Kilted on

import time
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
from mtl_split.msg import Bottleneck, LinkReport
from rcl_interfaces.msg import SetParametersResult
from rclpy.parameter import Parameter as RosParameter
from rclpy.publisher import Publisher
from rclpy.subscription import Subscription

from mtl_split_core.bundle import Bundle, load_bundle
from mtl_split_core.control.link import Fate, Link
from mtl_split_core.errors import (
    ImageError,
    InferenceError,
    InputError,
    SignatureError,
    TooLargeError,
    UnsignedError,
)
from mtl_split_core.halves import EdgeHalf
from mtl_split_core.scene import Floats, Size
from mtl_split_core.share import bundle_folder
from mtl_split_core.tracks import TRACKING
from mtl_split_edge.answering import COUNTS, Answering, Frame
from mtl_split_edge.camera_input import COMPRESSED, IMAGES_LOST, RAW, TOPICS, TRANSPORTS, CameraInput
from mtl_split_ros.diagnostics import Stream, plausible_age
from mtl_split_ros.images import CameraMessage, to_picture
from mtl_split_ros.lifecycle import COMMON_PARAMETERS, ManagedNode
from mtl_split_ros.mailbox import Mailbox
from mtl_split_ros.messages import HeaderError, ReportError, check_header, check_signature, sign, to_report
from mtl_split_ros.parameters import Parameter, Parameters
from mtl_split_ros.process import run
from mtl_split_ros.qos import MANY, NEWEST, advertise, subscribe

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
        "Quality of the bottleneck: a name from the bundle's manifest; empty: its default. May be changed at any time.",
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
        "How often each bottleneck is sent: of two copies, hardly ever both get lost. May be changed at any time.",
        range=(1, 2),
        live=True,
    ),
    Parameter(
        "answer_by",
        "Publish one final answer per image at most so many seconds after its stamp: the server's, which then has to be"
        " told to publish under `remote/` (its results_namespace), or the edge's own; 0: the server publishes them.",
        range=(0.0, 10.0),
    ),
    Parameter("local_suffix", "Load the server's half, too, so that the edge can answer by itself."),
    Parameter(
        "score_threshold",
        "With answer_by: lowest score of a published detection. May be changed at any time.",
        range=(0.0, 1.0),
        live=True,
    ),
    Parameter(
        "overlap_threshold",
        "With answer_by: of two own detections that overlap more, the better is kept. May be changed at any time.",
        range=(0.0, 1.0),
        live=True,
    ),
    Parameter("tracking", "With answer_by: how objects are followed from frame to frame.", choices=TRACKING),
    Parameter("max_pixels", "Images with more pixels are refused, before they are decoded.", range=(1, 2**30)),
)

_STAGES = ("image_transport", "convert", "prepare", "prefix", "encode", "round_trip", "server")
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
    _link: Link
    _input: CameraInput
    _mailbox: Mailbox[Stream, Received]

    def __init__(self) -> None:
        """Declare the parameters, then configure and activate where `autostart` says so."""
        super().__init__("edge", PARAMETERS)
        self._points: dict[str, int] = {}
        self._answering: Answering | None = None
        self._session = 0
        self.add_on_set_parameters_callback(self._check)
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
        self._answering = Answering(self, bundle, values) if values["answer_by"] else None
        self._half, self._points = half, points
        self._max_pixels: int = values["max_pixels"]
        self._warn_of_large_payloads()

    def activate(self) -> None:
        """Subscribe to the camera and to the server's reports, and start the worker."""
        signatures = (UnsignedError, SignatureError) if self._keys else ()
        facts = {**self._half.choice.facts}
        stream = Stream(
            self.resolve_topic_name(TOPICS[COMPRESSED if self._transport == COMPRESSED else RAW][1]),
            stages=(*_STAGES, *(["local"] if self._answering else [])),
            errors=(ImageError, HeaderError, InferenceError, TooLargeError, ReportError, *signatures),
            counts=("dropped", IMAGES_LOST, "coarser", "lost", "unanswered", *(COUNTS if self._answering else ())),
            clock=self.get_clock(),
            logger=self.get_logger(),
            facts=facts,
        )

        def receive(message: CameraMessage) -> None:
            received = Received(message, stream.received(message.header.stamp), time.monotonic())
            stream.count("dropped", self._mailbox.put(stream, received) is not None)

        # A later session needs a larger number: by the wall clock, because a simulated one begins anew.
        self._session = max(self._session + 1, time.time_ns())
        self._sequence = 0
        self._link = Link(self._session)
        self._reports = subscribe(self, LinkReport, "link_report", partial(self._hear, stream), MANY, stream.warn)
        self._input = CameraInput(self, self._transport, receive, stream, facts)
        if self._answering:
            self.end_with(self._answering.activate(stream))
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

    def _check(self, changes: list[RosParameter[Any]]) -> SetParametersResult:
        """Refuse an operating point that the bundle at work does not have."""
        try:
            for change in changes:
                if change.name == "operating_point" and self._points:
                    _check_operating_point(change.value, self._points)
        except InputError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

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
        point = self._points[self.get_parameter("operating_point").value]
        size = picture.shape[1], picture.shape[0]
        latents = self._half.latents(picture)
        try:
            encoded = self._half.pack(latents, point, self.get_parameter("max_payload_bytes").value)
        except TooLargeError:
            self._expect(received, size, latents, "", None)
            raise
        stream.count("coarser", encoded.operating_point < point)
        sent_at = self._half.bundle.payload_format.operating_points[encoded.operating_point].name
        self._expect(received, size, latents, sent_at, self._sequence)
        bottleneck = Bottleneck(
            header=message.header,
            session=self._session,
            sequence=self._sequence,
            contract=self._half.bundle.contract.fingerprint,
            image_width=size[0],
            image_height=size[1],
            payload=array("B", encoded.payload),
        )
        if self._keys is not None:
            sign(bottleneck, self._keys, self._publisher.topic_name)
        self._link.sent(self._sequence, len(encoded.payload), time.monotonic())
        for _ in range(self.get_parameter("copies").value):
            self._publisher.publish(bottleneck)
        self._sequence += 1
        stream.published({"image_transport": received.age * 1e3, **stopwatch.milliseconds}, len(encoded.payload))

    def _expect(self, received: Received, size: Size, latents: Floats, point: str, sequence: int | None) -> None:
        if self._answering:
            age = plausible_age(received.age)
            frame = Frame(received.message.header, received.arrived, age, size, latents, point)
            self._answering.expect(frame, sequence)

    def _hear(self, stream: Stream, message: LinkReport) -> None:
        """Take in what the server reports of a bottleneck."""
        try:
            if self._keys is not None:
                check_signature(message, self._keys, self._reports.topic_name)
            report = to_report(message)
        except InputError as error:
            stream.refuse(error, self._reports.topic_name)
            return
        account = self._link.reported(report, time.monotonic())
        if account is not None:
            stream.count("lost", account.lost)
            stream.count("unanswered", report.fate != Fate.ANSWERED)
            in_server = report.queued + report.service
            if self._answering:
                self._answering.settle(report)
            stream.measured({"round_trip": account.round_trip * 1e3, "server": in_server * 1e3})


def _index_operating_points(bundle: Bundle) -> dict[str, int]:
    points = bundle.payload_format.operating_points
    return {"": bundle.default_point} | {point.name: index for index, point in enumerate(points)}


def _check_operating_point(name: str, known: Iterable[str]) -> None:
    if name not in known:
        raise InputError(f"operating_point is {name!r}, expected one of {', '.join(filter(None, known))}")


def main() -> int:
    """Run the node; returns its exit code."""
    return run(EdgeNode)


if __name__ == "__main__":
    raise SystemExit(main())
