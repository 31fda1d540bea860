"""A bundle is whole and consistent, or is refused with the file and the reason in one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_split_core.bundle import HALVES, MANIFEST, PREFIX, SUFFIX, Bundle, Values, load_bundle, write_manifest
from mtl_split_core.contract import parse_tasks
from mtl_split_core.engine import ENGINES
from mtl_split_core.errors import BundleError
from mtl_split_core.halves import EdgeHalf, ServerHalf

from ..tiny_bundle import write_tiny_bundle

STREET = Path(__file__).parents[2] / "models" / "street"
TEXT = (STREET / MANIFEST).read_text()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(STREET, tmp_path / "bundle"))


@pytest.fixture
def tiny(tmp_path: Path) -> Bundle:
    return write_tiny_bundle(tmp_path / "tiny")


def refusal(folder: Path, manifest: object) -> str:
    """What the bundle is refused with; the halves are not looked at."""
    written = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
    (folder / MANIFEST).write_bytes(written)
    with pytest.raises(BundleError) as refused:
        load_bundle(folder)
    message = str(refused.value)
    assert "\n" not in message and len(message) < 300 + len(str(folder))
    return message.removeprefix(f"{folder / MANIFEST}: ")


def test_the_shipped_bundle_says_what_it_is() -> None:
    bundle = load_bundle(STREET)
    assert (bundle.name, bundle.cut, bundle.input_size) == ("street", "features.3", (512, 288))
    assert [task.name for task in bundle.tasks] == ["detection", "timeofday", "weather", "scene", "drivable"]
    assert len(bundle.fingerprint) == len(bundle.contract.fingerprint) == 16
    assert bundle.payload_format.operating_points[bundle.default_point].name == "default"


def test_the_bundle_s_fingerprint_is_of_the_contents_not_of_the_place(folder: Path) -> None:
    assert load_bundle(folder).fingerprint == load_bundle(STREET).fingerprint
    changed = write_manifest(folder, {**load_bundle(folder).manifest, "name": "other"})
    assert changed.name == "other"
    assert changed.fingerprint != load_bundle(STREET).fingerprint
    assert changed.contract.fingerprint == load_bundle(STREET).contract.fingerprint


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no bundle at .*nowhere"):
        load_bundle(tmp_path / "nowhere")


@pytest.mark.parametrize(("role", "half"), [(PREFIX, EdgeHalf), (SUFFIX, ServerHalf)])
def test_a_missing_or_damaged_half_is_named(folder: Path, role: str, half: Callable[[Bundle], object]) -> None:
    path = folder / HALVES[role]
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(BundleError, match=rf"{path.name} is damaged"):
        half(load_bundle(folder))
    path.unlink()
    with pytest.raises(BundleError, match=rf"{path.name} is missing"):
        half(load_bundle(folder))


@pytest.mark.parametrize("kind", ENGINES)
def test_an_engine_loads_the_bytes_that_were_hashed(kind: str, tiny: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever exchanges the file after it was read changes nothing."""
    read = Path.read_bytes

    def read_and_exchange(path: Path) -> bytes:
        data = read(path)
        if path.suffix == ".onnx":
            path.write_bytes(b"another network")
        return data

    monkeypatch.setattr(Path, "read_bytes", read_and_exchange)
    EdgeHalf(tiny, engine=kind)
    with pytest.raises(BundleError, match="damaged"):
        EdgeHalf(tiny, engine=kind)


@pytest.mark.parametrize(
    "written",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b" " * (1 << 23) + b"{}",
        b'{"schema": NaN}',
        b'{"schema": 3, "schema": 3}',
        b'{"schema": 3, "extra": ' + b"[" * 40 + b"]" * 40 + b"}",
        b"1" * 5000,
    ],
)
def test_a_manifest_that_is_no_json_is_refused(tmp_path: Path, written: bytes) -> None:
    assert refusal(tmp_path, written).startswith(("is no JSON", "is nested too deeply", "has more than"))


def test_an_unknown_kind_of_task_is_named_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'a' is of kind 'guess', expected one of detection, classification"):
        parse_tasks([{"name": "a", "kind": "guess", "labels": ["b"]}])


