"""A bundle with an 8-bit suffix: the same contract, nearly the same answers, and not written where too much is lost."""

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from mtl_split_core.bundle import PREFIX, SUFFIX, Bundle, load_bundle
from mtl_split_core.errors import InputError
from mtl_split_lab.learning import eight_bit_suffix
from mtl_split_lab.learning.eight_bit_suffix import write_eight_bit_suffix
from mtl_split_lab.learning.quantisation import quantise_convolutions

from ...processes import plain
from ...tiny_bundle import THING

PICTURES = "val.json"


@pytest.fixture(autouse=True)
def one_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny bundle's boxes are constant, and OpenVINO calls an output that is constant as it likes."""
    monkeypatch.setattr(eight_bit_suffix, "ENGINES", ("onnxruntime",))


def convolutions() -> onnx.ModelProto:
    """Two convolutions with x * HardSigmoid(x) after each, as torch exports them, the second one with groups."""
    chance = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["latents", "w1"], ["a"], name="first", kernel_shape=[1, 1]),
        helper.make_node("HardSigmoid", ["a"], ["b"], name="gate1", alpha=1 / 6, beta=0.5),
        helper.make_node("Mul", ["a", "b"], ["c"], name="swish1"),
        helper.make_node("Conv", ["c", "w2"], ["d"], name="second", kernel_shape=[1, 1], group=4),
        helper.make_node("HardSigmoid", ["d"], ["e"], name="gate2", alpha=1 / 6, beta=0.5),
        helper.make_node("Mul", ["e", "d"], ["f"], name="swish2"),
        helper.make_node("HardSigmoid", ["f"], ["g"], name="gate3"),
        helper.make_node("Mul", ["f", "g"], ["out"], name="other"),
    ]
    weights = {"w1": (4, 3, 1, 1), "w2": (4, 1, 1, 1)}
    graph = helper.make_graph(
        nodes,
        "suffix",
        [helper.make_tensor_value_info("latents", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["batch", 4, 8, 8])],
        [numpy_helper.from_array(chance.normal(size=size).astype(np.float32), name) for name, size in weights.items()],
    )
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])


def test_convolutions_without_groups_get_8_bits_and_hard_swish_is_one_operator(tmp_path: Path) -> None:
    path = tmp_path / "suffix.onnx"
    onnx.save(convolutions(), path)
    latents = [np.random.default_rng(seed).normal(size=(3, 8, 8)).astype(np.float32) for seed in range(8)]

    def answer() -> np.ndarray:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return np.asarray(session.run(None, {"latents": latents[0][None]})[0])

    right = answer()
    quantise_convolutions(path, latents)
    nodes = onnx.load(path).graph.node
    operators = [node.op_type for node in nodes]
    assert operators.count("HardSwish") == 2 and operators.count("HardSigmoid") == 1
    made_by = {node.output[0]: node.op_type for node in nodes}
    inputs = {node.name: made_by[node.input[0]] for node in nodes if node.op_type == "Conv"}
    assert inputs == {"first": "DequantizeLinear", "second": "HardSwish"}
    difference = np.abs(answer() - right)
    assert 0 < difference.max() < 0.05 * np.abs(right).max()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """One picture, with the tiny bundle's thing in it, as COCO labels it."""
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "1.png"), plain((255, 255, 255)))
    left, top, right, bottom = (2 * side for side in THING)
    labels = {
        "images": [{"id": 1, "file_name": "1.png", "width": 128, "height": 64}],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [left, top, right - left, bottom - top]}],
    }
    (tmp_path / PICTURES).write_text(json.dumps(labels))
    return tmp_path


def write(bundle: Bundle, data: Path, told: list[str]) -> Bundle:
    return write_eight_bit_suffix(
        bundle, data / "int8", [PICTURES], [PICTURES], data, data / "drawn", 1, (128, 64), told.append
    )


def test_the_contract_stays_and_both_are_measured(bundle: Bundle, data: Path) -> None:
    told: list[str] = []
    written = write(bundle, data, told)
    assert written.fingerprint == load_bundle(data / "int8").fingerprint
    assert written.contract.fingerprint == bundle.contract.fingerprint
    assert written.files[PREFIX].sha256 == bundle.files[PREFIX].sha256
    assert written.files[SUFFIX].sha256 != bundle.files[SUFFIX].sha256
    assert written.manifest["int8"]["half"] == SUFFIX
    assert written.manifest["int8"]["measured_before"].keys() == written.manifest["measured"].keys() == {PICTURES}
    assert f"| {PICTURES} | mAP50 | 1.0000 | 1.0000 | +0.0 |" in told[0] and "| onnxruntime |" in told[0]


def test_where_too_much_is_lost_nothing_is_written(bundle: Bundle, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eight_bit_suffix, "MOST_LOST", -1.0)
    told: list[str] = []
    with pytest.raises(InputError, match=r"the 8-bit suffix loses .* points on val.json"):
        write(bundle, data, told)
    assert told and not (data / "int8").exists()
