"""Networks that others trained: an ONNX file, cut in two at one of its tensors and made trainable."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

# onnx2torch imports torchvision, which mtl_split_net.vision has to make importable first.
import mtl_split_net.vision  # noqa: F401

# isort: split
import numpy as np
import onnxruntime
import torch
from onnx import ModelProto, numpy_helper, version_converter
from onnx2torch import convert
from torch import Tensor, fx
from torch.fx.passes.shape_prop import ShapeProp

from mtl_split_core.errors import InputError, in_one_line
from mtl_split_core.payload import Shape
from mtl_split_core.scene import Size
from mtl_split_net.onnx_graph import OnnxGraph
from mtl_split_net.sizes import use_integers

LARGEST_DIFFERENCE = 1e-3
"""How far outputs in torch may be from ONNX Runtime's, relative to the largest."""
NEWEST_OPSET = 17
"""What onnx2torch knows; files of newer ones are converted first."""
_ERRORS = (ArithmeticError, AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)
"""What onnx2torch's modules raise for a network that they cannot calculate."""


@dataclass(frozen=True)
class ImportedNetwork:
    """A network in two parts, both trainable.

    before: pictures, float32 (N, 3, H, W), to the features at the cut; after: those to its outputs; features: of one
    random picture of the input's size, (channels, height, width).
    """

    before: fx.GraphModule
    after: fx.GraphModule
    features: Tensor


def import_network(graph: OnnxGraph, cut: str, input_size: Size, crop: Size | None = None) -> ImportedNetwork:
    """Cut an ONNX file's graph at the tensor `cut`; both parts in torch give what ONNX Runtime gives for the whole.

    Raises InputError for a cut that others bypass, for an operator that cannot be trained, for another size of inputs
    than `input_size`, and where windows of the size `crop`, which it is to be trained on, are none of its inputs.
    """
    if len(graph.inputs) != 1 or graph.shape(graph.inputs[0]) != (1, 3, input_size[1], input_size[0]):
        shapes = {name: graph.shape(name) for name in graph.inputs}
        raise InputError(
            f"{graph.path} has the inputs {shapes}, expected one of (n, 3, {input_size[1]}, {input_size[0]})"
        )
    if graph.dtype(graph.inputs[0]) != np.float32:
        raise InputError(
            f"{graph.path} takes {graph.dtype(graph.inputs[0])}, expected float32: export it without half precision"
        )
    before, after = (_to_torch(part) for part in graph.split(cut))
    pictures = torch.rand(2, 3, input_size[1], input_size[0], generator=torch.Generator().manual_seed(0)) * 255
    try:
        features, both = _run(before, after, pictures)
        alone = [_run(before, after, picture[None])[1] for picture in pictures]
    except InputError:
        raise
    except _ERRORS as error:
        raise InputError(f"{graph.path} cannot be trained: {in_one_line(error):.200}") from error
    if features.ndim != 4:
        raise InputError(f"the tensor {cut!r} has the shape {tuple(features.shape)}, expected (N, channels, H, W)")
    session = onnxruntime.InferenceSession(graph.model.SerializeToString(), providers=["CPUExecutionProvider"])
    right = session.run(None, {graph.inputs[0]: pictures[:1].numpy()})
    for number, name in enumerate(graph.outputs):
        _compare(
            f"{graph.path} cannot be trained: its output {name!r}", alone[0][number], torch.from_numpy(right[number])
        )
        _compare(
            f"{graph.path} takes one picture at a time, export it with an open batch size: its output {name!r} for two",
            both[number], torch.cat([one[number] for one in alone]),
        )  # fmt: skip
    if crop is not None:
        try:
            _run(before, after, pictures[..., : crop[1], : crop[0]])
        except _ERRORS as error:
            raise InputError(
                f"{graph.path} takes pictures of {input_size[0]}x{input_size[1]} alone, "
                f"not windows of {crop[0]}x{crop[1]}: leave out crop ({in_one_line(error):.200})"
            ) from error
    ShapeProp(after).propagate(features)
    if not _maps(after):
        raise InputError(f"behind the cut {cut!r} is no map (N, channels, H, W): use an earlier one")
    return ImportedNetwork(before, after, features[0])


