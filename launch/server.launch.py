"""The server of any number of vehicles."""

from launch import LaunchDescription
from mtl_split_ros import graph
from mtl_split_ros.launching import SERVER, describe


def generate_launch_description() -> LaunchDescription:
    """Called by `ros2 launch mtl_split server.launch.py`."""
    names = (*SERVER, "vehicles", "group", "cameras", "middle", "watch")
    return describe(lambda options, given: [graph.server(options, **given)], *names)
