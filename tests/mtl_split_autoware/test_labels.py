"""The label map: what the shipped one says, and what is wrong with others in one line."""

from pathlib import Path

import pytest

from mtl_split_autoware.labels import MOST_BYTES, TRAFFIC_LIGHT, Labels, read_labels
from mtl_split_core.bundle import load_bundle
from mtl_split_core.errors import InputError
from mtl_split_core.share import bundle_folder, label_map_file

# The constants of ObjectClassification in autoware_perception_msgs 1.12.
NAMES = "UNKNOWN CAR TRUCK BUS TRAILER MOTORCYCLE BICYCLE PEDESTRIAN ANIMAL HAZARD OVER_DRIVABLE UNDER_DRIVABLE"
CLASSES = {name: number for number, name in enumerate(NAMES.split())}


def test_everything_that_moves_has_a_class_and_traffic_lights_are_apart() -> None:
    labels = read_labels(label_map_file(), CLASSES)
    assert labels.traffic_lights == {"traffic light"}
    assert labels.objects == {
        "car": 1, "truck": 2, "bus": 3, "motorcycle": 5, "bicycle": 6, "rider": 6, "pedestrian": 7,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["street", "roads"])
def test_only_traffic_signs_of_the_shipped_bundles_are_left_out(name: str) -> None:
    labels = read_labels(label_map_file(), CLASSES)
    [task] = [task for task in load_bundle(bundle_folder(name)).tasks if task.kind == "detection"]
    assert set(task.labels) - labels.objects.keys() - labels.traffic_lights == {"traffic sign"}


def test_another_map(tmp_path: Path) -> None:
    path = tmp_path / "map.yaml"
    path.write_text(f"lorry: TRUCK\nsignal: {TRAFFIC_LIGHT}\nsemaphore: {TRAFFIC_LIGHT}\n")
    assert read_labels(path, CLASSES) == Labels({"lorry": 2}, frozenset({"signal", "semaphore"}))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lorry: LORRY", "'lorry' is 'LORRY', expected a label with one of UNKNOWN, CAR, .*, TRAFFIC_LIGHT$"),
        ("lorry: [TRUCK]", "'lorry' is a list of 1, expected"),
        ("lorry:", "'lorry' is None, expected"),
        ("1: CAR", "1 is 'CAR', expected"),
        ("- car", "is a list of 1, expected lines such as `car: CAR`"),
        ("", "is None, expected lines"),
        ("car: [", "cannot be read: while parsing"),
        ("[" * 20_000, "cannot be read: "),
        ("a: !!python/name:os.system", "cannot be read: could not determine a constructor"),
        ("#" * (MOST_BYTES + 1), f"has {MOST_BYTES + 1} bytes, expected at most {MOST_BYTES}"),
    ],
)
def test_what_is_wrong_with_a_map_is_said_in_one_line(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "map.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=words) as error:
        read_labels(path, CLASSES)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_map_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing\.yaml is no file"):
        read_labels(tmp_path / "missing.yaml", CLASSES)
