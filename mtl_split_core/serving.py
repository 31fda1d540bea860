"""Which waiting frame a server answers next, and which it gives up because no answer could come in time."""

import math
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, TypeVar

Vehicle = TypeVar("Vehicle", bound=Hashable)

STEEPNESS = 6.0
"""How fast slack counts less in `dysta` as the load rises above 1: its weight is load ** -STEEPNESS.

Chosen on traces of arriving frames that no result is from, see docs/results/serving.md.
"""

LOAD_SECONDS = 1.0
"""The time constant, in seconds, with which the load is averaged."""

WEIGHT = 0.25
"""How much the newest measurement counts in a learned service time: after eight, 90 % of a change is learned."""

KNOWN = 1.0
"""Seconds for which a learned service time holds. After that a frame is tried, so that something is learned again."""

MOST_OWED = 3.0
"""Answers that a vehicle is owed at most: what it could not be given for long it does not get all at once."""


@dataclass(frozen=True)
class Waiting(Generic[Vehicle]):
    """A frame that waits for an answer.

    contract: what its service time is learned by; arrived, deadline: in seconds of one monotonic clock, the deadline is
    infinity where there is none.
    """

    vehicle: Vehicle
    contract: str
    arrived: float
    deadline: float = math.inf


class Service(NamedTuple):
    """How long frames take, in seconds: on average, and how far from that a frame is on average."""

    seconds: float = 0.0
    deviation: float = 0.0


Order = Callable[[Waiting[Any], float, float, float], float]
"""Returns a number for a waiting frame, the present time, its service time in seconds, and the server's load: the
smallest is next.

Of equal ones it is the vehicle that began to wait first, also where newer frames have replaced the one of that time.
"""


def turn(frame: Waiting[Any], now: float, seconds: float, load: float) -> float:
    """The vehicles in turn."""
    return 0.0


def edf(frame: Waiting[Any], now: float, seconds: float, load: float) -> float:
    """Earliest deadline first."""
    return frame.deadline


def dysta(frame: Waiting[Any], now: float, seconds: float, load: float) -> float:
    """Remaining work and weighted slack, the dynamic score of Sparse-DySta (Fan et al. 2023, arXiv 2310.11096).

    The paper's weight is a constant. Here it is 1 up to a load of 1, which is the earliest deadline first: as long as
    everything can be answered in time, that order does it. Above, not everything can, and the weight falls with the
    load, towards the shortest job first. The paper's penalty for preemption is left out: a frame is not interrupted.
    """
    weight: float = max(1.0, load) ** -STEEPNESS
    return seconds + weight * max(0.0, frame.deadline - now - seconds)


ORDERS: Mapping[str, Order] = MappingProxyType({"turn": turn, "edf": edf, "dysta": dysta})
"""The orders by name. Without deadlines, all of them are `turn`."""


@dataclass(frozen=True)
class Choice(Generic[Vehicle]):
    """What a worker does now: the vehicle whose frame is next (None: no vehicle's), and those with hopeless frames."""

    next: Vehicle | None
    hopeless: tuple[Vehicle, ...] = ()


def choose(
    waiting: Sequence[Waiting[Vehicle]],
    order: Order,
    now: float,
    service: Callable[[str], Service],
    owed: Callable[[Vehicle], float],
    load: float = 0.0,
) -> Choice[Vehicle]:
    """Choose among waiting frames, one of each vehicle, in the order in which the vehicles began to wait.

    service: the service time by contract; owed: how many answers a vehicle is behind its least share; load: see Load.
    Hopeless frames are those that would probably be late if they were begun now. First come vehicles that are owed an
    answer, those that are owed most before all others; then frames that are not in doubt, which could take longer than
    usual; among the rest, `order` decides.
    """
    hopeless: list[Vehicle] = []
    ranked = []
    for frame in waiting:
        seconds, deviation = service(frame.contract)
        if now + seconds > frame.deadline:
            hopeless.append(frame.vehicle)
        else:
            in_doubt = now + seconds + deviation > frame.deadline
            ranked.append((-int(owed(frame.vehicle)), in_doubt, order(frame, now, seconds, load), frame.vehicle))
    first = min(ranked, key=lambda rank: rank[:3], default=None)
    return Choice(first and first[3], tuple(hopeless))


class ServiceTimes:
    """The seconds that frames of each contract take, learned from those that were answered."""

    def __init__(self) -> None:
        """Begin without knowing any."""
        self._learned: dict[str, tuple[Service, float]] = {}
        self._alone: dict[str, float] = {}

    def learn(self, contract: str, seconds: float, now: float) -> None:
        """Take in how long a frame took that was finished just now."""
        before = self.expect(contract, now)
        difference = seconds - (before.seconds or seconds)
        learned = Service(
            seconds + (WEIGHT - 1) * difference, before.deviation + WEIGHT * (abs(difference) - before.deviation)
        )
        self._learned[contract] = (learned, now)
        self._alone[contract] = min(seconds, self.alone(contract))

    def expect(self, contract: str, now: float) -> Service:
        """Return how long the next frame will take; zeros where that is not known, or not any more, see KNOWN."""
        learned, learned_at = self._learned.get(contract, (Service(), -math.inf))
        return learned if now <= learned_at + KNOWN else Service()

    def last(self, contract: str) -> float:
        """Return how long frames took last, however long ago that was; 0 before any."""
        return self._learned.get(contract, (Service(), 0.0))[0].seconds

    def alone(self, contract: str) -> float:
        """Return how long a frame takes that has the machine for itself: the shortest so far, infinity before any."""
        return self._alone.get(contract, math.inf)


