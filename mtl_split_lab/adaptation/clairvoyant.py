"""What each action would bring, by the link as it will really be: the bound, and what can be imitated."""

from collections.abc import Callable, Sequence

import numpy as np

from mtl_split_core.control.policy import RESERVE, SLACK, Action, Menu, actions, ask, is_allowed
from mtl_split_core.scene import Floats
from mtl_split_lab.adaptation.simulator import Decision, Outcome, Simulation

DRIVES = 3
"""So often a drive is driven at most."""


def foreseen_values(
    simulation: Simulation, decision: Decision, menu: Menu, choices: Sequence[Action], knows: bool = False
) -> Floats:
    """Return what each action brings by the menu's values, less what it costs: float32 (actions,).

    NaN for those that are not allowed. knows: whether who acts knows the link too, so that it never has to ask, and
    begins no own answer in vain.
    """
    situation = decision.situation
    values = np.full(len(choices), np.nan, np.float32)
    foreseen: dict[tuple[int, int], float] = {}
    for number, action in enumerate(choices):
        if not is_allowed(menu, situation, action):
            continue
        action = action if knows else ask(menu, situation, action)
        arrived = own_done = np.inf
        value = 0.0
        if action.point is not None:
            sent = action.point, action.copies
            arrived = foreseen[sent] = foreseen.get(sent) or simulation.foresee(*sent)
            value -= menu.points[action.point].size * action.copies * menu.byte_price
        if action.own is not None:
            seconds = situation.own_seconds[action.own]
            waits = action.point is not None and not action.at_once
            begins = max(situation.age, menu.answer_by - seconds - SLACK) if waits else situation.age
            in_vain = knows and waits and arrived <= menu.answer_by
            if arrived > begins and not in_vain:
                own_done = max(begins + seconds, menu.answer_by - RESERVE if waits else 0.0)
                value -= seconds * menu.second_price
        if min(arrived, own_done) <= menu.answer_by:
            is_own = action.own is not None and own_done < arrived
            value += menu.own[action.own] if is_own and action.own else menu.points[action.point or 0].value
        values[number] = value
    return values


def drive_clairvoyant(begin: Callable[[], Simulation], menu: Menu) -> list[list[Outcome]]:
    """Return what becomes of the frames where each gets the action that brings most, the link being known.

    It does not look beyond the frame, so that it is no bound where what one frame sends holds up the next ones; that it
    sends nothing that will be late makes this rare. What then had no answer in time has an own one, the drive being
    driven again. Where packets get lost by chance, sending again has other luck.

    begin: returns the drive, each time anew.
    """
    choices = actions(menu)
    unanswered: set[tuple[int, int]] = set()
    for _ in range(DRIVES):
        simulation = begin()
        for decision in simulation.decisions():
            best = choices[int(np.nanargmax(foreseen_values(simulation, decision, menu, choices, knows=True)))]
            trusts = best.point is not None and (decision.vehicle, decision.frame) not in unanswered
            if trusts and simulation.foresee(best.point or 0, best.copies) <= menu.answer_by:
                best = Action(best.point, best.copies)
            simulation.act(best)
        outcomes = simulation.outcomes
        missed = {
            (vehicle, frame)
            for vehicle, own in enumerate(outcomes)
            for frame, outcome in enumerate(own)
            if outcome.in_time(menu.answer_by) is None
        }
        if missed <= unanswered:
            break
        unanswered |= missed
    return outcomes
