"""The study of policies: every one over every trace, those that are learned only over carriers they never saw."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper
from tqdm import tqdm

from mtl_split_core.control.learned import OBSERVATION, learned
from mtl_split_core.control.link import LinkState
from mtl_split_core.control.policy import (
    FIXED,
    LADDER,
    MOST_COPIES,
    PREDICTIVE,
    Action,
    Menu,
    Own,
    Policy,
    Situation,
    find_policy,
    fixed,
)
from mtl_split_lab.adaptation.cars import ANSWER_BY, RATE, Car, TrainingDrives, cycle_from, whole_drive
from mtl_split_lab.adaptation.clairvoyant import drive_clairvoyant
from mtl_split_lab.adaptation.scored import Scorer, Source, count_sources
from mtl_split_lab.adaptation.simulator import Drive, Outcome, Simulation, simulate
from mtl_split_lab.adaptation.traces import LONG, Trace, carrier

ALONE, SKIP = "alone", "skip"
TWICE = {1: "", 2: ", twice"}
"""Actions in words."""

CLAIRVOYANT, BARE = "clairvoyant", "bare"

SHIFT = 7.0
"""Seconds by which a trace is shifted behind a policy's back."""

LOSSY_RATE, LOSSY = 5e6, (0.0, 0.05, 0.2)
"""Bits per second of links that lose packets, and the parts that they lose."""
LOSSY_SECONDS = 120.0

FLEET, SERVED = 16, 8
"""Vehicles on a server that is fast enough for so many."""
FLEET_SECONDS = 60.0
SERVER_DEADLINE = 0.08
"""The server's parameter deadline in such a fleet: what it answers later, the vehicle has computed by itself."""


@dataclass(frozen=True)
class Row:
    """What is driven: a policy's name for the table, and what it is made of.

    kind: FIXED, BARE (fixed, without own answers), ALONE, LADDER, PREDICTIVE, LEARNED or CLAIRVOYANT; point, copies: of
    a fixed one; path: of one that was learned; shuffled: the seed by which what it observes is permuted, None as it is.
    """

    name: str
    kind: str
    point: int = 0
    copies: int = 1
    path: Path | None = None
    shuffled: int | None = None

    @property
    def is_fixed(self) -> bool:
        """Whether it does the same with every frame, and answers every one."""
        return self.kind in (FIXED, ALONE)


@dataclass(frozen=True)
class Job:
    """A drive through all of a trace. shift: seconds by which the trace comes later, of which no policy knows."""

    car: Car
    row: Row
    trace: Trace
    shift: float = 0.0


@dataclass(frozen=True)
class Result:
    """How a drive went.

    accuracy: the mean of the tasks', which are in tasks; net: it, less the price of seconds and bytes; answered,
    served: the parts of the frames with an answer by the deadline, and with one of the server; milliseconds, bytes: per
    frame, of the vehicle's processor for own answers, and of payloads; actions: the part of the frames that each was
    chosen for; delays: frames of each LONG outage until the vehicle answers by itself, of those where it does;
    recovered: seconds from the end of each to the server's first answer in time, of those after which there is one.
    """

    accuracy: float
    net: float
    answered: float
    served: float
    milliseconds: float
    bytes: float
    tasks: Mapping[str, float]
    actions: Mapping[str, float]
    delays: Sequence[int] = ()
    recovered: Sequence[float] = ()


@dataclass(frozen=True)
class _Driven:
    counts: npt.NDArray[np.int64]
    frames: int
    seconds: float
    bytes: float
    actions: Mapping[str, float]
    delays: Sequence[int] = ()
    recovered: Sequence[float] = ()


def rows_of(car: Car) -> list[Row]:
    """Return all rows of a car but for what is learned."""
    points = car.points
    usable = range(car.menu.finest + 1)
    return [
        *(Row(f"{points[i]}, no own answers", BARE, i) for i in usable),
        *(Row(f"{points[i]}{TWICE[n]}", FIXED, i, n) for i in usable for n in range(1, MOST_COPIES + 1)),
        *(Row(f"{own.value} on the edge alone", ALONE) for own in car.menu.own),
        *(Row(name, name) for name in (LADDER, PREDICTIVE)),
        Row(CLAIRVOYANT, CLAIRVOYANT),
    ]


def make_policy(row: Row, car: Car) -> Policy:
    """Return the policy of a row."""
    if row.kind == FIXED:
        return fixed(row.point, row.copies)
    if row.kind == BARE:
        return lambda menu, situation: Action(row.point)
    if row.kind == ALONE:
        return lambda menu, situation: Action(None, own=next(iter(menu.own)), at_once=True)
    if row.path is None:
        return find_policy(row.kind)
    example = Situation(0.0, car.times.own, 0.0, LinkState())
    if row.shuffled is None:
        return learned(row.path, car.menu, example)
    with TemporaryDirectory() as folder:
        return learned(_shuffle(row.path, row.shuffled, Path(folder)), car.menu, example)


