"""Detectors that others trained: what their raw outputs mean, as boxes and scores."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from mtl_split_core.errors import InputError
from mtl_split_net.kinds.detection import Candidates

KIND = "detection"
"""The kind of task that these detectors answer."""


class RawOutputs(NamedTuple):
    """A detector's outputs, in the order of its graph, for pictures of `size` (height, width)."""

    outputs: Sequence[Tensor]
    size: tuple[int, int]


Decode = Callable[[Sequence[Tensor], tuple[int, int]], Candidates]
"""Decodes a detector's outputs, in the order of its graph, for an input of (height, width) pixels."""

COCO_LABELS = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
"""The 80 labels of COCO's detection task, in the usual order."""
UNLIKELY = -4.6
"""The logit of 1 %: where a label that the detector does not have begins."""
LEAST_PROBABILITY = 1e-6
FREE_STRIDE = 16.0
"""Input pixels around an object's middle in which a candidate of no grid may learn it."""


def decode_yolox(outputs: Sequence[Tensor], size: tuple[int, int]) -> Candidates:
    """One output (N, P, 5 + labels): x, y, w, h raw, objectness and scores after the sigmoid (YOLOX, Ge et al. 2021).

    The points are the cells at the strides 8, 16 and 32, finest first; a score is objectness times the label's.
    """
    (raw,) = outputs
    corners, strides = _cells(size, (8, 16, 32), raw)
    centre = (raw[..., :2] + corners) * strides[:, None]
    half = raw[..., 2:4].exp() * (strides[:, None] / 2)
    scores = raw[..., 4:5] * raw[..., 5:]
    return Candidates(
        torch.cat([centre - half, centre + half], -1),
        _logit(scores),
        (corners + 0.5) * strides[:, None],
        strides,
    )


def decode_nanodet_plus(outputs: Sequence[Tensor], size: tuple[int, int]) -> Candidates:
    """One output (N, P, labels + 4 x 8): logits, and a distribution over 8 bins for each side of the box.

    The points are the cells' upper left corners at the strides 8, 16, 32 and 64; the distance to a side is the
    distribution's mean times the stride (generalised focal loss, Li et al. 2020).
    """
    (raw,) = outputs
    corners, strides = _cells(size, (8, 16, 32, 64), raw)
    bins = raw[..., -32:].unflatten(-1, (4, 8)).softmax(-1)
    distances = (bins * torch.arange(8, device=raw.device, dtype=raw.dtype)).sum(-1) * strides[:, None]
    points = corners * strides[:, None]
    boxes = torch.cat([points - distances[..., :2], points + distances[..., 2:]], -1)
    return Candidates(boxes, raw[..., :-32], points, strides)


def decode_boxes(outputs: Sequence[Tensor], size: tuple[int, int]) -> Candidates:
    """Boxes in input pixels and scores as they are.

    Either two outputs, (N, P, 4) x1, y1, x2, y2 and (N, P, labels) scores, 0 to 1, or one, (N, 4 + labels, P), of
    centre x, centre y, width, height and the scores, as YOLOv8 and its successors have it.
    """
    if len(outputs) == 2:
        boxes, scores = outputs
    else:
        columns = outputs[0].transpose(1, 2)
        boxes, scores = _corners(columns[..., :4]), columns[..., 4:]
    # What is no probability becomes NaN, which `check` refuses.
    return _free(boxes, torch.where((scores < -0.01) | (scores > 1.01), torch.nan, _logit(scores)))


def decode_detr(outputs: Sequence[Tensor], size: tuple[int, int]) -> Candidates:
    """Logits (N, P, labels) and normalised boxes (N, P, 4), centre x, centre y, width, height in parts of the input.

    The scores are the logits' sigmoids, as in Deformable DETR (Zhu et al. 2021) and RT-DETR.
    """
    logits, boxes = outputs
    height, width = size
    return _free(_corners(boxes * boxes.new_tensor([width, height, width, height])), logits)


DETECTORS: Mapping[str, Decode] = {
    "yolox": decode_yolox,
    "nanodet-plus": decode_nanodet_plus,
    "boxes": decode_boxes,
    "detr": decode_detr,
}


UNSUPPRESSED = ("detr",)
"""Those that propose no object twice."""


def find_detector(name: str) -> Decode:
    """Return one of DETECTORS, or a function `package.module:function` of the user's. Raises InputError for neither."""
    if name in DETECTORS:
        return DETECTORS[name]
    try:
        return cast(Decode, find_function(name))
    except InputError as error:
        raise InputError(f"detector is {name!r}, expected one of {', '.join(DETECTORS)}, or {error}") from error


