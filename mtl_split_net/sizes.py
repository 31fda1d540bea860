"""Arithmetic with shapes in imported graphs, done with Python's integers.

onnx2torch keeps shapes as tensors, whose values torch cannot export. Here they are arrays of objects: integers, or the
symbols that torch's exporter puts in their place.
"""

from collections.abc import Callable
from typing import Any

# onnx2torch imports torchvision, which mtl_split_net.vision has to make importable first.
import mtl_split_net.vision  # noqa: F401

# isort: split
import numpy as np
import numpy.typing as npt
import torch
from onnx2torch.node_converters.binary_math_operations import OnnxBinaryMathOperation
from onnx2torch.node_converters.cast import OnnxCast
from onnx2torch.node_converters.concat import OnnxConcat
from onnx2torch.node_converters.constant import OnnxConstant
from onnx2torch.node_converters.expand import OnnxExpand
from onnx2torch.node_converters.gather import OnnxGather
from onnx2torch.node_converters.reshape import OnnxReshape
from onnx2torch.node_converters.resize import OnnxResize
from onnx2torch.node_converters.shape import OnnxShape
from onnx2torch.node_converters.slice import OnnxSlice
from onnx2torch.node_converters.squeeze import OnnxSqueezeStaticAxes
from onnx2torch.node_converters.topk import OnnxTopK
from onnx2torch.node_converters.unsqueeze import OnnxUnsqueezeStaticAxes
from torch import Tensor, fx, nn

from mtl_split_core.errors import InputError

Sizes = npt.NDArray[np.object_]
"""A shape, a part of it, or one size without dimensions."""

LONGEST = 64
"""Constants of more values are no shapes."""


def use_integers(graph: fx.GraphModule) -> fx.GraphModule:
    """Let a graph that onnx2torch made calculate its shapes with integers; it is changed in place and returned."""
    for node in list(graph.graph.nodes):
        scales = all(isinstance(_module(graph, user), OnnxResize) for user in node.users)
        if node.op == "get_attr" and _is_shape(value := _attribute(graph, node.target), scales):
            # A module of the same name, so that the graph's other nodes need not change.
            graph.add_submodule(f"sizes_{node.name}", _Constant(value))
            with graph.graph.inserting_before(node):
                node.replace_all_uses_with(graph.graph.call_module(f"sizes_{node.name}"))
            graph.graph.erase_node(node)
            continue
        module = _module(graph, node)
        if isinstance(module, OnnxConstant) and _is_shape(module.value, scales):
            graph.set_submodule(node.target, _Constant(module.value))
        elif module is not None and (type(module) in _ON_MAPS or type(module) in _ON_SIZES):
            graph.set_submodule(node.target, _Either(module))
    graph.recompile()
    return graph


class _Constant(nn.Module):
    """A constant shape."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self._value = np.array(value.tolist(), object)

    def forward(self) -> Sizes:
        return self._value


class _Either(nn.Module):
    """An operator that calculates with sizes where it gets nothing else, and takes them as arguments of maps."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Any, **named: Any) -> Any:
        kind = type(self.module)
        given = [value for value in (*inputs, *named.values()) if value is not None]
        if kind is OnnxShape or all(isinstance(value, np.ndarray) for value in given):
            if kind not in _ON_SIZES:
                raise InputError(f"the network's {kind.__name__} calculates with shapes, which cannot be trained")
            result = _ON_SIZES[kind](self.module, *inputs, **named)
            # Of arrays without dimensions numpy makes plain numbers.
            return result if isinstance(result, Tensor) else np.asarray(result, object)
        if kind in _ON_MAPS:
            return _ON_MAPS[kind](self.module, *inputs, **named)
        tensors = {name: _as_tensor(value) for name, value in named.items()}
        return self.module(*(_as_tensor(value) for value in inputs), **tensors)


