"""An ONNX file run by PyTorch, operator by operator, so that no engine needs a file of its own.

PyTorch's own formats for exported programs are read with pickle, which would run whatever code a file holds.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
import torch.nn.functional as F
from google.protobuf.message import DecodeError
from onnx import numpy_helper
from torch import Tensor

from mtl_split_core.errors import BundleError


class TorchGraph:
    """The network of one ONNX file, with one input."""

    def __init__(self, path: Path, device: torch.device) -> None:
        """Read a file. Raises BundleError where it is none, or has an operator that is not among OPERATORS."""
        try:
            graph = onnx.load(path).graph
        except DecodeError as error:
            raise BundleError(f"torch cannot load {path}: it is no ONNX file") from error
        unknown = sorted({node.op_type for node in graph.node} - OPERATORS.keys())
        if unknown:
            raise BundleError(f"torch cannot load {path}: it knows no operators {', '.join(unknown)}")
        self._device = device
        self._input = graph.input[0].name
        self._outputs = [output.name for output in graph.output]
        self._constants: dict[str, Tensor | None] = {"": None}  # an input that is left out
        for constant in graph.initializer:
            value = torch.from_numpy(numpy_helper.to_array(constant).copy())
            # Whole numbers are shapes and places, which are needed on the processor.
            self._constants[constant.name] = value.to(device) if value.is_floating_point() else value
        self._steps = [
            (
                OPERATORS[node.op_type],
                [*node.input],
                {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute},
                [*node.output],
            )
            for node in graph.node
        ]

    @torch.inference_mode()
    def __call__(self, batch: npt.NDArray[np.generic]) -> dict[str, npt.NDArray[np.generic]]:
        """Run the network; returns its outputs by name."""
        values = {**self._constants, self._input: torch.from_numpy(batch).to(self._device)}
        for operator, inputs, attributes, outputs in self._steps:
            result = operator(*(values[name] for name in inputs), **attributes)
            values.update(zip(outputs, result if isinstance(result, tuple) else (result,), strict=True))
        return {name: _output(values[name]) for name in self._outputs}


def _output(value: Tensor | None) -> npt.NDArray[np.generic]:
    assert value is not None
    array: npt.NDArray[np.generic] = value.cpu().numpy()
    return array


# By ONNX's names, with ONNX's names for the attributes; only what PyTorch's exporter makes of them.


def _padding(pads: list[int]) -> list[int]:
    half = len(pads) // 2
    if pads[:half] != pads[half:]:
        raise BundleError(f"torch cannot pad by {pads}: expected as much at the end as at the beginning")
    return pads[:half]


def _conv(x: Tensor, weight: Tensor, bias: Tensor | None = None, **given: Any) -> Tensor:
    return F.conv2d(x, weight, bias, given["strides"], _padding(given["pads"]), given["dilations"], given["group"])


def _max_pool(x: Tensor, **given: Any) -> Tensor:
    return F.max_pool2d(
        x,
        given["kernel_shape"],
        given["strides"],
        _padding(given["pads"]),
        given["dilations"],
        ceil_mode=bool(given["ceil_mode"]),
    )


def _gemm(a: Tensor, b: Tensor, c: Tensor, alpha: float, beta: float, transA: int, transB: int) -> Tensor:
    return alpha * ((a.T if transA else a) @ (b.T if transB else b)) + beta * c


def _slice(x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor, steps: Tensor) -> Tensor:
    for start, end, axis, step in zip(*(part.tolist() for part in (starts, ends, axes, steps)), strict=True):
        chosen = range(*slice(start, end, step).indices(x.shape[axis]))
        x = x.index_select(axis, torch.tensor(chosen, device=x.device))
    return x


def _gather(x: Tensor, indices: Tensor, axis: int) -> Tensor:
    chosen = x.index_select(axis, indices.flatten().to(x.device))
    return chosen.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis:][1:])


def _resize(x: Tensor, _: None, scales: Tensor, **given: Any) -> Tensor:
    if (given["mode"], given["coordinate_transformation_mode"], given["nearest_mode"]) != (
        b"nearest",
        b"asymmetric",
        b"floor",
    ):
        raise BundleError("torch can resize to the nearest value only")
    return F.interpolate(x, scale_factor=scales.tolist()[2:], mode="nearest")


def _depth_to_space(x: Tensor, blocksize: int, mode: bytes) -> Tensor:
    if mode != b"CRD":
        raise BundleError(f"torch knows no DepthToSpace of mode {mode!r}")
    return F.pixel_shuffle(x, blocksize)


OPERATORS: dict[str, Callable[..., Tensor | tuple[Tensor, ...]]] = {
    "Add": torch.add,
    "Cast": lambda x, to: x.to(getattr(torch, onnx.helper.tensor_dtype_to_np_dtype(to).name)),
    "Clip": torch.clamp,
    "Concat": lambda *parts, axis: torch.cat(parts, axis),
    "Conv": _conv,
    "DepthToSpace": _depth_to_space,
    "Exp": torch.exp,
    "Gather": _gather,
    "Gemm": _gemm,
    "HardSigmoid": lambda x, alpha, beta: (x * alpha + beta).clamp(0, 1),
    "HardSwish": F.hardswish,
    "MaxPool": _max_pool,
    "Mul": torch.mul,
    "ReduceMean": lambda x, axes, keepdims, **_: x.mean(axes.tolist(), bool(keepdims)),
    "Relu": torch.relu,
    "Reshape": lambda x, shape, **_: x.reshape(shape.tolist()),
    "Resize": _resize,
    "Sigmoid": torch.sigmoid,
    "Slice": _slice,
    "Softmax": lambda x, axis: x.softmax(axis),
    "Split": lambda x, axis, num_outputs: x.tensor_split(num_outputs, axis),
    "Sub": torch.sub,
    "Transpose": lambda x, perm: x.permute(perm),
}
