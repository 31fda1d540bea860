"""What the edge does with a frame: pure functions from what is known of link and frame to an action.

Choosing where and how to send by the state of the link follows *Dynamic Split Computing* (Bakhtiarnia et al., ICC 2023,
arXiv 2205.11269); here the choices are the operating points of one cut, copies, and the edge's own answers.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple, Protocol

import numpy as np

from mtl_split_core.control.link import LEAST_LOSS, LEAST_SPREAD, LinkState
from mtl_split_core.errors import InputError
from mtl_split_core.scene import Floats

FIXED, LADDER, PREDICTIVE = "fixed", "ladder", "predictive"
POLICIES = (FIXED, LADDER, PREDICTIVE)

ALONE = ("exit", "whole")
"""Policies that are named by the network on the edge that answers everything."""

LEARNED = "learned:"
"""What the name of a learned policy begins with; its file's path follows."""

PROBE = 0.15
"""Seconds, at least, between two bottlenecks that only ask whether the link carries anything again."""

PATIENCE = 0.125
"""The part of an outage so far after which that is asked again where what is sent meanwhile waits in a modem for the
end, and delays what comes after it. Where it gets lost, PROBE is enough.
"""

LONGEST_PROBE = 2.0
"""Seconds, at most, between two such bottlenecks: what has waited in a short outage may be lost in a long one."""

BACK_OFF = 1.0
"""Seconds between two bottlenecks for a server that answers none; in proportion for one that answers some or slowly."""

SLOW = 0.3
"""The part of the time to the deadline above which a server's queue and service are slow."""

OUTAGE_CHANCE = 0.01
"""How probable an outage is before any report is missing."""

OUT = 0.9
"""The chance of an outage above which the link is taken to be out."""

BUSY_WINDOW = 1.0
"""Seconds over which the processor's share of own answers is taken."""

MOST_COPIES = 2
"""A bottleneck goes out so often at most at a time."""

MOST_AGAIN = 3
"""So many times a bottleneck goes out again at most because its answer is missing, each time MOST_COPIES of it."""


SLACK = 0.02
"""Seconds that an own answer begins earlier than it has to by the longest of the recent ones: it is cheaper to compute
a few in vain than to be late when the processor is busy.
"""

FRAMING = 400.0
"""Bytes that pass beside a payload until its report is there, the answer left out: the way back is mostly faster."""

RESERVE = 0.015
"""Seconds before the deadline at which an own answer goes out, where the server's may still forestall it."""


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
    byte_price: value that a second of the vehicle's processor and a byte on the link have to bring; most_bytes: of a
    payload, so that points that usually take more are not chosen, but for the coarsest.
    """

    points: Sequence[Point]
    own: Mapping[Own, float]
    answer_by: float
    processor_share: float = 1.0
    second_price: float = 0.0
    byte_price: float = 0.0
    most_bytes: float = math.inf

    @property
    def finest(self) -> int:
        """Index of the finest point that may be chosen."""
        return max(0, sum(point.size <= self.most_bytes for point in self.points) - 1)


@dataclass(frozen=True)
class Situation:
    """What a policy sees of one frame.

    age: of the image, in seconds; own_seconds: what an own answer takes, by network; busy: the part of one core that
    own answers took in the last BUSY_WINDOW seconds, 0 to 1; link: what is known of it.
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


def fixed(point: int, copies: int = 1) -> Policy:
    """Return the policy that sends every frame at one operating point, by its index, whatever the link."""

    def policy(menu: Menu, situation: Situation) -> Action:
        return Action(point, copies, best_own(menu, situation))

    return policy


def alone(own: Own) -> Policy:
    """Return the policy that sends nothing: a network on the edge answers every frame, at once."""

    def policy(menu: Menu, situation: Situation) -> Action:
        return Action(None, own=own, at_once=True)

    return policy


