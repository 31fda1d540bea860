"""Detection in torch: the head, the true objects as a target, the loss, and what is exported."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mtl_split_core.scene import Task, Truth
from mtl_split_net.bottleneck import separable
from mtl_split_net.neck import STRIDES
from mtl_split_net.vision import ops

BEST_POINTS = 10
"""How many points learn each object."""
TINY_OFFSET = 6.0
"""Input pixels that a box may be off by before its likeness falls to 1 / e, unless it still overlaps more than that."""
BOX_WEIGHT = 10.0
"""Weight of the box loss beside the score loss."""


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


USES_NECK = True
HEADS = {"anchor-free": lambda labels, features, width: DetectionHead(width, labels)}


@dataclass
class Objects:
    """The true objects of N pictures, padded to M.

    boxes: (N, M, 4) x1, y1, x2, y2 in input pixels; labels: (N, M) indices; present: bool (N, M), false in the padding;
    ignore: bool (N, M); labelled: bool (N, labels), false for labels whose objects need not all have a box.
    """

    boxes: Tensor
    labels: Tensor
    present: Tensor
    ignore: Tensor
    labelled: Tensor


def target(task: Task, truths: Sequence[Truth]) -> Objects:
    """Pad the objects of N pictures that have one of the task's labels; their boxes are in input pixels."""
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


def loss(candidates: Candidates, objects: Objects) -> Tensor:
    """The score loss and the weighted box loss, see loss_parts, added up."""
    parts = loss_parts(candidates, objects)
    return parts["score"] + BOX_WEIGHT * parts["box"]


def calibrated(candidates: Candidates, scale: Tensor, offset: Tensor) -> Candidates:
    """Candidates with true scores."""
    return replace(candidates, logits=candidates.logits * scale + offset)


def answers(name: str, candidates: Candidates) -> dict[str, Tensor]:
    """Boxes (N, P, 4) in input pixels, and scores (N, P, labels), 0 to 1."""
    return {f"{name}.boxes": candidates.boxes, f"{name}.scores": candidates.logits.sigmoid()}


def pairwise_overlap(one: Tensor, other: Tensor) -> Tensor:
    """Intersection over union of boxes (..., A, 4) and (..., B, 4): (..., A, B)."""
    top_left = torch.maximum(one[..., :, None, :2], other[..., None, :, :2])
    bottom_right = torch.minimum(one[..., :, None, 2:], other[..., None, :, 2:])
    intersection = (bottom_right - top_left).clamp(min=0).prod(-1)
    areas = [(boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1) for boxes in (one, other)]
    return intersection / (areas[0][..., :, None] + areas[1][..., None, :] - intersection).clamp(min=1e-6)


def pairwise_likeness(one: Tensor, other: Tensor) -> Tensor:
    """How alike boxes (..., A, 4) and (..., B, 4) are, 0 to 1: (..., A, B).

    That is their overlap, or, where it is more, the normalised Wasserstein distance of the Gaussians that they stand
    for (Wang et al. 2021): of thin and tiny boxes a pixel's offset takes nearly all overlap, but little of that.
    """
    ours, others = (
        torch.cat([boxes[..., :2] + boxes[..., 2:], boxes[..., 2:] - boxes[..., :2]], -1) / 2 for boxes in (one, other)
    )
    # By way of a product of matrices, which is the default, distances of a pixel drown in rounding.
    distance = torch.cdist(ours, others, compute_mode="donot_use_mm_for_euclid_dist")
    return torch.maximum(pairwise_overlap(one, other), torch.exp(-distance / TINY_OFFSET))


@torch.no_grad()
def assign(candidates: Candidates, objects: Objects) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Choose which points learn which object: task-aligned assignment (TOOD, Feng et al. 2021).

    Points inside an object's box, or within a cell of its middle, compete by score^0.5 * likeness^6; the best few learn
    the object. Returns, for N pictures and P points, the object's index (N, P), whether the point learns any (N, P),
    how well it competes (N, P), 1 for the object's best point, and the score that it is to learn (N, P): that, times
    the likeness of the object's best point.
    """
    boxes = objects.boxes
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    points = candidates.points[:, None]
    inside = ((points > boxes[:, :, None, :2]) & (points < boxes[:, :, None, 2:])).all(-1)
    near = ((points - middle[:, :, None]).abs() <= candidates.strides[:, None]).all(-1)
    eligible = (inside | near) & (objects.present & ~objects.ignore)[..., None]
    scores = candidates.logits.sigmoid().transpose(1, 2)
    scores = scores.gather(1, objects.labels[..., None].expand(-1, -1, points.shape[2]))
    likeness = pairwise_likeness(boxes, candidates.boxes)
    alignment = (scores.sqrt() * likeness.pow(6) + 1e-9) * eligible
    best_points = alignment.topk(BEST_POINTS, dim=-1).indices
    chosen = eligible & torch.zeros_like(eligible).scatter(-1, best_points, True)
    # A point wanted by several objects learns the one that its box is most like.
    best = torch.where(chosen, likeness, -1.0).max(dim=1)
    wanted = chosen.any(dim=1)
    kept = chosen & (best.indices[:, None] == torch.arange(boxes.shape[1], device=boxes.device)[:, None])
    highest_alignment = torch.where(kept, alignment, 0.0).amax(-1, keepdim=True).clamp(min=1e-12)
    highest_likeness = torch.where(kept, likeness, 0.0).amax(-1, keepdim=True)
    share = torch.where(kept, alignment / highest_alignment, 0.0)
    return best.indices, wanted, share.amax(1), (share * highest_likeness).amax(1)


def loss_parts(candidates: Candidates, objects: Objects) -> dict[str, Tensor]:
    """The two parts of the loss: score (binary cross-entropy) and box (complete IoU loss, Zheng et al. 2020).

    Labels that a picture does not label, and points in an ignored object that learn no other, are left out. Every
    object has the same say in the box loss: weighted by overlap, as in TOOD, small ones hardly learn at all.
    """
    index, wanted, share, score = assign(candidates, objects)
    labels = objects.labels.gather(1, index)
    targets = functional.one_hot(labels, candidates.logits.shape[-1]) * (score * wanted)[..., None]
    total = score.sum().clamp(min=1.0)
    losses = functional.binary_cross_entropy_with_logits(candidates.logits, targets, reduction="none")
    counted = objects.labelled[:, None] & (wanted | ~_inside_ignored(candidates, objects))[..., None]
    score_loss = (losses * counted).sum() / total
    true_boxes = objects.boxes.gather(1, index[..., None].expand(-1, -1, 4))
    box_losses = ops.complete_box_iou_loss(candidates.boxes[wanted], true_boxes[wanted])
    return {"score": score_loss, "box": (box_losses * share[wanted]).sum() / share.sum().clamp(min=1.0)}


def _inside_ignored(candidates: Candidates, objects: Objects) -> Tensor:
    points = candidates.points[:, None]
    reach = candidates.strides[:, None] / 2
    boxes = objects.boxes[:, :, None]
    inside = ((points > boxes[..., :2] - reach) & (points < boxes[..., 2:] + reach)).all(-1)
    return (inside & (objects.present & objects.ignore)[..., None]).any(1)
