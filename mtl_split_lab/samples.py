"""Training samples: labelled pictures as padded tensors for all tasks at once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from mtl_split_camera.street import LEAST_VISIBLE
from mtl_split_core.bundle import Task
from mtl_split_core.geometry import Letterbox
from mtl_split_core.scene import Floats, Image, Size, Truth
from mtl_split_lab.pictures import LabelledPicture
from mtl_split_net.losses import UNKNOWN, Objects


@dataclass(frozen=True)
class Sample:
    """One picture fitted to the network's input, uint8 (height, width, 3), and its truth in input pixels."""

    image: Image
    truth: Truth


class Samples(Dataset[Sample]):
    """Labelled pictures, letterboxed to the input's size; mirrored by chance where `augment` is set.

    Where `crop` is a size (width, height), only that much of the input around one of its objects is served.
    """

    def __init__(
        self, pictures: Sequence[LabelledPicture], input_size: Size, augment: bool = False, crop: Size | None = None
    ) -> None:
        """Serve `pictures` for a network with inputs of `input_size`."""
        self._pictures = pictures
        self._input_size = input_size
        self._augment = augment
        self._crop = crop

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self._pictures)

    def __getitem__(self, index: int) -> Sample:
        """Read one picture."""
        picture = self._pictures[index]
        image = picture.read()
        letterbox = Letterbox((image.shape[1], image.shape[0]), self._input_size)
        image, boxes = letterbox.apply(image), letterbox.to_input(picture.truth.boxes)
        if self._augment and torch.rand(()) < 0.5:
            image, boxes = _mirror(image, boxes)
        sample = Sample(image, replace(picture.truth, boxes=boxes))
        return sample if self._crop is None else _crop(sample, self._crop)


def _mirror(image: Image, boxes: Floats) -> tuple[Image, Floats]:
    width = image.shape[1]
    mirrored = boxes.copy()
    mirrored[:, [0, 2]] = width - boxes[:, [2, 0]]
    return np.ascontiguousarray(image[:, ::-1]), mirrored


def _crop(sample: Sample, size: Size) -> Sample:
    """Cut a window out of a sample, at random around a random object; what is mostly outside of it is to be ignored."""
    truth = sample.truth
    room = np.array(sample.image.shape[1::-1]) - size
    middles = (truth.boxes[:, :2] + truth.boxes[:, 2:]) / 2
    chance = torch.rand(3).numpy()
    middle = middles[int(chance[0] * len(middles))] if len(middles) else np.array(sample.image.shape[1::-1]) / 2
    left, top = np.clip(middle - chance[1:] * size, 0, room).astype(int)
    window = np.array([left, top, left + size[0], top + size[1]], np.float32)
    boxes = np.clip(truth.boxes, np.tile(window[:2], 2), np.tile(window[2:], 2))
    inside = _areas(boxes) / np.maximum(_areas(truth.boxes), 1e-6)
    kept = inside > 0
    cut = Truth(
        boxes[kept] - np.tile(window[:2], 2),
        tuple(label for label, keep in zip(truth.labels, kept, strict=True) if keep),
        truth.visible[kept],
        truth.ignore[kept] | (inside[kept] * truth.visible[kept] < LEAST_VISIBLE),
        truth.classes,
        truth.labelled,
    )
    return Sample(np.ascontiguousarray(sample.image[top : top + size[1], left : left + size[0]]), cut)


def _areas(boxes: Floats) -> Floats:
    areas: Floats = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return areas


@dataclass  # not frozen: Lightning moves batches to the processor's or the GPU's memory in place
class Batch:
    """N pictures, uint8 (N, height, width, 3), and per task its objects or its label indices (N,)."""

    images: Tensor
    targets: dict[str, Objects | Tensor]


def collate(samples: Sequence[Sample], tasks: Sequence[Task]) -> Batch:
    """Make a batch of samples."""
    images = torch.from_numpy(np.stack([sample.image for sample in samples]))
    truths = [sample.truth for sample in samples]
    return Batch(images, {task.name: _targets(task, truths) for task in tasks})


def _targets(task: Task, truths: Sequence[Truth]) -> Objects | Tensor:
    if task.kind == "classification":
        indices = [task.labels.index(t.classes[task.name]) if task.name in t.classes else UNKNOWN for t in truths]
        return torch.tensor(indices)
    known = [[label in task.labels for label in truth.labels] for truth in truths]
    most = max(1, *(sum(flags) for flags in known))
    shape = (len(truths), most)
    padded: dict[str, Any] = {
        "boxes": np.zeros((*shape, 4), np.float32),
        "labels": np.zeros(shape, np.int64),
        "present": np.zeros(shape, np.bool_),
        "ignore": np.zeros(shape, np.bool_),
        "labelled": np.ones((len(truths), len(task.labels)), np.bool_),
    }
    for row, (truth, flags) in enumerate(zip(truths, known, strict=True)):
        count = sum(flags)
        padded["boxes"][row, :count] = truth.boxes[flags]
        padded["labels"][row, :count] = [task.labels.index(label) for label in truth.labels if label in task.labels]
        padded["present"][row, :count] = True
        padded["ignore"][row, :count] = truth.ignore[flags]
        if truth.labelled is not None:
            padded["labelled"][row] = [label in truth.labelled for label in task.labels]
    return Objects(**{name: torch.from_numpy(values) for name, values in padded.items()})
