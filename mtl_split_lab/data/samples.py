"""Training samples: labelled pictures as padded tensors for all tasks at once."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from mtl_split_camera.street import LEAST_VISIBLE
from mtl_split_core.errors import InputError
from mtl_split_core.geometry import PADDING_GREY, Letterbox
from mtl_split_core.label_map import scale as scale_numbers
from mtl_split_core.label_map import to_input
from mtl_split_core.scene import Floats, Image, Indices, LabelMap, Size, Task, Truth
from mtl_split_lab.data.pictures import LabelledPicture
from mtl_split_lab.kinds.overlaps import areas
from mtl_split_net.kinds import KINDS as NET_KINDS
from mtl_split_net.vision import transforms


@dataclass(frozen=True)
class Places(LabelMap):
    """A mask in memory: uint8 (rows, columns)."""

    numbers: Indices

    def indices(self) -> Indices:
        """Return the numbers."""
        return self.numbers


@dataclass(frozen=True)
class Sample:
    """One picture fitted to the network's input, uint8 (height, width, 3), and its truth in input pixels.

    damage: what is wrong with a picture that could not be read; it is plain grey, and nothing is known of it; imitated:
    see LabelledPicture.
    """

    image: Image
    truth: Truth
    damage: str | None = None
    imitated: bool = False


class Samples(Dataset[Sample]):
    """Labelled pictures, letterboxed to the input's size.

    With `augment`, they are mirrored and lit differently by chance. Where `window` is a size (width, height), only a
    part of the picture of that size is served, around one of its objects that has one of the `labels`; with `augment`,
    scaled by chance. Of the masks, those of the `tasks` are served.
    """

    def __init__(
        self,
        pictures: Sequence[LabelledPicture],
        input_size: Size,
        augment: bool = False,
        window: Size | None = None,
        labels: Collection[str] = (),
        tasks: Collection[str] = (),
    ) -> None:
        """Serve `pictures` for a network with inputs of `input_size`."""
        self._pictures = pictures
        self._input_size = input_size
        self._augment = augment
        self._window = window
        self._labels = labels
        self._tasks = tasks

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self._pictures)

    def __getitem__(self, index: int) -> Sample:
        """Read one picture."""
        picture = self._pictures[index]
        try:
            sample = self._read(picture)
        except InputError as error:
            width, height = self._window or self._input_size
            blank = np.full((height, width, 3), PADDING_GREY, np.uint8)
            return Sample(blank, Truth(labelled=frozenset()), str(error))
        if self._window is not None:
            sample = cut(sample, self._window, _random_scale() if self._augment else 1.0, self._labels)
        sample = _vary(sample) if self._augment else sample
        return replace(sample, imitated=picture.imitated)

    def _read(self, picture: LabelledPicture) -> Sample:
        image, truth = picture.read(), picture.truth
        letterbox = Letterbox((image.shape[1], image.shape[0]), self._input_size)
        masks = {task: _fit(mask, letterbox) for task, mask in truth.masks.items() if task in self._tasks}
        return Sample(letterbox.apply(image), replace(truth, boxes=letterbox.to_input(truth.boxes), masks=masks))


def _fit(mask: LabelMap, letterbox: Letterbox) -> Places:
    """Letterbox a mask. Raises InputError for one whose aspect is not the picture's."""
    numbers = mask.indices()
    (rows, columns), (width, height) = numbers.shape, letterbox.source
    if abs(rows * width - columns * height) > max(width, height):
        raise InputError(f"the mask has {columns}x{rows} places, expected the aspect of its picture, {width}x{height}")
    return Places(mask.labels, to_input(numbers, letterbox))


def _change(truth: Truth, change: Callable[[Indices], Indices]) -> dict[str, LabelMap]:
    """Return a truth's masks with their numbers changed."""
    return {task: Places(mask.labels, change(mask.indices())) for task, mask in truth.masks.items()}


_light = transforms.ColorJitter(brightness=0.25, contrast=0.25, saturation=0.3)


