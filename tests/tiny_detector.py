"""A detector as a user would bring it: an ONNX file in the layout of YOLOX, with weights that are random but fixed."""

from pathlib import Path
from typing import Any

import torch
from onnx import TensorProto, checker, helper, numpy_helper, save
from torch import Tensor

WIDTH, HEIGHT = 64, 32
LABELS = ("cat", "car", "bus")
CUT = "shuffled"
"""A tensor that is the only path: 8 channels at an eighth of the input's resolution."""


def write_tiny_detector(path: Path) -> Path:
    """Write the file. Channels are shuffled, as in ShuffleNet, by arithmetic with shapes."""
    generator = torch.Generator().manual_seed(0)
    nodes, constants = [], []

    def constant(name: str, values: Tensor) -> str:
        constants.append(numpy_helper.from_array(values.numpy(), name))
        return name

    def node(operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def convolution(source: str, output: str, channels: tuple[int, int], kernel: int, stride: int = 1) -> str:
        weight = torch.randn(channels[1], channels[0], kernel, kernel, generator=generator) / (
            kernel * channels[0] ** 0.5
        )
        inputs = [source, constant(f"{output}.weight", weight), constant(f"{output}.bias", torch.zeros(channels[1]))]
        pads = [kernel // 2] * 4
        return node("Conv", inputs, output, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads)

    scaled = node("Div", ["images", constant("white", torch.tensor(255.0))], "scaled")
    stem = node("Relu", [convolution(scaled, "stem", (3, 8), 5, 4)], "stem_relu")
    eighth = node("Relu", [convolution(stem, "eighth", (8, 8), 3, 2)], "eighth_relu")
    sizes = node("Shape", [eighth], "sizes")
    axes = [
        node(
            "Unsqueeze", [node("Gather", [sizes, constant(f"i{i}", torch.tensor(i))], f"size{i}"), "first"], f"axis{i}"
        )
        for i in (0, 2, 3)
    ]
    constant("first", torch.tensor([0]))
    two, four = constant("two", torch.tensor([2])), constant("four", torch.tensor([4]))
    grouped = node("Concat", [axes[0], two, four, *axes[1:]], "grouped", axis=0)
    apart = node("Transpose", [node("Reshape", [eighth, grouped], "apart")], "swapped", perm=[0, 2, 1, 3, 4])
    apart = node("Transpose", [apart], "swapped_back", perm=[0, 2, 1, 3, 4])
    whole = node("Concat", [axes[0], constant("eight", torch.tensor([8])), *axes[1:]], "whole", axis=0)
    shuffled = node("Reshape", [apart, whole], CUT)

    scale, outputs = shuffled, []
    for stride in (8, 16, 32):
        if stride > 8:
            scale = node("Relu", [convolution(scale, f"down{stride}", (8, 8), 3, 2)], f"relu{stride}")
        box = convolution(scale, f"box{stride}", (8, 4), 1)
        scores = node("Sigmoid", [convolution(scale, f"raw{stride}", (8, 1 + len(LABELS)), 1)], f"scores{stride}")
        level = node("Concat", [box, scores], f"level{stride}", axis=1)
        outputs.append(node("Reshape", [level, "flat"], f"flat{stride}"))
    constant("flat", torch.tensor([0, 5 + len(LABELS), -1]))
    node("Transpose", [node("Concat", outputs, "rows", axis=2)], "output", perm=[0, 2, 1])

    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, HEIGHT, WIDTH])
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", None, 5 + len(LABELS)])
    graph = helper.make_graph(nodes, "tiny", [images], [output], constants)
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 17)])
    checker.check_model(model)
    save(model, path)
    return path
