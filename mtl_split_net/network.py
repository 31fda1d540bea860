"""The whole multi-task network, made of the two halves that are exported: the edge's prefix, the server's suffix."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mtl_split_core.bundle import Task
from mtl_split_core.payload import Shape
from mtl_split_core.scene import Size
from mtl_split_net.backbones import Backbone, stage_shapes
from mtl_split_net.bottleneck import Decoder, Encoder, quantise
from mtl_split_net.heads import STRIDES, Candidates, ClassificationHead, DetectionHead, Neck

Outputs = dict[str, Candidates | Tensor]
"""Per task: the candidates of a detection task, the logits (N, labels) of a classification task."""

MEAN = (123.675, 116.28, 103.53)
DEVIATION = (58.395, 57.12, 57.375)
"""ImageNet's pixel statistics, red-green-blue, 0 to 255: torchvision's checkpoints expect inputs normalised by them."""


class Prefix(nn.Module):
    """The edge's half: pictures to latents."""

    mean: Tensor
    scale: Tensor

    def __init__(self, stages: nn.Sequential, encoder: Encoder) -> None:
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

    def __init__(self, decoder: Decoder, stages: nn.ModuleList, neck: Neck, heads: nn.ModuleDict) -> None:
        """Chain the bottleneck's decoder, the backbone's stages after the split point, the neck and a head per task.

        `stages` are grouped so that each group ends with a scale that the neck takes.
        """
        super().__init__()
        self.decoder = decoder
        self.stages = stages
        self.neck = neck
        self.heads = heads

    def forward(self, latents: Tensor) -> Outputs:
        """Latents (N, channels, height', width') in, every task's raw outputs out."""
        features = [self.decoder(latents)]
        for stage in self.stages:
            features.append(stage(features[-1]))
        maps = self.neck(features)
        return {
            name: head(maps) if isinstance(head, DetectionHead) else head(features[-1])
            for name, head in self.heads.items()
        }


class MultiTaskNetwork(nn.Module):
    """One backbone shared by several tasks and cut at a split point, with a bottleneck there and a head per task.

    After MTL-Split (Capogrosso et al. 2024), which cuts at the end of the backbone and has no bottleneck.
    """

    def __init__(
        self, backbone: str, split_point: str, channels: int, tasks: Sequence[Task], input_size: Size, width: int = 96
    ) -> None:
        """Build the network with random weights.

        `channels` is the bottleneck's number of channels, `width` the neck's. Raises ValueError for an unknown backbone
        or split point, or one whose features are not at an eighth of the input's resolution.
        """
        super().__init__()
        self.tasks = tuple(tasks)
        before, after = Backbone(backbone).split(split_point)
        columns, rows = input_size
        shapes = stage_shapes(nn.Sequential(*before, *after).eval(), torch.zeros(1, 3, rows, columns))
        features, height, width_there = shapes[len(before) - 1]
        if height * STRIDES[0] != rows:
            raise ValueError(
                f"split point {split_point!r} has {height} rows, expected 1/{STRIDES[0]} of the input's {rows}"
            )
        self.latent_shape: Shape = (channels, height // 2, width_there // 2)
        middle = next(index for index, shape in enumerate(shapes) if shape[1] * STRIDES[2] == rows) - len(before)
        scales = [features, shapes[len(before) + middle - 1][0], shapes[-1][0]]
        heads = nn.ModuleDict(
            {
                task.name: DetectionHead(width, len(task.labels))
                if task.kind == "detection"
                else ClassificationHead(scales[-1], len(task.labels))
                for task in tasks
            }
        )
        self.prefix = Prefix(before, Encoder(features, channels))
        groups = nn.ModuleList([after[:middle], after[middle:]])
        self.suffix = Suffix(Decoder(channels, features), groups, Neck(scales, width), heads)
        self.train()  # asking for the shapes has switched the stages to inference

    def forward(self, images: Tensor, step: float) -> Outputs:
        """Pictures, uint8 (N, height, width, 3), through both halves, the latents rounded to multiples of `step`."""
        outputs: Outputs = self.suffix(quantise(self.prefix(images), step))
        return outputs
