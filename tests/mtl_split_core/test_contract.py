"""The contract's fingerprint changes with everything that both ends must share, and with nothing else."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mtl_split_core.bundle import MANIFEST, Bundle, load_bundle, write_manifest
from mtl_split_core.contract import format_contract, parse_contract

from ..tiny_bundle import write_tiny_bundle

STREET = Path(__file__).parents[2] / "models" / "street"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


def test_a_contract_comes_back_from_plain_data() -> None:
    contract = load_bundle(STREET).contract
    plain = json.loads(json.dumps(format_contract(contract)))
    assert plain == json.loads((STREET / MANIFEST).read_text())["contract"]
    assert parse_contract(plain).fingerprint == contract.fingerprint
    assert format_contract(parse_contract(plain)) == format_contract(contract)
    assert parse_contract(format_contract(contract)).fingerprint == contract.fingerprint


def _rename_a_point(plain: dict[str, Any]) -> None:
    plain["operating_points"][0]["name"] = "other"


def _change_a_step(plain: dict[str, Any]) -> None:
    plain["operating_points"][0]["steps"][1] = 8.000001


def _change_a_weight(plain: dict[str, Any]) -> None:
    plain["entropy_tables"]["weights"][0][0][0][0] = 1


def _move_a_frequency(plain: dict[str, Any]) -> None:
    plain["entropy_tables"]["frequencies"][0][1] += 1
    plain["entropy_tables"]["frequencies"][0][2] -= 1


def _add_a_table(plain: dict[str, Any]) -> None:
    plain["entropy_tables"]["thresholds"].append(5)
    plain["entropy_tables"]["frequencies"] *= 2


def _split_the_group(plain: dict[str, Any]) -> None:
    plain["entropy_tables"]["groups"] = [[0, 1], [2]]


def _change_the_order_of_labels(plain: dict[str, Any]) -> None:
    plain["tasks"][1]["labels"].reverse()


def _change_the_order_of_tasks(plain: dict[str, Any]) -> None:
    plain["tasks"].reverse()


def _change_the_kind(plain: dict[str, Any]) -> None:
    plain["tasks"][0]["kind"] = "classification"


def _turn_the_latents(plain: dict[str, Any]) -> None:
    plain["latents"] |= {"height": 4, "width": 2}


def _widen_the_input(plain: dict[str, Any]) -> None:
    plain["input"]["width"] += 1


def _train_anew(plain: dict[str, Any]) -> None:
    plain["latent_space"] = "0" * 16


@pytest.mark.parametrize(
    "change",
    [
        _rename_a_point,
        _change_a_step,
        _change_a_weight,
        _move_a_frequency,
        _add_a_table,
        _split_the_group,
        _change_the_order_of_labels,
        _change_the_order_of_tasks,
        _change_the_kind,
        _turn_the_latents,
        _widen_the_input,
        _train_anew,
    ],
)
def test_every_part_changes_the_fingerprint(change: Callable[[dict[str, Any]], None], tiny: Bundle) -> None:
    plain = json.loads(json.dumps(format_contract(tiny.contract)))
    change(plain)
    assert parse_contract(plain).fingerprint != tiny.contract.fingerprint


def test_nothing_else_in_a_manifest_changes_it(tiny: Bundle) -> None:
    tiny.path("prefix").write_bytes(b"another prefix")
    more = {"name": "other", "cut": "elsewhere", "default_operating_point": "coarse", "median_bytes": {"fine": 1.0}}
    changed = write_manifest(tiny.folder, {**tiny.manifest, **more})
    assert changed.fingerprint != tiny.fingerprint
    assert changed.contract.fingerprint == tiny.contract.fingerprint
