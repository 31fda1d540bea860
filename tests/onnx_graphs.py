"""Small ONNX graphs for tests: float32 networks on inputs of 4 channels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

WEIGHT = np.random.default_rng(0).standard_normal((4, 4, 3, 3)).astype(np.float32)


def node(kind: str, inputs: str, outputs: str, **attributes: Any) -> NodeProto:
    return helper.make_node(kind, inputs.split(), outputs.split(), **attributes)


def convolution(source: str, target: str) -> NodeProto:
    return node("Conv", f"{source} weight", target, pads=[1, 1, 1, 1])


def build(
    nodes: Sequence[NodeProto],
    outputs: str,
    inputs: str = "image",
    shape: Sequence[int | str] = ("n", 4, 6, 8),
    output_sizes: int = 4,
) -> ModelProto:
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in inputs.split()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * output_sizes) for name in outputs.split()],
        [
            numpy_helper.from_array(WEIGHT, "weight"),
            numpy_helper.from_array(np.ones(1, np.float32), "one"),
            numpy_helper.from_array(np.array([0, -1], np.int64), "flat"),
        ],
    )
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 17)])


CHAIN = [convolution("image", "a"), node("Relu", "a", "b"), convolution("b", "c"), node("Relu", "c", "out")]
SKIP = [
    convolution("image", "a"),
    node("Relu", "a", "b"),
    convolution("b", "c"),
    node("Add", "c a", "d"),
    node("Relu", "d", "out"),
]
