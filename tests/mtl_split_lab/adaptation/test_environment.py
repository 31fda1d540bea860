"""The environment is one that Gymnasium accepts, and its rewards are what a drive brought."""

from dataclasses import replace

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from mtl_split_core.control.policy import Action, Own
from mtl_split_lab.adaptation.environment import ALLOWED, DriveEnvironment
from mtl_split_lab.adaptation.simulator import Drive
from mtl_split_lab.adaptation.traces import Trace

from .cars import MENU, TIMES, drive

DEAR = replace(MENU, second_price=2.0, byte_price=1e-5)
TRACE = Trace(np.arange(5) * 1.0, np.array([1e6, 2e5, 0.0, 5e4, 1e6]))


def draw(chance: np.random.Generator) -> Drive:
    return drive(TRACE, 60, loss=0.1, seed=int(chance.integers(1000)))


def test_gymnasium_accepts_it() -> None:
    check_env(DriveEnvironment(DEAR, TIMES, draw, prices=(0.5, 2.0)), skip_render_check=True)


@pytest.mark.parametrize("rate", [10.0, 15.0, 30.0])
def test_rewards_add_up_to_what_the_drive_brought(rate: float) -> None:
    environment = DriveEnvironment(DEAR, TIMES, lambda chance: replace(draw(chance), rate=rate))
    environment.reset(seed=1)
    chance, total, ended, steps = np.random.default_rng(1), 0.0, False, 0
    while not ended:
        _, reward, terminated, ended, _ = environment.step(np.int64(chance.integers(len(environment.choices))))
        total, steps = total + reward, steps + 1
        assert not terminated
    [outcomes] = environment.simulation.outcomes
    brought = 0.0
    for outcome in outcomes:
        source = outcome.in_time(DEAR.answer_by)
        if source is not None:
            brought += DEAR.own[source] if isinstance(source, Own) else DEAR.points[source].value
        brought -= outcome.bytes * DEAR.byte_price + outcome.own_seconds * DEAR.second_price
    assert steps == len(outcomes)
    assert total == pytest.approx(brought)


def test_at_ten_frames_per_second_a_reward_is_of_the_step_itself() -> None:
    environment = DriveEnvironment(MENU, TIMES, lambda chance: drive(Trace(np.array([0.0, 1.0]), np.full(2, 5e6)), 20))
    environment.reset(seed=0)
    alone = next(i for i, choice in enumerate(environment.choices) if choice.point is None and choice.own)
    finest = next(i for i, choice in enumerate(environment.choices) if choice.point == 2 and choice.copies == 1)
    rewards = [environment.step(np.int64(number))[1] for number in (finest, alone, finest, alone)]
    assert rewards == pytest.approx([0.86, 0.87, 0.86, 0.87])


def test_what_is_not_allowed_is_told_and_replaced() -> None:
    limited = replace(MENU, most_bytes=600)
    environment = DriveEnvironment(limited, TIMES, draw)
    _, information = environment.reset(seed=0)
    finest = next(i for i, choice in enumerate(environment.choices) if choice.point == 2)
    assert not information[ALLOWED][finest] and information[ALLOWED].any()
    environment.step(np.int64(finest))
    [outcomes] = environment.simulation.outcomes
    assert outcomes[0].action == Action(0, own=Own.WHOLE)  # asks, and answers by itself
