"""Rosbags for tests, and what is in them."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rclpy.serialization import deserialize_message, serialize_message
from rosbags.rosbag2 import Reader
from std_msgs.msg import Header

from mtl_split_core.scene import Classification, Detections, Results, Task
from mtl_split_lab.recordings.definitions import message_types
from mtl_split_lab.recordings.storage import BagWriter
from mtl_split_ros.kinds import KINDS
from mtl_split_ros.messages import result_topic, type_name

START = 1_700_000_000 * 10**9
PERIOD = 10**8
"""Nanoseconds between two frames."""


def header(number: int) -> Header:
    """The header of a frame."""
    stamp = Header(frame_id="camera")
    stamp.stamp.sec, stamp.stamp.nanosec = divmod(START + number * PERIOD, 10**9)
    return stamp


def write_bag(path: Path, messages: Iterable[tuple[str, Any]], storage: str = "mcap") -> Path:
    """Write messages in this order, by topic."""
    types = message_types()
    with BagWriter(path, storage) as bag:
        connections: dict[str, Any] = {}
        for number, (topic, message) in enumerate(messages):
            if topic not in connections:
                connections[topic] = bag.add_connection(topic, type_name(type(message)), typestore=types)
            bag.write(connections[topic], START + number * 10**6, serialize_message(message))
    return path


def read_messages(path: Path, topic: str, kind: type[Any]) -> list[Any]:
    """Every message of a topic, in order."""
    with Reader(path) as bag:
        connections = [one for one in bag.connections if one.topic == topic]
        return [deserialize_message(data, kind) for _, _, data in bag.messages(connections)] if connections else []


def results_by_stamp(path: Path, tasks: Iterable[Task]) -> dict[int, Results]:
    """What a recorded server, whose vehicle is in the root, answered: by stamp in nanoseconds, by task."""
    found: defaultdict[int, Results] = defaultdict(dict)
    for task in tasks:
        kind = KINDS[task.kind]
        for message in read_messages(path, f"/{result_topic(task)}", kind.MESSAGE):
            stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
            found[stamp][task.name] = kind.to_result(message, task)
    return found


def plain(results: Results) -> dict[str, Any]:
    """Results as lists, with a classification's labels in the order of the alphabet, and areas as they are."""
    return {task: _plain(result) for task, result in results.items()}


def _plain(result: Any) -> Any:
    match result:
        case Detections():
            return result.boxes.tolist(), result.labels, result.scores.tolist()
        case Classification():
            return dict(sorted(zip(result.labels, result.scores.tolist(), strict=True)))
    return result
