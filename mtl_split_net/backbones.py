"""Backbones from torchvision as chains of stages; every boundary between two stages is a named split point."""

from typing import cast

import torch
from torch import nn

from mtl_split_net.vision import models

BACKBONES = ("mobilenet_v3_small",)


class Backbone(nn.Module):
    """A torchvision classifier's feature extractor as a chain of stages.

    `features` keeps torchvision's own parameter names, so that its checkpoints load.
    """

    def __init__(self, name: str) -> None:
        """Build a backbone with random weights. Raises ValueError for an unknown name."""
        super().__init__()
        if name not in BACKBONES:
            raise ValueError(f"unknown backbone {name!r}, expected one of {', '.join(BACKBONES)}")
        self.features: nn.Sequential = getattr(models, name)(weights=None).features

    @property
    def split_points(self) -> tuple[str, ...]:
        """Names of the boundaries after each stage, from the camera's side on; the last is the end of the backbone."""
        return tuple(f"features.{index}" for index in range(len(self.features)))

    def split(self, split_point: str) -> tuple[nn.Sequential, nn.Sequential]:
        """Return the stages before and after a split point. Raises ValueError for an unknown one."""
        if split_point not in self.split_points:
            raise ValueError(f"unknown split point {split_point!r}, expected one of {', '.join(self.split_points)}")
        end = self.split_points.index(split_point) + 1
        return cast(nn.Sequential, self.features[:end]), cast(nn.Sequential, self.features[end:])


def stage_shapes(stages: nn.Sequential, inputs: torch.Tensor) -> list[tuple[int, int, int]]:
    """Return the shape (channels, height, width) of each stage's output for inputs (N, C, H, W)."""
    shapes = []
    with torch.no_grad():
        for stage in stages:
            inputs = stage(inputs)
            shapes.append((inputs.shape[1], inputs.shape[2], inputs.shape[3]))
    return shapes
