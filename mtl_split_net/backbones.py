"""Backbones from torchvision as chains of stages; every boundary between two stages is a named cut."""

from collections import OrderedDict
from pathlib import Path
from typing import cast

import torch
from torch import nn

from mtl_split_core.errors import InputError, in_one_line
from mtl_split_core.payload import Shape
from mtl_split_core.scene import Size
from mtl_split_net.checkpoints import read_checkpoint
from mtl_split_net.vision import models

BACKBONES = ("vgg16", "vgg16_bn", "resnet18", "mobilenet_v3_small", "mobilenet_v3_large", "efficientnet_b0")


class Backbone(nn.Module):
    """A torchvision classifier's feature extractor as a chain of stages.

    stages: the chain; cuts: the names of the boundaries after each stage, from the camera's side on. They are
    torchvision's names of the stages, as in its checkpoints; the last is the end of the backbone, where MTL-Split cuts.
    """

    def __init__(self, name: str, checkpoint: Path | None = None) -> None:
        """Build a backbone with random weights, or with those of torchvision's `checkpoint` of the whole classifier.

        Raises InputError for an unknown name, and for a checkpoint that is missing or not of this classifier.
        """
        super().__init__()
        if name not in BACKBONES:
            raise InputError(f"unknown backbone {name!r}, expected one of {', '.join(BACKBONES)}")
        classifier: nn.Module = getattr(models, name)(weights=None)
        if checkpoint is not None:
            _load(classifier, checkpoint)
        children = OrderedDict(classifier.named_children())
        if "features" in children:
            self.stages = cast(nn.Sequential, children["features"])
            self.cuts = tuple(f"features.{index}" for index in range(len(self.stages)))
        else:
            stages = OrderedDict((child, stage) for child, stage in children.items() if child not in ("avgpool", "fc"))
            self.stages = nn.Sequential(stages)
            self.cuts = tuple(stages)
        self._shapes: dict[Size, list[Shape]] = {}

    def split(self, cut: str) -> tuple[nn.Sequential, nn.Sequential]:
        """Return the stages before and after a cut. Raises InputError for an unknown one."""
        if cut not in self.cuts:
            raise InputError(f"unknown cut {cut!r}, expected one of {', '.join(self.cuts)}")
        end = self.cuts.index(cut) + 1
        return cast(nn.Sequential, self.stages[:end]), cast(nn.Sequential, self.stages[end:])

    def shapes(self, input_size: Size) -> list[Shape]:
        """Return the shape (channels, height, width) of every stage's output for inputs of a size in pixels."""
        if input_size not in self._shapes:
            width, height = input_size
            features, shapes = torch.zeros(1, 3, height, width), []
            training = self.training
            self.eval()  # zeros must not count in the batch norms' statistics
            with torch.no_grad():
                for stage in self.stages:
                    features = stage(features)
                    shapes.append((features.shape[1], features.shape[2], features.shape[3]))
            self.train(training)
            self._shapes[input_size] = shapes
        return self._shapes[input_size]


def _load(classifier: nn.Module, checkpoint: Path) -> None:
    try:
        classifier.load_state_dict(read_checkpoint(checkpoint))
    except (AttributeError, RuntimeError, TypeError) as error:  # of names that are no strings
        kind = type(classifier).__name__
        raise InputError(
            f"{checkpoint} is no checkpoint of torchvision's {kind}: {in_one_line(error)[:200]}"
        ) from error
