"""The edge node: camera images in, bottlenecks out."""

from __future__ import annotations  # rclpy's classes are generic from Kilted on

from array import array
from dataclasses import dataclass
from typing import Any

import cv2
from mtl_split.msg import Bottleneck
from rclpy.publisher import Publisher
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

from mtl_split_core.bundle import Bundle, load_bundle
from mtl_split_core.errors import ImageError, InputError
from mtl_split_core.halves import EdgeHalf
from mtl_split_ros.diagnostics import Stream
from mtl_split_ros.images import CameraMessage, to_picture
from mtl_split_ros.lifecycle import COMMON_PARAMETERS, ManagedNode
from mtl_split_ros.mailbox import Mailbox
from mtl_split_ros.parameters import Parameter, Parameters
from mtl_split_ros.process import run
from mtl_split_ros.qos import NEWEST, advertise, subscribe
from mtl_split_ros.share import bundle_folder

PARAMETERS = Parameters(
    "edge",
    *COMMON_PARAMETERS,
    Parameter("transport", "Subscribe to image_raw or to image_raw/compressed.", choices=("raw", "compressed")),
    Parameter("operating_point", "Quality of the bottleneck: a name from the bundle's manifest; empty: its first."),
)

_TRANSPORTS = {"raw": (Image, "image_raw"), "compressed": (CompressedImage, "image_raw/compressed")}


@dataclass(frozen=True)
class Received:
    """A camera's message, and how many milliseconds it was on its way."""

    message: CameraMessage
    transport: float


class EdgeNode(ManagedNode):
    """Encodes the newest camera image and publishes the bottleneck with the image's header."""

    _half: EdgeHalf
    _publisher: Publisher[Bottleneck]
    _subscription: Subscription[CameraMessage]
    _mailbox: Mailbox[Stream, Received]

    def __init__(self) -> None:
        """Declare the parameters, then configure and activate where `autostart` says so."""
        super().__init__("edge", PARAMETERS)
        self.autostart()

    def configure(self, values: dict[str, Any]) -> None:
        """Load and warm up the bundle's prefix."""
        bundle = load_bundle(bundle_folder(values["bundle"]))
        self._operating_point = _find_operating_point(bundle, values["operating_point"])
        self._kind, self._topic = _TRANSPORTS[values["transport"]]
        cv2.setNumThreads(values["threads"])
        self._half = EdgeHalf(bundle, values["threads"], values["engine"])
        self.get_logger().info(f"prefix: {self._half.choice.words}")
        self._publisher = advertise(self, Bottleneck, "bottleneck", NEWEST)

    def activate(self) -> None:
        """Subscribe to the camera and start the worker."""
        stream = Stream(
            self.resolve_topic_name(self._topic),
            stages=("image_transport", "convert", "prepare", "prefix", "encode"),
            errors=(ImageError,),
            counts=("dropped",),
            clock=self.get_clock(),
            logger=self.get_logger(),
            facts=self._half.choice.facts,
        )

        def receive(message: CameraMessage) -> None:
            age = stream.received(message.header.stamp)
            stream.count("dropped", self._mailbox.put(stream, Received(message, age * 1e3)))

        self._sequence = 0
        self._subscription = subscribe(self, self._kind, self._topic, receive, NEWEST, stream.warn)
        self._mailbox = Mailbox(self._process, Stream.refuse)
        self.end_with(self._mailbox.ended)
        self.streams = [stream]

    def deactivate(self) -> None:
        """Unsubscribe, and stop the worker after the image it is at."""
        self.destroy_subscription(self._subscription)
        self._mailbox.close()

    def cleanup(self) -> None:
        """Release the network and the publisher."""
        self.destroy_publisher(self._publisher)
        del self._half

    def _process(self, stream: Stream, received: Received) -> None:
        message, stopwatch = received.message, self._half.stopwatch
        with stopwatch.stage("convert"):
            picture = to_picture(message)
        payload = self._half.encode(picture, self._operating_point)
        self._publisher.publish(
            Bottleneck(
                header=message.header,
                sequence=self._sequence,
                bundle=self._half.bundle.fingerprint,
                image_width=picture.shape[1],
                image_height=picture.shape[0],
                payload=array("B", payload),
            )
        )
        self._sequence += 1
        stream.published({"image_transport": received.transport, **stopwatch.milliseconds}, len(payload))


def _find_operating_point(bundle: Bundle, name: str) -> int:
    names = [point.name for point in bundle.payload_format.operating_points]
    if name and name not in names:
        raise InputError(f"operating_point is {name!r}, expected one of {', '.join(names)}")
    return names.index(name) if name else 0


def main() -> int:
    """Run the node; returns its exit code."""
    return run(EdgeNode)


if __name__ == "__main__":
    raise SystemExit(main())