def ladder(menu: Menu, situation: Situation) -> Action:
    """Step down by the time that is left: the finest point while the server answers in half of the time there is."""
    link = situation.link
    if is_out(link) or has_to_wait(menu, link):
        return answer_alone(menu, situation)
    left = menu.answer_by - situation.age
    steps = menu.finest + 1
    share = min(1.0, max(0.0, 2.0 * (1.0 - (link.round_trip + link.server) / left))) if left > 0 else 0.0
    copies = 1 + (link.loss > LEAST_LOSS)
    return Action(max(0, math.ceil(steps * share) - 1), copies, best_own(menu, situation))


def predictive(menu: Menu, situation: Situation) -> Action:
    """Take what has the best expected value: by the chance that the server answers in time, else the edge's own.

    An outage becomes probable as reports are missing that should be there. A slow link favours what is small, also
    because an own answer begins before the server's is given up: it costs its price unless the server's comes earlier.
    """
    action = answer_alone(menu, situation)
    if has_to_wait(menu, situation.link):
        return action
    own = best_own(menu, situation)
    best = alone = own_value(menu, situation, own)
    price = own_price(menu, situation, own) if own else 0.0
    for index, point in enumerate(menu.points[: menu.finest + 1]):
        for copies in range(1, MOST_COPIES + 1):
            found = foresee(menu, situation, point.size, copies, own)
            value = found.in_time * point.value + (1 - found.in_time) * alone
            value -= (found.in_time - found.early) * price + menu.byte_price * found.sent * point.size
            if value > best:
                best, action = value, Action(index, copies, own)
    return action


def best_own(menu: Menu, situation: Situation) -> Own | None:
    """Return the network whose own answer is worth most, of those that are in time and within the processor's share.

    Where none is, the quickest; None where the edge has none, or none is worth its seconds.
    """
    worthy = [own for own in menu.own if menu.own[own] > own_price(menu, situation, own)]
    good = [own for own in worthy if has_room(menu, situation, own) and is_in_time(menu, situation, own)]
    if good:
        return max(good, key=lambda own: own_value(menu, situation, own))
    return min(worthy, key=lambda own: situation.own_seconds[own], default=None)


def own_value(menu: Menu, situation: Situation, own: Own | None) -> float:
    """Return what an own answer is worth: less what it costs, and only the price where it comes too late."""
    if own is None:
        return 0.0
    return menu.own[own] * is_in_time(menu, situation, own) - own_price(menu, situation, own)


def own_price(menu: Menu, situation: Situation, own: Own) -> float:
    """Return what an own answer costs, used or not."""
    return menu.second_price * situation.own_seconds[own]


def is_in_time(menu: Menu, situation: Situation, own: Own) -> bool:
    """Whether an own answer that begins now comes in time."""
    return situation.age + situation.own_seconds[own] <= menu.answer_by


def has_room(menu: Menu, situation: Situation, own: Own) -> bool:
    """Whether the processor's share has room for one more answer of a network."""
    return situation.busy + situation.own_seconds[own] / BUSY_WINDOW <= menu.processor_share


class Prospect(NamedTuple):
    """What is to be expected of a bottleneck.

    in_time: how probable it is that the server answers in time; early: that it does before an own answer has to begin;
    sent: how often the bottleneck goes out on average.
    """

    in_time: float
    early: float
    sent: float


def foresee(menu: Menu, situation: Situation, size: float, copies: int, own: Own | None) -> Prospect:
    """Return what is to be expected of a bottleneck.

    size: bytes of its payload; copies: sent at first; it goes out again where time is left; own: the network that
    answers where the server does not. Answers are taken to come back as often as bottlenecks arrive, and to get lost as
    easily.
    """
    link = situation.link
    if math.isinf(link.round_trip):
        return Prospect(0.0, 0.0, float(copies))
    left = answer_by(menu) - situation.age
    first = round_trip_of(link, copies * size) + link.server
    spread = max(LEAST_SPREAD, min(link.spread, link.round_trip))
    begins = menu.answer_by - situation.age - (situation.own_seconds[own] + SLACK if own else 0.0)
    passes, asked = _exchange(link, copies, left - first)
    early, sent = passes, copies + asked
    for again in range(MOST_AGAIN):
        rest = left - (again + 1) * link.expected - takes_again(link, copies + again * MOST_COPIES)
        if rest >= 0:
            more, asked = _exchange(link, MOST_COPIES, rest)
            sent += (1 - passes) * (MOST_COPIES + asked)
            passes += (1 - passes) * more
    answers = (1 - outage(link)) * (1 - link.unanswered)
    soon, sooner = (_chance_to_spare(seconds - first, spread) for seconds in (left, min(left, begins)))
    return Prospect(answers * soon * passes, answers * sooner * early, sent)


