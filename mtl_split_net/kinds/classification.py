"""Classification of the whole picture in torch: the heads, the target, the loss, and what is exported."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from mtl_split_core.scene import Task, Truth

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