def run(car: Car, row: Row, drive: Drive) -> list[Outcome]:
    """Return what becomes of the frames of one drive."""
    if row.kind == CLAIRVOYANT:
        return drive_clairvoyant(lambda: Simulation(car.menu, car.times, [drive]), car.menu)[0]
    return simulate(make_policy(row, car), car.menu, car.times, [drive])[0]


def run_job(job: Job, sizes: Sequence[tuple[int, ...]]) -> list[Outcome]:
    """Return what becomes of the frames of a job; sizes: bytes of their payloads, repeated in order."""
    begin = job.trace.duration - job.shift if job.shift else 0.0
    return run(job.car, job.row, whole_drive(sizes, job.trace, begin))


def mean_of(results: Sequence[Result]) -> Result:
    """Return the mean of how several drives went, each counting alike; with all of their outages."""
    shares, outages = ("tasks", "actions"), ("delays", "recovered")
    numbers = [field.name for field in fields(Result) if field.name not in shares + outages]
    means = {name: sum(getattr(result, name) for result in results) / len(results) for name in numbers}
    tasks, actions = (_mean_shares([getattr(result, name) for result in results]) for name in shares)
    delays, recovered = ([one for result in results for one in getattr(result, name)] for name in outages)
    return Result(**means, tasks=tasks, actions=actions, delays=delays, recovered=recovered)


