"""The loss rewards the truth, and only the truth that is known."""

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from mtl_split_net.kinds.detection import (
    TINY_OFFSET,
    Candidates,
    Objects,
    assign,
    loss_parts,
    pairwise_likeness,
    pairwise_overlap,
)

STRIDE = 8
COLUMNS, ROWS = 16, 9


def points() -> Tensor:
    y, x = torch.meshgrid(torch.arange(ROWS), torch.arange(COLUMNS), indexing="ij")
    return (torch.stack([x, y], -1).reshape(-1, 2) + 0.5) * STRIDE


def proposals(boxes: Tensor | None = None, logits: Tensor | None = None) -> Candidates:
    """Every point proposes a cell-sized box of its own and no label, unless told otherwise."""
    centres = points()
    own = torch.cat([centres - 4, centres + 4], -1)[None]
    count = centres.shape[0]
    return Candidates(
        own if boxes is None else boxes,
        torch.full((1, count, 3), -6.0) if logits is None else logits,
        centres,
        torch.full((count,), float(STRIDE)),
    )


def objects(*rows: tuple[list[float], int, bool], labelled: tuple[bool, ...] = (True, True, True)) -> Objects:
    return Objects(
        torch.tensor([[box for box, _, _ in rows]], dtype=torch.float32).reshape(1, -1, 4),
        torch.tensor([[label for _, label, _ in rows]], dtype=torch.int64),
        torch.ones(1, len(rows), dtype=torch.bool),
        torch.tensor([[ignore for _, _, ignore in rows]], dtype=torch.bool),
        torch.tensor([labelled]),
    )


CAR = ([16.0, 16.0, 48.0, 40.0], 1, False)


def test_overlap_of_known_boxes() -> None:
    one = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    others = torch.tensor([[0.0, 0.0, 10.0, 10.0], [5.0, 0.0, 15.0, 10.0], [20.0, 20.0, 30.0, 30.0]])
    torch.testing.assert_close(pairwise_overlap(one, others), torch.tensor([[1.0, 1 / 3, 0.0]]))


def test_a_pixel_beside_a_thin_object_is_still_like_it() -> None:
    """By a person of 4 x 12 input pixels; of a bus, half as far off in its own measure, only the overlap counts."""
    person, bus = torch.tensor([[10.0, 10.0, 14.0, 22.0]]), torch.tensor([[0.0, 0.0, 200.0, 120.0]])
    offset = torch.tensor([2.0, 0.0, 2.0, 0.0])
    assert pairwise_overlap(person, person + offset).item() == pytest.approx(1 / 3)
    assert pairwise_likeness(person, person + offset).item() == pytest.approx(math.exp(-2 / TINY_OFFSET))
    wider = torch.tensor([[9.0, 10.0, 15.0, 22.0]])
    assert pairwise_likeness(person, wider).item() == pytest.approx(math.exp(-1 / TINY_OFFSET))
    assert pairwise_likeness(bus, bus + 25 * offset) == pairwise_overlap(bus, bus + 25 * offset)
    assert pairwise_likeness(bus, bus) == 1


def test_points_in_the_object_learn_it() -> None:
    index, wanted, _, score = assign(proposals(), objects(CAR))
    learning = points()[wanted[0]]
    assert 1 <= len(learning) <= 10
    assert (learning > 8).all() and (learning < torch.tensor([56.0, 48.0])).all()
    assert (index[wanted] == 0).all() and (score[~wanted] == 0).all()


def test_an_object_smaller_than_a_cell_is_learnt() -> None:
    _, wanted, _, _ = assign(proposals(), objects(([30.0, 30.0, 32.0, 33.0], 0, False)))
    assert wanted.any()


def test_each_point_learns_the_object_it_overlaps_most() -> None:
    left, right = ([16.0, 16.0, 32.0, 32.0], 0, False), ([32.0, 16.0, 48.0, 32.0], 2, False)
    index, wanted, _, _ = assign(proposals(), objects(left, right))
    x = points()[:, 0]
    assert (index[0][wanted[0] & (x < 32)] == 0).all() and (index[0][wanted[0] & (x > 32)] == 1).all()


def test_points_compete_by_the_root_of_their_score_and_the_sixth_power_of_their_likeness() -> None:
    one, other = (int((points() == torch.tensor(point)).all(-1).nonzero()) for point in ([28.0, 28.0], [36.0, 28.0]))
    boxes, logits = proposals().boxes.clone(), proposals().logits.clone()
    boxes[0, one] = torch.tensor(CAR[0])
    boxes[0, other] = torch.tensor([16.0, 16.0, 44.0, 40.0])  # 7 / 8 of the car
    logits[0, one, 1], logits[0, other, 1] = torch.logit(torch.tensor([0.25, 0.36]))
    _, wanted, share, score = assign(proposals(boxes, logits), objects(CAR))
    assert wanted[0, [one, other]].all()
    expected = torch.tensor([1.0, 0.6 / 0.5 * (7 / 8) ** 6])
    torch.testing.assert_close(share[0, [one, other]], expected)
    torch.testing.assert_close(score[0, [one, other]], expected)


def test_padding_is_no_object() -> None:
    padded = dataclasses.replace(objects(CAR), present=torch.zeros(1, 1, dtype=torch.bool))
    assert not assign(proposals(), padded)[1].any()
    assert loss_parts(proposals(), padded)["box"] == 0


def test_the_right_answer_costs_less_than_a_wrong_one() -> None:
    truth = objects(CAR)
    answering = ((points() - torch.tensor([32.0, 28.0])).abs() < 8).all(-1)
    boxes = proposals().boxes.clone()
    boxes[0, answering] = torch.tensor(CAR[0])
    right = torch.full_like(proposals().logits, -12.0)
    right[0, answering, 1] = 12.0
    wrong = right[..., [1, 0, 2]]
    best = loss_parts(proposals(boxes, right), truth)
    mistaken = loss_parts(proposals(boxes, wrong), truth)
    misplaced = loss_parts(proposals(boxes + 6, right), truth)
    assert best["box"] < 1e-3 < misplaced["box"]
    assert best["score"] < 0.1 < mistaken["score"]


def test_an_ignored_object_neither_rewards_nor_punishes() -> None:
    logits = torch.full((1, points().shape[0], 3), -6.0, requires_grad=True)
    loss_parts(proposals(logits=logits), objects((CAR[0], CAR[1], True)))["score"].backward()
    assert logits.grad is not None
    inside = ((points() > 16) & (points() < torch.tensor([48.0, 40.0]))).all(-1)
    assert (logits.grad[0, inside] == 0).all() and (logits.grad[0, ~inside] > 0).any()


@pytest.mark.parametrize("label", [0, 1, 2])
def test_a_label_that_the_picture_does_not_label_is_not_learnt(label: int) -> None:
    labelled = tuple(index != label for index in range(3))
    logits = torch.zeros(1, points().shape[0], 3, requires_grad=True)
    loss_parts(proposals(logits=logits), objects(CAR, labelled=labelled))["score"].backward()
    assert logits.grad is not None
    moved = [bool((logits.grad[..., index] != 0).any()) for index in range(3)]
    assert moved == list(labelled)
