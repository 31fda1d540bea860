"""The node that records a run: it hears everything that the camera, the edge and the server of one vehicle publish."""

from __future__ import annotations  # rclpy has the type MessageInfo from Kilted on

import math
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from mtl_split.msg import AnswerInfo, Bottleneck
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage
from sensor_msgs.msg import Image as RawImage
from std_msgs.msg import Header, UInt64

from mtl_split_core.bundle import Bundle
from mtl_split_core.errors import ImageError, InputError
from mtl_split_core.kinds import KINDS
from mtl_split_core.scene import Task
from mtl_split_lab.live.recording import UNSTAMPED, PictureStore, Recording
from mtl_split_ros.diagnostics import WANTED
from mtl_split_ros.graph import COMPRESSED, image_topic
from mtl_split_ros.images import CameraMessage, to_picture
from mtl_split_ros.kinds import KINDS as ROS_KINDS
from mtl_split_ros.messages import result_topic, to_origin
from mtl_split_ros.qos import LATCHED, RECORDED, RESULT, subscribe

if TYPE_CHECKING:
    from rclpy.subscription import MessageInfo

FATES = ("dropped", "lost", "too_old", "coarser", "refused/")
"""What the nodes count of frames that were not answered, or not as they were to be."""

RECENT = 30
"""Complete frames that the live figures are about."""


@dataclass(frozen=True)
class Live:
    """A complete frame as it passed.

    time: monotonic seconds; latency: milliseconds; payload_bytes; objects: how many were found.
    """

    time: float
    latency: float
    payload_bytes: int
    objects: int