@pytest.mark.parametrize("schema", [None, 1, 2, 4, "3", "3\n", [3], 2**70])
def test_another_schema_is_refused_with_the_cure(tmp_path: Path, schema: object) -> None:
    said = refusal(tmp_path, {**json.loads(TEXT), "schema": schema})
    assert said == f"schema is {repr(schema)[:20]}, expected 3: export the training again"
    assert "export the training again" in refusal(tmp_path, [])


ENTRIES: list[tuple[str, object]] = [
    ("name", 1),
    ("cut", ""),
    ("cut", "x" * 1001),
    ("name", "two\nlines"),
    ("default_operating_point", "best"),
    ("default_operating_point", ["default"] * 1000),
    ("unsuppressed", "detection"),
    ("unsuppressed", ["weather-or-not"]),
    ("unsuppressed", [["detection"]]),
    ("contract", []),
    ("contract.version", 2),
    ("contract.version", 3.0),
    ("contract.latent_space", "0123"),
    ("contract.latent_space", "0123456789abcdeG"),
    ("contract.latent_space", 2**70),
    ("contract.tasks", []),
    ("contract.tasks", "detection"),
    ("contract.tasks", [{"name": "a", "kind": "guess", "labels": ["b"]}]),
    ("contract.tasks", [{"name": "a", "kind": "detection", "labels": []}]),
    ("contract.tasks", [{"name": "a", "kind": "detection", "labels": "car"}]),
    ("contract.tasks", [{"name": "a", "kind": "detection", "labels": ["car", "car"]}]),
    ("contract.tasks", [{"name": "a", "kind": "detection"}]),
    ("contract.tasks", [{"name": "a", "kind": "detection", "labels": ["x" * 1001]}]),
    ("contract.tasks", [{"name": "latents", "kind": "classification", "labels": ["b"]}]),
    ("contract.tasks", [{"name": "a", "kind": "detection", "labels": ["\ud800"]}]),
    ("contract.tasks", [{"name": "road type", "kind": "detection", "labels": ["b"]}]),
    ("contract.tasks", [{"name": "a", "kind": "detection", "labels": ["b"]}] * 2),
    ("contract.input", {"width": 512}),
    ("contract.input", {"width": 0, "height": 288}),
    ("contract.input", {"width": 2**70, "height": 288}),
    ("contract.input", {"width": 512.0, "height": 288}),
    ("contract.latents", {"channels": 0, "height": 18, "width": 32}),
    ("contract.latents", {"channels": 24, "height": 18, "width": 1 << 40}),
    ("contract.latents", None),
    ("contract.operating_points", []),
    ("contract.operating_points", {"default": 1.0}),
    ("contract.operating_points", [{"name": "default", "steps": 1.0}]),
    ("contract.operating_points", [{"name": "default", "steps": "111"}]),
    ("contract.operating_points", [{"name": "default", "steps": [2**70]}]),
    ("contract.operating_points", [{"name": "default", "steps": [[1.0]]}]),
    ("contract.operating_points", [{"name": "default", "steps": [True]}]),
    ("contract.operating_points", [{"name": "default", "steps": [1.0, None]}]),
    ("contract.entropy_tables", {}),
    ("contract.entropy_tables.groups", [[0], 1]),
    ("contract.entropy_tables.groups", [[[0]]]),
    ("contract.entropy_tables.weights", [[1], [2, 3]]),
    ("contract.entropy_tables.weights", [0.5]),
    ("contract.entropy_tables.weights", ["x" * 100_000, *["y"] * 100_000]),
    ("contract.entropy_tables.weights", [[[["x" * 100_000, *["y"] * 100_000]]]]),
    ("contract.entropy_tables.weights", [[[[1, True]]]]),
    ("contract.entropy_tables.weights", [[[[1], []]]]),
    ("contract.entropy_tables.weights", []),
    ("contract.entropy_tables.thresholds", [2**70]),
    ("contract.entropy_tables.thresholds", ["1"]),
    ("contract.entropy_tables.thresholds", {}),
    ("contract.entropy_tables.frequencies", [[2**63, 1]]),
    ("files", "prefix.onnx"),
    ("files", {"two\nlines": {"file": "prefix.onnx", "sha256": "0" * 64}}),
    ("files", {"two\nlines": {}}),
    ("files.prefix", {"file": "prefix.onnx"}),
    ("files.prefix", {"sha256": "0" * 64}),
    ("files.prefix.file", "../prefix.onnx"),
    ("files.prefix.file", "/etc/passwd"),
    ("files.prefix.file", ".."),
    ("files.prefix.file", "a/b"),
    ("files.prefix.file", "a\\b"),
    ("files.prefix.file", "a\n"),
    ("files.prefix.file", ""),
    ("files.prefix.file", "a" * 200),
    ("files.prefix.file", None),
    ("files.prefix.sha256", "0" * 63),
    ("files.prefix.sha256", 2**70),
]


