"""Rosbags: what was recorded of a vehicle as frames with their truth, without ROS running."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from rclpy.serialization import deserialize_message
from rosbags.interfaces import ConnectionExtRosbag2, QosDurability
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image as RawImage

from mtl_split_core.errors import InputError, in_one_line
from mtl_split_core.scene import Image, Task, Truth
from mtl_split_lab.recordings.definitions import check_definition
from mtl_split_lab.recordings.storage import BagReader, without_metadata
from mtl_split_lab.scoring.frames import NOTHING_KNOWN, Frame, join_truths, keep_known
from mtl_split_ros.images import to_picture
from mtl_split_ros.kinds import KINDS as ROS_KINDS
from mtl_split_ros.messages import may_be_result, result_topic, stamp_of, type_name

IMAGE_TYPES = {"sensor_msgs/msg/Image": RawImage, "sensor_msgs/msg/CompressedImage": CompressedImage}
GROUND_TRUTH = "ground_truth"
"""Where the truth is, beside a camera's images."""

MOST_WORDS = 300
"""Characters that are repeated of an error: it may repeat what is in a file."""


class Bag:
    """An open bag.

    types: of the messages by topic; latched: topics whose last message late subscribers get too.
    """

    def __init__(self, path: Path, reader: BagReader) -> None:
        """Look at what is in an open bag. Raises InputError where that is nothing that a bag can have."""
        self._path = path
        self._reader = reader
        for one in reader.connections:
            values = (one.topic, one.msgtype, one.msgcount)
            if tuple(map(type, values)) != (str, str, int):
                raise InputError(f"a topic's name, type and count are {values}, expected two strings and a number")
        self.types = {one.topic: one.msgtype for one in reader.connections}
        self.latched = {
            one.topic
            for one in reader.connections
            if isinstance(one.ext, ConnectionExtRosbag2)
            and any(profile.durability == QosDurability.TRANSIENT_LOCAL for profile in one.ext.offered_qos_profiles)
        }

    def count(self, topic: str) -> int:
        """Return how many messages of a topic there are, as the bag says."""
        return sum(one.msgcount for one in self._reader.connections if one.topic == topic)

    def messages(self, topics: Collection[str]) -> Iterator[tuple[str, int, bytes]]:
        """Read the messages of some topics in their order: topic, when it was recorded in nanoseconds, bytes.

        Raises InputError where the bag is damaged, where it has fewer of them than it says, and where they are of types
        that are defined otherwise here.
        """
        connections = [one for one in self._reader.connections if one.topic in topics]
        if not connections:  # rosbags takes none for all
            return
        with _naming(self._path):
            for one in connections:
                if one.msgtype != self.types[one.topic]:
                    raise InputError(f"{one.topic!r} is of two types, {one.msgtype!r} and {self.types[one.topic]!r}")
                check_definition(one)
        found = self._reader.messages(connections)
        left = Counter({topic: self.count(topic) for topic in topics})
        while True:
            with _naming(self._path):
                message = next(found, None)
                if message is None:
                    break
                connection, recorded, data = message
                # SQLite holds anything in any column.
                if type(recorded) is not int or type(data) is not bytes:
                    raise InputError(f"a message on {connection.topic!r} has the time {recorded!r:.80}, or no bytes")
            left[connection.topic] -= 1
            yield connection.topic, recorded, data
        if missing := +left:
            topic = min(missing)
            raise InputError(
                f"{self._path} is no complete bag: of {self.count(topic)} messages that it promises on {topic!r}, "
                f"{missing[topic]} cannot be read{without_metadata(self._path)}"
            )


@contextmanager
def open_bag(path: Path) -> Iterator[Bag]:
    """Open a bag, MCAP or SQLite 3. Raises InputError for one that is missing or damaged."""
    with ExitStack() as stack:
        with _naming(path):
            reader = BagReader(path)
            reader.open()
            stack.callback(reader.close)
            bag = Bag(path, reader)
        yield bag


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        if str(path) in str(error):
            raise
        raise InputError(f"{path}: {error}{without_metadata(path)}") from error
    # rosbags takes what is in a file for granted: damaged ones make it, its decompressors and SQLite raise anything.
    except Exception as error:
        words = in_one_line(error)[:MOST_WORDS] or type(error).__name__
        raise InputError(f"{path} is no complete bag: {words}{without_metadata(path)}") from error


def find_image_topic(path: Path, wanted: str = "") -> str:
    """Return the topic of a bag's images: the one that is wanted, or else the only one, or the only raw one.

    Raises InputError where there is none, or where that is open.
    """
    with open_bag(path) as bag:
        topics = {topic: kind for topic, kind in bag.types.items() if kind in IMAGE_TYPES and bag.count(topic)}
    if wanted:
        if wanted not in topics:
            raise InputError(f"{path} has no images on {wanted!r}, expected one of {sorted(topics) or 'none at all'}")
        return wanted
    if not topics:
        raise InputError(f"{path} has no images, expected a topic of {' or '.join(IMAGE_TYPES)}")
    cameras = [topic for topic in topics if not may_be_result(topic)] or list(topics)
    raw = [topic for topic in cameras if IMAGE_TYPES[topics[topic]] is RawImage]
    for candidates in (cameras, raw):
        if len(candidates) == 1:
            return candidates[0]
    raise InputError(f"{path} has several topics of images, choose one as the image topic: {sorted(topics)}")


