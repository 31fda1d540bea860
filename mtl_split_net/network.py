"""The whole multi-task network, made of the two halves that are exported: the edge's prefix, the server's suffix."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from mtl_split_core.errors import InputError
from mtl_split_core.payload import Shape
from mtl_split_core.scene import Size
from mtl_split_net.backbones import Backbone
from mtl_split_net.bottleneck import Decoder, Encoder
from mtl_split_net.kinds import KINDS
from mtl_split_net.neck import STRIDES, Neck
from mtl_split_net.rate import RateModel
from mtl_split_net.tasks import LearnedTask

Outputs = dict[str, Any]
"""Every task's output by the task's name, as the heads of its kind return it: see mtl_split_net.kinds."""

MEAN = (123.675, 116.28, 103.53)
DEVIATION = (58.395, 57.12, 57.375)
"""ImageNet's pixel statistics, red-green-blue, 0 to 255: torchvision's checkpoints expect inputs normalised by them."""


class Prefix(nn.Module):
    """The edge's half: pictures to latents."""

    mean: Tensor
    scale: Tensor

    def __init__(self, stages: nn.Sequential, encoder: nn.Module) -> None:
        """Chain the backbone's stages before the split point and the bottleneck's encoder."""
        super().__init__()
        self.stages = stages
        self.encoder = encoder
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("scale", 1 / torch.tensor(DEVIATION).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Pictures, uint8 (N, height, width, 3) blue-green-red, in; latents (N, channels, height', width') out."""
        # Reordering bytes before they become floats takes half of the time.
        planes = images.permute(0, 3, 1, 2).flip(1).float()
        latents: Tensor = self.encoder(self.stages((planes - self.mean) * self.scale))
        return latents


class Suffix(nn.Module):
    """The server's half: latents to every task's outputs."""

    def __init__(
        self, decoder: nn.Module, stages: nn.ModuleList, neck: Neck | None, tasks: Sequence[LearnedTask],
        heads: Sequence[nn.Module],
    ) -> None:  # fmt: skip
        """Chain the bottleneck's decoder, the backbone's stages after the split point, the neck and the tasks' heads.

        `stages` are grouped so that each group ends with a scale that the neck takes, and the last with the backbone.
        """
        super().__init__()
        self.decoder = decoder
        self.stages = stages
        self.neck = neck
        self.tasks = tuple(tasks)
        # A module cannot be called as one of torch's own attributes, "type" for instance, but a task can.
        self.heads = nn.ModuleDict({f"{task.name}_head": head for task, head in zip(tasks, heads, strict=True)})

    def forward(self, latents: Tensor) -> Outputs:
        """Latents (N, channels, height', width') in, every task's raw outputs out."""
        features = [self.decoder(latents)]
        for stage in self.stages:
            features.append(stage(features[-1]))
        maps = [] if self.neck is None else self.neck(features[1:])
        return {
            task.name: self.heads[f"{task.name}_head"](maps if KINDS[task.kind].USES_NECK else features[-1])
            for task in self.tasks
        }


class MultiTaskNetwork(nn.Module):
    """One backbone shared by several tasks and cut at a split point, with a bottleneck there and a head per task.

    After MTL-Split (Capogrosso et al. 2024), which cuts at the end of the backbone and has no bottleneck.
    """

    def __init__(
        self,
        backbone: Backbone,
        split_point: str,
        tasks: Sequence[LearnedTask],
        input_size: Size,
        channels: int | None,
        reduction: int = 1,
        sizes: Sequence[int] = (),
        width: int = 96,
    ) -> None:
        """Build the network around a backbone, with random weights elsewhere.

        `channels` is the bottleneck's number of channels (None: the features cross as they are), `reduction` how many
        times coarser than the features its resolution is, `sizes` the bytes that a picture is to take at each operating
        point, the fewest first (none: pictures cannot be sent compressed), `width` the neck's number of channels.
        Raises InputError for an unknown split point, and for an input size, width and height in pixels, that the
        strides do not divide.
        """
        super().__init__()
        self.tasks = tuple(tasks)
        before, after = backbone.split(split_point)
        shapes = backbone.shapes(input_size)
        features, height, width_there = shapes[len(before) - 1]
        if height % reduction or width_there % reduction:
            raise InputError(
                f"the features at {split_point!r} are {width_there} x {height}, not to be reduced by {reduction}"
            )
        self.latent_shape: Shape = (channels or features, height // reduction, width_there // reduction)
        needs_neck = any(KINDS[task.kind].USES_NECK for task in tasks)
        ends = _scales(shapes[len(before) - 1 :], input_size) if needs_neck else [len(after)]
        groups = nn.ModuleList(after[start:end] for start, end in pairwise([0, *ends]))
        neck = Neck([shapes[len(before) - 1 + end][0] for end in ends], width) if needs_neck else None
        heads = [KINDS[task.kind].HEADS[task.head](len(task.labels), shapes[-1], width) for task in tasks]
        encoder = nn.Identity() if channels is None else Encoder(features, channels, reduction)
        decoder = nn.Identity() if channels is None else Decoder(channels, features, reduction)
        self.prefix = Prefix(before, encoder)
        self.suffix = Suffix(decoder, groups, neck, tasks, heads)
        latents, rows, columns = self.latent_shape
        self.rate = RateModel(latents, rows * columns, sizes)

    def forward(self, images: Tensor) -> Outputs:
        """Pictures, uint8 (N, height, width, 3), through both halves; the latents cross as they are."""
        outputs: Outputs = self.suffix(self.prefix(images))
        return outputs

    def compressed(self, images: Tensor, points: Tensor) -> tuple[Outputs, Tensor]:
        """Send each picture at the operating point that `points` (N,) tells by index.

        Returns the outputs, and each picture's bits (N,).
        """
        restored, bits = self.rate(self.prefix(images), points)
        return self.suffix(restored), bits


def _scales(shapes: Sequence[Shape], input_size: Size) -> list[int]:
    """Which of the stages' outputs, from the split point on, the neck takes: the last of each scale that is there."""
    columns, rows = input_size
    if columns % STRIDES[-1] or rows % STRIDES[-1]:
        raise InputError(f"the neck needs an input of multiples of {STRIDES[-1]} pixels, got {columns} x {rows}")
    strides = [rows // height for _, height, _ in shapes]
    return [max(at for at, there in enumerate(strides) if there == stride) for stride in STRIDES if stride in strides]