def changed(path: str, value: object) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads(TEXT)
    *above, last = path.split(".")
    entry = manifest
    for key in above:
        entry = entry[key]
    entry[last] = value
    return manifest


@pytest.mark.parametrize(("path", "value"), ENTRIES)
def test_a_wrong_entry_is_named(tmp_path: Path, path: str, value: object) -> None:
    assert refusal(tmp_path, changed(path, value)).startswith(": ".join(path.split(".")[:-1]))
    assert path.split(".")[-1] in refusal(tmp_path, changed(path, value))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
PATHS = sorted({path for path, _ in ENTRIES})


@given(st.sampled_from(PATHS), json_values)
def test_any_value_loads_or_is_refused(tmp_path_factory: pytest.TempPathFactory, path: str, value: object) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / MANIFEST).write_text(json.dumps(changed(path, value)))
    try:
        assert len(load_bundle(folder).contract.fingerprint) == 16
    except BundleError as error:
        assert "\n" not in str(error)


def _points(manifest: dict[str, Any]) -> Any:
    return manifest["contract"]["operating_points"]


def _reverse(manifest: dict[str, Any]) -> None:
    _points(manifest).reverse()


def _double(manifest: dict[str, Any]) -> None:
    _points(manifest)[1]["name"] = _points(manifest)[0]["name"]


def _make_infinite(manifest: dict[str, Any]) -> None:
    _points(manifest)[0]["steps"][0] = 1e39  # more than the largest number of 32 bits


def _make_zero(manifest: dict[str, Any]) -> None:
    _points(manifest)[-1]["steps"][0] = 1e-60


def _descend(manifest: dict[str, Any]) -> None:
    manifest["contract"]["entropy_tables"]["thresholds"].reverse()


def _lose_a_channel(manifest: dict[str, Any]) -> None:
    manifest["contract"]["latents"]["channels"] -= 1


def _lose_a_frequency(manifest: dict[str, Any]) -> None:
    manifest["contract"]["entropy_tables"]["frequencies"][0][0] -= 2


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (_reverse, "coarsest first"),
        (_double, "each name once"),
        (_make_infinite, "positive and finite"),
        (_make_zero, "positive and finite"),
        (_descend, "ascending"),
        (_lose_a_channel, "operating points have"),
        (_lose_a_frequency, "sum up to"),
    ],
)
def test_parts_that_do_not_fit_together_are_named(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], complaint: str
) -> None:
    manifest = json.loads(TEXT)
    change(manifest)
    assert complaint in refusal(tmp_path, manifest)


@pytest.mark.parametrize("number", ["1e999", "Infinity", "-Infinity", "NaN"])
def test_a_step_that_is_no_finite_number_is_refused(tmp_path: Path, number: str) -> None:
    text = TEXT.replace('"steps": [', f'"steps": [{number}, ', 1)
    assert refusal(tmp_path, text.encode())


def _shrink(manifest: dict[str, Any]) -> None:
    manifest["contract"]["latents"]["height"] -= 1


def _add_a_label(manifest: dict[str, Any]) -> None:
    manifest["contract"]["tasks"][0]["labels"].append("tram")


def _add_a_task(manifest: dict[str, Any]) -> None:
    manifest["contract"]["tasks"].append({"name": "mood", "kind": "classification", "labels": ["good", "bad"]})


