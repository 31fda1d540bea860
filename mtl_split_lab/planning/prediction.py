"""What an assignment will do: frames followed on their way, each waiting where others came first."""

import heapq
import random
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mtl_split_lab.planning.fleet import Fleet
from mtl_split_lab.planning.routes import Route, Step, capacity

DRAWS = 20
"""How often the vehicles' cameras are started anew, at other moments: who waits for whom depends on that."""

FRAMES = 40
"""Frames that are followed of every vehicle each time."""


@dataclass(frozen=True)
class Prediction:
    """What becomes of the frames on a route.

    p50, p95: percentiles of their milliseconds; in_time: the part within the deadline, 0 to 1; rate: frames per second
    within the deadline, of all vehicles on it.
    """

    p50: float
    p95: float
    in_time: float
    rate: float


def predict(fleet: Fleet, taken: Mapping[Route, int], seed: int = 0) -> dict[Route, Prediction]:
    """Follow frames of every vehicle; every step takes the median time of the profiles, so no route has outliers."""
    chance = random.Random(seed)
    latencies: dict[Route, list[float]] = defaultdict(list)
    for _ in range(DRAWS):
        for route, milliseconds in _follow(fleet, taken, chance):
            latencies[route].append(milliseconds)
    found = {}
    for route, count in taken.items():
        values, vehicles = np.array(latencies[route]), fleet.vehicles[route.vehicles]
        in_time = float((values <= 1e3 * vehicles.deadline).mean())
        p50, p95 = (float(p) for p in np.percentile(values, (50, 95)))
        found[route] = Prediction(p50, p95, in_time, in_time * count * vehicles.rate)
    return found


def _follow(fleet: Fleet, taken: Mapping[Route, int], chance: random.Random) -> list[tuple[Route, float]]:
    """Return the milliseconds of each frame; at every resource the first to come is the first to be served."""
    events: list[tuple[float, int, int, int]] = []
    routes: list[Route] = []
    begins: list[float] = []
    drivers: list[int] = []
    vehicle = 0
    for route, count in taken.items():
        period = 1e3 / fleet.vehicles[route.vehicles].rate
        for _ in range(count):
            phase = chance.uniform(0, period)
            for number in range(FRAMES):
                begin = phase + number * period
                heapq.heappush(events, (begin, len(routes), len(routes), 0))
                routes.append(route)
                begins.append(begin)
                drivers.append(vehicle)
            vehicle += 1
    free: dict[tuple[str, int], list[float]] = {}
    found = []
    while events:
        now, _, frame, number = heapq.heappop(events)
        route = routes[frame]
        if number == len(route.steps):
            found.append((route, now - begins[frame]))
            continue
        step = route.steps[number]
        queue = free.setdefault((step.resource, drivers[frame] if step.own else -1), _idle(fleet, step))
        end = max(now, queue[0]) + step.milliseconds
        heapq.heapreplace(queue, end)
        heapq.heappush(events, (end + step.delay, frame, frame, number + 1))
    return found


def _idle(fleet: Fleet, step: Step) -> list[float]:
    return [0.0] * max(1, capacity(fleet, step.resource) // step.width)
