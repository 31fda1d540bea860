"""A simulated drive: what is certain of it whatever the link, and what the link does to it."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from mtl_split_core.control.policy import Action, Menu, Own, Point, Policy, Situation, alone, fixed, ladder, predictive
from mtl_split_core.share import fast_dds_profile
from mtl_split_lab.adaptation.cars import Car
from mtl_split_lab.adaptation.clairvoyant import drive_clairvoyant
from mtl_split_lab.adaptation.policy_card import worth
from mtl_split_lab.adaptation.simulator import ANNOUNCED, Drive, Outcome, Simulation, Times, simulate
from mtl_split_lab.adaptation.traces import Trace

from .cars import MENU, SIZES, TIMES, drive, steady

DEAR = replace(MENU, second_price=3.0)
"""Where own answers are so dear that the server's are worth more."""


def in_time(outcomes: Sequence[Outcome]) -> list[int | Own | None]:
    return [outcome.in_time(MENU.answer_by) for outcome in outcomes]


def test_a_good_link_has_every_frame_answered_by_the_server() -> None:
    [outcomes] = simulate(fixed(1), MENU, TIMES, [drive(steady(5e6), 50)])
    assert in_time(outcomes) == [1] * 50
    assert {outcome.bytes for outcome in outcomes} == {SIZES[1]}
    assert {outcome.own_seconds for outcome in outcomes} == {0.0}
    # What the wire, the server and the prefix take, whatever else there is.
    least = TIMES.prefix + 8 * SIZES[1] / 5e6 + TIMES.service
    assert all(least < outcome.age < least + 0.01 for outcome in outcomes)


def test_a_dead_link_has_every_frame_answered_by_the_edge_in_time() -> None:
    dead = Trace(np.array([0.0, 1000.0]), np.array([0.0, 1e6]))
    for policy in (fixed(1), ladder, predictive):
        [outcomes] = simulate(policy, MENU, TIMES, [drive(dead, 50)])
        assert in_time(outcomes) == [Own.WHOLE] * 50
    # Who waits for nothing sends less.
    assert sum(outcome.bytes for outcome in outcomes) < 50 * SIZES[0]


@pytest.mark.parametrize("rate", [0.2e6, 0.25e6, 0.3e6, 0.35e6, 0.4e6, 0.5e6, 0.7e6, 1e6])
def test_a_steady_link_however_slow_is_used_nearly_as_well_as_by_the_best_fixed_action(rate: float) -> None:
    car = Car("car", "", ("coarse", "default", "fine"), DEAR, TIMES)
    fixed_ones = [*(fixed(point) for point in range(len(SIZES))), alone(Own.WHOLE)]
    chosen, *others = (
        worth(car, simulate(policy, DEAR, TIMES, [drive(steady(rate), 300)])[0]) for policy in (predictive, *fixed_ones)
    )
    assert max(others) - 0.03 <= chosen


def test_without_own_answers_a_dead_link_has_none() -> None:
    dead = Trace(np.array([0.0, 1000.0]), np.array([0.0, 1e6]))
    [outcomes] = simulate(lambda menu, situation: Action(0), MENU, TIMES, [drive(dead, 20)])
    assert in_time(outcomes) == [None] * 20


@given(
    rates=st.lists(st.one_of(st.just(0.0), st.floats(1e4, 1e7)), min_size=2, max_size=8).filter(any),
    loss=st.sampled_from([0.0, 0.2]),
    policy=st.sampled_from([fixed(0), fixed(2, copies=2), ladder, predictive]),
)
@settings(max_examples=30, deadline=None)
def test_every_frame_is_answered_in_time_whatever_the_link(rates: list[float], loss: float, policy: object) -> None:
    trace = Trace(np.arange(len(rates)) * 1.0, np.array(rates))
    [outcomes] = simulate(policy, MENU, TIMES, [drive(trace, 40, loss=loss)])  # type: ignore[arg-type]
    assert None not in in_time(outcomes)


def test_the_same_seed_loses_the_same_and_another_one_does_not() -> None:
    ages = [
        [outcome.age for outcome in simulate(fixed(1), MENU, TIMES, [drive(steady(5e6), 80, 0.3, seed)])[0]]
        for seed in (1, 1, 2)
    ]
    assert ages[0] == ages[1] != ages[2]


