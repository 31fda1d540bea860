"""An exit answers in the suffix's form, whatever that is, and what it learns from is what the suffix said."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from mtl_split_core.kinds import KINDS as CORE_KINDS
from mtl_split_core.scene import Task
from mtl_split_net.exit_maps import LEVELS, OWN_LEVELS, ExitMaps
from mtl_split_net.exits import Exit
from mtl_split_net.kinds import KINDS, all_answers, detection

FOUND = Task("found", "detection", ("car", "bus"))
TASKS = (FOUND, Task("weather", "classification", ("dry", "wet", "white")), Task("road", "segmentation", ("no", "yes")))


def exit_for(size: tuple[int, int], latents: tuple[int, int, int], points: int, places: tuple[int, int]) -> Exit:
    shapes = {"found.boxes": (1, points, 4), "found.scores": (1, points, 2), "weather": (1, 3), "road": (1, 2, *places)}
    return Exit(TASKS, size, latents, shapes).eval()


def answer(network: Exit, latents: tuple[int, ...]) -> Mapping[str, torch.Tensor]:
    with torch.no_grad():
        return all_answers(TASKS, network(torch.randn(2, *latents, generator=torch.Generator().manual_seed(0))))


@pytest.mark.parametrize(
    ("size", "latents", "points", "places"),
    [
        ((512, 288), (24, 18, 32), 36 * 64 + 18 * 32 + 9 * 16, (72, 128)),  # strides of 8 to 32
        ((512, 288), (24, 18, 32), 36 * 64 + 18 * 32 + 9 * 16 + 5 * 8, (72, 128)),  # and of 64
        ((512, 288), (8, 72, 128), 18 * 32 + 9 * 16, (18, 32)),  # latents finer than the exit's maps
        ((300, 300), (16, 19, 19), 38 * 38 + 19 * 19 + 10 * 10, (75, 75)),  # strides that do not divide the input
    ],
)
def test_it_answers_for_the_suffixs_own_points(
    size: tuple[int, int], latents: tuple[int, int, int], points: int, places: tuple[int, int]
) -> None:
    network = exit_for(size, latents, points, places)
    answers = answer(network, latents)
    assert answers["found.boxes"].shape == (2, points, 4) and answers["found.scores"].shape == (2, points, 2)
    for task in TASKS:
        for name, shape in CORE_KINDS[task.kind].outputs(task).items():
            assert all(
                wanted in (None, found) for wanted, found in zip(shape[1:], answers[name].shape[1:], strict=True)
            )
    torch.testing.assert_close(answers["weather"].sum(1), torch.ones(2))
    middles = (answers["found.boxes"][..., :2] + answers["found.boxes"][..., 2:]) / 2
    assert middles.min() > -size[0] and middles[..., 0].max() < 2 * size[0]


def test_a_suffix_of_no_grid_has_its_candidates_in_cells_around_their_middles() -> None:
    maps = exit_for((512, 288), (24, 18, 32), 300, (72, 128)).maps
    assert maps.find_levels(300) is None
    chance = np.random.default_rng(0)
    low = chance.uniform(0, [480, 260], (300, 2)).astype(np.float32)
    boxes = np.concatenate([low, low + chance.uniform(2, 150, (300, 2)).astype(np.float32)], 1)
    scores = chance.uniform(0, 1, (300, 2)).astype(np.float32)
    answers = {"found.boxes": boxes[None], "found.scores": scores[None]}
    lesson = detection.lesson(FOUND, answers, maps)
    cells = [(level, row, column) for level in OWN_LEVELS for row, column in np.ndindex(*maps.grids[level])]
    assert lesson.count == len(cells) and len(lesson.points) > 200
    best: dict[int, float] = {}
    for point, box, score in zip(lesson.points.tolist(), lesson.boxes, lesson.scores, strict=True):
        level, row, column = cells[point]
        stride = maps.stride(level)
        x, y = ((box[:2] + box[2:]) / 2).clip(0, [511, 287])
        assert column * stride <= x < (column + 1) * stride and row * stride <= y < (row + 1) * stride
        best[point] = float(score.max())
    [[at]] = np.nonzero(scores.max(1) == scores.max())
    assert max(best.values()) == pytest.approx(float(scores[at].max()), abs=1e-3)


LATENTS = 6, 4, 8
POINTS = 8 * 16 + 4 * 8 + 2 * 4
CAR = 3 * 16 + 6
"""The point of the car's middle, row 3 and column 6 of the finest level."""


def suffix(picture: int) -> dict[str, Any]:
    """What a suffix says of one of two pictures: in the first it finds a car."""
    boxes = np.tile(np.array([0, 0, 8, 8], np.float32), (1, POINTS, 1))
    scores = np.zeros((1, POINTS, 2), np.float32)
    if picture == 0:
        boxes[0, CAR], scores[0, CAR] = [40, 16, 64, 36], [0.9, 0.02]
    road = np.zeros((1, 2, 16, 32), np.float32)
    road[:, 1, 8:] = 1
    weather = np.array([[0.7, 0.2, 0.1] if picture == 0 else [0.1, 0.1, 0.8]], np.float32)
    return {"found.boxes": boxes, "found.scores": scores, "weather": weather, "road": road}


def test_it_learns_what_the_suffix_says() -> None:
    """Two pictures by heart: every task's loss falls, and it finds the car, the weather and the road."""
    torch.manual_seed(0)
    network = exit_for((128, 64), LATENTS, POINTS, (16, 32)).train()
    latents = torch.randn(2, *LATENTS)
    optimizer = torch.optim.Adam(network.parameters(), 0.001)
    targets = {}
    for task in TASKS:
        kind = KINDS[task.kind]
        kept = [kind.lesson(task, suffix(picture), network.maps) for picture in range(2)]
        targets[task.name] = kind.imitated(task, kept)
    first: dict[str, float] = {}
    for _ in range(60):
        outputs = network(latents)
        losses = {task.name: KINDS[task.kind].imitation(outputs[task.name], targets[task.name]) for task in TASKS}
        first = first or {name: loss.item() for name, loss in losses.items()}
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
    assert all(losses[name].item() < 0.9 * first[name] for name in losses)
    with torch.no_grad():
        answers = all_answers(TASKS, network(latents))
    scores, box = answers["found.scores"], answers["found.boxes"][0, CAR]
    assert scores[0].amax(1).argmax() == CAR and scores[0, CAR].argmax() == 0 and scores[1].max() < 0.3
    torch.testing.assert_close(box, torch.tensor([40.0, 16.0, 64.0, 36.0]), atol=5.0, rtol=0)
    assert answers["weather"].argmax(1).tolist() == [0, 2]
    road = answers["road"].argmax(1).float()
    assert road[:, 9:].mean() > 0.9 and road[:, :7].mean() < 0.1


def test_levels_are_found_only_where_all_cells_agree() -> None:
    maps = ExitMaps(8, 18, 32, (512, 288))
    for first in LEVELS:
        for last in range(first + 1, LEVELS.stop):
            cells = sum(rows * columns for rows, columns in (maps.grids[level] for level in range(first, last + 1)))
            assert maps.find_levels(cells) == range(first, last + 1)
            assert maps.find_levels(cells + 1) is None
    assert maps.find_levels(18 * 32) is None  # one grid alone may be a number of queries
