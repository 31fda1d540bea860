"""Everything on one machine: a server and, for every vehicle, a camera (or somebody else's) and an edge."""

from launch import LaunchDescription
from mtl_split_ros import graph
from mtl_split_ros.launching import EDGE, SERVER, describe


def generate_launch_description() -> LaunchDescription:
    """Called by `ros2 launch mtl_split demo.launch.py`."""
    return describe(
        lambda options, given: graph.demo(options, **given),
        *dict.fromkeys((*EDGE, *SERVER)),
        *("source", "vehicles", "cameras", "rate", "frames", "out", "autoware", "middle", "watch"),
    )
