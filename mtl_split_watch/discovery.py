"""Which vehicles there are, where their pictures come from and what is answered, as the ROS graph tells."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from mtl_split.msg import Bottleneck
from rclpy.exceptions import InvalidTopicNameException
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node, NodeNameNonExistentError
from rclpy.topic_endpoint_info import TopicEndpointInfo
from rclpy.validate_full_topic_name import validate_full_topic_name
from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import LabelInfo

from mtl_split_core.scene import Task
from mtl_split_ros.kinds import KINDS
from mtl_split_ros.messages import may_be_result, result_topic, type_name

LABELS = "label_info/"
"""The topic of a task's labels begins with this, and ends with the task's name."""

MOST_TASKS = 32
"""Tasks of one vehicle that are listened to."""

_RAW, _COMPRESSED = type_name(Image), type_name(CompressedImage)


@dataclass(frozen=True)
class Found:
    """A vehicle.

    bottleneck: the full name of its topic; images: that of the images that its edge takes, empty where there is no
    edge; compressed: whether they are JPEG or PNG; tasks: what its server answers, without the labels.
    """

    bottleneck: str
    images: str = ""
    compressed: bool = False
    tasks: tuple[Task, ...] = ()


def find_vehicles(node: Node) -> dict[str, Found]:
    """Return the vehicles in the node's namespace or below, by namespace: wherever a bottleneck is sent or awaited."""
    topics = {topic: set(types) for topic, types in node.get_topic_names_and_types() if _is_valid(topic)}
    within = f"{node.get_namespace().rstrip('/')}/"
    vehicles = {}
    for topic in sorted(name for name, types in topics.items() if type_name(Bottleneck) in types):
        if topic.startswith(within) and (edges := _others(node, topic)) is not None:
            namespace = topic.rpartition("/")[0]
            vehicles[namespace or "/"] = Found(topic, *_images(node, edges), _tasks(node, namespace, topics))
    return vehicles


def _is_valid(topic: str) -> bool:
    """Whether ROS allows a name; DDS allows any."""
    try:
        validate_full_topic_name(topic)
    except (ValueError, InvalidTopicNameException):
        return False
    return True


def _others(node: Node, topic: str) -> list[TopicEndpointInfo] | None:
    """Who publishes a topic; None where nobody but the node itself has to do with it."""
    publishers = node.get_publishers_info_by_topic(topic)
    own = (node.get_name(), node.get_namespace())
    takers = [(info.node_name, info.node_namespace) for info in node.get_subscriptions_info_by_topic(topic)]
    return publishers if publishers or any(taker != own for taker in takers) else None


def _images(node: Node, edges: Sequence[TopicEndpointInfo]) -> tuple[str, bool]:
    """The topic of the images that one of these nodes takes, and whether they are compressed; raw ones are cheaper."""
    taken: list[tuple[bool, bool, str]] = []
    for name, namespace in sorted({(edge.node_name, edge.node_namespace) for edge in edges}):
        # Not known yet, gone again, or of a name that ROS does not allow.
        with suppress(NodeNameNonExistentError, rclpy_implementation.RCLError):
            for topic, types in node.get_subscriber_names_and_types_by_node(name, namespace):
                if (_RAW in types or _COMPRESSED in types) and not may_be_result(topic):
                    taken.append((not node.count_publishers(topic), _RAW not in types, topic))
    _, compressed, topic = min(taken, default=(True, False, ""))
    return topic, compressed


def _tasks(node: Node, namespace: str, topics: dict[str, set[str]]) -> tuple[Task, ...]:
    tasks = []
    for topic in sorted(topics):
        name = topic.removeprefix(f"{namespace}/{LABELS}")
        # Without a publisher it is there because this node subscribes to it.
        if "/" not in name and type_name(LabelInfo) in topics[topic] and node.count_publishers(topic):
            possible = [Task(name, kind, ()) for kind in KINDS]
            tasks += [
                task for task in possible if _message(task) in topics.get(f"{namespace}/{result_topic(task)}", ())
            ]
    return tuple(tasks[:MOST_TASKS])


def _message(task: Task) -> str:
    return type_name(KINDS[task.kind].MESSAGE)