class Recorder(Node):
    """Records one vehicle, whose namespace is the node's.

    recording: what was heard so far; ended: a fault of what is heard; ended_after: the number of frames that the
    camera's stream had, once it has ended; heard_at, answered_at: when anything of a frame or the end, and when a
    complete frame was last heard (monotonic seconds, at first the start); recent: the last complete frames.
    """

    def __init__(self, bundle: Bundle, topic: str, pictures: PictureStore) -> None:
        """Subscribe to everything.

        bundle: whose tasks to listen to; topic: of the images, empty for the vehicle's own camera.
        """
        super().__init__("recorder")
        self._bundle = bundle
        # A bag may be played at any rate: there, milliseconds count from the moment when the image arrived here.
        self.recording = Recording(bundle.tasks, pictures, bool(self.get_parameter("use_sim_time").value))
        self.ended: Future[None] = Future()
        self.ended_after: int | None = None
        self.heard_at = self.answered_at = time.monotonic()
        self.recent: deque[Live] = deque(maxlen=RECENT)
        self.statuses: dict[str, DiagnosticStatus] = {}
        self._own_camera = not topic
        self._image_topic = topic or image_topic(topic)
        kind = CompressedImage if topic.endswith(COMPRESSED) else RawImage
        self._listen(kind, self._image_topic, self._hear_image, RECORDED)
        self._listen(Bottleneck, "bottleneck", self._hear_bottleneck, RECORDED)
        self._listen(AnswerInfo, "answer_info", self._hear_info, RECORDED)
        for task in bundle.tasks:
            hear = partial(self._hear_result, task)
            self._listen(ROS_KINDS[task.kind].MESSAGE, result_topic(task), hear, RESULT)
        # Several tasks may have their truth on one topic.
        for topic, task in {ROS_KINDS[task.kind].truth_topic(task): task for task in bundle.tasks}.items():
            self._listen(ROS_KINDS[task.kind].MESSAGE, topic, partial(self._hear_truth, topic, task), RESULT)
        self._listen(CameraInfo, "camera_info", self._hear_camera_info, RESULT)
        self._listen(UInt64, "end_of_stream", self._hear_end, LATCHED)
        self._listen(DiagnosticArray, "/diagnostics", self._hear_diagnostics, RESULT)

    def ready_for_camera(self, listeners: int) -> bool:
        """Whether both nodes have subscribed and advertised, so that not even a first frame would be lost.

        listeners: how many subscribe to the images, and to the bottlenecks, in all.
        """
        topics = [self._image_topic, "bottleneck"]
        return all(self.count_subscribers(topic) >= listeners for topic in topics) and all(
            self.count_publishers(result_topic(task)) for task in self.recording.tasks
        )

    def rivals(self) -> list[str]:
        """Name the topics that more than one node publishes, which makes every figure worthless."""
        topics = ["bottleneck", *(result_topic(task) for task in self.recording.tasks)]
        return [self.resolve_topic_name(topic) for topic in topics if self.count_publishers(topic) > 1]

    def explain(self) -> list[str]:
        """Say what is missing, topic by topic and as the nodes themselves report it."""
        frames = self.recording.frames.values()
        heard = {self._image_topic: sum(frame.sent for frame in frames)}
        heard["bottleneck"] = sum(frame.payload_bytes is not None for frame in frames)
        for task in self.recording.tasks:
            heard[result_topic(task)] = sum(task.name in frame.results for frame in frames)
        lines = []
        for topic, count in heard.items():
            publishers = ", ".join(
                f"{info.node_namespace.rstrip('/')}/{info.node_name}"
                for info in self.get_publishers_info_by_topic(topic)
            )
            origin = f"published by {publishers}" if publishers else "published by nobody"
            lines.append(f"{self.resolve_topic_name(topic)}: {origin}, {count} messages arrived")
        lines += [f"{count} {what}" for what, count in (+self.recording.skipped).items()]
        return lines + [f"{status.name}: {status.message}" for status in self.statuses.values()]

    def _listen(self, kind: type[Any], topic: str, callback: Any, profile: QoSProfile) -> None:
        subscribe(self, kind, topic, callback, profile, self._warn)

    def _warn(self, problem: str) -> None:
        self.get_logger().warning(problem)

    def _hear_image(self, message: CameraMessage, info: MessageInfo) -> None:
        stamp = _nanoseconds(message.header)
        self.recording.frames[stamp].seen = info["received_timestamp"]
        if not self._own_camera:
            self._sent(stamp)
        try:
            self.recording.pictures.put(stamp, to_picture(message))
        except ImageError as error:
            self.get_logger().warning(str(error), throttle_duration_sec=5)

    def _hear_camera_info(self, message: CameraInfo) -> None:
        if self._own_camera:
            self._sent(_nanoseconds(message.header))

    def _sent(self, stamp: int) -> None:
        self.heard_at = time.monotonic()
        frame = self.recording.frames[stamp]
        if stamp and not frame.sent:
            frame.sent = True
            self.recording.sent += 1
        else:
            self.recording.skipped[UNSTAMPED] += 1

    def _end(self, problem: str) -> None:
        if not self.ended.done():
            self.ended.set_exception(InputError(problem))

    def _hear_bottleneck(self, message: Bottleneck) -> None:
        self.recording.frames[_nanoseconds(message.header)].payload_bytes = len(message.payload)
        expected = self._bundle.contract.fingerprint
        if message.contract != expected:
            topic = self.resolve_topic_name("bottleneck")
            self._end(
                f"{topic} has the contract {message.contract[:64]!r}, and the recorder's bundle {self._bundle.name} "
                f"has {expected!r}: give the recorder the same bundle"
            )

    def _hear_info(self, message: AnswerInfo) -> None:
        self.recording.frames[_nanoseconds(message.header)].origin = to_origin(message)

    def _hear_result(self, task: Task, message: Any, info: MessageInfo) -> None:
        try:
            result = ROS_KINDS[task.kind].to_result(message, task)
        except InputError as error:
            self.recording.skipped["results that are none"] += 1
            self.get_logger().warning(f"{task.name}: {error}", throttle_duration_sec=5)
            return
        stamp = _nanoseconds(message.header)
        frame = self.recording.frames[stamp]
        answered = self.recording.is_complete(frame)
        frame.results[task.name] = result
        start = frame.seen if self.recording.simulated_time else stamp
        # When it arrived, not when this process had time for it.
        if start is not None:
            frame.arrivals[task.name] = (info["received_timestamp"] - start) / 1e6
        self.heard_at = time.monotonic()
        # Images without stamps of their own would pass for an answered one for ever.
        if self.recording.is_complete(frame) and not answered:
            self.answered_at = self.heard_at
            objects = sum(KINDS[t.kind].count_objects(frame.results[t.name]).total() for t in self.recording.tasks)
            latency = max(frame.arrivals.values(), default=math.nan)
            self.recent.append(Live(self.heard_at, latency, frame.payload_bytes or 0, objects))

    def _hear_truth(self, topic: str, task: Task, message: Any) -> None:
        if truth := ROS_KINDS[task.kind].to_truth(task, message, self.recording.skipped):
            self.recording.frames[_nanoseconds(message.header)].truths[topic] = truth

    def _hear_end(self, message: UInt64) -> None:
        self.heard_at = time.monotonic()
        self.ended_after = message.data

    def _hear_diagnostics(self, message: DiagnosticArray) -> None:
        own = tuple(f": {self.resolve_topic_name(topic)}" for topic in (self._image_topic, "bottleneck"))
        for status in message.status:
            self.statuses[status.name] = status
            if status.name.endswith(own):
                for value in status.values:
                    try:
                        self._take(status.name, value)
                    except ValueError:
                        self.recording.skipped["diagnostics that are no numbers"] += 1

    def _take(self, name: str, value: KeyValue) -> None:
        """Take a value of the status of this name. Raises ValueError for one that is no number."""
        if value.key.startswith("stage_ms/") and value.value != "n/a":
            milliseconds = float(value.value)
            if not math.isfinite(milliseconds):
                raise ValueError
            self.recording.stages[value.key.removeprefix("stage_ms/")].append(milliseconds)
        elif value.key == WANTED:
            self.recording.wanted_rate = float(value.value)
        elif value.key.startswith(FATES):
            node = name.partition(":")[0].rpartition("/")[2]
            self.recording.fates[f"{node}/{value.key}"] = int(value.value)


def _nanoseconds(header: Header) -> int:
    return int(header.stamp.sec * 10**9 + header.stamp.nanosec)
