"""docs/bundle-format.md says what a bundle is: its example loads, its tables are those of the shipped bundle."""

import json
import re
import struct
from pathlib import Path

import onnxruntime
import pytest

from mtl_split_core.bundle import HALVES, MANIFEST, PREFIX, SUFFIX, load_bundle, write_manifest
from mtl_split_core.halves import EdgeHalf, ServerHalf
from mtl_split_core.scene import Classification

from .. import documented
from ..processes import plain
from ..tiny_bundle import write_tiny_bundle

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "bundle-format.md").read_text()
STREET = ROOT / "models" / "street"
MANIFEST_OF_STREET = json.loads((STREET / MANIFEST).read_text())
TYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}


def tables() -> list[list[list[str]]]:
    """All tables of the page, without their heads."""
    found = re.findall(r"((?:^\|.*\|\n)+)", PAGE, re.MULTILINE)
    return [
        [[cell.strip() for cell in row.strip("| ").split(" | ")] for row in text.splitlines()[2:]] for text in found
    ]


def keys(table: list[list[str]]) -> set[str]:
    return {row[0].strip("`") for row in table}


def test_the_keys_are_those_of_the_shipped_bundle() -> None:
    _, needed, further, contract = tables()
    assert keys(needed) | keys(further) == MANIFEST_OF_STREET.keys() | {
        "int8",
        "began_with",
        "exit",
        "values",
        "measured_own",
    }
    assert keys(contract) == MANIFEST_OF_STREET["contract"].keys()


@pytest.mark.parametrize("key", sorted(keys(tables()[1])))
def test_no_entry_that_is_needed_may_be_missing(key: str, tmp_path: Path) -> None:
    manifest = {name: value for name, value in MANIFEST_OF_STREET.items() if name != key}
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=key):
        load_bundle(tmp_path)


def test_the_shipped_halves_have_the_inputs_and_outputs_of_the_page() -> None:
    bundle = load_bundle(STREET)
    names = {"H": bundle.input_size[1], "W": bundle.input_size[0]}
    names |= dict(zip("Chw", bundle.payload_format.shape, strict=True))
    documented_ports = set()
    for role, direction, name, kind, shape, _ in tables()[0]:
        of = re.search("of each (detection|classification|segmentation) task", name)
        for task in bundle.tasks if of else bundle.tasks[:1]:
            if of is None or of[1] == task.kind:
                sizes = [names.get(size, size) for size in re.findall(r"\w+", shape)]
                sizes = [len(task.labels) if size == "labels" else size for size in sizes]
                port = re.findall("`(.*?)`", name)[0].replace("<task>", task.name)
                documented_ports.add((role.strip("`"), direction, port, kind, len(sizes), *map(str, sizes[1:])))
    areas = {task.name for task in bundle.tasks if task.kind == "segmentation"}
    found = set()
    for role in HALVES:
        session = onnxruntime.InferenceSession(bundle.read(role), providers=["CPUExecutionProvider"])
        for direction, ports in (("input", session.get_inputs()), ("output", session.get_outputs())):
            for port in ports:
                sizes = port.shape[1:]
                if port.name.endswith((".boxes", ".scores")):
                    sizes = ["M", *sizes[1:]]
                if port.name in areas:
                    sizes = [sizes[0], "R", "S"]
                found.add((role, direction, port.name, TYPES[port.type], 1 + len(sizes), *map(str, sizes)))
    assert found == documented_ports


def test_the_example_is_a_bundle_with_the_fingerprint_that_the_page_says(tmp_path: Path) -> None:
    [example] = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    folder = write_tiny_bundle(tmp_path / "tiny").folder
    (folder / MANIFEST).write_text(example)
    bundle = load_bundle(folder)
    assert f"fingerprint is `{bundle.contract.fingerprint}`" in PAGE
    assert documented.fingerprint(json.loads(example)["contract"]) == bundle.contract.fingerprint
    bundle = write_manifest(folder, bundle.manifest)
    payload = EdgeHalf(bundle).encode(plain((0, 0, 255))).payload
    colour = ServerHalf(bundle).decode(payload, (128, 64))["colour"]
    assert isinstance(colour, Classification) and colour.best == "red"


def test_the_shipped_contract_s_fingerprint_is_as_documented() -> None:
    contract = MANIFEST_OF_STREET["contract"]
    # The page's floats are those that the bundle works with: 32 bits.
    for point in contract["operating_points"]:
        assert point["steps"] == [struct.unpack("f", struct.pack("f", step))[0] for step in point["steps"]]
    assert documented.fingerprint(contract) == load_bundle(STREET).contract.fingerprint


def test_each_end_needs_only_its_own_half(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "tiny")
    for role, half, other in ((PREFIX, EdgeHalf, ServerHalf), (SUFFIX, ServerHalf, EdgeHalf)):
        alone = write_manifest(bundle.folder, bundle.manifest, {role: HALVES[role]})
        half(alone)
        with pytest.raises(ValueError, match=r"has no (prefix|suffix), only (prefix|suffix)"):
            other(alone)
