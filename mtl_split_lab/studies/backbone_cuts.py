"""Where the backbones can be cut, and what each cut costs the vehicle and the link."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mtl_split_core.payload import Shape
from mtl_split_core.scene import Size
from mtl_split_net.backbones import Backbone


@dataclass(frozen=True)
class BackboneCut:
    """A boundary between two stages.

    shape: channels, height, width of the features there; parameters, multiply_adds: of all stages before it.
    """

    name: str
    shape: Shape
    parameters: int
    multiply_adds: int


def list_cuts(backbone: str, input_size: Size) -> Iterator[BackboneCut]:
    """List a backbone's cuts, from the camera's side on, for pictures of a size (width, height) in pixels.

    Raises InputError for an unknown backbone.
    """
    network = Backbone(backbone).eval()
    features = torch.zeros(1, 3, input_size[1], input_size[0])
    parameters = multiply_adds = 0
    for name, stage in zip(network.cuts, network.stages, strict=True):
        parameters += sum(parameter.numel() for parameter in stage.parameters())
        multiply_adds += count_multiply_adds(stage, features)
        with torch.no_grad():
            features = stage(features)
        channels, height, width = features.shape[1:]
        yield BackboneCut(name, (channels, height, width), parameters, multiply_adds)


def count_multiply_adds(module: nn.Module, example: Tensor) -> int:
    """Count the multiplications with weights, each with its addition, that a module needs for an example."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(example)
    return int(counter.get_total_flops()) // 2


def format_cuts(backbone: str, input_size: Size) -> str:
    """Write a backbone's cuts as a table."""
    lines = [f"{backbone}, input {input_size[0]} x {input_size[1]}:"]
    lines.append(f"  {'cut':<14}{'features':>16}{'as float32':>12}{'parameters':>14}{'multiply-adds':>16}")
    for point in list_cuts(backbone, input_size):
        channels, height, width = point.shape
        size = channels * height * width * 4 / 1024
        lines.append(
            f"  {point.name:<14}{f'{channels} x {height} x {width}':>16}{size:>8.0f} KiB"
            f"{point.parameters:>14,}{point.multiply_adds / 1e6:>14.1f} M"
        )
    return "\n".join(lines)
