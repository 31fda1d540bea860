"""What each action would bring, by the link as it will really be: the bound, and what can be imitated."""

from collections.abc import Sequence

import numpy as np

from mtl_split_core.control.controller import SLACK
from mtl_split_core.control.policy import Action, Menu, actions, is_allowed
from mtl_split_core.scene import Floats
from mtl_split_lab.adaptation.simulator import Decision, Outcome, Simulation


def foreseen_values(simulation: Simulation, decision: Decision, menu: Menu, choices: Sequence[Action]) -> Floats:
    """Return what each action brings by the menu's values, less what it costs: float32 (actions,).

    NaN for those that are not allowed.
    """
    situation = decision.situation
    values = np.full(len(choices), np.nan, np.float32)
    foreseen: dict[tuple[int, int], float] = {}
    for number, action in enumerate(choices):
        if not is_allowed(menu, situation, action):
            continue
        age, value = situation.age, 0.0
        if action.point is not None:
            sent = action.point, action.copies
            if sent not in foreseen:
                foreseen[sent] = simulation.foresee(*sent)
            age = foreseen[sent]
            value -= menu.points[action.point].size * action.copies * menu.byte_price
        answered = action.point is not None and age <= menu.answer_by
        if answered and action.point is not None:
            value += menu.points[action.point].value
        if action.own is not None:
            seconds = situation.own_seconds[action.own]
            begins = situation.age if action.at_once else max(situation.age, menu.answer_by - seconds - SLACK)
            in_time = begins + seconds <= menu.answer_by
            value += menu.own[action.own] * (in_time and not answered)
            value -= seconds * menu.second_price * (age > begins or action.point is None)
        values[number] = value
    return values


def drive_clairvoyant(simulation: Simulation, menu: Menu) -> list[list[Outcome]]:
    """Return what becomes of the frames where each gets the action that brings most, the link being known.

    It does not look beyond the frame, so that it is no bound where what one frame sends holds up the next ones; that it
    sends nothing that will be late makes this rare.
    """
    choices = actions(menu)
    for decision in simulation.decisions():
        best = choices[int(np.nanargmax(foreseen_values(simulation, decision, menu, choices)))]
        if best.point is not None and simulation.foresee(best.point, best.copies) <= menu.answer_by:
            best = Action(best.point, best.copies)
        simulation.act(best)
    return simulation.outcomes
