"""Imported networks: cut, in torch and exported, they calculate what their file does."""

import itertools
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from mtl_split_core.compressed import read_picture
from mtl_split_core.errors import InputError
from mtl_split_core.geometry import Letterbox
from mtl_split_core.kinds.detection import suppress
from mtl_split_net.detectors import COCO_LABELS, find_detector
from mtl_split_net.imported import deepest, import_network, last_of_scales, outputs_of, returning
from mtl_split_net.onnx_graph import OnnxGraph, fill_in, without_weights

from ..tiny_detector import CUT, HEIGHT, WIDTH, write_tiny_detector

PRETRAINED = Path(__file__).parents[3] / "shared" / "pretrained"
PICTURE = PRETRAINED.parent / "data" / "road_mix" / "images" / "oiv_00439.jpg"
FILES = ("nanodet-plus-m_288x512.onnx", "nanodet-plus-m-1.5x_288x512.onnx", "yolox-nano_288x512.onnx")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> OnnxGraph:
    return OnnxGraph(write_tiny_detector(tmp_path_factory.mktemp("network") / "tiny.onnx"))


def run(data: bytes, inputs: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    [output] = session.run(None, {session.get_inputs()[0].name: inputs})
    return output


@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (64, 32), (96, 96)])
def test_both_parts_in_torch_equal_the_file_whole(tiny: OnnxGraph, size: tuple[int, int]) -> None:
    """For a batch, and for windows of other sizes than the file's own."""
    pictures = torch.rand(3, 3, *size, generator=torch.Generator().manual_seed(1)) * 255
    model = onnx.ModelProto()
    model.CopyFrom(tiny.model)
    for side, pixels in zip(model.graph.input[0].type.tensor_type.shape.dim[2:], size, strict=True):
        side.dim_value = pixels
    whole = run(model.SerializeToString(), pictures.numpy())
    for cut in tiny.cuts[1:-1]:
        network = import_network(tiny, cut, (WIDTH, HEIGHT))
        with torch.no_grad():
            split = network.after(network.before(pictures))
        np.testing.assert_allclose(split.numpy(), whole, atol=1e-4)


def test_it_is_exported_with_any_batch(tiny: OnnxGraph, tmp_path: Path) -> None:
    """Its arithmetic with shapes leaves nothing behind but what depends on the batch."""
    after = import_network(tiny, CUT, (WIDTH, HEIGHT)).after.eval()
    features = torch.rand(2, 8, 4, 8, generator=torch.Generator().manual_seed(2))
    program = torch.export.export(after, (features,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.onnx.export(program, (), tmp_path / "after.onnx", external_data=False, verbose=False)
    for batch in (features, features[:1], features.repeat(4, 1, 1, 1)):
        with torch.no_grad():
            expected = after(batch)
        np.testing.assert_allclose(run((tmp_path / "after.onnx").read_bytes(), batch.numpy()), expected, atol=1e-5)


def test_all_of_it_can_be_trained(tiny: OnnxGraph) -> None:
    network = import_network(tiny, CUT, (WIDTH, HEIGHT))
    network.after(network.before(torch.rand(1, 3, HEIGHT, WIDTH) * 255)).square().sum().backward()
    weights = [*network.before.parameters(), *network.after.parameters()]
    assert sum(weight.numel() for weight in weights) == sum(
        np.prod(constant.dims)
        for constant in tiny.model.graph.initializer
        if constant.name.endswith((".weight", ".bias"))
    )
    assert all(weight.grad is not None for weight in weights)


def test_the_ends_of_scales_are_found_and_can_be_returned(tiny: OnnxGraph) -> None:
    network = import_network(tiny, CUT, (WIDTH, HEIGHT))
    ends = last_of_scales(network.after)
    assert [tuple(node.meta["tensor_meta"].shape[1:]) for node in ends] == [(8, 4, 8), (8, 2, 4)]
    assert deepest(network.after).meta["tensor_meta"].shape[1] == 8
    tapped = returning(
        network.after, [*(node.name for node in ends), *(node.name for node in outputs_of(network.after))]
    )
    features = torch.rand(1, 8, 4, 8)
    first, _, output = tapped(features)
    assert torch.equal(first, features) and torch.equal(output, network.after(features))
    ours, theirs = (dict(graph.named_parameters()) for graph in (tapped, network.after))
    assert all(ours[name] is theirs[name] for name in ours)


def test_other_sizes_of_inputs_are_refused(tiny: OnnxGraph) -> None:
    with pytest.raises(InputError, match=r"expected one of \(n, 3, 288, 512\)"):
        import_network(tiny, CUT, (512, 288))


def test_what_is_no_cut_is_refused_with_what_crosses_beside_it(tiny: OnnxGraph) -> None:
    with pytest.raises(InputError, match=r"'box8' .* is no cut: 'shuffled'"):
        import_network(tiny, "box8", (WIDTH, HEIGHT))


def write(
    path: Path, nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], rank: int = 4, batch: int | str = "n"
) -> OnnxGraph:
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, 8, 16])
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, [None] * rank)
    weights = [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "graph", [images], [output], weights)
    onnx.save(helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 17)]), path)
    return OnnxGraph(path)


