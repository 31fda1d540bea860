"""A server's queue in simulation: the policies of mtl_split_core.serving as they are, over traces of frames."""

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from ortools.sat.python import cp_model

from mtl_split_core.serving import Order, Schedule, Waiting

TICKS = 10_000
"""Of a second, in the optimum: times are whole numbers of them, rounded such that it stays a bound."""


@dataclass(frozen=True)
class Job:
    """A frame that arrives at the server. Times in seconds: the deadline is a moment, `seconds` is what it takes."""

    vehicle: int
    contract: str
    arrived: float
    deadline: float
    seconds: float


@dataclass(frozen=True)
class Client:
    """One vehicle of a trace.

    seconds: what its frames take on average; deadline: in seconds from the camera's stamp.
    """

    contract: str
    seconds: float
    deadline: float


@dataclass(frozen=True)
class Link:
    """What frames take on their way: at least `least` seconds, and an exponential distribution's time on top."""

    least: float = 0.005
    jitter: float = 0.01


@dataclass(frozen=True)
class Jobs:
    """What became of the jobs of a trace: when each was answered, infinity where it never was."""

    jobs: Sequence[Job]
    finished: Sequence[float]

    @property
    def in_time(self) -> list[bool]:
        """Of each, whether it was answered by its deadline."""
        return [finished <= job.deadline for job, finished in zip(self.jobs, self.finished, strict=True)]

    @property
    def share(self) -> float:
        """The part that was answered in time."""
        return float(np.mean(self.in_time))

    @property
    def antt(self) -> float:
        """The average normalised turnaround time of those that were answered."""
        pairs = zip(self.jobs, self.finished, strict=True)
        return float(np.mean([(at - job.arrived) / job.seconds for job, at in pairs if at < math.inf]))

    def shares(self) -> dict[int, float]:
        """The part that was answered in time of each vehicle's."""
        found: dict[int, list[bool]] = {}
        for job, in_time in zip(self.jobs, self.in_time, strict=True):
            found.setdefault(job.vehicle, []).append(in_time)
        return {vehicle: float(np.mean(own)) for vehicle, own in found.items()}


def trace(
    clients: Sequence[Client],
    rate: float,
    seconds: float,
    seed: int,
    link: Link,
    slower: Mapping[str, float] | None = None,
) -> list[Job]:
    """Make up what arrives within some seconds, `rate` frames per second of each vehicle, in the order of arrival.

    Service times vary by 10 %. slower: contracts whose frames take twice as long from that time on.
    """
    chance = np.random.default_rng(seed)
    jobs = []
    for vehicle, client in enumerate(clients):
        phase = chance.uniform(0, 1 / rate)
        for stamp in phase + np.arange(int(seconds * rate)) / rate:
            arrived = stamp + link.least + chance.exponential(link.jitter)
            factor = 2.0 if slower and stamp >= slower.get(client.contract, math.inf) else 1.0
            took = factor * client.seconds * chance.gamma(100, 1 / 100)
            jobs.append(Job(vehicle, client.contract, arrived, stamp + client.deadline, took))
    return sorted(jobs, key=lambda job: job.arrived)


def simulate(jobs: Sequence[Job], order: Order, workers: int, least_share: float = 0.0, drop: bool = True) -> Jobs:
    """Let jobs, in the order of arrival, through a server's mailbox, where each vehicle's newest frame waits.

    drop: whether hopeless frames are given up; without, the order alone knows of deadlines.
    """
    return _Server(jobs, order, workers, least_share, drop).run()


class _Server:
    def __init__(self, jobs: Sequence[Job], order: Order, workers: int, least_share: float, drop: bool) -> None:
        self._jobs = jobs
        self._drop = drop
        self._order = order
        self._schedule: Schedule[int] = Schedule(order if drop else self._order_alone, least_share, workers)
        self._waiting: dict[int, int] = {}
        self._free = workers
        self._running: list[tuple[float, int, float]] = []
        self._finished = [math.inf] * len(jobs)

    def run(self) -> Jobs:
        for number, job in enumerate(self._jobs):
            self._work_until(job.arrived)
            self._schedule.arrive(self._frame(number))
            self._waiting[job.vehicle] = number
            self._begin(job.arrived)
        self._work_until(math.inf)
        return Jobs(self._jobs, self._finished)

    def _work_until(self, end: float) -> None:
        while self._running and self._running[0][0] <= end:
            now, number, begun = heapq.heappop(self._running)
            self._free += 1
            self._finished[number] = now
            self._schedule.answered(self._frame(number), begun, now)
            self._begin(now)

    def _begin(self, now: float) -> None:
        while self._free:
            at_work = {self._jobs[number].vehicle for _, number, _ in self._running}
            ready = [number for vehicle, number in self._waiting.items() if vehicle not in at_work]
            if not ready:
                return
            choice = self._schedule.choose([self._frame(number) for number in ready], now)
            for vehicle in choice.hopeless:
                del self._waiting[vehicle]
            if choice.next is not None:
                number = self._waiting.pop(choice.next)
                self._free -= 1
                heapq.heappush(self._running, (now + self._jobs[number].seconds, number, now))

    def _frame(self, number: int) -> Waiting[int]:
        job = self._jobs[number]
        return Waiting(job.vehicle, job.contract, job.arrived, job.deadline if self._drop else math.inf)

    def _order_alone(self, frame: Waiting[int], now: float, seconds: float, load: float) -> float:
        deadline = self._jobs[self._waiting[frame.vehicle]].deadline
        return self._order(replace(frame, deadline=deadline), now, seconds, load)


def optimum(jobs: Sequence[Job], workers: int, seconds: float) -> int:
    """Return a bound: no server with so many workers, even one that knows the future, answers more jobs in time.

    It is the most that there can be, unless the solver takes longer than some seconds; then what it has excluded by
    then. Every frame may wait; those of one vehicle are answered one at a time, in any order.
    """
    model = cp_model.CpModel()
    intervals: dict[int, list[cp_model.IntervalVar]] = {}
    answered = []
    for number, job in enumerate(jobs):
        begin, size = math.floor(job.arrived * TICKS), max(1, math.floor(job.seconds * TICKS))
        latest = math.ceil(job.deadline * TICKS) - size
        if latest < begin:
            continue
        is_answered = model.new_bool_var(f"answered {number}")
        begun = model.new_int_var(begin, latest, f"begun {number}")
        interval = model.new_optional_fixed_size_interval_var(begun, size, is_answered, f"job {number}")
        intervals.setdefault(job.vehicle, []).append(interval)
        answered.append(is_answered)
    for own in intervals.values():
        model.add_no_overlap(own)
    everything = [interval for own in intervals.values() for interval in own]
    model.add_cumulative(everything, [1] * len(everything), workers)
    model.maximize(sum(answered))
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = seconds
    solver.parameters.num_workers = 2
    solver.solve(model)
    return math.floor(solver.best_objective_bound + 1e-6)