def _module(graph: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    return graph.get_submodule(str(node.target)) if node.op == "call_module" else None


def _is_shape(value: Any, scales: bool) -> bool:
    return isinstance(value, Tensor) and value.numel() <= LONGEST and (scales or not value.is_floating_point())


def _attribute(graph: fx.GraphModule, target: str) -> Any:
    owner, _, name = target.rpartition(".")
    return getattr(graph.get_submodule(owner), name)


def _as_tensor(value: Any) -> Any:
    return torch.tensor(value.tolist()) if isinstance(value, np.ndarray) else value


def _binary(module: Any, one: Sizes, other: Sizes) -> Sizes:
    match module.math_op_function:
        case torch.add:
            return one + other
        case torch.sub:
            return one - other
        case torch.mul:
            return one * other
    return one // other


def _slice_of(starts: Sizes, ends: Sizes, axes: Sizes | None, steps: Sizes | None) -> dict[int, slice]:
    every = [range(len(starts)) if axes is None else axes, [1] * len(starts) if steps is None else steps]
    return {axis: slice(start, end, step) for start, end, axis, step in zip(starts, ends, *every, strict=True)}


def _slice_sizes(
    module: nn.Module, sizes: Sizes, starts: Sizes, ends: Sizes, axes: Sizes | None = None, steps: Sizes | None = None
) -> Sizes:
    (part,) = _slice_of(starts, ends, axes, steps).values()
    return sizes[part]


def _slice_map(
    module: nn.Module, maps: Tensor, starts: Sizes, ends: Sizes, axes: Sizes | None = None, steps: Sizes | None = None
) -> Tensor:
    for axis, part in _slice_of(starts, ends, axes, steps).items():
        if part.step < 0:
            raise InputError(f"the network reverses a map, Slice with the step {part.step}, which cannot be trained")
        maps = maps[(slice(None),) * (axis % maps.ndim) + (part,)]
    return maps


def _reshape(module: nn.Module, maps: Tensor, sizes: Sizes) -> Tensor:
    # 0 stands for the size that is there already.
    return maps.reshape([maps.shape[axis] if _is_zero(size) else size for axis, size in enumerate(sizes)])


def _is_zero(size: Any) -> bool:
    return isinstance(size, int) and size == 0


def _expand(module: nn.Module, maps: Tensor, sizes: Sizes) -> Tensor:
    return maps.expand(torch.broadcast_shapes(maps.shape, tuple(sizes)))


def _resize(
    module: Any, maps: Tensor, roi: Any = None, scales: Sizes | None = None, sizes: Sizes | None = None
) -> Tensor:
    # What onnx2torch does not know how to resize, the comparison with the file's own outputs shows.
    mode = {"nearest": "nearest", "linear": "bilinear", "cubic": "bicubic"}[module.onnx_mode]
    target: Any = None if sizes is None or not len(sizes) else tuple(sizes[2:])
    factors: Any = None if target is not None or scales is None else tuple(scales[2:])
    return nn.functional.interpolate(
        maps, size=target, scale_factor=factors, mode=mode, align_corners=module.align_corners
    )


_ON_SIZES: dict[type[nn.Module], Callable[..., Sizes | Tensor]] = {
    OnnxShape: lambda module, maps: np.array(maps.shape[module._start : module._end], object),
    OnnxGather: lambda module, sizes, indices: np.take(sizes, indices.astype(int)),
    OnnxUnsqueezeStaticAxes: lambda module, sizes: np.expand_dims(sizes, tuple(module._axes)),
    OnnxSqueezeStaticAxes: lambda module, sizes: np.squeeze(sizes),
    OnnxConcat: lambda module, *sizes: np.concatenate(sizes),
    OnnxCast: lambda module, sizes: module(_as_tensor(sizes)) if module.torch_dtype.is_floating_point else sizes,
    OnnxReshape: lambda module, sizes, shape: sizes.reshape(shape.astype(int)),
    OnnxSlice: _slice_sizes,
    OnnxBinaryMathOperation: _binary,
}
_ON_MAPS: dict[type[nn.Module], Callable[..., Any]] = {
    OnnxReshape: _reshape,
    OnnxSlice: _slice_map,
    OnnxExpand: _expand,
    OnnxTopK: lambda module, values, k: module(values, int(k.item())),
    OnnxResize: _resize,
}
