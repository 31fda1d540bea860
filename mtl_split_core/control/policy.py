"""What the edge does with a frame: pure functions from what is known of link and frame to an action.

Choosing where and how to send by the state of the link follows *Dynamic Split Computing* (Bakhtiarnia et al., ICC 2023,
arXiv 2205.11269); here the choices are the operating points of one cut, copies, and the edge's own answers.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from mtl_split_core.control.link import LinkState
from mtl_split_core.errors import InputError

FIXED, LADDER, PREDICTIVE = "fixed", "ladder", "predictive"
POLICIES = (FIXED, LADDER, PREDICTIVE)

PROBE = 0.2
"""Seconds between two bottlenecks that only ask whether the link carries anything again."""

LEAST_LOSS = 0.01
"""The loss that is reckoned with where none has been seen."""

OUTAGE_CHANCE = 0.01
"""How probable an outage is before any report is missing."""

LEAST_SPREAD = 0.005
"""Seconds by which times on a link differ at least."""


class Own(Enum):
    """A network on the edge that answers by itself: the bundle's exit, or its whole suffix."""

    EXIT = "exit"
    WHOLE = "whole"


@dataclass(frozen=True)
class Point:
    """An operating point to send at: the usual bytes of its payloads, and how good the answers are, 0 to 1."""

    size: float
    value: float


@dataclass(frozen=True)
class Menu:
    """What there is to choose from, and what it costs.

    points: coarsest first; own: how good the edge's own answers are, 0 to 1, for each network that it has; answer_by:
    seconds from the image's stamp; processor_share: of one core, that own answers may take, 0 to 1; second_price,
    byte_price: value that a second of the vehicle's processor and a byte on the link have to bring.
    """

    points: Sequence[Point]
    own: Mapping[Own, float]
    answer_by: float
    processor_share: float = 1.0
    second_price: float = 0.0
    byte_price: float = 0.0


@dataclass(frozen=True)
class Situation:
    """What a policy sees of one frame.

    age: of the image, in seconds; own_seconds: what an own answer takes, by network; busy: the part of one core that
    own answers took of late, 0 to 1; link: what is known of it.
    """

    age: float
    own_seconds: Mapping[Own, float]
    busy: float
    link: LinkState


@dataclass(frozen=True)
class Action:
    """What to do with a frame.

    point: index of the operating point to send at, None: nothing is sent; copies: how often, 1 or 2; own: the network
    that answers where the server's answer cannot be waited for any longer, None: none does; at_once: it begins now,
    instead of then. Without a point and without a network the frame is skipped.
    """

    point: int | None
    copies: int = 1
    own: Own | None = None
    at_once: bool = False


class Policy(Protocol):
    """Decides, frame by frame, on nothing but its arguments."""

    def __call__(self, menu: Menu, situation: Situation) -> Action: ...


def fixed(menu: Menu, situation: Situation) -> Action:
    """Send at the finest point of the menu, whatever the link."""
    return Action(len(menu.points) - 1, own=best_own(menu, situation))


def ladder(menu: Menu, situation: Situation) -> Action:
    """Step down by the time that is left: the finest point while the server answers in half of the time there is."""
    if is_out(situation.link):
        return probe(menu, situation)
    left = menu.answer_by - situation.age
    needed = situation.link.round_trip + situation.link.server
    steps = len(menu.points)
    share = min(1.0, max(0.0, 2.0 * (1.0 - needed / left))) if left > 0 and needed < math.inf else 0.0
    copies = 1 + (situation.link.loss > LEAST_LOSS)
    return Action(max(0, math.ceil(steps * share) - 1), copies, best_own(menu, situation))


def predictive(menu: Menu, situation: Situation) -> Action:
    """Take what has the best expected value: by the chance that the server answers in time, else the edge's own.

    An outage becomes probable as reports are missing that should be there.
    """
    action = probe(menu, situation)
    own = own_value(menu, situation, action.own)
    best = own
    for index, point in enumerate(menu.points):
        for copies in (1, 2):
            chance = in_time(menu, situation, point, copies)
            value = chance * point.value + (1 - chance) * own - menu.byte_price * copies * point.size
            if value > best:
                best, action = value, Action(index, copies, action.own)
    return action


def best_own(menu: Menu, situation: Situation) -> Own | None:
    """Return the network whose own answer is worth most, None where the edge has none."""
    return max(menu.own, key=lambda own: own_value(menu, situation, own), default=None)


def own_value(menu: Menu, situation: Situation, own: Own | None) -> float:
    """Return what an own answer is worth: less what it costs, and only the price where it comes too late."""
    if own is None:
        return 0.0
    seconds = situation.own_seconds[own]
    return menu.own[own] * (situation.age + seconds <= menu.answer_by) - menu.second_price * seconds


def in_time(menu: Menu, situation: Situation, point: Point, copies: int) -> float:
    """Return how probable it is that the server answers in time."""
    link = situation.link
    if math.isinf(link.round_trip):
        return 0.0
    left = menu.answer_by - situation.age - link.round_trip - link.server
    spread = max(LEAST_SPREAD, min(link.spread, link.round_trip))
    soon = 1 / (1 + math.exp(-max(-50.0, min(50.0, 2 * left / spread))))
    arrives = 1 - max(LEAST_LOSS, link.loss) ** copies
    return float((1 - outage(link)) * soon * arrives * (1 - link.unanswered))


def outage(link: LinkState) -> float:
    """Return how probable it is that nothing passes: each report that is missing is either one lost, or the outage."""
    by_loss = max(LEAST_LOSS, link.loss) ** link.overdue
    return OUTAGE_CHANCE / (OUTAGE_CHANCE + (1 - OUTAGE_CHANCE) * by_loss)


def is_out(link: LinkState) -> bool:
    """Whether an outage is more probable than none, or nothing has been heard yet."""
    return math.isinf(link.round_trip) or outage(link) > 0.5


def probe(menu: Menu, situation: Situation) -> Action:
    """Answer by oneself, and now and then ask whether the link carries anything again."""
    link = situation.link
    heard = link.silence < link.newest
    point = 0 if not link.in_flight or heard or link.newest >= PROBE else None
    return Action(point, own=best_own(menu, situation), at_once=True)


def find_policy(name: str) -> Policy:
    """Return the policy of that name. Raises InputError for one that there is not."""
    policies: dict[str, Policy] = {FIXED: fixed, LADDER: ladder, PREDICTIVE: predictive}
    if name not in policies:
        raise InputError(f"policy is {name!r}, expected one of {', '.join(POLICIES)}")
    return policies[name]