def _vary(sample: Sample) -> Sample:
    """Mirror a sample by chance, and change its light a little."""
    image, truth = sample.image, sample.truth
    if torch.rand(()) < 0.5:
        mirrored = truth.boxes.copy()
        mirrored[:, [0, 2]] = image.shape[1] - truth.boxes[:, [2, 0]]
        image = image[:, ::-1]
        truth = replace(truth, boxes=mirrored, masks=_change(truth, lambda numbers: numbers[:, ::-1]))
    if torch.rand(()) < 0.5:
        red_first = torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)  # as torchvision weighs the colours
        image = _light(red_first).permute(1, 2, 0).numpy()[..., ::-1]
    return Sample(np.ascontiguousarray(image), truth)


LARGEST_SCALE = 1.25
SMALLEST_SCALE = 0.65
LEAST_HEIGHT = 4.8
"""Objects reduced to fewer input pixels of height are to be ignored, as those of the simulated street are."""


def _random_scale() -> float:
    return float(SMALLEST_SCALE * (LARGEST_SCALE / SMALLEST_SCALE) ** torch.rand(()))


def cut(sample: Sample, size: Size, scale: float, labels: Collection[str]) -> Sample:
    """Cut a window of `size` out of a sample scaled by `scale`, at random around a random object of these `labels`.

    What is then mostly outside of it, or tiny, is to be ignored.
    """
    truth = sample.truth
    whole = np.array(sample.image.shape[1::-1])
    wanted = np.minimum(np.round(np.array(size) / scale), whole)
    chance = torch.rand(4).numpy()
    middle = whole / 2 if (found := _middle_of_one(truth, labels, chance[:2])) is None else found
    left, top = np.clip(middle - chance[2:] * wanted, 0, whole - wanted).astype(int)
    columns, rows = wanted.astype(int)
    window = np.array([left, top, left + columns, top + rows], np.float32)
    factors = np.tile(np.array(size, np.float32) / wanted.astype(np.float32), 2)
    boxes = np.clip(truth.boxes, np.tile(window[:2], 2), np.tile(window[2:], 2))
    inside = areas(boxes) / np.maximum(areas(truth.boxes), 1e-6)
    boxes = (boxes - np.tile(window[:2], 2)) * factors
    tiny = boxes[:, 3] - boxes[:, 1] < LEAST_HEIGHT
    kept = inside > 0
    cut = Truth(
        boxes[kept],
        tuple(label for label, keep in zip(truth.labels, kept, strict=True) if keep),
        truth.visible[kept],
        (truth.ignore | tiny | (inside * truth.visible < LEAST_VISIBLE))[kept],
        truth.classes,
        truth.labelled,
        masks=_change(truth, lambda numbers: scale_numbers(numbers[top : top + rows, left : left + columns], size)),
    )
    image = sample.image[top : top + rows, left : left + columns]
    if image.shape[1::-1] != size:
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    return Sample(np.ascontiguousarray(image), cut)


def _middle_of_one(truth: Truth, labels: Collection[str], chance: Floats) -> Floats | None:
    """The middle of a random object of a random label: rare ones are seen as often as common ones. None without any."""
    counted = [None if ignore else label for label, ignore in zip(truth.labels, truth.ignore, strict=True)]
    there = sorted(set(labels).intersection(counted))
    if not there:
        return None
    label = there[int(chance[0] * len(there))]
    boxes = truth.boxes[[other == label for other in counted]]
    box = boxes[int(chance[1] * len(boxes))]
    middle: Floats = (box[:2] + box[2:]) / 2
    return middle


@dataclass  # not frozen: Lightning moves batches to the processor's or the GPU's memory in place
class Batch:
    """N pictures, uint8 (N, height, width, 3), and by task its target, see mtl_split_net.kinds.

    imitated: bool (N,), see LabelledPicture; damage: what is wrong with the pictures that were left out.
    """

    images: Tensor
    targets: dict[str, Any]
    imitated: Tensor
    damage: tuple[str, ...] = ()


def collate(samples: Sequence[Sample], tasks: Sequence[Task]) -> Batch:
    """Make a batch of the samples without damage; where there is none, of grey ones that teach nothing.

    A class that a task has no label for is unknown to it.
    """
    sound = [sample for sample in samples if sample.damage is None] or samples
    images = torch.from_numpy(np.stack([sample.image for sample in sound]))
    truths = [sample.truth for sample in sound]
    damage = tuple(sample.damage for sample in samples if sample.damage is not None)
    targets = {task.name: NET_KINDS[task.kind].target(task, truths) for task in tasks}
    return Batch(images, targets, torch.tensor([sample.imitated for sample in sound]), damage)
