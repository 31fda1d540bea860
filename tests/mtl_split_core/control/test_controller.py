"""The controller remembers what own answers take, and hands a policy nothing but what is known."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from mtl_split_core.bundle import write_manifest
from mtl_split_core.control.controller import NOMINAL, RECENT, Controller, is_measured, menu_of
from mtl_split_core.control.link import Fate, Report
from mtl_split_core.control.policy import BUSY_WINDOW, RESERVE, SLACK, Action, Menu, Own, Point, Situation, fixed

from ...tiny_bundle import write_tiny_bundle

MENU = Menu((Point(300.0, 0.4),), {Own.EXIT: 0.3, Own.WHOLE: 0.43}, 0.1)
SECONDS = {Own.EXIT: 0.002, Own.WHOLE: 0.01}


def controller(menu: Menu = MENU) -> Controller:
    return Controller(menu, fixed(0), 7, SECONDS)


def test_the_time_for_an_own_answer_is_the_longest_of_the_recent_and_it_costs_the_usual() -> None:
    own = controller()
    for seconds in (0.01, 0.03, 0.01, 0.01):
        own.computed(Own.WHOLE, seconds, now=1.0)
    assert own.needed(Own.WHOLE) == pytest.approx(0.03 + SLACK) and own.needed(Own.EXIT) == pytest.approx(0.002 + SLACK)
    situation = own.observe(0.02, now=1.5)
    assert situation.own_seconds == {Own.EXIT: 0.002, Own.WHOLE: 0.01} and situation.age == 0.02
    assert situation.busy == pytest.approx(0.06 / BUSY_WINDOW)
    assert own.observe(0.02, now=1.1 + BUSY_WINDOW).busy == 0.0
    for _ in range(RECENT):
        own.computed(Own.WHOLE, 0.02, now=3.0)
    assert own.needed(Own.WHOLE) == pytest.approx(0.02 + SLACK)
    assert own.observe(0.0, now=3.0).busy <= 1.0


def test_the_quicker_network_answers_where_there_is_no_time_for_the_chosen_one() -> None:
    own = controller()
    assert own.network_for(Own.WHOLE, left=0.05) is Own.WHOLE
    assert own.network_for(Own.WHOLE, left=0.005) is own.network_for(Own.EXIT, left=-1.0) is Own.EXIT
    alone = Controller(replace(MENU, own={Own.WHOLE: 0.4}), fixed(0), 7, SECONDS)
    assert alone.network_for(Own.WHOLE, left=-1.0) is Own.WHOLE


def test_the_policy_chooses_by_what_the_link_has_told() -> None:
    own = controller()
    seen: list[Situation] = []

    def policy(menu: Menu, situation: Situation) -> Action:
        seen.append(situation)
        return Action(0, own=Own.EXIT)

    own.policy = policy
    own.sent(0, 300, copies=2, now=1.0)
    own.sent_again(0, copies=1, now=1.04)
    account = own.reported(Report(7, 0, 1, 0.0, 0.01, Fate.ANSWERED, copies=1), now=1.05)
    assert account is not None
    assert own.choose(own.observe(0.01, now=1.1)) == Action(0, own=Own.EXIT)
    assert seen[0].link.loss == pytest.approx(2 / 3) and seen[0].link.round_trip == pytest.approx(0.04)
    assert own.send_again_at(2.0, deadline=2.2) == pytest.approx(2.055)
    assert own.send_again_at(2.0, deadline=2.055 + 0.04 + RESERVE - 0.001) == math.inf
    assert own.answer_alone(seen[0]) == Action(None, own=Own.WHOLE, at_once=True)


def test_a_menu_tells_what_the_bundle_has_measured(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "tiny")
    unmeasured = menu_of(bundle, [Own.WHOLE], 0.1)
    assert not is_measured(bundle, [Own.WHOLE]) and unmeasured.own == {Own.WHOLE: NOMINAL[Own.WHOLE]}
    told = {
        "median_bytes": {"coarse": 30.0, "fine": 60.0},
        "values": {"server": {"coarse": 0.4, "fine": 0.5}, "whole": 0.6},
    }
    measured = write_manifest(bundle.folder, {**bundle.manifest, **told})
    assert is_measured(measured, [Own.WHOLE]) and not is_measured(measured, Own)
    menu = menu_of(measured, [Own.WHOLE], 0.1, processor_share=0.3)
    assert menu == Menu([Point(30.0, 0.4), Point(60.0, 0.5)], {Own.WHOLE: 0.6}, 0.1, processor_share=0.3)
