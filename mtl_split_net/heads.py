"""What the server adds to the backbone: a neck over several scales, a detection head, a classification head."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mtl_split_net.bottleneck import convolution, separable

STRIDES = (8, 16, 32)
"""Input pixels per cell of the three maps that the neck hands to the detection head."""


class Neck(nn.Module):
    """A feature pyramid (Lin et al. 2017): what the coarse scales understand is added to what the fine ones see.

    Features (N, channels of the scale, H/s, W/s) for the coarsest s in STRIDES in, maps (N, width, H/s, W/s) for all of
    them out: scales finer than any of the features are made from the coarser ones alone.
    """

    def __init__(self, channels: Sequence[int], width: int) -> None:
        """Merge features of so many `channels`, finest scale first, into maps of `width` channels."""
        super().__init__()
        self.lateral = nn.ModuleList(convolution(scale, width) for scale in channels)
        self.refine = nn.ModuleList(nn.Sequential(separable(width), separable(width)) for _ in STRIDES)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Merge the scales; see the class for the shapes."""
        laterals = [lateral(scale) for lateral, scale in zip(self.lateral, features, strict=True)]
        maps: list[Tensor] = []
        for refine in reversed(self.refine):
            parts = [laterals.pop()] if laterals else []
            if maps:
                parts.append(nn.functional.interpolate(maps[0], scale_factor=2.0, mode="nearest"))
            maps.insert(0, refine(sum(parts)))
        return maps


@dataclass(frozen=True)
class Candidates:
    """The detection head's raw answer for P points.

    boxes: (N, P, 4) x1, y1, x2, y2 in input pixels; logits: (N, P, labels); centres: (P, 2) x, y of the points in
    input pixels, or (N, P, 2) where they differ from picture to picture; strides: (P,).
    """

    boxes: Tensor
    logits: Tensor
    centres: Tensor
    strides: Tensor

    @property
    def points(self) -> Tensor:
        """The centres for every picture, (N, P, 2)."""
        return self.centres.expand_as(self.boxes[..., :2])


class DetectionHead(nn.Module):
    """Anchor-free detection: every cell of every map proposes one box and a score per label (YOLOX, Ge et al. 2021)."""

    def __init__(self, width: int, labels: int) -> None:
        """Detect `labels` kinds of objects on maps of `width` channels."""
        super().__init__()
        self.score_tower = nn.ModuleList(nn.Sequential(separable(width), separable(width)) for _ in STRIDES)
        self.box_tower = nn.ModuleList(nn.Sequential(separable(width), separable(width)) for _ in STRIDES)
        self.scores = nn.ModuleList(nn.Conv2d(width, labels, 1) for _ in STRIDES)
        self.boxes = nn.ModuleList(nn.Conv2d(width, 4, 1) for _ in STRIDES)
        for name, parameter in self.scores.named_parameters():
            if name.endswith("bias"):
                # Nearly all cells are background: begin there (focal loss, Lin et al. 2017).
                nn.init.constant_(parameter, -math.log(99))

    def forward(self, maps: list[Tensor]) -> Candidates:
        """Maps (N, width, H/s, W/s) for s in STRIDES in, candidates for all their cells out."""
        boxes, logits, centres, strides = [], [], [], []
        for level, (features, stride) in enumerate(zip(maps, STRIDES, strict=True)):
            height, width = features.shape[2:]
            y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
            centre = ((torch.stack([x, y], -1).reshape(-1, 2) + 0.5) * stride).to(features)
            logits.append(self.scores[level](self.score_tower[level](features)).flatten(2).transpose(1, 2))
            offset, size = (
                self.boxes[level](self.box_tower[level](features)).flatten(2).transpose(1, 2).split(2, dim=-1)
            )
            middle = centre + offset * stride
            half = size.clamp(max=math.log(64)).exp() * (stride / 2)
            boxes.append(torch.cat([middle - half, middle + half], dim=-1))
            centres.append(centre)
            strides.append(centre.new_full((height * width,), stride))
        return Candidates(torch.cat(boxes, 1), torch.cat(logits, 1), torch.cat(centres), torch.cat(strides))


class ClassificationHead(nn.Module):
    """Classification of the whole picture from pooled features."""

    def __init__(self, features: int, labels: int, width: int = 128) -> None:
        """Classify into `labels` from maps of `features` channels."""
        super().__init__()
        self.classify = nn.Sequential(
            nn.Linear(features, width), nn.Hardswish(), nn.Dropout(0.1), nn.Linear(width, labels)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, C, H, W) in, logits (N, labels) out."""
        return self.classify(features.mean(dim=(2, 3)))


class FlatHead(nn.Sequential):
    """MTL-Split's classification head: every value of the features (N, C, H, W) counts, not their means."""

    def __init__(self, values: int, labels: int) -> None:
        """Classify `values` features into `labels`."""
        super().__init__(
            nn.Flatten(), nn.Linear(values, 256), nn.Dropout(0.1), nn.ReLU(inplace=True), nn.Linear(256, labels)
        )
