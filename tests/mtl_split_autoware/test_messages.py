"""Autoware's messages: what is said where they are missing or old, and what is written where they are there."""

import re
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from builtin_interfaces.msg import Time
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import Header

from mtl_split_autoware.messages import CURES, find_messages
from mtl_split_autoware.regions import Region
from mtl_split_core.errors import InputError

from .test_labels import CLASSES


def pretend(monkeypatch: pytest.MonkeyPatch, package: str, module: Any) -> None:
    for name in (package, f"{package}.msg"):
        monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.parametrize("missing", CURES)
def test_a_missing_package_is_named_with_its_cure(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in CURES:
        pretend(monkeypatch, package, None if package == missing else SimpleNamespace())
    words = f"the message package {missing} is not installed: source Autoware's workspace, or {CURES[missing]}"
    with pytest.raises(InputError, match=f"^{re.escape(words)}$"):
        find_messages()


def test_messages_of_an_earlier_autoware_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {"object": "autoware_auto_perception_msgs/DetectedObject", "feature": "tier4_perception_msgs/Feature"}
    old = SimpleNamespace(get_fields_and_field_types=lambda: fields)
    pretend(monkeypatch, "autoware_perception_msgs", SimpleNamespace())
    pretend(monkeypatch, "tier4_perception_msgs", SimpleNamespace(DetectedObjectWithFeature=old))
    with pytest.raises(InputError, match="object of autoware_auto_perception_msgs/DetectedObject, expected autoware_p"):
        find_messages()


def test_what_is_written_is_what_autowares_own_detector_writes() -> None:
    for package in CURES:
        pytest.importorskip(f"{package}.msg", reason=f"{package} is not installed")
    messages = find_messages()
    assert messages.classes.items() >= {name: CLASSES[name] for name in ("UNKNOWN", "CAR", "PEDESTRIAN")}.items()
    assert messages.classes.items() <= CLASSES.items()
    header = Header(stamp=Time(sec=3, nanosec=4), frame_id="front")
    written = messages.write([Region(1, 0.5, 10, 20, 30, 40), Region(7, 0.25, 0, 0, 1, 1)], header)
    array = deserialize_message(serialize_message(written), messages.array)
    assert array.header == header
    first, second = array.feature_objects
    roi = first.feature.roi
    assert (roi.x_offset, roi.y_offset, roi.width, roi.height, roi.do_rectify) == (10, 20, 30, 40, False)
    assert [(label.label, label.probability) for label in first.object.classification] == [(1, 1.0)]
    assert (first.object.existence_probability, second.object.existence_probability) == (0.5, 0.25)
    assert second.object.classification[0].label == 7 and not first.feature.cluster.data
    assert messages.write([], header) == messages.array(header=header)
