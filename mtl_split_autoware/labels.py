"""What each label is called in Autoware: a file in YAML, `label: CLASS`, one line per label.

A class is a constant of autoware_perception_msgs/ObjectClassification, such as CAR, or TRAFFIC_LIGHT: Autoware
recognises traffic lights in a pipeline of their own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from mtl_split_core.errors import InputError, brief, in_one_line
from mtl_split_core.text_file import read_text

TRAFFIC_LIGHT = "TRAFFIC_LIGHT"

MOST_BYTES = 65536


@dataclass(frozen=True)
class Labels:
    """objects: the number of the class in ObjectClassification, by label; traffic_lights: the labels of these."""

    objects: Mapping[str, int]
    traffic_lights: frozenset[str]


def read_labels(path: Path, classes: Mapping[str, int]) -> Labels:
    """Read a label map; classes: the constants of ObjectClassification by name.

    Raises InputError for a file that cannot be read, is not a map of labels to classes, or names an unknown class.
    """
    try:
        content = yaml.safe_load(read_text(path, MOST_BYTES))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InputError(f"label_map {path} cannot be read: {in_one_line(error)}") from error
    if not isinstance(content, dict):
        raise InputError(f"label_map {path} is {brief(content)}, expected lines such as `car: CAR`")
    for label, name in content.items():
        if not isinstance(label, str) or not isinstance(name, str) or name not in [*classes, TRAFFIC_LIGHT]:
            raise InputError(
                f"label_map {path}: {brief(label)} is {brief(name)}, expected a label with one of"
                f" {', '.join([*classes, TRAFFIC_LIGHT])}"
            )
    return Labels(
        {label: classes[name] for label, name in content.items() if name != TRAFFIC_LIGHT},
        frozenset(label for label, name in content.items() if name == TRAFFIC_LIGHT),
    )
