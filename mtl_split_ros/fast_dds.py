"""The settings with which Fast DDS carries raw images and finds nodes soon: every process of this package has them."""

import os

from rclpy.utilities import get_rmw_implementation_identifier

from mtl_split_core.share import fast_dds_profile

PROFILES_FILE = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
"""What names Fast DDS's settings: from ROS 2 Kilted on, and before."""


def environment(over_link: bool = False) -> dict[str, str]:
    """What a process' environment has to have before its first node; nothing where the user has chosen settings.

    over_link: whether it is a node on one side of the link between vehicles and servers.
    """
    own = {str(fast_dds_profile(either)) for either in (False, True)}
    if {os.environ[name] for name in PROFILES_FILE if os.environ.get(name)} - own:
        return {}
    return {_variable(): str(fast_dds_profile(over_link))}


def cure_of_losses(sender: str) -> str:
    """What helps against large messages that a node's middleware loses, in the words of an instruction."""
    if "fastrtps" in get_rmw_implementation_identifier():
        return f"start {sender} with {_variable()}={fast_dds_profile()} in its environment"
    return f"give {sender}'s middleware, {get_rmw_implementation_identifier()}, larger buffers"


def _variable() -> str:
    return PROFILES_FILE[os.environ.get("ROS_DISTRO") == "jazzy"]
