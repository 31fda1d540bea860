"""Where the files are that come with the packages: shipped bundles, and the nodes' default parameters."""

import os
from pathlib import Path

from mtl_split_core.errors import InputError


def share_folder() -> Path:
    """Return the folder with `models/`: the checkout itself, or `share/mtl_split` of an installation.

    colcon and pip both install that folder below one of those that the packages are in. pip installs `models/` alone:
    what else is there is for the nodes, and so for colcon. Raises InputError where there is none.
    """
    packages = Path(__file__).parents[1]
    if (packages / "package.xml").is_file():
        return packages
    for folder in (packages, *packages.parents):
        if (found := folder / "share" / "mtl_split").is_dir():
            return found
    raise InputError(f"{packages} is incomplete: expected share/mtl_split below it or a folder above it; install again")


def config_file(node: str) -> Path:
    """The ROS parameter file with the defaults of the node `node`."""
    return share_folder() / "config" / f"{node}.yaml"


def fast_dds_profile(over_link: bool = False) -> Path:
    """The settings with which Fast DDS carries raw images and finds nodes soon.

    over_link: for a node that has to know another one still after an outage of the link between them.
    """
    return share_folder() / "config" / ("fastdds_link.xml" if over_link else "fastdds.xml")


def label_map_file() -> Path:
    """What each label of the shipped bundles is in Autoware."""
    return share_folder() / "config" / "autoware_labels.yaml"


def bundle_folder(bundle: str) -> Path:
    """Return the folder that a `bundle` parameter means: a path if it contains a "/", otherwise a shipped bundle.

    Raises InputError where no bundle of that name is shipped.
    """
    if "/" in bundle:
        return Path(os.path.expanduser(bundle))
    shipped = {path.name: path for path in (share_folder() / "models").iterdir()}
    if bundle not in shipped:
        names = ", ".join(sorted(shipped))
        raise InputError(f'no bundle {bundle!r} is shipped, only {names}; the folder of another one needs a "/" in it')
    return shipped[bundle]
