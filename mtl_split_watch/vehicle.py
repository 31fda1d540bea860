"""One vehicle that is watched: what is subscribed to while somebody looks, and what becomes of it."""

from __future__ import annotations  # rclpy's classes are generic from Kilted on

import threading
import time
from array import array
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from mtl_split.msg import AnswerInfo, Bottleneck
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image as RawImage
from std_msgs.msg import Header
from vision_msgs.msg import LabelInfo

from mtl_split_core.errors import ImageError, InputError
from mtl_split_core.scene import Task
from mtl_split_ros.diagnostics import Stream, nanoseconds
from mtl_split_ros.images import CameraMessage
from mtl_split_ros.kinds import KINDS
from mtl_split_ros.messages import result_topic, to_origin
from mtl_split_ros.qos import LATCHED, NEWEST, RESULT, advertise, subscribe
from mtl_split_ros.subscriptions import Subscriptions
from mtl_split_watch.board import Answered, Sample
from mtl_split_watch.discovery import LABELS, Found
from mtl_split_watch.frames import Frame, Frames

if TYPE_CHECKING:
    from rclpy.subscription import MessageInfo

ANNOTATED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
"""Offered reliably, so that it matches every subscriber."""

PATIENCE = 2.0
"""Seconds without an answer after which pictures are shown without one: answers may be late, and yet be answers."""

MOST_LABELS = 1000
"""Labels of one task that get a colour of their own."""