@pytest.mark.parametrize("change", [_shrink, _add_a_label, _add_a_task])
def test_halves_that_do_not_have_the_contract_s_interface_are_refused(
    folder: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    manifest = json.loads(TEXT)
    change(manifest)
    bundle = write_manifest(folder, manifest)
    with pytest.raises(BundleError, match="the contract expects"):
        EdgeHalf(bundle)
        ServerHalf(bundle)


def test_a_half_that_is_no_network_is_named(folder: Path) -> None:
    (folder / HALVES[PREFIX]).write_bytes(b"no network")
    bundle = write_manifest(folder, load_bundle(STREET).manifest)
    with pytest.raises(BundleError, match=r"prefix\.onnx is no ONNX file"):
        EdgeHalf(bundle)


def _rename_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = model.graph.node[0].input[0] = "pictures"


def _rename_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = model.graph.node[-1].output[0] = "features"


def _take_floats(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT


def _take_two(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 2


def _give_doubles(model: onnx.ModelProto) -> None:
    model.graph.node[-1].output[0] = "single"
    model.graph.node.append(onnx.helper.make_node("Cast", ["single"], ["latents"], to=onnx.TensorProto.DOUBLE))
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE


def _divide_by_zero(model: onnx.ModelProto) -> None:
    zero = onnx.numpy_helper.from_array(np.zeros(1, np.float32), "zero")
    model.graph.initializer.append(zero)
    model.graph.node[-1].output[0] = "finite"
    model.graph.node.append(onnx.helper.make_node("Div", ["finite", "zero"], ["latents"]))


@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (_rename_input, "the inputs pictures, expected images"),
        (_rename_output, "the outputs features, the contract expects latents"),
        (_take_floats, "an input images of float32 .* expects uint8"),
        (_take_two, r"an input images of uint8 \(2, .* expects uint8 \(1, "),
        (_give_doubles, "an output latents of float64 .* expects float32"),
        (_divide_by_zero, "NaN or infinite numbers in its output latents"),
    ],
)
def test_a_half_with_another_interface_is_refused(
    kind: str, change: Callable[[onnx.ModelProto], None], complaint: str, tiny: Bundle
) -> None:
    path = tiny.path(PREFIX)
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)
    bundle = write_manifest(tiny.folder, tiny.manifest)
    with pytest.raises(BundleError, match=rf"prefix\.onnx has {complaint}"):
        EdgeHalf(bundle, engine=kind)


@pytest.mark.parametrize("kind", ENGINES)
def test_tensors_outside_of_the_file_are_refused(kind: str, tiny: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both engines would read them, relative to the working directory."""
    path = tiny.path(SUFFIX)
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="weights", size_threshold=0)
    bundle = write_manifest(tiny.folder, tiny.manifest)
    monkeypatch.chdir(bundle.folder)
    with pytest.raises(BundleError, match="tensors in other files"):
        ServerHalf(bundle, engine=kind)


def test_values_are_by_operating_point_and_own_answer(tiny: Bundle) -> None:
    points = [point.name for point in tiny.payload_format.operating_points]
    server = {point: 0.5 for point in points}
    bundle = write_manifest(tiny.folder, {**tiny.manifest, "values": {"server": server, "exit": 0.25}})
    assert bundle.values == Values(server, {"exit": 0.25})
    incomplete = dict.fromkeys(points[1:], 0.5)
    others: list[object] = [[], {}, {"server": 1}, {"server": incomplete}]
    for value in (*others, {"server": server, "whole": 1.1}, {"server": server, "exit": True}):
        assert "values: " in refusal(tiny.folder, {**tiny.manifest, "values": value})


def test_median_bytes_are_by_operating_point_where_they_are_known(tiny: Bundle) -> None:
    assert tiny.median_bytes == {}
    bundle = load_bundle(STREET)
    assert list(bundle.median_bytes) == [point.name for point in bundle.payload_format.operating_points]
    assert sorted(bundle.median_bytes.values()) == list(bundle.median_bytes.values())


@pytest.mark.parametrize(
    "value", [[], 5, {"fine": "5"}, {"fine": -1}, {"fine": True}, {"fine": 10**400}, {"fine": None}]
)
def test_median_bytes_that_are_no_numbers_are_refused(value: object, tiny: Bundle) -> None:
    assert "median_bytes" in refusal(tiny.folder, {**tiny.manifest, "median_bytes": value})
