"""The simulator as a Gymnasium environment: a step is a frame, and a reward what it brought by its deadline."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np

from mtl_split_core.control.link import LinkState
from mtl_split_core.control.policy import Action, Menu, Own, Situation, actions, ask, is_allowed, observation
from mtl_split_core.scene import Floats
from mtl_split_lab.adaptation.simulator import Drive, Simulation, Times

ALLOWED = "allowed"
"""In a step's information: which actions keep to the limits, bool (actions,)."""


class DriveEnvironment(gymnasium.Env[Floats, np.int64]):
    """One drive after the other of one vehicle.

    Observations and actions are those of mtl_split_core.control.policy; an action that is not allowed is replaced by
    the quickest own answer. The reward of a step is what was there by the deadline for those frames whose deadline has
    passed since the step before, by the menu's values, less what was spent since then, by the menu's prices.

    menu, choices: of the present drive, and its actions; simulation, decision, observed: of the drive, and of the frame
    that waits.
    """

    def __init__(
        self,
        menu: Menu,
        times: Times,
        draw: Callable[[np.random.Generator], Drive],
        prices: tuple[float, float] = (1.0, 1.0),
    ) -> None:
        """Prepare; draw: returns a drive; prices: the range of what the menu's are multiplied by in each drive."""
        self.menu = self._menu = menu
        self._prices = prices
        self.choices = actions(menu)
        self._times, self._draw = times, draw
        count = len(observation(menu, Situation(0.0, times.own, 0.0, LinkState())))
        self.observation_space = gymnasium.spaces.Box(0.0, 1.0, (count,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(len(self.choices))  # type: ignore[assignment]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Floats, dict[str, Any]]:
        """Begin a new drive."""
        super().reset(seed=seed, options=options)
        drive = self._draw(self.np_random)
        factor = float(np.exp(self.np_random.uniform(*np.log(self._prices))))
        prices = {name: getattr(self._menu, name) * factor for name in ("second_price", "byte_price")}
        self.menu = replace(self._menu, **prices)
        self._rate = drive.rate
        self.simulation = Simulation(self.menu, self._times, [drive])
        self._decisions = self.simulation.decisions()
        self.decision = next(self._decisions)
        self._settled, self._spent = 0, 0.0
        return self._observe()

    def step(self, action: np.int64) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        """Decide on the present frame, and go on to the next."""
        chosen = self.choices[int(action)]
        if not is_allowed(self.menu, self.decision.situation, chosen):
            chosen = self._instead()
        self.simulation.act(ask(self.menu, self.decision.situation, chosen))
        after = next(self._decisions, None)
        if after is not None:
            self.decision = after
        reward = self._settle(ended=after is None)
        seen, information = self._observe()
        return seen, reward, False, after is None, information

    def _instead(self) -> Action:
        seconds = self.decision.situation.own_seconds
        own: Own | None = min(self.menu.own, key=lambda each: seconds[each], default=None)
        return Action(None, own=own, at_once=own is not None)

    def _observe(self) -> tuple[Floats, dict[str, Any]]:
        situation = self.decision.situation
        allowed = np.array([is_allowed(self.menu, situation, choice) for choice in self.choices])
        self.observed = observation(self.menu, situation)
        return self.observed, {ALLOWED: allowed}

    def _settle(self, ended: bool) -> float:
        [outcomes] = self.simulation.outcomes
        ago = self.menu.answer_by - self.decision.situation.age
        passed = math.floor(self.decision.frame - ago * self._rate + 1e-6) + 1
        until = len(outcomes) if ended else max(self._settled, min(passed, self.decision.frame))
        value = 0.0
        for outcome in outcomes[self._settled : until]:
            source = outcome.in_time(self.menu.answer_by)
            if source is not None:
                value += self.menu.own[source] if isinstance(source, Own) else self.menu.points[source].value
        spent = self.simulation.spent(0)
        value -= spent - self._spent
        self._settled, self._spent = until, spent
        return value
