"""Detection in torch: the head, the true objects as a target, the loss, and what is exported."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from mtl_split_core.scene import Floats, Task, Truth
from mtl_split_net.bottleneck import separable
from mtl_split_net.exit_maps import OWN_LEVELS, ExitMaps
from mtl_split_net.neck import STRIDES
from mtl_split_net.vision import ops

BEST_POINTS = 10
"""How many points learn each object."""
TINY_OFFSET = 6.0
"""Input pixels that a box may be off by before its likeness falls to 1 / e, unless it still overlaps more than that."""
BOX_WEIGHT = 10.0
"""Weight of the box loss beside the score loss."""
IMITATED_SCORE_WEIGHT, IMITATED_BOX_WEIGHT = 4.0, 2.0
"""Weights of the losses of imitating another network."""
EXIT_BOX_WEIGHT = 3.0
"""Weight of the box loss beside the score loss in an exit, which begins with random weights."""
FOCUS = 1.0
"""Exponent of the difference between two scores that weights their loss (generalised focal loss, Li et al. 2020)."""
LEAST_SCORE = 0.05
"""Boxes of points that the imitated network gives a lower score teach nothing."""
LEAST_TAUGHT = 0.01
"""Nor do lower scores than that."""
LEAST_PROBABILITY = 1e-6
CELLS_PER_BOX = 2
"""From so many of its cells on, in width and height, a box of no grid belongs to a level."""
BACKGROUND = -math.log(99)
"""Where scores' logits begin, for nearly all cells are background (focal loss, Lin et al. 2017)."""


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
                nn.init.constant_(parameter, BACKGROUND)

    def forward(self, maps: list[Tensor]) -> Candidates:
        """Maps (N, width, H/s, W/s) for s in STRIDES in, candidates for all their cells out."""
        scores = [
            head(tower(features)) for head, tower, features in zip(self.scores, self.score_tower, maps, strict=True)
        ]
        boxes = [head(tower(features)) for head, tower, features in zip(self.boxes, self.box_tower, maps, strict=True)]
        return propose(scores, boxes, STRIDES)


class ExitHead(nn.Module):
    """The same from one convolution for each level of cells, from whichever of an exit's maps is nearer."""

    def __init__(self, labels: int, maps: ExitMaps, levels: Sequence[int]) -> None:
        """Detect `labels` kinds of objects in the cells of these levels."""
        super().__init__()
        self._parts = labels, 4
        self._strides = [maps.stride(level) for level in levels]
        self._coarse = [level > 0 for level in levels]
        self.levels = nn.ModuleList(self._level(maps.width, level) for level in levels)

    def _level(self, width: int, level: int) -> nn.Module:
        finer, coarser = 2 ** max(0, -level), 2 ** max(0, level - 1)
        project = nn.Conv2d(width, finer**2 * sum(self._parts), 1)
        with torch.no_grad():
            project.bias.unflatten(0, (-1, finer**2))[: self._parts[0]] = BACKGROUND  # type: ignore[union-attr]
        before = nn.AvgPool2d(coarser, ceil_mode=True) if coarser > 1 else nn.Identity()
        return nn.Sequential(before, project, nn.PixelShuffle(finer) if finer > 1 else nn.Identity())

    def forward(self, maps: list[Tensor]) -> Candidates:
        """The fine map (N, width, R, S) and the coarse one in, candidates for the cells of all levels out."""
        found = [level(maps[coarse]) for level, coarse in zip(self.levels, self._coarse, strict=True)]
        scores, boxes = zip(*(each.split(self._parts, 1) for each in found), strict=True)
        return propose(scores, boxes, self._strides)


def propose(scores: Sequence[Tensor], boxes: Sequence[Tensor], strides: Sequence[float]) -> Candidates:
    """Return the candidates of several maps: scores (N, labels, R, S), boxes (N, 4, R, S), and pixels per cell.

    A box is the offset of its middle from the cell's, and the logarithm of its size, both in cells.
    """
    corners, logits, centres, all_strides = [], [], [], []
    for score, box, stride in zip(scores, boxes, strides, strict=True):
        height, width = score.shape[2:]
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        centre = ((torch.stack([x, y], -1).reshape(-1, 2) + 0.5) * stride).to(score)
        logits.append(score.flatten(2).transpose(1, 2))
        offset, size = box.flatten(2).transpose(1, 2).split(2, dim=-1)
        middle = centre + offset * stride
        half = size.clamp(max=math.log(64)).exp() * (stride / 2)
        corners.append(torch.cat([middle - half, middle + half], dim=-1))
        centres.append(centre)
        all_strides.append(centre.new_full((height * width,), stride))
    return Candidates(torch.cat(corners, 1), torch.cat(logits, 1), torch.cat(centres), torch.cat(all_strides))


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


def exit_head(task: Task, shapes: Mapping[str, Sequence[int]], maps: ExitMaps) -> nn.Module:
    """A box and scores for every point of the suffix, or for cells of its own where these are no grid."""
    points = shapes[f"{task.name}.boxes"][1]
    return ExitHead(len(task.labels), maps, maps.find_levels(points) or OWN_LEVELS)


@dataclass(frozen=True)
class Lesson:
    """What the suffix answers in one picture, but for points that it gives no score worth learning.

    points: int32 (K,), indices among `count`; boxes: float32 (K, 4); scores: float16 (K, labels).
    """

    count: int
    points: npt.NDArray[np.int32]
    boxes: Floats
    scores: npt.NDArray[np.float16]


