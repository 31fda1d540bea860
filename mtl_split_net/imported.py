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

from mtl_split_core.errors import InputError
from mtl_split_core.payload import Shape
from mtl_split_core.scene import Size
from mtl_split_net.onnx_graph import OnnxGraph
from mtl_split_net.sizes import use_integers

LARGEST_DIFFERENCE = 1e-3
"""How far outputs in torch may be from ONNX Runtime's, relative to the largest."""
NEWEST_OPSET = 17
"""What onnx2torch knows; files of newer ones are converted first."""


@dataclass(frozen=True)
class ImportedNetwork:
    """A network in two parts, both trainable.

    before: pictures, float32 (N, 3, H, W), to the features at the cut; after: those to its outputs; features: the shape
    at the cut for whole inputs.
    """

    before: fx.GraphModule
    after: fx.GraphModule
    features: Shape


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
    before, after = (_to_torch(part) for part in graph.split(cut))
    picture = torch.rand(1, 3, input_size[1], input_size[0], generator=torch.Generator().manual_seed(0)) * 255
    with torch.no_grad():
        features = cast(Tensor, before(picture))
        found = after(features)
    if features.ndim != 4:
        raise InputError(f"the tensor {cut!r} has the shape {tuple(features.shape)}, expected (N, channels, H, W)")
    _compare(graph, picture, found if isinstance(found, list | tuple) else [found])
    if crop is not None:
        try:
            with torch.no_grad():
                after(before(torch.zeros(1, 3, crop[1], crop[0])))
        except RuntimeError as error:
            raise InputError(
                f"{graph.path} takes pictures of {input_size[0]}x{input_size[1]} alone, "
                f"not windows of {crop[0]}x{crop[1]}: leave out crop ({str(error)[:80]})"
            ) from error
    ShapeProp(after).propagate(features)
    return ImportedNetwork(before, after, (features.shape[1], features.shape[2], features.shape[3]))


def _compare(graph: OnnxGraph, picture: Tensor, found: Sequence[Tensor]) -> None:
    session = onnxruntime.InferenceSession(graph.model.SerializeToString(), providers=["CPUExecutionProvider"])
    right = session.run(None, {graph.inputs[0]: picture.numpy()})
    for name, ours, theirs in zip(graph.outputs, found, right, strict=True):
        difference = float(np.abs(ours.numpy() - theirs).max() / max(1.0, np.abs(theirs).max()))
        if not difference <= LARGEST_DIFFERENCE:
            raise InputError(
                f"{graph.path} cannot be trained: its output {name!r} differs by {difference:.1e} in torch, "
                f"expected at most {LARGEST_DIFFERENCE:.0e}"
            )


def deepest(graph: fx.GraphModule) -> fx.Node:
    """The last of the maps with the most channels: what a head for the whole picture begins with."""
    maps = [node for node in graph.graph.nodes if _map_shape(node) is not None and node.op != "placeholder"]
    return max(reversed(maps), key=lambda node: cast(Shape, _map_shape(node))[0])


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
        if next(opset.version for opset in part.opset_import if not opset.domain) > NEWEST_OPSET:
            part = version_converter.convert_version(part, NEWEST_OPSET)
        _forget_zeros(part)
        return use_integers(convert(part))
    except (NotImplementedError, RuntimeError, version_converter.ConvertError) as error:
        raise InputError(f"the network has an operator that cannot be trained: {str(error)[:300]}") from error


def _forget_zeros(part: ModelProto) -> None:
    """Unset Reshape's allowzero, which torch's exporter sets and onnx2torch refuses, where no size is 0 anyway."""
    constants = {constant.name: constant for constant in part.graph.initializer}
    for node in part.graph.node:
        if node.op_type == "Reshape" and (
            node.input[1] not in constants or numpy_helper.to_array(constants[node.input[1]]).all()
        ):
            kept = [attribute for attribute in node.attribute if attribute.name != "allowzero"]
            del node.attribute[:]
            node.attribute.extend(kept)


def _map_shape(node: fx.Node) -> Shape | None:
    """Channels, height and width of a node's value, where it is a map."""
    shape: tuple[int, ...] = getattr(node.meta.get("tensor_meta"), "shape", ())
    return (shape[1], shape[2], shape[3]) if len(shape) == 4 else None
