"""Classification of the whole picture in torch: the heads, the target, the loss, and what is exported."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from mtl_split_core.scene import Floats, Task, Truth
from mtl_split_net.exit_maps import ExitMaps

UNKNOWN = -1
"""Index that stands for a classification label that a picture does not have."""


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


class ExitHead(nn.Module):
    """The pooled head over an exit's maps, the fine one and the coarse one."""

    def __init__(self, width: int, labels: int) -> None:
        """Classify into `labels` from two maps of `width` channels."""
        super().__init__()
        self.classify = ClassificationHead(2 * width, labels)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Maps (N, width, H, W) of any sizes in, logits (N, labels) out."""
        logits: Tensor = self.classify(torch.cat([each.mean((2, 3), keepdim=True) for each in maps], 1))
        return logits


class FlatHead(nn.Sequential):
    """MTL-Split's classification head: every value of the features (N, C, H, W) counts, not their means."""

    def __init__(self, values: int, labels: int) -> None:
        """Classify `values` features into `labels`."""
        super().__init__(
            nn.Flatten(), nn.Linear(values, 256), nn.Dropout(0.1), nn.ReLU(inplace=True), nn.Linear(256, labels)
        )


USES_NECK = False
HEADS = {
    "pooled": lambda labels, features, width: ClassificationHead(features[0], labels),
    "flattened": lambda labels, features, width: FlatHead(math.prod(features), labels),
}


def target(task: Task, truths: Sequence[Truth]) -> Tensor:
    """Indices of N pictures' labels: int64 (N,); UNKNOWN without a label, or with one that the task does not have."""
    index = {label: number for number, label in enumerate(task.labels)}
    return torch.tensor([index.get(truth.classes.get(task.name, ""), UNKNOWN) for truth in truths])


def exit_head(task: Task, shapes: Mapping[str, Sequence[int]], maps: ExitMaps) -> nn.Module:
    """Classification from both maps, pooled."""
    return ExitHead(maps.width, len(task.labels))


def lesson(task: Task, answers: Mapping[str, npt.NDArray[Any]], maps: ExitMaps) -> Floats:
    """Return the probabilities: (labels,)."""
    return answers[task.name][0].astype(np.float32)


def imitated(task: Task, lessons: Sequence[Floats]) -> Tensor:
    """The suffix's probabilities for N pictures: (N, labels)."""
    return torch.from_numpy(np.stack(lessons))


def imitation(logits: Tensor, right: Tensor) -> Tensor:
    """Cross-entropy of logits (N, labels) against probabilities (N, labels)."""
    return functional.cross_entropy(logits, right)


def loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of logits (N, labels) against label indices (N,); UNKNOWN ones are left out."""
    known = labels != UNKNOWN
    return functional.cross_entropy(logits, labels, ignore_index=UNKNOWN, reduction="sum") / known.sum().clamp(min=1)


def calibrated(logits: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    """Logits of probabilities that are true."""
    return logits * scale + offset


def answers(name: str, logits: Tensor) -> dict[str, Tensor]:
    """Probabilities (N, labels)."""
    return {name: logits.softmax(-1)}
