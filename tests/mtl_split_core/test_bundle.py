"""A bundle is whole and consistent, or is refused with the file and the reason."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mtl_split_core.bundle import MANIFEST, PREFIX, SUFFIX, load_bundle, parse_tasks, write_manifest
from mtl_split_core.errors import BundleError
from mtl_split_core.halves import EdgeHalf, ServerHalf

STREET = Path(__file__).parents[2] / "models" / "street"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(STREET, tmp_path / "bundle"))


def test_the_shipped_bundle_says_what_it_is() -> None:
    bundle = load_bundle(STREET)
    assert bundle.name == "street"
    assert bundle.input_size == (512, 288)
    assert [task.name for task in bundle.tasks] == ["detection", "timeofday", "weather", "scene"]
    assert len(bundle.fingerprint) == 16
    assert sum(file.stat().st_size for file in STREET.iterdir()) <= 10_000_000


def test_the_fingerprint_is_of_the_contents_not_of_the_place(folder: Path) -> None:
    assert load_bundle(folder).fingerprint == load_bundle(STREET).fingerprint
    manifest = load_bundle(folder).manifest
    changed = write_manifest(folder, {**manifest, "name": "other"})
    assert changed.name == "other"
    assert changed.fingerprint != load_bundle(STREET).fingerprint


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no bundle at .*nowhere"):
        load_bundle(tmp_path / "nowhere")


@pytest.mark.parametrize("name", [PREFIX, SUFFIX])
def test_a_missing_half_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BundleError, match=rf"{name} is missing"):
        load_bundle(folder)


@pytest.mark.parametrize("name", [PREFIX, SUFFIX])
def test_one_changed_byte_is_noticed(folder: Path, name: str) -> None:
    damaged = bytearray((folder / name).read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (folder / name).write_bytes(damaged)
    with pytest.raises(BundleError, match=rf"{name} is damaged"):
        load_bundle(folder)


@pytest.mark.parametrize("written", [b"", b"{", b"\xff\xfe", b"[]", b"null", b'{"schema": 99}'])
def test_a_manifest_that_is_none_is_refused(folder: Path, written: bytes) -> None:
    (folder / MANIFEST).write_bytes(written)
    with pytest.raises(BundleError, match=MANIFEST):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", 1),
        ("tasks", []),
        ("tasks", [{"name": "a", "kind": ["detection"], "labels": ["b"]}]),
        ("tasks", [{"name": "a", "kind": "detection", "labels": []}]),
        ("tasks", [{"name": "road type", "kind": "detection", "labels": ["b"]}]),
        ("tasks", [{"name": "a", "kind": "detection", "labels": ["b"]}] * 2),
        ("input", {"width": 512}),
        ("input", {"width": 0, "height": 288}),
        ("bottleneck", {"channels": 0, "height": 18, "width": 32}),
        ("bottleneck", None),
        ("operating_points", []),
        ("operating_points", [{"name": "default", "steps": [0.0]}]),
        ("operating_points", [{"name": "default", "steps": 1.0}]),
        ("operating_points", [{"name": "default", "steps": [1.0]}] * 2),
        ("default_operating_point", "best"),
        ("entropy_tables", {}),
        ("files", "prefix.onnx"),
    ],
)
def test_a_wrong_entry_is_named(folder: Path, key: str, value: object) -> None:
    path = folder / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(BundleError, match=rf"{MANIFEST}: {key} is "):
        load_bundle(folder)


def test_an_unknown_kind_of_task_is_named_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'a' is of kind 'guess', expected one of detection, classification"):
        parse_tasks([{"name": "a", "kind": "guess", "labels": ["b"]}])


def test_parts_that_do_not_fit_together_are_named(folder: Path) -> None:
    path = folder / MANIFEST
    manifest = json.loads(path.read_text())
    manifest["bottleneck"]["channels"] -= 1
    path.write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="do not fit: operating points have"):
        load_bundle(folder)


def _shrink(manifest: dict[str, Any]) -> None:
    manifest["bottleneck"]["height"] -= 1


def _add_a_label(manifest: dict[str, Any]) -> None:
    manifest["tasks"][0]["labels"].append("tram")


def _add_a_task(manifest: dict[str, Any]) -> None:
    manifest["tasks"].append({"name": "mood", "kind": "classification", "labels": ["good", "bad"]})


@pytest.mark.parametrize("change", [_shrink, _add_a_label, _add_a_task])
def test_a_manifest_that_its_halves_do_not_keep_is_refused(
    folder: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    bundle = write_manifest(folder, manifest)
    with pytest.raises(BundleError, match="the network"):
        EdgeHalf(bundle)
        ServerHalf(bundle)


def test_a_half_that_is_no_network_is_named(folder: Path) -> None:
    (folder / PREFIX).write_bytes(b"no network")
    bundle = write_manifest(folder, load_bundle(STREET).manifest)
    with pytest.raises(BundleError, match=rf"cannot load .*{PREFIX}"):
        EdgeHalf(bundle)
