"""What is chosen for a frame: by what is known and nothing else, within the limits, for anything that may be known."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_split_core.control.link import LinkState
from mtl_split_core.control.policy import (
    BACK_OFF,
    LONGEST_PROBE,
    MOST_AGAIN,
    MOST_COPIES,
    PATIENCE,
    PROBE,
    SLOW,
    Action,
    Menu,
    Own,
    Point,
    Policy,
    Situation,
    actions,
    alone,
    best_own,
    find_policy,
    fixed,
    foresee,
    is_allowed,
    ladder,
    observation,
    outage,
    predictive,
    round_trip_of,
    send_again_at,
    takes_again,
)
from mtl_split_core.errors import InputError

POINTS = (Point(300.0, 0.38), Point(550.0, 0.42), Point(860.0, 0.43), Point(2000.0, 0.44))
MENU = Menu(POINTS, {Own.EXIT: 0.3, Own.WHOLE: 0.43}, 0.1, second_price=1.0, byte_price=1e-6, most_bytes=1200)
GOOD = LinkState(
    silence=0.05, in_flight=1, oldest=0.1, newest=0.1, idle=0.1, rate=8e3, round_trip=0.01, size=860.0, shortest=0.008,
    spread=0.002, server=0.015, expected=0.03,
)  # fmt: skip
DEAD = replace(GOOD, silence=3.0, in_flight=20, overdue=20, missing=1e-40, oldest=3.0, newest=0.1)
SECONDS = {Own.EXIT: 0.002, Own.WHOLE: 0.013}
CALM = Situation(0.015, SECONDS, 0.0, GOOD)
CHOOSING = (ladder, predictive)

times = st.floats(0.0, math.inf, allow_nan=False)
shares = st.floats(0.0, 1.0)
links = st.builds(
    LinkState,
    silence=times, in_flight=st.integers(0, 1024), overdue=st.integers(0, 1024), missing=shares, oldest=times,
    newest=times, idle=times, rate=times, loss=shares, round_trip=times, size=st.floats(0.0, 1e5), shortest=times,
    spread=times, server=times, unanswered=shares, expected=times, kept=shares,
)  # fmt: skip
menus = st.builds(
    Menu,
    points=st.lists(st.builds(Point, size=st.floats(1, 1e5), value=shares), min_size=1, max_size=5).map(
        lambda points: sorted(points, key=lambda point: point.size)
    ),
    own=st.sampled_from([{}, {Own.EXIT: 0.3}, {Own.WHOLE: 0.4}, {Own.EXIT: 0.3, Own.WHOLE: 0.4}]),
    answer_by=st.floats(0.001, 10.0),
    processor_share=shares,
    second_price=st.floats(0, 100),
    byte_price=st.floats(0, 1e-3),
    most_bytes=st.floats(64, 1e6),
)
situations = st.builds(
    Situation,
    age=st.floats(-10, 10),
    own_seconds=st.fixed_dictionaries({Own.EXIT: st.floats(0, 1), Own.WHOLE: st.floats(0, 1)}),
    busy=shares,
    link=links,
)


@given(st.sampled_from(CHOOSING), menus, situations)
def test_whatever_is_known_an_action_of_the_menu_is_chosen(policy: Policy, menu: Menu, situation: Situation) -> None:
    action = policy(menu, situation)
    assert action.point is None or 0 <= action.point <= menu.finest
    assert 1 <= action.copies <= MOST_COPIES and (action.own is None or action.own in menu.own)


@given(menus, situations)
def test_what_a_learned_policy_sees_is_finite_and_as_much_for_each_menu_of_a_kind(
    menu: Menu, situation: Situation
) -> None:
    seen = observation(menu, situation)
    assert seen.dtype == np.float32 and ((seen >= 0) & (seen <= 1)).all()
    assert seen.shape == observation(replace(menu, answer_by=0.1), CALM).shape
    assert not np.isnan(observation(menu, replace(situation, link=replace(GOOD, spread=math.nan, rate=math.nan)))).any()


@given(menus, situations)
def test_a_frame_may_always_be_answered_and_within_the_limits(menu: Menu, situation: Situation) -> None:
    choices = actions(menu)
    assert len(set(choices)) == len(choices)
    allowed = [action for action in choices if is_allowed(menu, situation, action)]
    assert allowed and all(action.own for action in allowed) == bool(menu.own)
    assert all(action.point is None or action.point <= menu.finest for action in allowed)


def test_every_observation_and_every_price_counts() -> None:
    """Policies that ignored one could not be told from those that see it."""
    seen = observation(MENU, CALM)
    for name in LinkState.__dataclass_fields__:
        if name == "kept":  # says only how often to ask whether an outage is over, which is not learned
            continue
        changed: dict[str, Any] = {name: 7 * getattr(GOOD, name) or 0.5}
        other = replace(CALM, link=replace(GOOD, **changed))
        assert (observation(MENU, other) != seen).any(), name
    for name in ("second_price", "byte_price", "processor_share", "answer_by"):
        assert (observation(replace(MENU, **{name: 0.5 * getattr(MENU, name)}), CALM) != seen).any(), name
    assert (observation(MENU, replace(CALM, busy=0.5)) != seen).any()
    assert (observation(MENU, replace(CALM, own_seconds={**SECONDS, Own.EXIT: 0.02})) != seen).any()


@pytest.mark.parametrize("policy", CHOOSING)
def test_a_good_link_carries_the_finest_that_may_be_sent_and_the_edge_waits(policy: Policy) -> None:
    assert policy(MENU, CALM) == Action(2, 1, Own.WHOLE)
    assert policy(replace(MENU, most_bytes=600), CALM) == Action(1, 1, Own.WHOLE)
    assert policy(replace(MENU, most_bytes=10), CALM).point == 0


@pytest.mark.parametrize("policy", CHOOSING)
def test_in_an_outage_the_edge_answers_at_once_and_asks_now_and_then(policy: Policy) -> None:
    for link in (DEAD, LinkState(silence=3.0, idle=0.1, in_flight=1, newest=0.1)):
        assert policy(MENU, replace(CALM, link=link)) == Action(None, 1, Own.WHOLE, at_once=True)
        asking = replace(link, idle=0.5)
        assert policy(MENU, replace(CALM, link=asking)) == Action(0, 1, Own.WHOLE)
        heard = replace(link, silence=0.01)
        assert policy(MENU, replace(CALM, link=heard)).point == 0
    assert policy(MENU, replace(CALM, link=LinkState())).point == 0


@pytest.mark.parametrize("policy", CHOOSING)
def test_a_link_that_loses_what_is_sent_in_an_outage_is_asked_as_often_however_long_it_lasts(policy: Policy) -> None:
    """One that keeps it would have to carry all of that first."""
    for kept, silence, interval in (
        *((1.0, 0.5, PROBE), (1.0, 4.0, 4.0 * PATIENCE), (1.0, 100.0, LONGEST_PROBE), (1.0, math.inf, PROBE)),
        *((0.5, 4.0, 2.0 * PATIENCE), (0.0, 0.5, PROBE), (0.0, 100.0, PROBE)),
    ):
        for idle, asks in ((interval - 0.01, False), (interval, True)):
            link = replace(DEAD, silence=silence, idle=idle, kept=kept)
            assert (policy(MENU, replace(CALM, link=link)).point == 0) == asks


@pytest.mark.parametrize("policy", CHOOSING)
def test_a_server_that_does_not_answer_is_asked_less_often(policy: Policy) -> None:
    for busy, wait in ((replace(GOOD, unanswered=0.5), 0.5), (replace(GOOD, server=0.06), 0.06 / 0.1 - SLOW)):
        assert policy(MENU, replace(CALM, link=busy)) == Action(None, 1, Own.WHOLE, at_once=True)
        assert policy(MENU, replace(CALM, link=replace(busy, idle=wait * BACK_OFF + 0.01))).point is not None


def test_a_coarser_point_is_sent_where_the_server_takes_most_of_the_time() -> None:
    slow = [replace(CALM, link=replace(GOOD, round_trip=trip)) for trip in (0.01, 0.04, 0.05, 0.065)]
    assert [ladder(MENU, situation).point for situation in slow] == [2, 2, 1, 0]


def test_where_the_edges_own_answers_are_worse_what_gets_lost_is_sent_twice() -> None:
    lossy = replace(CALM, link=replace(GOOD, loss=0.2, expected=0.08))
    only_exit = replace(MENU, own={Own.EXIT: 0.3})
    assert predictive(only_exit, CALM).copies == 1 and predictive(only_exit, lossy).copies == 2
    assert predictive(replace(only_exit, byte_price=1e-4), lossy).copies == 1
    assert ladder(only_exit, lossy).copies == 2


def test_prices_decide_who_answers() -> None:
    """Where computing is free, an edge that answers as well need not send anything."""
    free = replace(MENU, own={Own.WHOLE: 0.44}, second_price=0.0)
    assert predictive(free, CALM).own is Own.WHOLE and predictive(free, CALM).at_once
    assert predictive(replace(free, second_price=5.0), CALM) == Action(2, 1, Own.WHOLE)
    dear = replace(MENU, second_price=40.0)
    assert best_own(dear, CALM) is Own.EXIT
    assert best_own(replace(dear, second_price=400.0), CALM) is None


def test_where_the_processors_share_is_spent_the_exit_answers_and_then_it_waits() -> None:
    dead = replace(CALM, link=DEAD)
    spent = replace(MENU, processor_share=0.2)
    assert predictive(spent, replace(dead, busy=0.195)) == Action(None, 1, Own.EXIT, at_once=True)
    assert predictive(spent, replace(dead, busy=0.2)) == Action(None, 1, Own.EXIT)
    assert predictive(replace(spent, own={Own.WHOLE: 0.43}), replace(dead, busy=0.2)) == Action(None, 1, Own.WHOLE)


def test_the_quickest_network_answers_where_the_better_would_be_late() -> None:
    assert best_own(MENU, replace(CALM, age=0.09)) is Own.EXIT
    assert best_own(MENU, replace(CALM, age=0.2)) is Own.EXIT
    assert best_own(replace(MENU, own={}), CALM) is None


def chance(situation: Situation, copies: int = 1) -> float:
    return foresee(MENU, situation, 300.0, copies, None).in_time


def test_the_chance_to_be_in_time_falls_with_loss_delay_outages_and_a_busy_server() -> None:
    assert 0.97 < chance(CALM) < 1.0
    changes: tuple[dict[str, Any], ...] = (
        *({"loss": 0.3}, {"round_trip": 0.08}, {"server": 0.08}),
        *({"missing": 0.01}, {"unanswered": 0.3}, {"round_trip": math.inf}),
    )
    for worse in changes:
        assert chance(replace(CALM, link=replace(GOOD, **worse))) < chance(CALM)
    lossy = replace(CALM, link=replace(GOOD, loss=0.3))
    assert chance(lossy) < chance(lossy, 2)
    assert chance(replace(CALM, link=replace(GOOD, loss=0.3, expected=0.09))) < chance(lossy)
    assert outage(GOOD) < 0.05 < outage(replace(GOOD, missing=0.1)) < outage(replace(GOOD, missing=0.01))


@given(loss=shares, expected=st.floats(0.01, 0.2))
def test_the_first_copies_and_those_that_go_out_again_are_reckoned_with(loss: float, expected: float) -> None:
    situation = replace(CALM, link=replace(GOOD, loss=loss, expected=expected, shortest=GOOD.round_trip))
    one, two = (foresee(MENU, situation, 300.0, copies, Own.WHOLE) for copies in (1, 2))
    assert 0 <= one.in_time <= two.in_time + 1e-9 and two.in_time <= 1
    assert one.early <= one.in_time and two.early <= two.in_time
    most = MOST_AGAIN * MOST_COPIES
    assert 1 <= one.sent <= 1 + 2 * most and 2 <= two.sent <= 2 + 2 * most


def test_an_answer_that_comes_while_an_own_one_is_computed_saves_nothing() -> None:
    early, late = (replace(CALM, link=replace(GOOD, round_trip=each, shortest=each)) for each in (0.01, 0.05))
    assert foresee(MENU, early, 300.0, 1, Own.WHOLE).early > 0.95
    found = foresee(MENU, late, 300.0, 1, Own.WHOLE)
    assert found.in_time > 0.8 and found.early < 0.1
    # Sent or not, the own answer costs the same then, and it is the better one.
    dear = replace(MENU, second_price=5.0, points=POINTS[:1])
    assert predictive(dear, early).at_once is False and predictive(dear, late).at_once


def test_a_slow_link_gets_what_is_small_enough_and_one_that_is_only_long_does_not() -> None:
    menu = replace(MENU, own={Own.EXIT: 0.3})
    for (round_trip, size, shortest), point in (
        *(((0.06, 860.0, 0.005), 1), ((0.052, 300.0, 0.005), 0)),
        *(((0.05, 860.0, 0.05), 2), ((0.05, 300.0, 0.05), 2)),
    ):
        link = replace(GOOD, round_trip=round_trip, size=size, shortest=shortest)
        assert predictive(menu, replace(CALM, link=link)).point == point


@given(st.floats(0.001, 1.0), st.floats(0.0, 1.0), st.floats(1.0, 1e4), st.floats(0.0, 1e4), st.floats(0.0, 1e4))
def test_more_bytes_take_longer_and_none_less_than_the_shortest(
    round_trip: float, part: float, size: float, one: float, other: float
) -> None:
    link = replace(GOOD, round_trip=round_trip, shortest=part * round_trip, size=size)
    smaller, larger = (round_trip_of(link, each) for each in sorted([one, other]))
    assert link.shortest - 1e-9 <= smaller <= larger
    assert round_trip_of(link, size) == pytest.approx(round_trip)
    assert round_trip_of(LinkState(), size) == math.inf


def test_what_is_missing_is_sent_again_only_where_its_answer_would_come_in_time() -> None:
    assert send_again_at(GOOD, 1.0, copies=1, deadline=1.1) == pytest.approx(1.03)
    assert send_again_at(GOOD, 1.0, copies=1, deadline=1.05) == math.inf
    assert send_again_at(GOOD, 1.0, copies=3, deadline=1.045) == pytest.approx(1.03)
    assert send_again_at(GOOD, 1.0, copies=3, deadline=1.035) == math.inf
    assert send_again_at(DEAD, 1.0, 1, deadline=1.1) == send_again_at(LinkState(), 1.0, 1, deadline=1.1) == math.inf


def test_the_server_is_the_more_probably_done_the_more_copies_brought_no_answer() -> None:
    lossy = replace(GOOD, loss=0.2)
    assert [takes_again(lossy, copies) for copies in (1, 2, 3)] == pytest.approx([0.025, 0.025, 0.01])


def test_a_fixed_policy_sends_all_alike_and_others_are_found_by_their_names() -> None:
    assert fixed(1, copies=2)(MENU, replace(CALM, link=DEAD)) == Action(1, 2, Own.WHOLE)
    assert find_policy("ladder") is ladder and find_policy("predictive") is predictive
    expected = "policy is 'best', expected one of fixed, ladder, predictive, exit, whole, or learned:PATH"
    with pytest.raises(InputError, match=expected):
        find_policy("best")


@pytest.mark.parametrize("own", Own)
def test_who_answers_alone_sends_nothing_whatever_the_link(own: Own) -> None:
    for link in (GOOD, DEAD, LinkState()):
        assert alone(own)(MENU, replace(CALM, link=link)) == Action(None, own=own, at_once=True)


def test_the_actions_are_in_the_order_that_learned_policies_were_made_for() -> None:
    small = replace(MENU, points=POINTS[:1])
    assert actions(small) == [
        Action(0, 1, Own.EXIT),
        Action(0, 1, Own.WHOLE),
        Action(0, 2, Own.EXIT),
        Action(0, 2, Own.WHOLE),
        Action(None, 1, Own.EXIT, at_once=True),
        Action(None, 1, Own.WHOLE, at_once=True),
        Action(None),
    ]
    assert actions(replace(small, own={})) == [Action(0, 1), Action(0, 2), Action(None)]