@pytest.mark.parametrize("policy", [fixed(1), predictive])
@pytest.mark.parametrize(("loss", "least"), [(0.0, 0.995), (0.05, 0.99), (0.2, 0.95), (0.4, 0.8)])
def test_what_is_lost_is_asked_for_again_in_time(policy: Policy, loss: float, least: float) -> None:
    """Without, (1 - loss)² of the frames would be answered by the server."""
    [outcomes] = simulate(policy, DEAR, TIMES, [drive(steady(5e6), 400, loss)])
    served = sum(isinstance(source, int) for source in in_time(outcomes))
    assert served >= least * 400 and None not in in_time(outcomes)


@given(loss=st.floats(0.02, 0.3), answer_by=st.floats(0.08, 0.3), rate=st.floats(2e6, 5e7), seed=st.integers(0, 100))
@settings(max_examples=8, deadline=None)
def test_losses_are_not_taken_for_outages(loss: float, answer_by: float, rate: float, seed: int) -> None:
    menu = replace(DEAR, answer_by=answer_by)
    [outcomes] = simulate(predictive, menu, TIMES, [drive(steady(rate), 200, loss, seed)])
    assert all(outcome.in_time(answer_by) is not None for outcome in outcomes)
    alone = sum(outcome.action.at_once for outcome in outcomes[10:])
    served = sum(isinstance(outcome.source, int) for outcome in outcomes)
    assert alone <= 0.03 * 200 and served > (1 - loss) ** 2 * 200


def test_bytes_that_are_dear_are_sent_less_often() -> None:
    lossy = drive(steady(5e6), 200, loss=0.3)
    menus = [replace(DEAR, byte_price=price) for price in (0.0, 1e-5, 3e-5, 1e-3)]
    sent = [sum(outcome.bytes for outcome in simulate(predictive, menu, TIMES, [lossy])[0]) for menu in menus]
    assert sent == sorted(sent, reverse=True) and sent[0] > sent[1] > sent[-1]


@given(outage=st.floats(0.7, 30.0), keeps=st.booleans(), phase=st.floats(0.0, 0.1), rate=st.floats(3e6, 2e7))
@settings(max_examples=8, deadline=None, phases=[Phase.generate])
def test_the_server_answers_again_soon_after_an_outage(outage: float, keeps: bool, phase: float, rate: float) -> None:
    """Once a short one has told what the link does with what is sent meanwhile."""
    ends = np.cumsum([2.0 + phase, 1.5, 2.0, outage, 3.0, 1.0])
    trace = Trace(np.array([0.0, *ends]), np.array([rate, 0.0, rate, 0.0, rate, rate, rate]))
    count = int(ends[4] * 10)
    [outcomes] = simulate(predictive, DEAR, TIMES, [Drive([SIZES] * count, 10.0, trace, keeps=keeps)])
    assert None not in in_time(outcomes)
    answered = [number / 10 + outcome.age for number, outcome in enumerate(outcomes) if isinstance(outcome.source, int)]
    assert min(at for at in answered if at >= ends[3]) - ends[3] <= 0.3


def test_a_drive_that_begins_later_sees_the_later_part_of_its_trace() -> None:
    trace = Trace(np.array([0.0, 10.0, 20.0]), np.array([5e6, 0.0, 0.0]))
    early, late = (
        simulate(fixed(0), MENU, TIMES, [Drive([SIZES] * 20, 10.0, trace, begin=begin)])[0] for begin in (0.0, 10.0)
    )
    assert in_time(early) == [0] * 20
    assert in_time(late) == [Own.WHOLE] * 20


def test_a_server_answers_so_many_vehicles_as_it_has_time_for() -> None:
    times = Times(TIMES.prefix, TIMES.own, service=0.025)  # 40 in a second
    outcomes = simulate(fixed(0), MENU, times, [drive(steady(50e6), 50, seed=seed) for seed in range(8)])
    served = sum(isinstance(source, int) for vehicle in outcomes for source in in_time(vehicle))
    assert 0 < served <= 40 * 6.1  # in the 5 s of the drive and the second after it
    assert all(None not in in_time(vehicle) for vehicle in outcomes)