class Vehicle:
    """A vehicle, by its namespace.

    stream: the account of its images, None while nobody looks; tasks: what its server answers; show: called with each
    frame to be drawn, plot: with each answered one, and with the origin of each answer, in the executor.
    """

    def __init__(
        self,
        node: Node,
        name: str,
        rate: float,
        show: Callable[[Vehicle, Frame], None],
        plot: Callable[[Vehicle, Sample | Answered], None],
    ) -> None:
        """Advertise the annotated pictures; rate: of the frames per second that are shown, at most."""
        self.name = name
        self.stream: Stream | None = None
        self.tasks: dict[str, Task] = {}
        self._annotated = advertise(node, CompressedImage, self._topic("annotated/compressed"), ANNOTATED, watch=False)
        self._closed = False
        self._closing = threading.Lock()
        self._node = node
        self._simulated_time = bool(node.get_parameter("use_sim_time").value)
        self._period = 1 / rate
        self._due, self._answered_at = 0.0, -PATIENCE
        self._show, self._plot = show, plot
        self._found: Found | None = None
        self._heard: Found | None = None
        self._frames = Frames()
        self._images: Subscriptions | None = None
        self._others: list[Subscription[Any]] = []

    @property
    def words(self) -> str:
        """What keeps it from being shown; empty where nothing does."""
        if self._found is None or not self._found.images:
            return "no edge yet: it says where its pictures come from"
        return "" if self._found.tasks else "no server answers"

    @property
    def annotated_topic(self) -> str:
        """The full name of the topic of its annotated pictures."""
        return self._annotated.topic_name

    @property
    def has_subscribers(self) -> bool:
        """Whether somebody subscribes to the annotated pictures."""
        return self._annotated.get_subscription_count() > 0

    def publish(self, header: Header, jpeg: bytes) -> None:
        """Publish an annotated picture, if somebody subscribes to them; may be called from any thread."""
        with self._closing:
            if not self._closed and self.has_subscribers:
                data = array("B", jpeg)
                self._annotated.publish(CompressedImage(header=header, format="bgr8; jpeg compressed bgr8", data=data))

    def listen(self, found: Found) -> None:
        """Subscribe to all that is there to be heard, or go on as it is."""
        now = found
        if self._heard is not None:
            # An edge that starts again will take the same images, and a server answer the same tasks.
            if not found.images:
                found = replace(found, images=self._heard.images, compressed=self._heard.compressed)
            if not found.tasks:
                found = replace(found, tasks=self._heard.tasks)
        if found != self._heard:
            self._hear_all(found)
        self._found = now

    def _hear_all(self, found: Found) -> None:
        self.rest()
        self._heard = found
        self.tasks = {task.name: task for task in found.tasks}
        self._hear(Bottleneck, found.bottleneck, self._hear_bottleneck, NEWEST)
        self._hear(AnswerInfo, self._topic("answer_info"), self._hear_info, RESULT)
        for task in found.tasks:
            self._hear(LabelInfo, self._topic(f"{LABELS}{task.name}"), partial(self._hear_labels, task.name), LATCHED)
            message, hear = KINDS[task.kind].MESSAGE, partial(self._hear_result, task.name)
            self._hear(message, self._topic(result_topic(task)), hear, RESULT)
        if found.images:
            self._hear_images(found)

    def rest(self) -> None:
        """Unsubscribe from everything."""
        if self._images is not None:
            self._images.close()
        for subscription in self._others:
            self._node.destroy_subscription(subscription)
        self._images, self._others, self.stream = None, [], None
        self._found = self._heard = None
        self._frames = Frames()

    def close(self) -> None:
        """Unsubscribe, and publish no more."""
        self.rest()
        with self._closing:
            self._closed = True
            self._node.destroy_publisher(self._annotated)

    def show_unanswered(self) -> None:
        """Show the newest picture as it is, where no answer came for a while; to be called again and again."""
        frame = self._frames.newest()
        if frame is not None and time.monotonic() - self._answered_at > PATIENCE:
            self._show(self, frame)

    def latency(self, frame: Frame) -> float | None:
        """Return the milliseconds from when a frame's way began to its last result; None where one is unknown."""
        start = frame.start(self._simulated_time)
        return None if start is None or frame.answered is None else (frame.answered - start) / 1e6

    def start(self, frame: Frame) -> int | None:
        """Return when a frame's way began, in nanoseconds since 1970; None where that is not known yet."""
        return frame.start(self._simulated_time)

    def _topic(self, name: str) -> str:
        return f"{self.name.rstrip('/')}/{name}"

    def _hear(self, kind: type[Any], topic: str, callback: Callable[..., None], profile: QoSProfile) -> None:
        self._others.append(subscribe(self._node, kind, topic, callback, profile, self._node.get_logger().warning))

    def _hear_images(self, found: Found) -> None:
        self.stream = Stream(
            found.images,
            stages=("convert", "draw", "compress"),
            errors=(ImageError, InputError),
            counts=("dropped",),
            clock=self._node.get_clock(),
            logger=self._node.get_logger(),
            facts={},
        )
        self._images = Subscriptions(self._node)
        kind = CompressedImage if found.compressed else RawImage
        self._images.subscribe(kind, found.images, partial(self._hear_image, self.stream), NEWEST, self.stream)

    def _hear_image(self, stream: Stream, message: CameraMessage, info: MessageInfo) -> None:
        stream.received(message.header.stamp)
        frame = self._frames.at(nanoseconds(message.header.stamp))
        frame.message, frame.seen = message, info["received_timestamp"]
        self._look_at(frame)

    def _hear_bottleneck(self, message: Bottleneck) -> None:
        self._frames.at(nanoseconds(message.header.stamp)).payload_bytes = len(message.payload)

    def _hear_info(self, message: AnswerInfo) -> None:
        origin = to_origin(message)
        self._plot(self, Answered(time.time(), origin.source, origin.operating_point, origin.late))

    def _hear_labels(self, task: str, message: LabelInfo) -> None:
        labels = tuple(one.class_name for one in message.class_map[:MOST_LABELS])
        self.tasks = {**self.tasks, task: replace(self.tasks[task], labels=labels)}

    def _hear_result(self, name: str, message: Any, info: MessageInfo) -> None:
        task = self.tasks[name]  # with its labels, as soon as they have come
        try:
            result = KINDS[task.kind].to_result(message, task)
        except InputError as error:
            if self.stream is not None:
                self.stream.refuse(error)
            return
        frame = self._frames.at(nanoseconds(message.header.stamp))
        frame.results[name], frame.answered = result, info["received_timestamp"]
        self._look_at(frame)

    def _look_at(self, frame: Frame) -> None:
        """Count a frame that is answered, and show it if its picture is there and it is time for one."""
        if not self._frames.answered(frame, self.tasks):
            return
        if not frame.counted and frame.answered is not None:
            frame.counted = True
            self._plot(self, Sample(frame.answered / 1e9, frame.payload_bytes, self.latency(frame)))
        if frame.message is not None:
            now = self._answered_at = time.monotonic()
            self._frames.forget(frame)
            if now >= self._due:
                self._due = max(self._due + self._period, now - self._period)
                self._show(self, frame)
