"""One vehicle's rosbag through a live edge and server, with the bag's own time."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from launch import LaunchDescription
from mtl_split_core.errors import InputError
from mtl_split_lab.recordings.bags import find_image_topic, find_topics, namespace_of
from mtl_split_ros import graph
from mtl_split_ros.launching import EDGE, SERVER, describe


def _replay(options: graph.Options, given: Mapping[str, Any]) -> Iterable[graph.Process]:
    if "bag" not in given:
        raise InputError("bag is missing, expected bag:=PATH")
    bag = Path(given["bag"])
    topic = find_image_topic(bag, given.get("image_topic", ""))
    vehicle = options if options.namespace else options.within(namespace_of(topic))
    return graph.replay(vehicle, **{**given, "image_topic": topic, "topics": find_topics(bag, topic)})


def generate_launch_description() -> LaunchDescription:
    """Called by `ros2 launch mtl_split replay.launch.py bag:=PATH`."""
    names = ("bag", "image_topic", "rate", "loop", "out", "autoware", "watch")
    return describe(_replay, *dict.fromkeys((*EDGE, *SERVER)), *names)
