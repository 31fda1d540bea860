"""The edge of one vehicle, on the vehicle's computer."""

from launch import LaunchDescription
from mtl_split_ros import graph
from mtl_split_ros.launching import EDGE, describe


def generate_launch_description() -> LaunchDescription:
    """Called by `ros2 launch mtl_split edge.launch.py`."""
    names = (*EDGE, "cameras", "image_topic", "autoware")
    return describe(lambda options, given: graph.edges(options, **given), *names)