def find_function(name: str) -> Callable[..., Any]:
    """Return a user's function by its name, `package.module:function`. Raises InputError where there is none."""
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise InputError(f"package.module:function ({error})") from error
    if not callable(found):
        raise InputError(f"package.module:function ({name} is no function)")
    return cast(Callable[..., Any], found)


class ImportedDetection(nn.Module):
    """The decoding of a detector that others trained, with their labels as the task's.

    The logit of one of the task's labels is the highest of theirs that are renamed to it, and a linear correction of
    all of theirs, which begins as nothing and is learned.
    """

    sources: Tensor
    known: Tensor

    def __init__(self, decode: Decode, theirs: Sequence[str], ours: Sequence[str], rename: Mapping[str, str]) -> None:
        """Decode a detector with the labels `theirs` for a task with the labels `ours`; `rename` is ours by theirs.

        Raises InputError where a renamed label is not theirs, and where none of ours is.
        """
        super().__init__()
        if unknown := sorted(rename.keys() - set(theirs)):
            raise InputError(f"rename has {unknown}, expected labels of the detector: {', '.join(theirs)}")
        self.decode = decode
        sources = [[at for at, label in enumerate(theirs) if rename.get(label, label) == our] for our in ours]
        if not any(sources):
            raise InputError(f"it has none of the labels {', '.join(ours)}: rename its own, {', '.join(theirs)}")
        most = max(map(len, sources))
        # Where there are fewer, one is there several times, which does not change the highest.
        padded = [(found or [0]) + (found or [0])[:1] * (most - max(1, len(found))) for found in sources]
        self.register_buffer("sources", torch.tensor(padded), persistent=False)
        self.register_buffer("known", torch.tensor([float(bool(found)) for found in sources]), persistent=False)
        self.correction = nn.Linear(len(theirs), len(ours))
        nn.init.zeros_(self.correction.weight)
        self.correction.bias = nn.Parameter(UNLIKELY * (1 - self.known))

    def check(self, raw: RawOutputs) -> None:
        """Raise InputError where outputs are not what is decoded here: in number, in shape, or in their labels."""
        shapes = ", ".join(str(tuple(output.shape)) for output in raw.outputs)
        try:
            theirs = self.decode(raw.outputs, raw.size)
            pictures, points, labels = theirs.logits.shape
        except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
            raise InputError(
                f"the network's outputs of the shapes {shapes} are not those of such a detector: {str(error)[:200]}"
            ) from error
        if labels != self.correction.in_features or theirs.boxes.shape != (pictures, points, 4):
            raise InputError(
                f"the network's outputs of the shapes {shapes} are {points} points with {labels} labels, "
                f"the recipe's network names {self.correction.in_features} labels"
            )
        if not (theirs.boxes.isfinite().all() and theirs.logits.isfinite().all()):
            raise InputError(
                f"the network's outputs of the shapes {shapes} give infinite boxes or scores: "
                "they are of another kind of detector, or the file decodes them itself"
            )

    def forward(self, raw: RawOutputs) -> Candidates:
        """The detector's outputs in, candidates out."""
        theirs = self.decode(raw.outputs, raw.size)
        known = theirs.logits.index_select(-1, self.sources.flatten()).unflatten(-1, self.sources.shape).amax(-1)
        logits = self.known * known + self.correction(theirs.logits)
        return Candidates(theirs.boxes, logits, theirs.centres, theirs.strides)


def _cells(size: tuple[int, int], strides: Sequence[int], like: Tensor) -> tuple[Tensor, Tensor]:
    """All cells' columns and rows (P, 2), and their strides (P,), the finest map first, row by row."""
    corners, all_strides = [], []
    for stride in strides:
        y, x = torch.meshgrid(torch.arange(-(-size[0] // stride)), torch.arange(-(-size[1] // stride)), indexing="ij")
        corners.append(torch.stack([x, y], -1).reshape(-1, 2))
        all_strides.append(torch.full((len(corners[-1]),), stride))
    return torch.cat(corners).to(like), torch.cat(all_strides).to(like)


def _logit(scores: Tensor) -> Tensor:
    """Finite logits of probabilities, 0 to 1; NaN for what is more, which `ImportedDetection.check` refuses."""
    return scores.clamp(min=LEAST_PROBABILITY).log() - torch.log1p(-scores * (1 - LEAST_PROBABILITY))


def _corners(boxes: Tensor) -> Tensor:
    """Boxes (..., 4) of centre x, centre y, width, height as x1, y1, x2, y2."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([centre - half, centre + half], -1)


def _free(boxes: Tensor, logits: Tensor) -> Candidates:
    """Candidates of no grid: each is where the middle of its own box is."""
    middles = ((boxes[..., :2] + boxes[..., 2:]) / 2).detach()
    return Candidates(boxes, logits, middles, boxes.new_full(boxes.shape[1:2], FREE_STRIDE))