def lesson(task: Task, answers: Mapping[str, npt.NDArray[Any]], maps: ExitMaps) -> Lesson:
    """Keep the candidates with a score; those on no grid go to the cells that their boxes' middles are in."""
    boxes, scores = (answers[f"{task.name}.{part}"][0] for part in ("boxes", "scores"))
    kept = np.flatnonzero(scores.max(-1) >= LEAST_TAUGHT)
    if maps.find_levels(len(boxes)):
        return Lesson(len(boxes), kept.astype(np.int32), boxes[kept], scores[kept].astype(np.float16))
    kept = kept[np.argsort(-scores[kept].max(-1), kind="stable")]
    cells, count = _cells(boxes[kept], maps)
    points, first = np.unique(cells, return_index=True)  # the best of each cell
    return Lesson(count, points.astype(np.int32), boxes[kept[first]], scores[kept[first]].astype(np.float16))


def _cells(boxes: Floats, maps: ExitMaps) -> tuple[npt.NDArray[np.int64], int]:
    """Which cell of OWN_LEVELS each box belongs to: of the level next to its size, the one around its middle.

    Returns their indices, and how many cells there are.
    """
    strides = np.array([maps.stride(level) for level in OWN_LEVELS])
    grids = np.array([maps.grids[level] for level in OWN_LEVELS])
    starts = np.cumsum([0, *grids.prod(1)])
    sides = np.sqrt((boxes[:, 2:] - boxes[:, :2]).clip(min=0).prod(1))
    own = np.searchsorted(CELLS_PER_BOX * strides[1:], sides)
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    columns, rows = np.clip(middles // strides[own, None], 0, grids[own, ::-1] - 1).astype(int).T
    return starts[own] + rows * grids[own, 1] + columns, int(starts[-1])


@dataclass
class Answered:
    """The suffix's candidates for N pictures: boxes (N, P, 4), scores (N, P, labels), 0 without a lesson."""

    boxes: Tensor
    scores: Tensor


def imitated(task: Task, lessons: Sequence[Lesson]) -> Answered:
    """The candidates that N lessons are of."""
    shape = len(lessons), lessons[0].count
    boxes, scores = torch.zeros(*shape, 4), torch.zeros(*shape, len(task.labels))
    for row, each in enumerate(lessons):
        boxes[row, each.points] = torch.from_numpy(each.boxes)
        scores[row, each.points] = torch.from_numpy(each.scores).float()
    return Answered(boxes, scores)


def imitation(candidates: Candidates, right: Answered) -> Tensor:
    """The score loss and the weighted box loss, see imitation_parts, added up."""
    certain = replace(candidates, boxes=right.boxes, logits=right.scores.logit(LEAST_PROBABILITY))
    parts = imitation_parts(candidates, certain)
    return parts["score"] + EXIT_BOX_WEIGHT * parts["box"]


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
    # One axis after the other: a last dimension of 2 makes every step several times slower.
    sides = [
        torch.minimum(one[..., :, None, axis + 2], other[..., None, :, axis + 2])
        - torch.maximum(one[..., :, None, axis], other[..., None, :, axis])
        for axis in (0, 1)
    ]
    intersection = sides[0].clamp(min=0) * sides[1].clamp(min=0)
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
    inside = near = torch.ones((), dtype=torch.bool, device=boxes.device)
    for axis in (0, 1):
        along = candidates.points[:, None, :, axis]
        inside = inside & (along > boxes[:, :, None, axis]) & (along < boxes[:, :, None, axis + 2])
        near = near & ((along - middle[:, :, None, axis]).abs() <= candidates.strides)
    eligible = (inside | near) & (objects.present & ~objects.ignore)[..., None]
    scores = candidates.logits.sigmoid().transpose(1, 2)
    likeness = pairwise_likeness(boxes, candidates.boxes)
    scores = scores.gather(1, objects.labels[..., None].expand_as(likeness))
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
    ignored = objects.present & objects.ignore
    if not ignored.any():
        return torch.zeros_like(candidates.boxes[..., 0], dtype=torch.bool)
    points = candidates.points[:, None]
    reach = candidates.strides[:, None] / 2
    boxes = objects.boxes[:, :, None]
    inside = ((points > boxes[..., :2] - reach) & (points < boxes[..., 2:] + reach)).all(-1)
    return (inside & ignored[..., None]).any(1)


def imitation_parts(answer: Candidates, right: Candidates) -> dict[str, Tensor]:
    """How far candidates are from another network's with the same points: `score` and `box`.

    Scores by cross-entropy, weighted by how far they are off; boxes by complete IoU loss (Zheng et al. 2020), weighted
    by the scores that the other network gave them.
    """
    scores = right.logits.sigmoid()
    focus = (answer.logits.sigmoid() - scores).detach().abs() ** FOCUS
    best = scores.amax(-1)
    total = best.sum().clamp(min=1.0)
    score = functional.binary_cross_entropy_with_logits(answer.logits, scores, reduction="none")
    # Even of a perfect copy the cross-entropy is not 0.
    score = score - functional.binary_cross_entropy_with_logits(right.logits, scores, reduction="none")
    taught = best > LEAST_SCORE
    box = ops.complete_box_iou_loss(answer.boxes[taught], right.boxes[taught])
    return {
        "score": IMITATED_SCORE_WEIGHT * (focus * score).sum() / total,
        "box": IMITATED_BOX_WEIGHT * (best[taught] * box).sum() / total,
    }
