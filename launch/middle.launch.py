"""The roadside unit of any number of vehicles, between them and their server."""

from launch import LaunchDescription
from mtl_split_ros import graph
from mtl_split_ros.launching import PART, describe


def generate_launch_description() -> LaunchDescription:
    """Called by `ros2 launch mtl_split middle.launch.py`."""
    names = (*PART, "vehicles", "cameras", "cut", "repair")
    return describe(lambda options, given: [graph.middle(options, **given)], *names)
