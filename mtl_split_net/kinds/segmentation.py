"""Semantic segmentation in torch: the head, the true labels as a target, the loss, and what is exported."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from mtl_split_core.label_map import UNKNOWN, renumber
from mtl_split_core.scene import Indices, Task, Truth
from mtl_split_net.bottleneck import convolution, separable
from mtl_split_net.exit_maps import ExitMaps
from mtl_split_net.neck import STRIDES

DETAIL = 2
"""How many times finer than the neck's finest map the answer is."""


class SegmentationHead(nn.Module):
    """A label for every place: all of the neck's maps, added up at the finest's resolution (Kirillov et al. 2019)."""

    def __init__(self, width: int, labels: int) -> None:
        """Tell `labels` apart on maps of `width` channels."""
        super().__init__()
        self.project = nn.ModuleList(convolution(width, width) for _ in STRIDES)
        self.refine = nn.Sequential(separable(width), separable(width))
        self.classify = nn.Sequential(nn.Conv2d(width, DETAIL**2 * labels, 1), nn.PixelShuffle(DETAIL))

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Maps (N, width, H/s, W/s) for s in STRIDES in, logits (N, labels, H/4, W/4) out."""
        merged: Tensor | None = None
        for project, features in zip(reversed(self.project), reversed(maps), strict=True):
            projected = project(features)
            if merged is not None:
                projected = projected + functional.interpolate(merged, scale_factor=2.0, mode="nearest")
            merged = projected
        logits: Tensor = self.classify(self.refine(merged))
        return logits


class ExitHead(nn.Module):
    """A label for every place from one convolution on an exit's fine map."""

    def __init__(self, width: int, labels: int, detail: int) -> None:
        """Tell `labels` apart on a map of `width` channels, at places `detail` times finer."""
        super().__init__()
        self.classify = nn.Sequential(nn.Conv2d(width, detail**2 * labels, 1), nn.PixelShuffle(detail))

    def forward(self, maps: list[Tensor]) -> Tensor:
        """The fine map (N, width, R, S), and a coarse one, in; logits (N, labels, detail R, detail S) out."""
        logits: Tensor = self.classify(maps[0])
        return logits


USES_NECK = True
HEADS = {"pyramid": lambda labels, features, width: SegmentationHead(width, labels)}


def target(task: Task, truths: Sequence[Truth]) -> Tensor:
    """The labels of N pictures' places: uint8 (N, H, W), UNKNOWN where they are not known; (N, 1, 1) if none are."""
    known = [renumber(truth.masks[task.name], task.labels) if task.name in truth.masks else None for truth in truths]
    rows, columns = next((found.shape for found in known if found is not None), (1, 1))
    places = torch.full((len(truths), rows, columns), UNKNOWN, dtype=torch.uint8)
    for picture, found in zip(places, known, strict=True):
        if found is not None:
            picture.copy_(torch.from_numpy(found))
    return places


def exit_head(task: Task, shapes: Mapping[str, Sequence[int]], maps: ExitMaps) -> nn.Module:
    """A label for every place of the fine map, or as many times finer as the suffix's answer is."""
    return ExitHead(maps.width, len(task.labels), max(1, round(shapes[task.name][3] / maps.columns)))


def lesson(task: Task, answers: Mapping[str, npt.NDArray[Any]], maps: ExitMaps) -> Indices:
    """Return the most likely label of every place: (R, S)."""
    return answers[task.name][0].argmax(0).astype(np.uint8)


def imitated(task: Task, lessons: Sequence[Indices]) -> Tensor:
    """The suffix's labels for the places of N pictures: uint8 (N, R, S)."""
    return torch.from_numpy(np.stack(lessons))


def imitation(logits: Tensor, places: Tensor) -> Tensor:
    """The loss of true labels: the suffix's are taken for true."""
    return loss(logits, places)


def loss(logits: Tensor, places: Tensor) -> Tensor:
    """Cross-entropy plus Dice loss of logits (N, labels, H', W') against label numbers (N, H, W).

    UNKNOWN ones are left out. Dice loss, 1 minus the mean over the labels that are there, counts thin areas as much as
    large ones (Milletari et al. 2016).
    """
    logits = functional.interpolate(logits, places.shape[1:], mode="bilinear", align_corners=False)
    known = places != UNKNOWN
    numbers = torch.where(known, places, 0).long()
    entropy = functional.cross_entropy(logits, numbers, reduction="none")
    likely = logits.softmax(1) * known[:, None]
    true = functional.one_hot(numbers, logits.shape[1]).movedim(-1, 1) * known[:, None]
    there = true.sum((0, 2, 3))
    dice = 2 * (likely * true).sum((0, 2, 3)) / (likely.sum((0, 2, 3)) + there).clamp(min=1)
    missed = ((1 - dice) * (there > 0)).sum() / (there > 0).sum().clamp(min=1)
    return (entropy * known).sum() / known.sum().clamp(min=1) + missed


def calibrated(logits: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    """Logits of probabilities that are true."""
    return logits * scale[:, None, None] + offset[:, None, None]


def answers(name: str, logits: Tensor) -> dict[str, Tensor]:
    """Probabilities (N, labels, H/4, W/4)."""
    return {name: logits.softmax(1)}
