"""The whole multi-task network, made of the two halves that are exported: the edge's prefix, the server's suffix."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, fx, nn

from mtl_split_core.errors import InputError
from mtl_split_core.payload import Shape
from mtl_split_core.scene import Size
from mtl_split_net.backbones import Backbone
from mtl_split_net.bottleneck import Decoder, Encoder
from mtl_split_net.detectors import KIND, Decode, ImportedDetection, RawOutputs
from mtl_split_net.imported import ImportedNetwork, deepest, outputs_of, returning
from mtl_split_net.kinds import KINDS
from mtl_split_net.neck import STRIDES, Neck
from mtl_split_net.rate import RateModel
from mtl_split_net.tasks import LearnedTask

Outputs = dict[str, Any]
"""Every task's output by the task's name, as the heads of its kind return it: see mtl_split_net.kinds."""


@dataclass(frozen=True)
class Pixels:
    """What a network expects of its input: the order of the colours, and the statistics it is normalised by.

    mean, deviation: of the values 0 to 255, in that order.
    """

    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    deviation: tuple[float, float, float] = (1.0, 1.0, 1.0)
    red_first: bool = False


IMAGENET = Pixels((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), red_first=True)
"""torchvision's checkpoints expect inputs normalised like that."""


@dataclass(frozen=True)
class Features:
    """What the heads go on with, for N pictures.

    deepest: (N, C, H', W'); maps: (N, width, H/s, W/s) of a neck for s in STRIDES; raw: the outputs of a detector that
    others trained.
    """

    deepest: Tensor
    maps: list[Tensor] = field(default_factory=list)
    raw: RawOutputs | None = None


@dataclass(frozen=True)
class Head:
    """A task's head, and which of Features it takes."""

    takes: str
    module: nn.Module


@dataclass(frozen=True)
class CutNetwork:
    """A network in two at its cut, still without a bottleneck.

    before: normalised pictures (N, 3, H, W) to the features at the cut, of the shape `features` for whole inputs;
    body: those and the pictures' (height, width) to Features; heads: one per task, in the same order.
    """

    pixels: Pixels
    before: nn.Module
    features: Shape
    body: nn.Module
    heads: Sequence[Head]


def to_planes(images: Tensor) -> Tensor:
    """Pictures, uint8 (N, height, width, 3), as float32 (N, 3, height, width)."""
    # Torch exports pooling of values in another order than their shape's in a roundabout way.
    return images.permute(0, 3, 1, 2).contiguous().float()


