"""Where the package's installed files are: default parameters and shipped bundles."""

import os
from pathlib import Path

from ament_index_python.packages import get_package_share_directory


def config_file(node: str) -> Path:
    """The ROS parameter file with the defaults of the node `node`."""
    return _share() / "config" / f"{node}.yaml"


def fast_dds_profile() -> Path:
    """The settings with which Fast DDS carries raw images and finds nodes soon."""
    return _share() / "config" / "fastdds.xml"


def bundle_folder(bundle: str) -> Path:
    """The folder that a `bundle` parameter means: a path if it contains a "/", otherwise a shipped bundle."""
    return Path(os.path.expanduser(bundle)) if "/" in bundle else _share() / "models" / bundle


def _share() -> Path:
    return Path(get_package_share_directory("mtl_split"))
