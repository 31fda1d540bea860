"""A fleet is refused in one line, and in words that help, where something is wrong or does not fit."""

from pathlib import Path
from typing import Any

import pytest

from mtl_split_core.bundle import Bundle
from mtl_split_core.errors import InputError
from mtl_split_lab.commands.planning import FLEET
from mtl_split_lab.planning.assignment import assign
from mtl_split_lab.planning.fleet import load_fleet

from ...tiny_bundle import write_tiny_bundle
from .fleets import write_fleet

NOWHERE = {"between": ["car", "sky"], "rate": 1}
LINK = {"between": ["car", "near"], "rate": 1}


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("vehicles.car.rate", 0, "vehicles.car.rate: Input should be greater than 0, got 0"),
        ("vehicles.car.count", True, "vehicles.car.count: Input should be a valid integer, got True"),
        ("vehicles.car.computer", "boat", "vehicles.car.computer is 'boat', expected one of car, near, far"),
        ("vehicles.car.operating_points", ["huge"], "operating_points has 'huge', expected points of"),
        ("vehicles.Bad Name", {"computer": "car"}, "String should match pattern"),
        ("machines.near.speed", float("inf"), "machines.near.speed: Input should be a finite number, got inf"),
        ("machines.near.profiles", ["none.json"], "none.json is no file"),
        ("machines.near.colour", "red", "machines.near.colour: Unexpected keyword argument"),
        ("links", [NOWHERE], "links.0.between has 'sky', expected one of car, near, far"),
        ("links", [LINK, LINK], "links joins car and near twice, expected each pair once"),
        ("vehicles", {}, "vehicles: Dictionary should have at least 1 item"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, bundle: Bundle, key: str, value: Any, complaint: str) -> None:
    path = write_fleet(tmp_path, bundle, {key: value})
    with pytest.raises(InputError) as refused:
        load_fleet(path)
    assert complaint in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("written", ["", "- 1", "a: &a [*a]", "machines: !!python/object/apply:os.getcwd []"])
def test_what_is_no_fleet_is_refused(tmp_path: Path, written: str) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(written)
    with pytest.raises(InputError, match=r"fleet\.yaml"):
        load_fleet(path)


def test_a_profile_of_another_contract_is_refused(tmp_path: Path, bundle: Bundle) -> None:
    other = write_tiny_bundle(tmp_path / "other", latent_space="f" * 16)
    path = write_fleet(tmp_path, bundle, {"vehicles.car.bundles": [str(other.folder)]})
    with pytest.raises(InputError, match="is a profile of contract"):
        load_fleet(path)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"vehicles.car.deadline": 0.001}, r"vehicles\.car: the fastest route .* the deadline is 1 ms"),
        ({"vehicles.car.rate": 200}, "car would be busy for .* of the time, at most 80% allowed"),
        ({"links": [], "machines.car.memory": 1.0}, "no machine within reach has memory for"),
        ({"vehicles.car.count": 300, "vehicles.car.ways": ["server"]}, r"does not fit: .* need at least .* cores"),
        ({"machines.near.memory": 2, "machines.far.memory": 2, "machines.car.memory": 3}, "does not fit"),
    ],
)
def test_what_cannot_be_served_is_said_with_its_cure(
    tmp_path: Path, bundle: Bundle, changes: dict[str, Any], complaint: str
) -> None:
    loaded = load_fleet(write_fleet(tmp_path, bundle, changes))
    with pytest.raises(InputError, match=complaint):
        assign(loaded, 5.0)


def test_the_shipped_example_can_be_planned() -> None:
    loaded = load_fleet(FLEET)
    assignment = assign(loaded, 20.0)
    assert sum(assignment.taken.values()) == 16 and assignment.gap < 0.05
