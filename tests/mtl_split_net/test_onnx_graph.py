"""Cuts of an ONNX graph are where nothing passes beside, and both parts in series are the whole."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from mtl_split_core.errors import InputError
from mtl_split_net.onnx_graph import Cost, OnnxGraph

from ..onnx_graphs import CHAIN, SKIP, WEIGHT, build, convolution, node

PRETRAINED = Path(__file__).parents[3] / "shared" / "pretrained"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "network.onnx"


def load(path: Path, *arguments: Any, **options: Any) -> OnnxGraph:
    onnx.save(build(*arguments, **options), path)
    return OnnxGraph(path)


def run(model: ModelProto | Path, *inputs: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    found: list[npt.NDArray[np.float32]] = session.run(None, dict(zip(names, inputs, strict=True)))
    return found


def test_every_tensor_inside_a_chain_is_a_cut(path: Path) -> None:
    graph = load(path, CHAIN, "out")
    assert graph.inputs == ["image"] and graph.outputs == ["out"] and graph.cuts == ["a", "b", "c"]
    assert graph.shape("b") == (1, 4, 6, 8) and graph.dtype("b") == np.float32
    assert graph.crossing("b") == []


def test_a_skip_connection_crosses_beside_what_it_skips(path: Path) -> None:
    graph = load(path, SKIP, "out")
    assert graph.cuts == ["a", "d"]
    assert graph.crossing("b") == graph.crossing("c") == ["a"]
    with pytest.raises(InputError, match=r"'b' of .* is no cut: 'a' crosses beside it; expected one of a, d"):
        graph.split("b")


def test_two_outputs_part_behind_their_last_common_tensor(path: Path) -> None:
    heads = [convolution("image", "a"), node("Relu", "a", "b"), node("Sigmoid", "b", "one_"), node("Tanh", "b", "two")]
    graph = load(path, heads, "one_ two")
    assert graph.cuts == ["a", "b"]
    # An output is needed by whoever asked for it, even if more is calculated from it.
    graph = load(path, [convolution("image", "a"), node("Relu", "a", "b"), convolution("b", "out")], "b out")
    assert graph.cuts == ["a"] and graph.crossing("b") == []


def test_an_input_that_reaches_an_output_directly_crosses_everything(path: Path) -> None:
    graph = load(path, [*CHAIN[:3], node("Concat", "c image", "out", axis=1)], "out")
    assert graph.cuts == [] and graph.crossing("b") == ["image"]
    graph = load(path, CHAIN, "out image")
    assert graph.cuts == [] and graph.crossing("c") == ["image"]


def test_a_second_input_crosses_until_it_is_used(path: Path) -> None:
    joined = [convolution("image", "a"), node("Add", "a mask", "b"), node("Relu", "b", "out")]
    graph = load(path, joined, "out", "image mask")
    assert graph.cuts == ["b"] and graph.crossing("a") == ["mask"]


def test_constants_are_no_paths_and_count_on_both_sides(path: Path) -> None:
    constant = node(
        "Constant", "", "two", value=numpy_helper.from_array(np.array([2, 2], np.float32).sum(keepdims=True))
    )
    nodes = [constant, node("Add", "two one", "three"), *CHAIN[:3], node("Mul", "c three", "d")]
    graph = load(path, [*nodes, node("Add", "d two", "out")], "out")
    assert graph.cuts == ["a", "b", "c", "d"]
    with pytest.raises(InputError, match=r"'three' of .* is on no path from"):
        graph.crossing("three")
    macs = 4 * 6 * 8 * 4 * 9
    assert graph.costs("b") == (Cost(macs, WEIGHT.size), Cost(macs, WEIGHT.size + 2))
    assert graph.costs("d") == (Cost(2 * macs, WEIGHT.size + 2), Cost(0, 1))


def test_dead_ends_are_no_paths(path: Path) -> None:
    graph = load(path, [convolution("image", "a"), node("Tanh", "image", "unused"), *CHAIN[1:]], "out")
    assert graph.cuts == ["a", "b", "c"]


def test_multiply_adds_are_those_of_products_with_weights(path: Path) -> None:
    nodes = [
        node("ConvTranspose", "image kernel", "wide", strides=[2, 2]),
        node("Flatten", "wide", "row"),
        node("Gemm", "row matrix", "product", transB=1),
        node("MatMul", "product square", "out"),
    ]
    model = build(nodes, "out", output_sizes=2)
    for name, shape in (("kernel", (4, 5, 2, 2)), ("matrix", (7, 5 * 12 * 16)), ("square", (7, 7))):
        model.graph.initializer.append(numpy_helper.from_array(np.zeros(shape, np.float32), name))
    onnx.save(model, path)
    graph = OnnxGraph(path)
    assert graph.shape("wide") == (1, 5, 12, 16) and graph.cuts == ["wide", "row", "product"]
    assert [graph.costs(cut)[0].multiply_adds for cut in graph.cuts] == [3_840, 3_840, 3_840 + 6_720]
    assert graph.costs("row")[1] == Cost(6_720 + 49, 6_720 + 49)


def test_shapes_are_told_through_shape_arithmetic(path: Path) -> None:
    """As PyTorch's older exporter writes channel splits: ONNX's own inference does not divide."""
    two, zero = (numpy_helper.from_array(np.array([value], np.int64)) for value in (2, 0))
    nodes = [
        node("Constant", "", "2", value=two),
        node("Constant", "", "0", value=zero),
        node("Shape", "image", "shape", start=1, end=2),
        node("Div", "shape 2", "half"),
        node("Slice", "image 0 half one_axis", "few"),
        node("Relu", "few", "out"),
    ]
    model = build(nodes, "out")
    model.graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "one_axis"))
    onnx.save(model, path)
    graph = OnnxGraph(path)
    assert graph.shape("few") == (1, 2, 6, 8) and graph.cuts == ["few"]


@pytest.mark.parametrize("nodes", [CHAIN, SKIP], ids=["chain", "skip"])
def test_both_parts_in_series_are_the_whole(path: Path, nodes: list[NodeProto]) -> None:
    graph = load(path, nodes, "out")
    image = np.random.default_rng(1).standard_normal((3, 4, 6, 8)).astype(np.float32)
    [whole] = run(path, image)
    for cut in graph.cuts:
        prefix, suffix = graph.split(cut)
        assert [value.name for value in prefix.graph.output] == [value.name for value in suffix.graph.input] == [cut]
        np.testing.assert_allclose(run(suffix, *run(prefix, image))[0], whole, atol=1e-4)


def test_tensors_that_are_no_cuts_are_refused_by_name(path: Path) -> None:
    graph = load(path, CHAIN, "out")
    for name, reason in (("image", "is an input or an output"), ("nowhere", "has no tensor 'nowhere'")):
        for refuse in (graph.split, graph.costs, graph.frontier, graph.divide):
            with pytest.raises(InputError, match=reason):
                refuse(name)


def test_several_tensors_part_the_graph_where_one_alone_does_not(path: Path) -> None:
    """Of a chain and a side branch, whatever crosses beside a tensor is cut with it."""
    heads = [
        *SKIP[:3],
        node("Add", "c a", "d"),
        node("Tanh", "a", "e"),
        node("Relu", "d", "one_"),
        node("Mul", "d e", "two"),
    ]
    graph = load(path, heads, "one_ two")
    assert graph.cuts == ["a"] and graph.frontier("c") == ["c", "a"] and graph.frontier("d") == ["d", "a"]
    assert graph.places(1) == ["a"] and set(graph.places(2)) == {"a", "b", "c", "d", "e"}
    image = np.random.default_rng(1).standard_normal((3, 4, 6, 8)).astype(np.float32)
    whole = run(path, image)
    for place in graph.places(2):
        first, second = graph.divide(place)
        for found, right in zip(run(second, *run(first, image)), whole, strict=True):
            np.testing.assert_allclose(found, right, atol=1e-4)
    before, behind = graph.costs("d")
    assert before.multiply_adds + behind.multiply_adds == graph.whole.multiply_adds
    graph = load(path, [convolution("image", "a"), node("Add", "a image", "out")], "out")
    with pytest.raises(InputError, match=r"cannot be divided at 'a': 'image' would cross"):
        graph.divide("a")


def test_files_that_cannot_be_used_are_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no readable ONNX file"):
        OnnxGraph(tmp_path / "missing.onnx")
    path.write_bytes(b"no network")
    with pytest.raises(InputError, match="no readable ONNX file"):
        OnnxGraph(path)
    with pytest.raises(InputError, match="no valid ONNX model"):
        load(path, CHAIN[1:], "out")
    with pytest.raises(InputError, match=r"'image' .* has shape \[1, 4, 'h', 8\], expected fixed sizes"):
        load(path, CHAIN, "out", shape=("n", 4, "h", 8))
    chosen = helper.make_tensor_value_info("same", TensorProto.FLOAT, [1])
    branch = helper.make_graph([node("Identity", "one", "same")], "branch", [], [chosen])
    choice = node("If", "condition", "chosen", then_branch=branch, else_branch=branch)
    with pytest.raises(InputError, match="control flow, a node If"):
        load(path, [node("Cast", "one", "condition", to=TensorProto.BOOL), choice, *CHAIN], "out")


def test_weights_in_other_files_are_refused(path: Path) -> None:
    model = build(CHAIN, "out")
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], "../weights.bin")
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match=r"'weight' .* in other files: save it as one file"):
        OnnxGraph(path)


@pytest.mark.skipif(
    not PRETRAINED.is_dir(), reason=f"needs the detectors in {PRETRAINED}, which are not in this repository"
)
@pytest.mark.parametrize("name", ["nanodet-plus-m", "nanodet-plus-m-1.5x", "yolox-nano"])
def test_detectors_of_others_are_cut_where_their_pages_say(name: str) -> None:
    path = PRETRAINED / f"{name}_288x512.onnx"
    graph = OnnxGraph(path)
    image = np.random.default_rng(2).uniform(0, 255, (2, 3, 288, 512)).astype(np.float32)
    [whole] = run(path, image)
    prefix, suffix = graph.split(graph.cuts[len(graph.cuts) // 2])
    np.testing.assert_allclose(run(suffix, *run(prefix, image))[0], whole, atol=1e-4)
    if name == "nanodet-plus-m":
        costs = {graph.shape(cut): graph.costs(cut)[0].multiply_adds for cut in graph.cuts}
        assert round(costs[1, 24, 72, 128] / 1e6) == 24
        assert round(costs[1, 116, 36, 64] / 1e6) == 99  # before the last of them, behind stage2.3
        assert round(sum(cost.parameters for cost in graph.costs(graph.cuts[4])) / 1e4) == 119
        assert graph.crossing("/m/stage3/stage3.0/Concat_output_0") == ["/m/stage2/stage2.3/Reshape_1_output_0"]
