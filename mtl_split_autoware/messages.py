"""Autoware's message types, which a machine may have or not, and regions written as such messages."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from sensor_msgs.msg import RegionOfInterest
from std_msgs.msg import Header

from mtl_split_autoware.regions import Region
from mtl_split_core.errors import InputError

CURES = {
    "autoware_perception_msgs": "apt-get install ros-$ROS_DISTRO-autoware-perception-msgs",
    "tier4_perception_msgs": "build it from github.com/tier4/tier4_autoware_msgs",
}
"""The packages that are needed, in this order, and where they come from."""

_OBJECT = "autoware_perception_msgs/DetectedObject"


@dataclass(frozen=True)
class AutowareMessages:
    """autoware, tier4: the modules with the types of autoware_perception_msgs and tier4_perception_msgs."""

    autoware: Any
    tier4: Any

    @property
    def array(self) -> type[Any]:
        """The type that is published, tier4_perception_msgs/DetectedObjectsWithFeature."""
        kind: type[Any] = self.tier4.DetectedObjectsWithFeature
        return kind

    @property
    def classes(self) -> Mapping[str, int]:
        """The constants of ObjectClassification by name."""
        kind = self.autoware.ObjectClassification
        return {name: getattr(kind, name) for name in dir(type(kind)) if name.isupper() and not name.startswith("_")}

    def write(self, regions: Iterable[Region], header: Header) -> Any:
        """Write regions with their image's header.

        The score is the probability that the object exists, and that of its class is 1: these are the only ones that
        Autoware's own detector in pictures fills, too.
        """
        return self.array(header=header, feature_objects=[self._write(region) for region in regions])

    def _write(self, region: Region) -> Any:
        label = self.autoware.ObjectClassification(label=region.number, probability=1.0)
        roi = RegionOfInterest(x_offset=region.x, y_offset=region.y, width=region.width, height=region.height)
        return self.tier4.DetectedObjectWithFeature(
            object=self.autoware.DetectedObject(existence_probability=region.score, classification=[label]),
            feature=self.tier4.Feature(roi=roi),
        )


def find_messages() -> AutowareMessages:
    """Import Autoware's message packages.

    Raises InputError, which says what to install, where one is missing or older than the message types of today.
    """
    modules = []
    for package, cure in CURES.items():
        try:
            modules.append(import_module(f"{package}.msg"))
        except ModuleNotFoundError as error:
            if error.name not in (package, f"{package}.msg"):
                raise
            raise InputError(
                f"the message package {package} is not installed: source Autoware's workspace, or {cure}"
            ) from error
    messages = AutowareMessages(*modules)
    found = messages.tier4.DetectedObjectWithFeature.get_fields_and_field_types()["object"]
    if found != _OBJECT:
        raise InputError(
            f"tier4_perception_msgs/DetectedObjectWithFeature has an object of {found}, expected {_OBJECT}: it is of a"
            " time before Autoware's messages were renamed; update it"
        )
    return messages