def test_a_file_for_one_picture_at_a_time_is_opened_for_more(tmp_path: Path) -> None:
    """Its Reshape names a batch of 1, as many exporters write it."""
    nodes = [
        helper.make_node("Relu", ["images"], ["cut"]),
        helper.make_node("Abs", ["cut"], ["map"]),
        helper.make_node("Reshape", ["map", "flat"], ["output"]),
    ]
    graph = write(tmp_path / "flat.onnx", nodes, {"flat": np.array([1, 3, -1], np.int64)}, 3, batch=1)
    network = import_network(graph, "cut", (16, 8))
    pictures = torch.rand(2, 3, 8, 16)
    assert torch.equal(network.after(network.before(pictures)), pictures.reshape(2, 3, 128))


def test_what_mixes_the_pictures_of_a_batch_is_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Relu", ["images"], ["cut"]),
        helper.make_node("Abs", ["cut"], ["map"]),
        helper.make_node("Reshape", ["map", "flat"], ["output"]),
    ]
    graph = write(tmp_path / "flat.onnx", nodes, {"flat": np.array([3, -1], np.int64)}, 2, batch=1)
    with pytest.raises(InputError, match="takes one picture at a time, export it with an open batch"):
        import_network(graph, "cut", (16, 8))


def test_batch_norms_are_in_inference_mode(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Relu", ["images"], ["cut"]),
        helper.make_node("BatchNormalization", ["cut", "scale", "bias", "mean", "variance"], ["output"]),
    ]
    values = {name: np.array([1.0, 2.0, 3.0], np.float32) for name in ("scale", "bias", "mean", "variance")}
    import_network(write(tmp_path / "norm.onnx", nodes, values), "cut", (16, 8))


@pytest.mark.parametrize(
    ("nodes", "complaint"),
    [
        ([("Flatten", "cut", "output")], "behind the cut 'cut' is no map"),
        ([("Shape", "cut", "sizes"), ("ReduceProd", "sizes", "output")], "cannot be trained"),
    ],
)
def test_what_cannot_be_trained_is_named(tmp_path: Path, nodes: list[tuple[str, str, str]], complaint: str) -> None:
    first = helper.make_node("Relu", ["images"], ["cut"])
    more = [helper.make_node(operator, [source], [target]) for operator, source, target in nodes]
    graph = write(tmp_path / "network.onnx", [first, *more], {}, 2 if more[-1].op_type == "Flatten" else 1)
    with pytest.raises(InputError, match=complaint):
        import_network(graph, "cut", (16, 8))