def _chance_to_spare(seconds: float, spread: float) -> float:
    """Return how probable it is that something which varies by a spread, and should be so early, is in time."""
    return 1 / (1 + math.exp(-max(-50.0, min(50.0, 2 * seconds / spread))))


def round_trip_of(link: LinkState, size: float) -> float:
    """Return the seconds that a round trip takes for so many bytes of payload, copies included.

    What it takes longer than the shortest one is taken to be in proportion to the bytes that pass.
    """
    if math.isinf(link.round_trip) or not link.size:
        return link.round_trip
    return link.shortest + (link.round_trip - link.shortest) * (size + FRAMING) / (link.size + FRAMING)


def _exchange(link: LinkState, copies: int, rest: float) -> tuple[float, float]:
    """Return how probable an answer is to so many copies, and how often the bottleneck goes out again to get it.

    An answer that is lost is asked for again as soon as the report has come, if there is a `rest` of time for it.
    """
    loss = max(LEAST_LOSS, link.loss)
    arrives = 1 - loss**copies
    asked = arrives * loss**copies * (1 - loss) if rest >= link.round_trip else 0.0
    return arrives * (1 - loss**copies) + asked * (1 - loss**MOST_COPIES) ** 2, asked * MOST_COPIES


def answer_by(menu: Menu) -> float:
    """Return the age by which the server's answer counts: where the edge has an own one, that goes out then."""
    return menu.answer_by - reserve(menu)


def reserve(menu: Menu) -> float:
    """Return how many seconds before a deadline the server's answer does not count any more."""
    return RESERVE if menu.own else 0.0


def send_again_at(link: LinkState, sent: float, copies: int, deadline: float) -> float:
    """Return when a bottleneck is to be sent again if no answer has come; infinity where that would come too late.

    sent: when it went out last; copies: how often so far; deadline: by which the server's answer counts; times of one
    clock, in seconds.
    """
    if is_out(link) or sent + link.expected + takes_again(link, copies) > deadline:
        return math.inf
    return sent + link.expected


def takes_again(link: LinkState, copies: int) -> float:
    """Return the seconds to the answer to what is sent again, after so many copies of which nothing was heard.

    More of them make it more probable that the server has it, and only has to repeat its answer.
    """
    loss = max(LEAST_LOSS, link.loss)
    has_it = (1 - loss**copies) * loss**2 > loss**copies
    return link.round_trip + (0.0 if has_it else link.server)


def outage(link: LinkState) -> float:
    """Return how probable it is that nothing passes: the reports that are missing got lost, or it is an outage."""
    return OUTAGE_CHANCE / (OUTAGE_CHANCE + (1 - OUTAGE_CHANCE) * link.missing)


def is_out(link: LinkState) -> bool:
    """Whether an outage is nearly certain, or nothing has been heard yet."""
    return math.isinf(link.round_trip) or outage(link) > OUT


def has_to_wait(menu: Menu, link: LinkState) -> bool:
    """Whether the server, which is busy or failing, is to be left alone for now."""
    return link.idle < BACK_OFF * max(link.unanswered, min(1.0, link.server / menu.answer_by - SLOW))


def answer_alone(menu: Menu, situation: Situation) -> Action:
    """Answer by oneself, at once where the processor has room, and now and then ask whether the server answers."""
    own = best_own(menu, situation)
    return ask(menu, situation, Action(None, own=own, at_once=own is not None and has_room(menu, situation, own)))


