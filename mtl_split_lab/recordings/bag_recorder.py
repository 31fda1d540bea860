"""The node that records a vehicle into a rosbag: camera, truth, results, diagnostics, byte by byte as published."""

from __future__ import annotations  # rclpy has the type MessageInfo from Kilted on

import sqlite3
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticArray
from mtl_split.msg import AnswerInfo, Bottleneck, LinkReport
from rclpy.exceptions import InvalidNamespaceException, InvalidTopicNameException
from rclpy.node import Node
from rclpy.validate_namespace import validate_namespace
from rclpy.validate_topic_name import validate_topic_name
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import WriterError
from sensor_msgs.msg import CameraInfo, CompressedImage
from sensor_msgs.msg import Image as RawImage
from vision_msgs.msg import LabelInfo

from mtl_split_core.errors import InputError
from mtl_split_core.scene import Task
from mtl_split_lab.recordings.bags import GROUND_TRUTH, camera_info_of
from mtl_split_lab.recordings.definitions import message_types
from mtl_split_lab.recordings.storage import BagWriter
from mtl_split_ros.graph import COMPRESSED
from mtl_split_ros.kinds import KINDS as ROS_KINDS
from mtl_split_ros.messages import result_topic, type_name
from mtl_split_ros.qos import LATCHED, RECORDED, RESULT, subscribe

if TYPE_CHECKING:
    from rclpy.qos import QoSProfile
    from rclpy.subscription import MessageInfo

MOST_WAITING = 100
"""Messages that may wait for the disk; further ones are lost to the bag."""


class BagRecorder(Node):
    """Writes every message of one vehicle, whose namespace is the node's, into a bag.

    ended: a fault of the disk; counts: messages by topic so far.
    """

    def __init__(
        self, bag: Path, tasks: Sequence[Task], image_topic: str = "image_raw", storage: str = "mcap",
        namespace: str = "",
    ) -> None:  # fmt: skip
        """Begin a bag, a folder that does not exist yet, and subscribe to everything.

        tasks: of the bundle at work; storage: one of STORAGES. Raises InputError for a folder that is there already,
        and for a topic or namespace that ROS does not allow.
        """
        try:
            validate_namespace(f"/{namespace.strip('/')}")
            validate_topic_name(image_topic)
        except (InvalidNamespaceException, InvalidTopicNameException) as error:
            raise InputError(f"namespace is {namespace!r} and image topic {image_topic!r}: {error}") from error
        super().__init__("bag_recorder", namespace=namespace)
        self._image_topic = self.resolve_topic_name(image_topic)
        self.ended: Future[None] = Future()
        self.counts: Counter[str] = Counter()
        self._lost = 0
        self._room = threading.Semaphore(MOST_WAITING)
        self._types = message_types()
        # SQLite wants all from one thread, and the disk must not hold up what arrives.
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="disk")
        try:
            self._writer = BagWriter(bag, storage)
            self._begin(image_topic, tasks)
        except (WriterError, OSError, sqlite3.Error) as error:
            raise InputError(f"cannot write the bag {bag}: {error}") from error

    def destroy_node(self) -> None:
        """Complete the bag, and destroy the node."""
        super().destroy_node()
        self._disk.submit(self._writer.close).add_done_callback(self._tell)
        self._disk.shutdown()
        log = self.get_logger()
        log.info(", ".join(f"{count} on {topic}" for topic, count in self.counts.items()))
        if self._lost:
            log.warning(f"the disk was too slow: {self._lost} messages are lost")
        if not self.counts[self._image_topic]:
            log.warning(f"the bag has no images: nothing came on {self._image_topic}")

    def _begin(self, image_topic: str, tasks: Sequence[Task]) -> None:
        self._disk.submit(self._writer.open).result()
        with ExitStack() as undo:
            undo.callback(lambda: self._disk.submit(self._writer.close).result())
            self._record_all(image_topic, tasks)
            undo.pop_all()

    def _record_all(self, image_topic: str, tasks: Sequence[Task]) -> None:
        image = CompressedImage if image_topic.endswith(COMPRESSED) else RawImage
        self._record(image, image_topic, RECORDED)
        self._record(Bottleneck, "bottleneck", RECORDED)
        self._record(LinkReport, "link_report", RECORDED)
        self._record(AnswerInfo, "answer_info", RESULT)
        self._record(CameraInfo, camera_info_of(self._image_topic), RECORDED)
        for task in tasks:
            for topic in (result_topic(task), f"{GROUND_TRUTH}/{result_topic(task)}"):
                self._record(ROS_KINDS[task.kind].MESSAGE, topic, RESULT)
            self._record(LabelInfo, f"label_info/{task.name}", LATCHED)
        self._record(DiagnosticArray, "/diagnostics", RESULT)

    def _record(self, kind: type, topic: str, profile: QoSProfile) -> None:
        resolved = self.resolve_topic_name(topic)
        offered = [_offered(profile)]
        connection = self._disk.submit(
            self._writer.add_connection, resolved, type_name(kind), typestore=self._types, offered_qos_profiles=offered
        ).result()

        def write(data: bytes, info: MessageInfo) -> None:
            if self._room.acquire(blocking=False):
                writing = self._disk.submit(self._writer.write, connection, info["received_timestamp"], data)
                writing.add_done_callback(self._written)
                self.counts[resolved] += 1
            else:
                self._lost += 1

        subscribe(self, kind, topic, write, profile, self.get_logger().warning, raw=True)

    def _written(self, writing: Future[None]) -> None:
        self._room.release()
        self._tell(writing)

    def _tell(self, writing: Future[None]) -> None:
        if error := writing.exception():
            with suppress(InvalidStateError):  # only the first fault is told
                self.ended.set_exception(InputError(f"cannot write the bag: {error}"))


def _offered(profile: QoSProfile) -> Qos:
    """What a player is to offer: reliable, so that it matches every subscriber."""
    durable = QosDurability.TRANSIENT_LOCAL if profile is LATCHED else QosDurability.VOLATILE
    forever = QosTime(sec=9223372036, nsec=854775807)
    return Qos(
        QosHistory.KEEP_LAST, profile.depth, QosReliability.RELIABLE, durable, forever, forever,
        QosLiveliness.AUTOMATIC, forever, False,
    )  # fmt: skip
