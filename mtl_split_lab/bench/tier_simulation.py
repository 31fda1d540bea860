"""A simulation of frames through vehicle, links, roadside unit and server: who waits for whom, as the nodes do it.

Each machine has workers that take the newest frame of every vehicle in turn, never two of one vehicle's at once; a link
carries one message after the other. Times are those that were measured, times the machine's slowness.
"""

import heapq
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

MAX_AGE = 1.0
"""Seconds after which an answer does not count, the nodes' parameter."""

Then = Callable[[float], None]


@dataclass(frozen=True)
class Scene:
    """Vehicles at one roadside unit, each with so many frames per second."""

    vehicles: int
    rate: float


@dataclass(frozen=True)
class Costs:
    """What an arrangement costs a frame: seconds on each machine as measured, and bytes on each link.

    Where `roadside` is 0, the frame goes from the vehicle straight to the server, and where `server` is 0, no further
    than the roadside unit; where both are 0, it stays on the vehicle.
    """

    vehicle: float
    radio: float
    roadside: float = 0.0
    backhaul: float = 0.0
    server: float = 0.0


@dataclass(frozen=True)
class Arrangement:
    """The costs of every vehicle's frames, in the vehicles' order, under a name."""

    name: str
    costs: tuple[Costs, ...]


@dataclass(frozen=True)
class Machines:
    """Slowness of vehicle, roadside unit and server, and workers of the latter two; bytes per second of the links.

    busy: the part of the server's time that other vehicles' frames would take, each of `other` seconds as measured, at
    about `other_rate` per second and vehicle; delay: seconds of each link beside its rate.
    """

    slowness: tuple[float, float, float]
    workers: tuple[int, int]
    radio: float
    backhaul: float
    busy: float
    other: float
    other_rate: float = 10.0
    delay: float = 0.002


@dataclass(frozen=True)
class Outcome:
    """Milliseconds of every frame that was sent, from its image to its results; infinity for one without."""

    milliseconds: tuple[float, ...]

    @property
    def p50(self) -> float:
        """The time within which half of all frames are answered; infinity where fewer are."""
        return float(np.percentile(self.milliseconds, 50, method="higher"))

    @property
    def share(self) -> float:
        """The part of the frames that are answered."""
        return float(np.isfinite(self.milliseconds).mean())


class Clock:
    """Calls what is to happen, in the order of its time."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def at(self, time: float, call: Callable[[], None]) -> None:
        """Call something at a time."""
        heapq.heappush(self._events, (time, next(self._numbers), call))

    def run(self) -> None:
        """Go on until nothing is to happen any more."""
        while self._events:
            self.now, _, call = heapq.heappop(self._events)
            call()


@dataclass
class Machine:
    """Workers, and the newest frame of each vehicle that waits for one: as mtl_split_ros.mailbox."""

    clock: Clock
    slowness: float
    workers: int
    _waiting: dict[int, tuple[float, Then]] = field(default_factory=dict)
    _at_work: set[int] = field(default_factory=set)

    def put(self, vehicle: int, seconds: float, then: Then) -> None:
        """Let a frame wait, which replaces the vehicle's last one; `then` gets the time at which it is done."""
        self._waiting[vehicle] = seconds * self.slowness, then
        self._begin()

    def _begin(self) -> None:
        for vehicle in [one for one in self._waiting if one not in self._at_work][: self.workers - len(self._at_work)]:
            seconds, then = self._waiting.pop(vehicle)
            self._at_work.add(vehicle)
            self.clock.at(self.clock.now + seconds, partial(self._end, vehicle, then))

    def _end(self, vehicle: int, then: Then) -> None:
        self._at_work.remove(vehicle)
        then(self.clock.now)
        self._begin()


@dataclass
class Wire:
    """A link: one message after the other, and each arrives a delay later."""

    clock: Clock
    rate: float
    delay: float
    _free: float = 0.0

    def send(self, size: float, then: Then) -> None:
        """Send so many bytes; `then` gets the time at which they have arrived."""
        self._free = max(self._free, self.clock.now) + size / self.rate
        arrived = self._free + self.delay
        self.clock.at(arrived, lambda: then(arrived))


def simulate(scene: Scene, arrangement: Arrangement, machines: Machines, seconds: float, seed: int = 0) -> Outcome:
    """Send frames for so many seconds and return what became of them; times between frames vary by a tenth."""
    clock, rng = Clock(), np.random.default_rng(seed)
    on_board = [Machine(clock, machines.slowness[0], 1) for _ in range(scene.vehicles)]
    radios = [Wire(clock, machines.radio, machines.delay) for _ in range(scene.vehicles)]
    roadside = Machine(clock, machines.slowness[1], machines.workers[0])
    backhaul = Wire(clock, machines.backhaul, machines.delay)
    server = Machine(clock, machines.slowness[2], machines.workers[1])
    answers: list[float] = []

    def frame(vehicle: int, costs: Costs, begun: float) -> None:
        number = len(answers)
        answers.append(math.inf)

        def answered(now: float) -> None:
            if now - begun <= MAX_AGE:
                answers[number] = (now - begun) * 1e3

        def to_server(_: float) -> None:
            server.put(vehicle, costs.server, answered)

        def from_roadside(now: float) -> None:
            backhaul.send(costs.backhaul, to_server) if costs.server else answered(now)

        def to_roadside(now: float) -> None:
            roadside.put(vehicle, costs.roadside, from_roadside) if costs.roadside else from_roadside(now)

        def from_vehicle(now: float) -> None:
            radios[vehicle].send(costs.radio, to_roadside) if costs.roadside or costs.server else answered(now)

        on_board[vehicle].put(vehicle, costs.vehicle, from_vehicle)

    def other(vehicle: int) -> None:
        server.put(vehicle, machines.other, lambda _: None)

    for vehicle, costs in enumerate(arrangement.costs):
        for begun in _times(scene.rate, seconds, rng):
            clock.at(begun, partial(frame, vehicle, costs, begun))
    each = machines.other * machines.other_rate * machines.slowness[2]
    others = machines.busy * machines.workers[1] / each
    for vehicle in range(round(others)):
        for begun in _times(machines.other_rate * others / round(others), seconds, rng):
            clock.at(begun, partial(other, -1 - vehicle))
    clock.run()
    return Outcome(tuple(answers))


def _times(rate: float, seconds: float, rng: np.random.Generator) -> Sequence[float]:
    even = np.arange(rng.uniform(), seconds * rate) / rate
    return [*np.sort(even + rng.uniform(0, 0.1 / rate, len(even))).tolist()]