def test_a_server_with_a_deadline_wastes_no_time_on_what_would_be_late() -> None:
    times = Times(TIMES.prefix, TIMES.own, service=0.025)
    drives = [drive(steady(50e6), 50, seed=seed) for seed in range(8)]
    served = [
        sum(isinstance(source, int) for vehicle in outcomes for source in in_time(vehicle))
        for outcomes in (simulate(fixed(0), MENU, times, drives, deadline=deadline) for deadline in (math.inf, 0.065))
    ]
    assert served[1] > 1.2 * served[0]
    assert served[1] == pytest.approx(40 * 5, rel=0.1)


def test_what_is_foreseen_comes_true() -> None:
    trace = Trace(np.arange(6) * 1.0, np.array([2e5, 0.0, 4e4, 1e6, 9e4, 3e5]))
    simulation = Simulation(MENU, TIMES, [drive(trace, 60, loss=0.2)])
    ages = []
    for _decision in simulation.decisions():
        ages.append(simulation.foresee(0, 1))
        simulation.act(Action(0))
    [outcomes] = simulation.outcomes
    first = [
        (foreseen, outcome.age) for foreseen, outcome in zip(ages, outcomes, strict=True) if outcome.bytes == SIZES[0]
    ]
    came = [age for foreseen, age in first if foreseen <= MENU.answer_by]
    assert len(came) > 10
    assert np.mean(np.isclose(came, [foreseen for foreseen, _ in first if foreseen <= MENU.answer_by])) > 0.7


def test_nobody_does_better_than_the_clairvoyant() -> None:
    menu = Menu(MENU.points, MENU.own, MENU.answer_by, second_price=3.0, byte_price=1e-5)
    trace = Trace(np.arange(8) * 1.0, np.array([3e5, 0.0, 1e5, 1e6, 0.0, 2e5, 5e4, 1e6]))
    one = drive(trace, 300)

    def worth(outcomes: Sequence[Outcome]) -> float:
        value = 0.0
        for outcome in outcomes:
            source = outcome.in_time(menu.answer_by)
            if source is not None:
                value += menu.own[source] if isinstance(source, Own) else menu.points[source].value
            value -= outcome.bytes * menu.byte_price + outcome.own_seconds * menu.second_price
        return value

    [outcomes] = drive_clairvoyant(lambda: Simulation(menu, TIMES, [one]), menu)
    best = worth(outcomes)
    assert None not in in_time(outcomes)
    for policy in (fixed(0), fixed(1), fixed(2), ladder, predictive):
        assert worth(simulate(policy, menu, TIMES, [one])[0]) <= best + 1e-9


def test_a_policy_sees_only_what_has_come_back() -> None:
    """Two traces that are the same for a while are met with the same actions for as long, and a round trip longer."""
    same, other = (Trace(np.array([0.0, 3.0, 6.0]), np.array([1e6, rate, 1e6])) for rate in (0.0, 1e6))
    seen: list[list[Situation]] = []
    for trace in (same, other):
        situations: list[Situation] = []

        def policy(menu: Menu, situation: Situation, seen: list[Situation] = situations) -> Action:
            seen.append(situation)
            return predictive(menu, situation)

        simulate(policy, MENU, TIMES, [drive(trace, 60)])
        seen.append(situations)
    assert seen[0][:30] == seen[1][:30] and seen[0] != seen[1]


def test_a_point_costs_what_its_frame_takes() -> None:
    sizes = [(100 + number, 200 + number, 300 + number) for number in range(20)]
    menu = Menu([Point(200.0, 0.5)] * 3, {}, 0.1)
    [outcomes] = simulate(fixed(2), menu, Times(0.001, {}, 0.01), [Drive(sizes, 10.0, steady(1e6))])
    assert [outcome.bytes for outcome in outcomes] == [size[2] for size in sizes]


def test_nodes_announce_themselves_as_often_as_they_are_told_to() -> None:
    text = fast_dds_profile(over_link=True).read_text()
    [told] = re.findall(r"<leaseAnnouncement><sec>(\d+)</sec><nanosec>(\d+)</nanosec></leaseAnnouncement>", text)
    assert int(told[0]) + int(told[1]) / 1e9 == ANNOUNCED