def test_what_torch_calculates_differently_is_refused(tmp_path: Path) -> None:
    """Here the nearest pixel is not the one that torch takes."""
    nodes = [
        helper.make_node("Relu", ["images"], ["cut"]),
        helper.make_node(
            "Resize", ["cut", "", "scales"], ["output"],
            mode="nearest", nearest_mode="ceil", coordinate_transformation_mode="align_corners",
        ),
    ]  # fmt: skip
    graph = write(tmp_path / "resize.onnx", nodes, {"scales": np.array([1, 1, 1.5, 1.5], np.float32)})
    with pytest.raises(InputError, match="cannot be trained: its output 'output' differs by"):
        import_network(graph, "cut", (16, 8))


def test_an_operator_that_torch_does_not_have_is_named(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Relu", ["images"], ["cut"]),
        helper.make_node("Shrink", ["cut"], ["output"], lambd=0.5),
    ]
    with pytest.raises(InputError, match=r"an operator that cannot be trained: .*Shrink"):
        import_network(write(tmp_path / "shrink.onnx", nodes, {}), "cut", (16, 8))


def test_a_network_for_one_size_alone_takes_no_windows(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Relu", ["images"], ["cut"]),
        helper.make_node("Abs", ["cut"], ["map"]),
        helper.make_node("Reshape", ["map", "flat"], ["output"]),
    ]
    graph = write(tmp_path / "flat.onnx", nodes, {"flat": np.array([0, 3, 128], np.int64)}, 3)
    import_network(graph, "cut", (16, 8), (16, 8))
    with pytest.raises(InputError, match="takes pictures of 16x8 alone, not windows of 8x8: leave out crop"):
        import_network(graph, "cut", (16, 8), (8, 8))


def test_a_graph_without_weights_has_none_and_can_be_filled_in(tiny: OnnxGraph, tmp_path: Path) -> None:
    bare = without_weights(tiny.path)
    for constant in tiny.model.graph.initializer:
        if constant.name.endswith(".weight") and np.prod(constant.dims) > 64:
            assert constant.raw_data[:32] not in bare
    (tmp_path / "filled.onnx").write_bytes(fill_in(bare))
    filled = import_network(OnnxGraph(tmp_path / "filled.onnx"), CUT, (WIDTH, HEIGHT))
    original = import_network(tiny, CUT, (WIDTH, HEIGHT))
    for one, other in ((filled.before, original.before), (filled.after, original.after)):
        one.load_state_dict(other.state_dict())
    pictures = torch.rand(1, 3, HEIGHT, WIDTH)
    assert torch.equal(filled.after(filled.before(pictures)), original.after(original.before(pictures)))
    with pytest.raises(InputError, match="no ONNX file"):
        fill_in(b"\xff\xff")


@pytest.mark.parametrize(("file", "place"), [*itertools.product(FILES, (0.3, 0.6, 0.9))])
def test_detectors_that_others_trained_are_the_same_in_two_parts(file: str, place: float) -> None:
    if not (PRETRAINED / file).is_file() or not PICTURE.is_file():
        pytest.skip(f"{file} is not here: it is no part of this project")
    graph = OnnxGraph(PRETRAINED / file)
    before, after = graph.split(graph.cuts[int(place * len(graph.cuts))])
    image = read_picture(PICTURE)
    street = Letterbox((image.shape[1], image.shape[0]), (512, 288)).apply(image)
    picture = street.transpose(2, 0, 1)[None].astype(np.float32)
    whole = run(graph.path.read_bytes(), picture)
    split = run(after.SerializeToString(), run(before.SerializeToString(), picture))
    np.testing.assert_allclose(split, whole, atol=1e-4)
    decode = find_detector("yolox" if "yolox" in file else "nanodet-plus")
    one, other = (decode([torch.from_numpy(output)], (288, 512)) for output in (split, whole))
    found = [
        suppress(COCO_LABELS, answer.boxes[0].numpy(), answer.logits[0].sigmoid().numpy(), 0.05, 0.6)
        for answer in (one, other)
    ]
    assert "car" in found[0].labels and found[0].labels == found[1].labels
    np.testing.assert_allclose(found[0].boxes, found[1].boxes, atol=0.01)
