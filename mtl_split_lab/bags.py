"""Rosbags: what was recorded of a vehicle as frames with their truth, without ROS running."""

import struct
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import apsw
from rclpy.serialization import deserialize_message
from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader, ReaderError
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image as RawImage

from mtl_split_core.bundle import Task
from mtl_split_core.errors import ImageError, InputError
from mtl_split_core.scene import Image, Truth
from mtl_split_lab.frames import NOTHING_KNOWN, Frame, keep_known
from mtl_split_ros.images import to_picture
from mtl_split_ros.messages import MESSAGE_TYPES, result_topic, stamp_of, to_classification, to_truth

IMAGE_TYPES = {"sensor_msgs/msg/Image": RawImage, "sensor_msgs/msg/CompressedImage": CompressedImage}
TRUTH_TYPES = {"detection": "vision_msgs/msg/Detection2DArray", "classification": "vision_msgs/msg/Classification"}

SUFFIXES = (".mcap", ".db3")
_BROKEN = (ReaderError, OSError, apsw.Error, struct.error, ValueError, KeyError, IndexError, AssertionError)
"""What rosbags raises for damaged files, whose contents it takes for granted."""


def is_bag(path: Path) -> bool:
    """Whether a path is a bag: a folder with metadata, or one of its files alone."""
    return (path / "metadata.yaml").exists() or path.suffix in SUFFIXES


@contextmanager
def open_bag(path: Path) -> Iterator[Reader]:
    """Open a bag, MCAP or SQLite 3. Raises InputError for one that is missing or damaged, also while it is read."""
    try:
        with Reader(path) as reader:
            yield reader
    except InputError:
        raise
    except _BROKEN as error:
        what = str(error) or type(error).__name__
        raise InputError(f"{path} is no complete bag: {what}; `ros2 bag reindex` may mend it") from error


def find_image_topic(path: Path, wanted: str = "") -> str:
    """Return the topic of a bag's images: the one that is wanted, or else the only one, or the only raw one.

    Raises InputError where there is none, or where that is open.
    """
    with open_bag(path) as bag:
        topics = {one.topic: one.msgtype for one in bag.connections if one.msgtype in IMAGE_TYPES and one.msgcount}
    if wanted:
        if wanted not in topics:
            raise InputError(f"{path} has no images on {wanted!r}, expected one of {sorted(topics) or 'none at all'}")
        return wanted
    if not topics:
        raise InputError(f"{path} has no images, expected a topic of {' or '.join(IMAGE_TYPES)}")
    raw = [topic for topic, kind in topics.items() if IMAGE_TYPES[kind] is RawImage]
    for candidates in (list(topics), raw):
        if len(candidates) == 1:
            return candidates[0]
    raise InputError(f"{path} has several topics of images, choose one with the image topic: {sorted(topics)}")


class BagFrames:
    """A bag's images, in the order of the bag, with the truth that has the same stamp.

    See mtl_split_lab.inputs.Input for the rest.
    """

    def __init__(
        self, path: Path, tasks: Sequence[Task], image_topic: str = "", truth_topics: Mapping[str, str] | None = None
    ) -> None:
        """Look into a bag, and read all of its truth.

        image_topic: see find_image_topic; truth_topics: by task, where they are not in `ground_truth/` beside the
        images. Raises InputError for a damaged bag, one without images, and truth that is missing or of another type.
        """
        self.name = str(path)
        self._path, self._tasks = path, tasks
        self.skipped: Counter[str] = Counter()
        self._unusable: Counter[str] = Counter()
        self._image_topic = find_image_topic(path, image_topic)
        namespace = self._image_topic.removesuffix("/compressed").rpartition("/")[0]
        named = dict(truth_topics or {})
        if unknown := named.keys() - {task.name for task in tasks}:
            raise InputError(f"truth is given for {sorted(unknown)}, expected tasks: {[task.name for task in tasks]}")
        self._truths: dict[int, Truth] = {}
        with open_bag(path) as bag:
            there = {one.topic: one for one in bag.connections}
            self._kind = IMAGE_TYPES[there[self._image_topic].msgtype]
            self.count = there[self._image_topic].msgcount
            beside = {task.name: f"{namespace}/ground_truth/{result_topic(task)}" for task in tasks}
            truths = named | {task: topic for task, topic in beside.items() if task not in named and topic in there}
            self.facts = {"image topic": self._image_topic} | {f"truth of {task}": truths[task] for task in truths}
            for task in tasks:
                if topic := truths.get(task.name):
                    self._read_truth(bag, task, topic, there.get(topic))

    def __iter__(self) -> Iterator[Frame]:
        """Read the images."""
        self.skipped = self._unusable.copy()
        newest = -1
        unused = set(self._truths)
        with open_bag(self._path) as bag:
            images = [one for one in bag.connections if one.topic == self._image_topic]
            for _, _, data in bag.messages(images):
                stamp = stamp_of(data)
                self.skipped["stamps that go back"] += stamp <= newest
                newest = max(newest, stamp)
                unused -= {stamp}
                truth = keep_known(self._truths.get(stamp, NOTHING_KNOWN), self._tasks, self.skipped)
                yield Frame(str(stamp), truth, partial(_read_image, data, self._kind))
        self.skipped["truths without an image"] = len(unused)

    def _read_truth(self, bag: Reader, task: Task, topic: str, connection: Connection | None) -> None:
        expected = TRUTH_TYPES[task.kind]
        if connection is None or connection.msgtype != expected:
            there = connection.msgtype if connection else "nothing"
            raise InputError(f"{self._path} has {there} on {topic!r}, expected the truth of {task.name} as {expected}")
        for _, _, data in bag.messages([connection]):
            message = _deserialize(data, MESSAGE_TYPES[task.kind], topic)
            if not all(one.results for one in (message.detections if task.kind == "detection" else [message])):
                self._unusable["truths without a class"] += 1
                continue
            stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
            known = self._truths.get(stamp, NOTHING_KNOWN)
            if task.kind == "detection":
                self._truths[stamp] = replace(to_truth(message), classes=known.classes)
            else:
                self._truths[stamp] = replace(
                    known, classes={**known.classes, task.name: to_classification(message).best}
                )


def _read_image(data: bytes, kind: type[RawImage] | type[CompressedImage]) -> Image:
    try:
        return to_picture(_deserialize(data, kind, "an image"))
    except ImageError:
        raise
    except InputError as error:
        raise ImageError(str(error)) from error


def _deserialize(data: bytes, kind: type[Any], what: str) -> Any:
    try:
        return deserialize_message(data, kind)
    except RuntimeError as error:
        raise InputError(f"{what} of {len(data)} bytes is no {kind.__name__}: {error}") from error