def namespace_of(image_topic: str) -> str:
    """Return the namespace of a camera, without a slash in front; empty for the root."""
    return image_topic.removesuffix("/compressed").rpartition("/")[0].strip("/")


def camera_info_of(image_topic: str) -> str:
    """Return the topic of a camera's CameraInfo, which is beside its images."""
    return f"/{namespace_of(image_topic)}/camera_info".replace("//", "/")


def find_topics(path: Path, image_topic: str) -> list[str]:
    """Return the topics that a camera and the truth about its images have in a bag, its images first."""
    camera_info = camera_info_of(image_topic)
    with open_bag(path) as bag:
        types = {type_name(kind.MESSAGE) for kind in ROS_KINDS.values()}
        truths = [topic for topic, found in bag.types.items() if _is_truth(topic) and found in types]
        return [image_topic, *([camera_info] if camera_info in bag.types else []), *sorted(truths)]


def _is_truth(topic: str) -> bool:
    return GROUND_TRUTH in topic.split("/")


class BagFrames:
    """A bag's images, in the order of the bag, with the truth that has the same stamp.

    See mtl_split_lab.recordings.inputs.Input for the rest.
    """

    def __init__(
        self, path: Path, tasks: Sequence[Task], image_topic: str = "", truth_topics: Mapping[str, str] | None = None
    ) -> None:
        """Look into a bag, and read all of its truth.

        image_topic: see find_image_topic; truth_topics: by task, where they are neither in `ground_truth/` beside the
        images nor in the bag's only `ground_truth/`. Raises InputError for a damaged bag, one without images, and truth
        that is missing or of another type.
        """
        self.name = str(path)
        self.skipped: Counter[str] = Counter()
        self._path, self._tasks = path, tasks
        self._image_topic = find_image_topic(path, image_topic)
        self._truths: dict[int, Truth] = {}
        self._unusable: Counter[str] = Counter()
        named = truth_topics or {}
        if unknown := named.keys() - {task.name for task in tasks}:
            raise InputError(f"truth is given for {sorted(unknown)}, expected tasks: {[task.name for task in tasks]}")
        with open_bag(path) as bag:
            self._kind = IMAGE_TYPES[bag.types[self._image_topic]]
            self.count = bag.count(self._image_topic)
            topics = {task.name: named.get(task.name) or self._find_truth(bag, task) for task in tasks}
            self.facts = {"image topic": self._image_topic}
            self.facts |= {f"truth of {task}": topic for task, topic in topics.items() if topic}
            for task in tasks:
                if topic := topics[task.name]:
                    self._read_truth(bag, task, topic)

    def __iter__(self) -> Iterator[Frame]:
        """Read the images."""
        self.skipped = self._unusable.copy()
        newest, seen = 0, set[int]()
        with open_bag(self._path) as bag:
            for _, _, data in bag.messages([self._image_topic]):
                stamp = stamp_of(data)
                self.skipped["stamps not after the one before"] += stamp <= newest
                # Nobody knows which of two images of one stamp the truth is about.
                truth = NOTHING_KNOWN if stamp in seen else self._truths.get(stamp, NOTHING_KNOWN)
                newest = max(newest, stamp)
                seen.add(stamp)
                known = keep_known(truth, self._tasks, self.skipped)
                yield Frame(str(stamp), known, partial(_read, data, self._kind), stamp)
        self.skipped["truths without an image"] = len(self._truths.keys() - seen)

    def _find_truth(self, bag: Bag, task: Task) -> str:
        """Return the topic with the truth of a task; empty where there is none, or where that is open."""
        inside = f"{GROUND_TRUTH}/{result_topic(task)}"
        beside = f"/{namespace_of(self._image_topic)}/{inside}".replace("//", "/")
        there = [topic for topic in bag.types if topic.endswith(f"/{inside}")]
        return beside if beside in there else there[0] if len(there) == 1 else ""

    def _read_truth(self, bag: Bag, task: Task, topic: str) -> None:
        kind = ROS_KINDS[task.kind]
        expected, found = type_name(kind.MESSAGE), bag.types.get(topic, "nothing")
        if found != expected:
            raise InputError(f"{self._path} has {found} on {topic!r}, expected the truth of {task.name} as {expected}")
        seen, doubtful = set[int](), set[int]()
        for _, _, data in bag.messages([topic]):
            try:
                message = deserialize(data, kind.MESSAGE, topic)
            except InputError:
                self._unusable["truths that are damaged"] += 1
                continue
            truth = kind.to_truth(task, message, self._unusable)
            if truth is None:
                continue
            if truth.labelled is None:
                truth = replace(truth, labelled=frozenset(task.labels))
            stamp = stamp_of(data)
            (doubtful if stamp in seen else seen).add(stamp)
            self._truths[stamp] = join_truths(self._truths.get(stamp, NOTHING_KNOWN), truth)
        for stamp in doubtful:
            self._truths[stamp] = NOTHING_KNOWN
        self._unusable["stamps with several truths"] += len(doubtful)


def _read(data: bytes, kind: type[RawImage] | type[CompressedImage]) -> Image:
    return to_picture(deserialize(data, kind, "an image"))


def deserialize(data: bytes, kind: type[Any], what: str) -> Any:
    """Return the message of a type that some bytes hold. Raises InputError, naming `what` they are, where none."""
    try:
        return deserialize_message(data, kind)
    except RuntimeError as error:
        raise InputError(f"{what} of {len(data)} bytes is no {kind.__name__}: {error}") from error
