"""The simulation of tiers: sums where nobody waits, the mailbox's rules where somebody does."""

from dataclasses import replace
from functools import partial

import pytest

from mtl_split_lab.bench.tier_simulation import (
    Arrangement,
    Clock,
    Costs,
    Machine,
    Machines,
    Outcome,
    Scene,
    Wire,
    simulate,
)

IDLE = Machines((4.0, 2.0, 1.0), (2, 2), radio=1e6, backhaul=1e7, busy=0.0, other=0.01)
ALONE = Scene(1, 5.0)
COSTS = Costs(vehicle=0.004, radio=1e3, roadside=0.005, backhaul=2e5, server=0.008)


def outcome(costs: Costs, machines: Machines = IDLE, scene: Scene = ALONE) -> Outcome:
    return simulate(scene, Arrangement("", (costs,) * scene.vehicles), machines, 20.0)


@pytest.mark.parametrize(
    ("costs", "milliseconds"),
    [
        (COSTS, 16 + (1 + 2) + 10 + (20 + 2) + 8),
        (replace(COSTS, server=0.0), 16 + (1 + 2) + 10),
        (replace(COSTS, roadside=0.0), 16 + (1 + 2) + (20 + 2) + 8),
        (replace(COSTS, roadside=0.0, server=0.0), 16),
    ],
)
def test_where_nobody_waits_a_frame_takes_the_sum_of_its_way(costs: Costs, milliseconds: float) -> None:
    found = outcome(costs)
    assert found.share == 1.0 and len(found.milliseconds) == 100
    assert found.milliseconds == pytest.approx([milliseconds] * 100)


def test_frames_wait_where_a_machine_is_busy_and_are_replaced_where_it_has_too_much_to_do() -> None:
    p50 = [outcome(COSTS, replace(IDLE, busy=busy), Scene(2, 10.0)).p50 for busy in (0.0, 0.5, 0.9)]
    assert p50 == sorted(p50) and p50[2] > p50[0]
    overloaded = outcome(replace(COSTS, roadside=0.1), scene=Scene(4, 10.0))
    assert 0.2 < overloaded.share < 0.3  # 10 of 40 frames per second


def test_a_machine_takes_the_newest_of_every_vehicle_in_turn() -> None:
    clock, done = Clock(), list[tuple[str, float]]()
    machine = Machine(clock, 1.0, 1)

    def put(name: str) -> None:
        machine.put(ord(name[0]), 1.0, lambda now: done.append((name, round(now, 9))))

    for time, name in ((0.0, "a1"), (0.1, "b1"), (0.2, "a2"), (0.3, "a3"), (0.4, "b2")):
        clock.at(time, partial(put, name))
    clock.run()
    assert done == [("a1", 1.0), ("b2", 2.0), ("a3", 3.0)]


def test_a_link_carries_one_message_after_the_other() -> None:
    clock, arrived = Clock(), list[float]()
    wire = Wire(clock, 100.0, 0.5)
    for _ in range(2):
        clock.at(1.0, lambda: wire.send(100.0, arrived.append))
    clock.run()
    assert arrived == [2.5, 3.5]