def _mean_shares(shares: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each, which is 0 where it is missing, the largest first."""
    sums = sum(map(Counter, shares), Counter[str]())
    return {name: share / len(shares) for name, share in sums.most_common()}


class Study:
    """Drives and scores.

    sizes: bytes of the payloads of the labelled frames that `scorer` knows the answers to.
    """

    def __init__(self, scorer: Scorer, sizes: Sequence[tuple[int, ...]], processes: int) -> None:
        """Prepare."""
        self._scorer, self._sizes, self._processes = scorer, sizes, processes

    def drive_all(self, jobs: Sequence[Job], what: str) -> list[Result]:
        """Return how all drives went; what: their name in the progress bar."""
        call = partial(_drive, self._sizes, self._scorer.sources)
        with get_context("spawn").Pool(self._processes) as pool:
            driven = list(tqdm(pool.imap(call, jobs), what, len(jobs), unit="drive", disable=None))
        return [self.score(job.car.menu, one) for job, one in zip(jobs, driven, strict=True)]

    def score(self, menu: Menu, driven: _Driven) -> Result:
        """Score one drive."""
        tasks = self._scorer.accuracies(driven.counts, driven.frames)
        accuracy = sum(tasks.values()) / len(tasks)
        served = [number for number, source in enumerate(self._scorer.sources) if not isinstance(source, Own)]
        return Result(
            accuracy=accuracy,
            net=accuracy - driven.seconds * menu.second_price - driven.bytes * menu.byte_price,
            answered=int(driven.counts.sum()) / driven.frames,
            served=int(driven.counts[:, served].sum()) / driven.frames,
            milliseconds=driven.seconds * 1e3,
            bytes=driven.bytes,
            tasks=tasks,
            actions=driven.actions,
            delays=driven.delays,
            recovered=driven.recovered,
        )

    def lossy(self, car: Car, rows: Sequence[Row]) -> list[tuple[float, Row, Result]]:
        """Drive over links that lose packets."""
        trace = Trace(np.array([0.0, LOSSY_SECONDS / 2]), np.full(2, LOSSY_RATE))
        found = []
        for loss in LOSSY:
            for row in rows:
                outcomes = run(car, row, whole_drive(self._sizes, trace, loss=loss))
                found.append((loss, row, self.score(car.menu, self._count(car, outcomes))))
        return found

    def fleet(self, car: Car, rows: Sequence[Row]) -> list[tuple[Row, Result]]:
        """Drive FLEET vehicles on a server that is fast enough for SERVED."""
        trace = Trace(np.array([0.0, 1.0]), np.full(2, 50e6))
        times = replace(car.times, service=1 / (SERVED * RATE))
        count = int(FLEET_SECONDS * RATE)
        drives = [Drive(cycle_from(self._sizes, 0, count), RATE, trace, seed=seed) for seed in range(FLEET)]
        found = []
        for row in rows:
            outcomes = simulate(make_policy(row, car), car.menu, times, drives, deadline=SERVER_DEADLINE)
            each = [self.score(car.menu, self._count(car, own)) for own in outcomes]
            found.append((row, mean_of(each)))
        return found

    def _count(self, car: Car, outcomes: Sequence[Outcome]) -> _Driven:
        return _count(car, outcomes, len(self._sizes), self._scorer.sources)


def groups_of(names: Iterable[str], folds: int) -> list[set[str]]:
    """Return the carriers of traces in so many groups, or as many as there are carriers if they are fewer."""
    carriers = sorted(set(map(carrier, names)))
    count = min(folds, len(carriers))
    return [set(carriers[first::count]) for first in range(count)]


def delays_of(job: Job, outcomes: Sequence[Outcome]) -> list[int]:
    """Return after how many frames of each outage the policy of a job answers by itself, of those where it does."""
    found = []
    for begin, end in job.trace.outages(LONG):
        first, last = (math.ceil((moment + job.shift) * RATE) for moment in (begin, end))
        alone = [is_alone(outcome.action) for outcome in outcomes[max(0, first - 1) : last]]
        if alone and not alone[0] and any(alone):
            found.append(alone.index(True) - 1)
    return found


def recoveries_of(job: Job, outcomes: Sequence[Outcome]) -> list[float]:
    """Return how many seconds after each outage of a job the server's first answer in time was there."""
    answers = enumerate(outcomes)
    served = [frame / RATE + outcome.age for frame, outcome in answers if isinstance(outcome.in_time(ANSWER_BY), int)]
    return job.trace.recoveries(served, -job.shift, job.trace.duration)


def is_alone(action: Action) -> bool:
    """Whether a frame is not left to the server."""
    return action.point is None or action.at_once


def name_action(action: Action, points: Sequence[str]) -> str:
    """Return an action in words; points: the operating points' names."""
    if action.point is None or action.at_once:
        return ALONE if action.own is not None else SKIP
    return points[action.point] + TWICE[action.copies]


@dataclass(frozen=True)
class Lesson:
    """A policy to be learned: how (LEARNED or IMITATION), for which car, on which drives, with which seed."""

    method: str
    car: Car
    drives: TrainingDrives
    seed: int
    steps: int
    path: Path


def learn(lessons: Sequence[Lesson], processes: int) -> None:
    """Learn all policies whose files are not there yet."""
    missing = [lesson for lesson in lessons if not lesson.path.exists()]
    if not missing:
        return
    with get_context("spawn").Pool(min(processes, len(missing))) as pool:
        list(tqdm(pool.imap_unordered(_learn, missing), "learning", len(missing), unit="policy", disable=None))


def _learn(lesson: Lesson) -> None:
    # torch takes seconds to load, which those who only drive need not wait for.
    import torch

    from mtl_split_lab.adaptation.policy_training import learn_policy

    torch.set_num_threads(1)
    lesson.path.parent.mkdir(parents=True, exist_ok=True)
    learn_policy(lesson.method, lesson.car, lesson.drives, lesson.seed, lesson.steps, lesson.path)


def _drive(sizes: Sequence[tuple[int, ...]], sources: Sequence[Source], job: Job) -> _Driven:
    outcomes = run_job(job, sizes)
    return replace(
        _count(job.car, outcomes, len(sizes), sources),
        delays=delays_of(job, outcomes),
        recovered=recoveries_of(job, outcomes),
    )


def _count(car: Car, outcomes: Sequence[Outcome], frames: int, sources: Sequence[Source]) -> _Driven:
    actions = Counter(name_action(outcome.action, car.points) for outcome in outcomes)
    return _Driven(
        counts=count_sources(outcomes, ANSWER_BY, frames, sources),
        frames=len(outcomes),
        seconds=sum(outcome.own_seconds for outcome in outcomes) / len(outcomes),
        bytes=sum(outcome.bytes for outcome in outcomes) / len(outcomes),
        actions={name: times / len(outcomes) for name, times in actions.most_common()},
    )


def _shuffle(path: Path, seed: int, folder: Path) -> Path:
    """Write a copy of a policy that observes everything in another place into a folder, and return its path."""
    model = onnx.load(path)
    [observed] = model.graph.input
    order = np.random.default_rng(seed).permutation(observed.type.tensor_type.shape.dim[1].dim_value)
    for node in model.graph.node:
        node.input[:] = ["shuffled" if name == OBSERVATION else name for name in node.input]
    model.graph.initializer.append(numpy_helper.from_array(order.astype(np.int64), "order"))
    model.graph.node.insert(0, helper.make_node("Gather", [OBSERVATION, "order"], ["shuffled"], axis=1))
    copy = folder / path.name
    onnx.save(model, copy)
    return copy
