"""Vehicles are found by what the ROS graph says of them, and names that ROS does not allow are passed over."""

from collections.abc import Callable, Iterator

import pytest
import rclpy
from mtl_split.msg import Bottleneck
from rclpy.context import Context
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import Classification, Detection2DArray, LabelInfo

from mtl_split_core.scene import Task
from mtl_split_watch.discovery import MOST_TASKS, Found, find_vehicles

from ..processes import Probe

CreateNode = Callable[[str, str], Node]


@pytest.fixture
def create(domain: int) -> Iterator[CreateNode]:
    """Creates nodes by name and namespace."""
    context = Context()
    rclpy.init(context=context, domain_id=domain)
    nodes = []

    def create(name: str, namespace: str) -> Node:
        nodes.append(Node(name, namespace=namespace, context=context, start_parameter_services=False))
        return nodes[-1]

    yield create
    for node in nodes:
        node.destroy_node()
    context.shutdown()


def test_a_vehicle_is_found_with_its_images_and_tasks(create: CreateNode, probe: Probe) -> None:
    edge, server, own = create("edge", "/fleet/car1"), create("server", "/fleet"), create("watch", "/fleet")
    outside = create("edge", "/other")
    outside.create_publisher(Bottleneck, "bottleneck", 1)
    edge.create_publisher(Bottleneck, "bottleneck", 1)
    edge.create_subscription(Image, "/front/image", print, 1)
    server.create_subscription(Bottleneck, "car2/bottleneck", print, 1)
    for name, kind in (("detections", Detection2DArray), ("classification/weather", Classification)):
        server.create_publisher(kind, f"car1/{name}", 1)
    for task in ("detection", "weather", "unheard_of"):
        server.create_publisher(LabelInfo, f"car1/label_info/{task}", 1)
    tasks = (Task("detection", "detection", ()), Task("weather", "classification", ()))
    expected = {
        "/fleet/car1": Found("/fleet/car1/bottleneck", "/front/image", False, tasks),
        "/fleet/car2": Found("/fleet/car2/bottleneck"),
    }
    probe.wait_for("the vehicles", lambda: find_vehicles(own) == expected)
    # What this node itself listens to is no vehicle, and no task.
    own.create_subscription(Bottleneck, "car3/bottleneck", print, 1)
    own.create_subscription(LabelInfo, "car1/label_info/scene", print, 1)
    own.create_subscription(Classification, "car1/classification/scene", print, 1)
    probe.wait_for("the subscriptions", lambda: own.count_subscribers("/fleet/car1/classification/scene"))
    assert find_vehicles(own) == expected


def test_of_two_kinds_of_images_those_that_somebody_publishes_count(create: CreateNode, probe: Probe) -> None:
    edge, own = create("edge", "/car1"), create("watch", "/")
    edge.create_publisher(Bottleneck, "bottleneck", 1)
    edge.create_subscription(Image, "image_raw", print, 1)
    edge.create_subscription(CompressedImage, "image_raw/compressed", print, 1)
    probe.wait_for(
        "the raw ones", lambda: find_vehicles(own) == {"/car1": Found("/car1/bottleneck", "/car1/image_raw")}
    )
    create("camera", "/car1").create_publisher(CompressedImage, "image_raw/compressed", 1)
    compressed = Found("/car1/bottleneck", "/car1/image_raw/compressed", compressed=True)
    probe.wait_for("the compressed ones", lambda: find_vehicles(own) == {"/car1": compressed})


def test_names_that_ros_does_not_allow_are_passed_over(create: CreateNode, monkeypatch: pytest.MonkeyPatch) -> None:
    own = create("watch", "/")
    bottleneck, labels = ["mtl_split/msg/Bottleneck"], ["vision_msgs/msg/LabelInfo"]
    named = [
        ("/car 1/bottleneck", bottleneck),
        ("//bottleneck", bottleneck),
        ("/{x}/bottleneck", bottleneck),
        ("", labels),
    ]
    monkeypatch.setattr(own, "get_topic_names_and_types", lambda: named)
    assert find_vehicles(own) == {}


def test_only_so_many_tasks_are_listened_to(create: CreateNode, monkeypatch: pytest.MonkeyPatch) -> None:
    own = create("watch", "/")
    own.create_publisher(Bottleneck, "bottleneck", 1)
    many = [f"task{number}" for number in range(100)]
    named = [("/bottleneck", ["mtl_split/msg/Bottleneck"])]
    named += [(f"/label_info/{task}", ["vision_msgs/msg/LabelInfo"]) for task in many]
    named += [(f"/classification/{task}", ["vision_msgs/msg/Classification"]) for task in many]
    monkeypatch.setattr(own, "get_topic_names_and_types", lambda: named)
    monkeypatch.setattr(own, "count_publishers", lambda topic: 1)
    assert len(find_vehicles(own)["/"].tasks) == MOST_TASKS
