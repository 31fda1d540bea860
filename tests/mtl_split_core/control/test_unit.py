"""The roadside unit's controller finds the best cut by what it measures, and keeps it where only noise changes."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from mtl_split_core.control.link import Fate, Report
from mtl_split_core.control.unit import ENOUGH, MEMORY, MOST_IN_FLIGHT, OVERDUE, WHOLE, Cost, UnitController

COSTS = {WHOLE: Cost(0.0, 0.012, 1e3), "early": Cost(0.003, 0.010, 2e5), "late": Cost(0.006, 0.007, 3e5)}
GIGABIT = 125e6


@dataclass
class World:
    """A unit, its link and its server, which differ from what was measured at the start.

    unit, server: how many times slower they are; rate: bytes per second; delay: seconds of the link beside; noise: by
    how much each time varies, as a part of it; overhead: seconds of the server that nobody measured at the start.
    """

    unit: float = 1.0
    server: float = 1.0
    rate: float = GIGABIT
    delay: float = 0.001
    noise: float = 0.0
    overhead: float = 0.0
    chance: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    now: float = 0.0
    sequence: int = 0

    def seconds(self, cut: str) -> float:
        cost = COSTS[cut]
        server = cost.server * self.server + self.overhead
        return cost.unit * self.unit + self.delay + cost.bytes / self.rate + server

    def best(self) -> str:
        return min(COSTS, key=self.seconds)

    def frame(self, controller: UnitController, cut: str) -> None:
        """Let a frame pass, and the report of it."""
        vary = iter(1 + self.noise * self.chance.uniform(-1, 1, 3))
        cost, self.sequence, place = COSTS[cut], self.sequence + 1, (1, self.sequence + 1)
        self.now += 0.05
        controller.sent("car", *place, cut, round(cost.bytes), cost.unit * self.unit * next(vary), self.now)
        service = (cost.server * self.server + self.overhead) * next(vary)
        trip = (self.delay + cost.bytes / self.rate) * next(vary)
        controller.reported("car", Report(*place, 1, 0.0, service, Fate.ANSWERED), self.now + trip + service)

    def run(self, controller: UnitController, cut: str, frames: int) -> list[str]:
        """The cut of each frame, each chosen after the one before."""
        cuts = []
        for _ in range(frames):
            self.frame(controller, cut)
            cut = controller.choose(cut, self.now + 0.04)
            cuts.append(cut)
        return cuts


@pytest.mark.parametrize("begin", COSTS)
@pytest.mark.parametrize(
    "world",
    [
        World(),
        World(server=4.0),
        World(unit=4.0),
        World(rate=1e6, server=2.0),
        World(delay=0.05, server=8.0, rate=GIGABIT / 10),
        World(overhead=0.004, server=2.0),
    ],
)
def test_the_best_cut_is_found_from_any_other_one(begin: str, world: World) -> None:
    controller = UnitController(COSTS, GIGABIT)
    cuts = world.run(controller, begin, 60)
    assert world.seconds(cuts[-1]) <= 1.1 * world.seconds(world.best())
    assert len(set(cuts[-20:])) == 1


@pytest.mark.parametrize("held_up", [0, 1])
def test_one_of_the_first_frames_that_is_held_up_spoils_nothing(held_up: int) -> None:
    controller, world = UnitController(COSTS, GIGABIT), World()
    for number in range(2):
        world.server = 500.0 if number == held_up else 1.0
        world.frame(controller, "late")
    for cut in (WHOLE, "early") * 4:
        world.server = 1.0
        world.frame(controller, cut)
        world.frame(controller, cut)
    world.server = 30.0
    cuts = world.run(controller, WHOLE, 40)
    assert cuts[-1] == world.best() == "late"


def test_noise_changes_nothing() -> None:
    world, controller = World(server=1.7, noise=0.5), UnitController(COSTS, GIGABIT)
    settled = world.run(controller, WHOLE, 60)[-1]
    cuts = world.run(controller, settled, 400)
    assert sum(one != other for one, other in zip([settled, *cuts], cuts, strict=False)) <= 2


def test_the_cut_follows_the_conditions() -> None:
    world, controller = World(), UnitController(COSTS, GIGABIT)
    cut = world.run(controller, WHOLE, 20)[-1]
    assert cut == WHOLE
    world.server = 10.0
    cut = world.run(controller, cut, 20)[-1]
    assert cut == "late"
    world.rate = 1e6
    cut = world.run(controller, cut, 20)[-1]
    assert cut == WHOLE
    # A link that is measured no more may have recovered, and is tried again.
    world.rate = GIGABIT
    assert world.run(controller, cut, round(MEMORY / 0.05) + 20)[-1] == "late"


def test_a_cut_is_not_judged_before_enough_frames_are_answered_unless_one_is_overdue() -> None:
    world, controller = World(server=10.0), UnitController(COSTS, GIGABIT)
    assert controller.choose(WHOLE, 0.0) == WHOLE
    assert world.run(controller, WHOLE, ENOUGH - 1) == [WHOLE] * (ENOUGH - 1)
    assert world.run(controller, WHOLE, 1) == ["late"]
    world.now += 1.0
    controller.sent("car", 1, 10**6, "late", 300_000, 0.006, world.now)
    assert controller.choose("late", world.now + 0.9 * OVERDUE) == "late"
    # A frame that has been on its way for a minute: the link carries next to nothing.
    assert controller.choose("late", world.now + 60.0) == WHOLE


@pytest.mark.parametrize("seconds", [0.0, 3e38])
def test_whatever_a_report_says_there_is_a_next_cut(seconds: float) -> None:
    controller = UnitController(COSTS, GIGABIT)
    cut = WHOLE
    for number in range(50):
        controller.sent("car", 1, number, cut, 1000, seconds, number * 0.05)
        controller.reported("car", Report(1, number, 1, seconds, seconds, Fate.ANSWERED), number * 0.05)
        cut = controller.choose(cut, number * 0.05)
        assert cut in COSTS


def test_reports_of_other_frames_and_lost_reports_say_nothing() -> None:
    controller = UnitController(COSTS, GIGABIT)
    controller.reported("car", Report(1, 1, 1, 0.0, 99.0, Fate.ANSWERED), 1.0)
    for number in range(3 * MOST_IN_FLIGHT):
        controller.sent("car", 1, number, WHOLE, 1000, 0.0, number * 0.05)
    before = controller.facts(1.0)
    controller.reported("car", Report(1, 0, 1, 0.0, 99.0, Fate.ANSWERED), 1.0)
    controller.reported("bus", Report(1, 3 * MOST_IN_FLIGHT - 1, 1, 0.0, 99.0, Fate.ANSWERED), 1.0)
    assert controller.facts(1.0) == before and before["server_slowness"] == "1.00"