def ask(menu: Menu, situation: Situation, action: Action) -> Action:
    """Return an action that sends nothing with a bottleneck that asks whether the server answers, if it is time for it.

    Who never asked would never know that an outage is over. Its answer is waited for then, so that the server's first
    one need not be that to a further frame.
    """
    link = situation.link
    if action.point is not None:
        return action
    heard = not link.in_flight or link.silence < link.newest
    # Before the first report the middleware may not have found the server yet, and then nothing is sent in fact.
    silence = link.silence if link.silence < math.inf else 0.0
    interval = max(PROBE, min(LONGEST_PROBE, PATIENCE * silence) * link.kept)
    asks = (heard or link.idle >= interval) and not has_to_wait(menu, link)
    return replace(action, point=0, at_once=action.at_once and not is_out(link)) if asks else action


def find_policy(name: str) -> Policy:
    """Return a policy that chooses by itself, by its name. Raises InputError for one that there is not."""
    policies: dict[str, Policy] = {LADDER: ladder, PREDICTIVE: predictive}
    if name not in policies:
        raise InputError(f"policy is {name!r}, expected one of {', '.join((*POLICIES, *ALONE))}, or learned:PATH")
    return policies[name]


def actions(menu: Menu) -> list[Action]:
    """Return all actions of a menu, in the order in which a learned policy values them.

    First what is sent: points from the coarsest on, at each once and twice, with each own network to fall back upon;
    then each own network alone, at once; last the skip.
    """
    networks = [own for own in Own if own in menu.own]
    fallbacks: list[Own | None] = [*networks] or [None]
    sends = itertools.product(range(len(menu.points)), range(1, MOST_COPIES + 1), fallbacks)
    alone = [Action(None, own=own, at_once=True) for own in networks]
    return [*(Action(point, copies, own) for point, copies, own in sends), *alone, Action(None)]


def is_allowed(menu: Menu, situation: Situation, action: Action) -> bool:
    """Whether an action keeps to the limits of bytes and of the processor, and gives way to a busy server.

    Of the own networks, the quickest is always allowed, and no frame that the edge could answer is skipped.
    """
    if action.point is not None and (action.point > menu.finest or has_to_wait(menu, situation.link)):
        return False
    if action.own is None:
        return not menu.own
    quickest = min(menu.own, key=lambda own: situation.own_seconds[own])
    return action.own == quickest or has_room(menu, situation, action.own)


def observation(menu: Menu, situation: Situation) -> Floats:
    """Return what a learned policy sees: float32, each from 0 to 1, for anything that may be known.

    Times and sizes, from 0 to infinity, become x / (x + their scale). Of menus with as many points and the same own
    networks they are equally many numbers, in the same order.
    """
    link, scale = situation.link, menu.answer_by
    left = menu.answer_by - situation.age - link.round_trip - link.server
    times = (
        *(situation.age, max(0.0, left), link.round_trip, link.server, link.spread),
        *(link.silence, link.idle, link.oldest, link.newest, link.expected, link.shortest),
    )
    networks = [own for own in Own if own in menu.own]
    prices = menu.second_price, menu.byte_price * 1e6
    numbers = [
        *(_squash(seconds, scale) for seconds in times),
        *(_squash(link.in_flight, 4.0), _squash(link.overdue, 2.0), _squash(link.rate, 1e4), _squash(link.size, 1e3)),
        *(outage(link), link.loss, link.unanswered, situation.busy, menu.processor_share),
        *(_squash(price, 1.0) for price in prices),
        *(number for point in menu.points for number in (_squash(point.size, 1e3), point.value)),
        *(number for own in networks for number in (_squash(situation.own_seconds[own], scale), menu.own[own])),
    ]
    return np.clip(np.nan_to_num(np.array(numbers, np.float32)), 0.0, 1.0)


def _squash(value: float, scale: float) -> float:
    return 1.0 if value == math.inf else max(0.0, value) / (max(0.0, value) + scale)
