"""What the network is trained for: one loss per task, and how they are added up."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from mtl_split_net.heads import Candidates
from mtl_split_net.vision import ops

BEST_POINTS = 10
"""How many points learn each object."""
TINY_OFFSET = 6.0
"""Input pixels that a box may be off by before its likeness falls to 1 / e, unless it still overlaps more than that."""


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


def detection_loss(candidates: Candidates, objects: Objects) -> dict[str, Tensor]:
    """The detection loss's two parts: score (binary cross-entropy) and box (complete IoU loss, Zheng et al. 2020).

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


UNKNOWN = -1
"""Index that stands for a classification label that a picture does not have."""


def classification_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of logits (N, labels) against label indices (N,); UNKNOWN ones are left out."""
    known = labels != UNKNOWN
    return functional.cross_entropy(logits, labels, ignore_index=UNKNOWN, reduction="sum") / known.sum().clamp(min=1)


class LossSum(nn.Module):
    """The tasks' losses added up: plainly, as MTL-Split does, or weighted by learned uncertainties.

    Each loss L of weight w counts as exp(-s) w L + s / 2 with the logarithm s of the task's variance (Kendall et al.
    2018). Plainly, every s stays 0.
    """

    def __init__(self, weights: Mapping[str, float], learned: bool) -> None:
        """Add up the losses of tasks by name, of these `weights`; `learned` tells whether their uncertainties are."""
        super().__init__()
        self._weights = dict(weights)
        self.log_variances = nn.Parameter(torch.zeros(len(self._weights)), learned)

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Losses by task in, one loss out."""
        weighted = torch.stack([weight * losses[name] for name, weight in self._weights.items()])
        return (torch.exp(-self.log_variances) * weighted + self.log_variances / 2).sum()