def _run(before: fx.GraphModule, after: fx.GraphModule, pictures: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
    with torch.no_grad():
        features = cast(Tensor, before(pictures))
        found = after(features)
    return features, found if isinstance(found, list | tuple) else [found]


def _compare(what: str, ours: Tensor, right: Tensor) -> None:
    if ours.shape != right.shape or not ours.numel():
        raise InputError(f"{what} has the shape {tuple(ours.shape)} in torch, expected {tuple(right.shape)}, not empty")
    difference = float((ours - right).abs().max() / right.abs().max().clamp(min=1.0))
    if not difference <= LARGEST_DIFFERENCE:
        raise InputError(f"{what} differs by {difference:.1e} in torch, expected at most {LARGEST_DIFFERENCE:.0e}")


def deepest(graph: fx.GraphModule) -> fx.Node:
    """The last of the maps with the most channels: what a head for the whole picture begins with."""
    return max(reversed(_maps(graph)), key=lambda node: cast(Shape, _map_shape(node))[0])


def _maps(graph: fx.GraphModule) -> list[fx.Node]:
    return [node for node in graph.graph.nodes if _map_shape(node) is not None and node.op != "placeholder"]


def last_of_scales(graph: fx.GraphModule) -> list[fx.Node]:
    """Of each resolution, the last map from which one of another resolution is made.

    In a network with a neck these are what its heads begin with. What comes before has more in it than they need.
    Where the resolution never changes, what the graph begins with.
    """
    last: dict[tuple[int, int], fx.Node] = {}
    for node in graph.graph.nodes:
        shape = _map_shape(node)
        users = [_map_shape(user) for user in node.users]
        if shape is not None and any(other is not None and other[1:] != shape[1:] for other in users):
            last[shape[1:]] = node
    return list(last.values()) or [node for node in graph.graph.nodes if node.op == "placeholder"]


def outputs_of(graph: fx.GraphModule) -> list[fx.Node]:
    """The nodes whose values a graph returns."""
    (returned,) = next(iter(reversed(graph.graph.nodes))).args
    return [cast(fx.Node, node) for node in (returned if isinstance(returned, list | tuple) else [returned])]


def returning(graph: fx.GraphModule, names: Sequence[str]) -> fx.GraphModule:
    """The same graph with the same weights, but one that returns the tuple of the values of the nodes `names`."""
    copied = fx.Graph()
    nodes: dict[fx.Node, fx.Node] = {}
    copied.graph_copy(graph.graph, nodes)
    by_name = {original.name: copy for original, copy in nodes.items()}
    copied.output(tuple(by_name[name] for name in names))
    module = fx.GraphModule(graph, copied)
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


def _to_torch(part: ModelProto) -> fx.GraphModule:
    try:
        if next(opset.version for opset in part.opset_import if opset.domain in ("", "ai.onnx")) > NEWEST_OPSET:
            part = version_converter.convert_version(part, NEWEST_OPSET)
        _prepare_reshapes(part)
        return use_integers(convert(part)).eval()
    except _ERRORS as error:
        raise InputError(f"the network has an operator that cannot be trained: {in_one_line(error):.200}") from error


def _prepare_reshapes(part: ModelProto) -> None:
    """Let Reshape keep the batch size where the file fixes it to 1, and unset allowzero, which onnx2torch refuses.

    torch's exporter sets allowzero although no size is 0.
    """
    constants = {constant.name: constant for constant in part.graph.initializer}
    constants |= {
        n.output[0]: a.t for n in part.graph.node if n.op_type == "Constant" for a in n.attribute if a.HasField("t")
    }
    one_at_a_time = part.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1
    for index, node in enumerate(part.graph.node):
        if node.op_type != "Reshape":
            continue
        shape = numpy_helper.to_array(constants[node.input[1]]) if node.input[1] in constants else None
        if shape is not None and not shape.all():
            continue
        kept = [attribute for attribute in node.attribute if attribute.name != "allowzero"]
        del node.attribute[:]
        node.attribute.extend(kept)
        if shape is not None and one_at_a_time and shape[0] == 1:
            node.input[1] = f"open_batch_{index}"
            part.graph.initializer.append(numpy_helper.from_array(np.array([0, *shape[1:]]), node.input[1]))


def _map_shape(node: fx.Node) -> Shape | None:
    """Channels, height and width of a node's value, where it is a map."""
    shape: tuple[int, ...] = getattr(node.meta.get("tensor_meta"), "shape", ())
    return (shape[1], shape[2], shape[3]) if len(shape) == 4 else None
