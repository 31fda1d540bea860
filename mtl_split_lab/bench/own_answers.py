"""A fleet too large for its server, whose edges answer, too: simulated with the nodes' own objects."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mtl_split_core.bundle import Bundle
from mtl_split_core.control.controller import menu_of
from mtl_split_core.control.policy import PREDICTIVE, Menu, Own, find_policy
from mtl_split_lab.adaptation.cars import ANSWER_BY, RATE
from mtl_split_lab.adaptation.simulator import Drive, Outcome, Times, simulate
from mtl_split_lab.adaptation.traces import Trace
from mtl_split_ros.parameters import read_defaults

VEHICLES, SERVED = 16, 8
"""Vehicles on a server that is fast enough for so many."""

MARGIN = 0.02
"""Seconds by which a server's deadline is before the edges' `answer_by`, for the way back and the own answer."""

TIMES = Times(prefix=0.005, own={Own.WHOLE: 0.015}, service=1 / (SERVED * RATE))
BITS = 50e6
"""Bits per second of each vehicle's link."""

SECONDS = 60.0


@dataclass(frozen=True)
class Shared:
    """How a fleet was answered.

    own: whether the edges have a network of their own; deadline: the server's, in seconds, infinity for none; in_time,
    by_server: the parts of all frames that were answered in time, and in time by the server; worst: the worst vehicle's
    part in time; milliseconds: per frame, of the vehicle's processor for own answers.
    """

    own: bool
    deadline: float
    in_time: float
    by_server: float
    worst: float
    milliseconds: float


def measure_own_answers(bundle: Bundle, seconds: float = SECONDS) -> Iterator[Shared]:
    """Drive the fleet with and without own answers, and with several deadlines of the server."""
    edge = read_defaults("edge")
    limits = {name: edge[name] for name in ("processor_share", "second_price")}
    limits["byte_price"] = edge["megabyte_price"] * 1e-6
    for own, deadline in ((False, math.inf), (True, math.inf), (True, ANSWER_BY), (True, ANSWER_BY - MARGIN)):
        menu = menu_of(bundle, [Own.WHOLE] if own else [], ANSWER_BY, **limits)
        yield _judge(own, deadline, menu, _drive(menu, deadline, seconds))


def _drive(menu: Menu, deadline: float, seconds: float) -> list[list[Outcome]]:
    sizes = [tuple(round(point.size) for point in menu.points)] * round(seconds * RATE)
    trace = Trace(np.array([0.0, 1.0]), np.full(2, BITS))
    drives = [Drive(sizes, RATE, trace, seed=vehicle) for vehicle in range(VEHICLES)]
    return simulate(find_policy(PREDICTIVE), menu, TIMES, drives, deadline=deadline)


def _judge(own: bool, deadline: float, menu: Menu, outcomes: list[list[Outcome]]) -> Shared:
    sources = [[outcome.in_time(menu.answer_by) for outcome in vehicle] for vehicle in outcomes]
    everything = [source for vehicle in sources for source in vehicle]
    return Shared(
        own=own,
        deadline=deadline,
        in_time=float(np.mean([source is not None for source in everything])),
        by_server=float(np.mean([isinstance(source, int) for source in everything])),
        worst=min(float(np.mean([source is not None for source in vehicle])) for vehicle in sources),
        milliseconds=1e3 * float(np.mean([outcome.own_seconds for vehicle in outcomes for outcome in vehicle])),
    )
