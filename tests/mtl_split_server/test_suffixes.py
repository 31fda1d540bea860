"""Several bundles in one server: told apart by their contracts, with every task once."""

from pathlib import Path
from typing import Any

import pytest

from mtl_split_core.bundle import Bundle, write_manifest
from mtl_split_core.contract import format_contract
from mtl_split_core.errors import InputError
from mtl_split_server.suffixes import Suffixes, load_suffixes

from ..tiny_bundle import add_areas, write_tiny_bundle


def suffixes(bundle: Bundle, *further: Bundle) -> Suffixes:
    values: dict[str, Any] = {"threads": 1, "engine": "onnxruntime", "workers": 1}
    folders = [str(one.folder) for one in further]
    return load_suffixes({**values, "bundle": str(bundle.folder), "further_bundles": folders or [""]})


@pytest.fixture
def other(tmp_path: Path) -> Bundle:
    return add_areas(write_tiny_bundle(tmp_path / "other", "fedcba9876543210"))


def test_each_contract_has_its_suffix_and_every_task_is_there_once(bundle: Bundle, other: Bundle) -> None:
    found = suffixes(bundle, other)
    assert [half.bundle.folder for half in found.halves.values()] == [bundle.folder, other.folder]
    assert found.formats.keys() == {(bundle.contract.fingerprint, ""), (other.contract.fingerprint, "")}
    assert [task.name for task in found.tasks] == ["detection", "colour", "areas"]
    assert found.facts.keys() == {"engine", "tiny: engine"}
    [twins, others] = found.twins(), found.twins()
    assert all(twins[contract] is not others[contract] for contract in found.halves)


def test_labels_are_those_of_the_bundle_that_answers(bundle: Bundle, other: Bundle) -> None:
    contract = format_contract(other.contract)
    contract["tasks"][0]["labels"] = ["another thing"]
    other = write_manifest(other.folder, {**other.manifest, "contract": contract})
    found = suffixes(bundle, other)
    labels = {name: found.tasks_of(name)[0].labels for name in found.halves}
    assert list(labels.values()) == [("thing",), ("another thing",)]


def test_bundles_that_cannot_be_told_apart_are_refused(bundle: Bundle, other: Bundle, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one of them is enough"):
        suffixes(bundle, write_tiny_bundle(tmp_path / "same"))
    contract = format_contract(other.contract)
    contract["tasks"][1] |= {"kind": "segmentation"}
    other = write_manifest(other.folder, {**other.manifest, "contract": contract})
    with pytest.raises(InputError, match=r"'colour' is of kind segmentation in .*/other, but of kind classification"):
        suffixes(bundle, other)