class Load:
    """The work that arrives, as a multiple of what all workers can do: above 1, not every frame can be answered.

    It is an exponential average of service times over the seconds in which the frames arrived.
    """

    def __init__(self, workers: int) -> None:
        """Begin without any."""
        self._workers = workers
        self._load = 0.0
        self._at = -math.inf

    def add(self, seconds: float, now: float) -> None:
        """Take in a frame that arrived just now and will take so many seconds."""
        self._load = self.at(now) + seconds / (LOAD_SECONDS * self._workers)
        self._at = now

    def at(self, now: float) -> float:
        """Return the load at a time that is not before that of the last frame."""
        return self._load * math.exp((self._at - now) / LOAD_SECONDS)


class Tally:
    """What became of frames.

    in_time: answered by their deadlines; hopeless: given up; missed: late, replaced by newer ones or refused.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self.in_time = self.missed = self.hopeless = 0
        self._answered = 0
        self._turnarounds = 0.0

    @property
    def antt(self) -> float:
        """The average normalised turnaround time of the answered frames; not a number without any.

        That is the time from arrival to answer, as a multiple of what the frame takes alone: 1 is as fast as can be.
        """
        return self._turnarounds / self._answered if self._answered else math.nan

    def answered(self, turnaround: float, in_time: bool) -> None:
        """Count an answered frame; turnaround: normalised."""
        self._answered += 1
        self._turnarounds += turnaround
        self.in_time += in_time
        self.missed += not in_time

    def facts(self) -> dict[str, str]:
        """Return the numbers by name, for people."""
        antt = f"{self.antt:.2f}" if self._answered else "n/a"
        return {"in_time": str(self.in_time), "missed": str(self.missed), "hopeless": str(self.hopeless), "antt": antt}


class Schedule(Generic[Vehicle]):
    """Decides for the workers of one server, and remembers what the decisions depend on. Any thread may call it."""

    def __init__(self, order: Order, least_share: float = 0.0, workers: int = 1) -> None:
        """Begin with nothing known.

        least_share: the part of its frames, 0 to 1, that each vehicle is to get answers to in time, wherever there is
        one; vehicles below it come first. workers: how many the server has.
        """
        self._order = order
        self._least_share = least_share
        self._lock = threading.Lock()
        self._times = ServiceTimes()
        self._load = Load(workers)
        self._owed: dict[Vehicle, float] = {}
        self._tallies: dict[Vehicle, Tally] = {}
        self._all = Tally()

    def arrive(self, frame: Waiting[Vehicle]) -> None:
        """Note that a frame has arrived. One that is already hopeless is no work."""
        with self._lock:
            self._owed[frame.vehicle] = min(MOST_OWED, self._owed.get(frame.vehicle, 0.0) + self._least_share)
            if frame.arrived + self._times.expect(frame.contract, frame.arrived).seconds <= frame.deadline:
                self._load.add(self._times.last(frame.contract), frame.arrived)

    def choose(self, waiting: Sequence[Waiting[Vehicle]], now: float) -> Choice[Vehicle]:
        """Choose as the function of that name does, and count the hopeless."""
        with self._lock:
            found = choose(
                waiting,
                self._order,
                now,
                lambda contract: self._times.expect(contract, now),
                lambda vehicle: self._owed.get(vehicle, 0.0),
                self._load.at(now),
            )
            for vehicle in found.hopeless:
                for tally in self._of(vehicle):
                    tally.hopeless += 1
            return found

    def answered(self, frame: Waiting[Vehicle], begun: float, now: float) -> None:
        """Note that a frame's results are out, and when the work on it began."""
        in_time = now <= frame.deadline
        with self._lock:
            self._times.learn(frame.contract, now - begun, now)
            if in_time:
                self._owed[frame.vehicle] = max(0.0, self._owed.get(frame.vehicle, 0.0) - 1.0)
            for tally in self._of(frame.vehicle):
                tally.answered((now - frame.arrived) / self._times.alone(frame.contract), in_time)

    def missed(self, vehicle: Vehicle) -> None:
        """Note that a frame will not be answered, but for a hopeless one."""
        with self._lock:
            for tally in self._of(vehicle):
                tally.missed += 1

    def facts(self, vehicle: Vehicle | None = None) -> dict[str, str]:
        """Return what became of a vehicle's frames, or of all (None), for people; see Tally."""
        with self._lock:
            return (self._all if vehicle is None else self._tallies.setdefault(vehicle, Tally())).facts()

    def _of(self, vehicle: Vehicle) -> tuple[Tally, Tally]:
        return self._tallies.setdefault(vehicle, Tally()), self._all