class Prefix(nn.Module):
    """The edge's half: pictures to latents."""

    mean: Tensor
    scale: Tensor

    def __init__(self, stages: nn.Module, encoder: nn.Module, pixels: Pixels = IMAGENET) -> None:
        """Chain the stages before the cut and the bottleneck's encoder."""
        super().__init__()
        self.stages = stages
        self.encoder = encoder
        self.pixels = pixels
        self.register_buffer("mean", torch.tensor(pixels.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("scale", 1 / torch.tensor(pixels.deviation).view(3, 1, 1), persistent=False)

    def features(self, images: Tensor) -> Tensor:
        """Pictures, uint8 (N, height, width, 3) blue-green-red, in; features at the cut (N, C, height', width') out."""
        # Reordering bytes before they become floats takes half of the time.
        planes = to_planes(images.flip(3) if self.pixels.red_first else images)
        if self.pixels != Pixels(red_first=self.pixels.red_first):
            planes = (planes - self.mean) * self.scale
        features: Tensor = self.stages(planes)
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Pictures as for `features` in; latents (N, channels, height', width') out."""
        latents: Tensor = self.encoder(self.features(images))
        return latents


class Suffix(nn.Module):
    """The server's half: latents to every task's outputs."""

    def __init__(
        self, decoder: nn.Module, body: nn.Module, tasks: Sequence[LearnedTask], heads: Sequence[Head],
        input_size: Size, latent_shape: Shape,
    ) -> None:  # fmt: skip
        """Chain the bottleneck's decoder, what is behind the cut, and a head per task.

        Whole pictures of `input_size` have latents of `latent_shape`.
        """
        super().__init__()
        self.decoder = decoder
        self.body = body
        self.tasks = tuple(tasks)
        self._size = input_size[1], input_size[0]
        self._places = latent_shape[1:]
        self._takes = [head.takes for head in heads]
        named = {_head_key(task.name): head.module for task, head in zip(tasks, heads, strict=True)}
        self.heads = nn.ModuleDict(named)

    def head(self, task: str) -> nn.Module:
        """Return the head of the task of this name."""
        return self.heads[_head_key(task)]

    def forward(self, latents: Tensor) -> Outputs:
        """Latents (N, channels, height', width') in, every task's raw outputs out."""
        sides = zip(latents.shape[2:], self._size, self._places, strict=True)
        # Of a window, whose latents are fewer, in proportion.
        height, width = (here * whole // places for here, whole, places in sides)
        features = self.body(self.decoder(latents), (height, width))
        return {
            task.name: head(getattr(features, takes))
            for task, head, takes in zip(self.tasks, self.heads.values(), self._takes, strict=True)
        }


def _head_key(task: str) -> str:
    # A module cannot be called as one of torch's own attributes, "type" for instance, but a task can.
    return f"{task}_head"


class MultiTaskNetwork(nn.Module):
    """One network shared by several tasks, with a bottleneck at its cut and a head per task.

    After MTL-Split (Capogrosso et al. 2024), which cuts at the end of the backbone and has no bottleneck.
    """

    def __init__(
        self,
        network: CutNetwork,
        tasks: Sequence[LearnedTask],
        input_size: Size,
        channels: int | None,
        reduction: int = 1,
        sizes: Sequence[int] = (),
        bottleneck_width: int | None = None,
    ) -> None:
        """Insert a bottleneck with random weights into a network.

        `channels` is the bottleneck's number of channels (None: the features cross as they are), `reduction` how many
        times coarser than the features its resolution is, `sizes` the bytes that a picture is to take at each operating
        point, the fewest first (none: pictures cannot be sent compressed), `bottleneck_width` the encoder's number of
        channels (None: four times the features'). Raises InputError for features that `reduction` does not divide.
        """
        super().__init__()
        self.tasks = tuple(tasks)
        features, height, width = network.features
        if height % reduction or width % reduction:
            raise InputError(
                f"bottleneck_reduction {reduction} does not divide the {width}x{height} features at the cut; "
                f"use 1 or another cut"
            )
        self.latent_shape: Shape = (channels or features, height // reduction, width // reduction)
        encoder = nn.Identity() if channels is None else Encoder(features, channels, reduction, bottleneck_width)
        decoder = nn.Identity() if channels is None else Decoder(channels, features, reduction)
        self.prefix = Prefix(network.before, encoder, network.pixels)
        latents, rows, columns = self.latent_shape
        self.suffix = Suffix(decoder, network.body, tasks, network.heads, input_size, self.latent_shape)
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


class PyramidBody(nn.Module):
    """Stages of a backbone behind the cut, and a neck over their scales."""

    def __init__(self, stages: nn.ModuleList, neck: Neck | None) -> None:
        """Chain groups of stages, each ending with a scale that the neck takes, and the last with the backbone."""
        super().__init__()
        self.stages = stages
        self.neck = neck

    def forward(self, restored: Tensor, size: tuple[int, int]) -> Features:
        """Features at the cut (N, C, H', W') in."""
        features = [restored]
        for stage in self.stages:
            features.append(stage(features[-1]))
        return Features(features[-1], [] if self.neck is None else self.neck(features[1:]))


def cut_backbone(
    backbone: Backbone, cut: str, tasks: Sequence[LearnedTask], input_size: Size, width: int = 96
) -> CutNetwork:
    """Cut a backbone, and add a neck of `width` channels and heads with random weights.

    Raises InputError for an unknown cut, and for an input size, width and height in pixels, that the strides do not
    divide.
    """
    before, after = backbone.split(cut)
    shapes = backbone.shapes(input_size)
    needs_neck = any(KINDS[task.kind].USES_NECK for task in tasks)
    ends = _scales(shapes[len(before) - 1 :], input_size) if needs_neck else [len(after)]
    groups = nn.ModuleList(after[start:end] for start, end in pairwise([0, *ends]))
    neck = Neck([shapes[len(before) - 1 + end][0] for end in ends], width) if needs_neck else None
    heads = [
        Head("maps" if KINDS[task.kind].USES_NECK else "deepest", _head(task, shapes[-1], width)) for task in tasks
    ]
    return CutNetwork(IMAGENET, before, shapes[len(before) - 1], PyramidBody(groups, neck), heads)


class ImportedBody(nn.Module):
    """What is behind the cut of a network that others trained."""

    def __init__(self, after: fx.GraphModule) -> None:
        """Go on with `after`, whose outputs are the detector's."""
        super().__init__()
        self.graph = returning(after, [*(node.name for node in outputs_of(after)), deepest(after).name])

    def forward(self, restored: Tensor, size: tuple[int, int]) -> Features:
        """Features at the cut (N, C, H', W') in."""
        *outputs, deep = self.graph(restored)
        return Features(deep, raw=RawOutputs(tuple(outputs), size))


def cut_imported(
    network: ImportedNetwork,
    decode: Decode,
    labels: Sequence[str],
    rename: Mapping[str, str],
    tasks: Sequence[LearnedTask],
    input_size: Size,
    pixels: Pixels = Pixels(),
) -> CutNetwork:
    """Keep a detector that others trained, and add heads for further tasks with random weights.

    `decode` says what its outputs mean, `labels` are its own, and `rename` says which of the task's they are. Raises
    InputError where not exactly one task is of the kind that the detector answers, and where its outputs or labels do
    not fit.
    """
    body = ImportedBody(network.after)
    shape = deepest(network.after).meta["tensor_meta"].shape
    for task in tasks:
        if task.kind != KIND and KINDS[task.kind].USES_NECK:
            raise InputError(f"the task {task.name} is of kind {task.kind}, which an imported network has no head for")
    heads = [
        Head("raw", ImportedDetection(decode, labels, task.labels, rename))
        if task.kind == KIND
        else Head("deepest", _head(task, (shape[1], shape[2], shape[3]), 0))
        for task in tasks
    ]
    for task in tasks:
        if task.kind == KIND and (lost := sorted(set(rename.values()) - set(task.labels))):
            raise InputError(f"rename gives {lost}, expected labels of the task {task.name}: {', '.join(task.labels)}")
    if (found := sum(head.takes == "raw" for head in heads)) != 1:
        raise InputError(f"there are {found} tasks of kind {KIND}, expected the one that the imported network answers")
    with torch.no_grad():
        features = body(network.features[None], (input_size[1], input_size[0]))
        for head in heads:
            if isinstance(head.module, ImportedDetection):
                head.module.check(features.raw)
    channels, height, width = network.features.shape
    return CutNetwork(pixels, network.before, (channels, height, width), body, heads)


def _scales(shapes: Sequence[Shape], input_size: Size) -> list[int]:
    """Which of the stages' outputs, from the cut on, the neck takes: the last of each scale that is there."""
    columns, rows = input_size
    if columns % STRIDES[-1] or rows % STRIDES[-1]:
        raise InputError(f"the neck needs an input of multiples of {STRIDES[-1]} pixels, got {columns} x {rows}")
    strides = [rows // height for _, height, _ in shapes]
    return [max(at for at, there in enumerate(strides) if there == stride) for stride in STRIDES if stride in strides]


def _head(task: LearnedTask, features: Shape, width: int) -> nn.Module:
    return KINDS[task.kind].HEADS[task.head](len(task.labels), features, width)
