"""Tasks, of which some need others' results, on machines that are joined by links: the problem, and schedules for it.

As in *DiviML* (Ghannane and Abdelfattah, ICCAD 2023): a machine runs one task at a time, without a break; a result that
another machine needs takes its time on the link, and the machine goes on meanwhile. All times are whole microseconds,
so that what two solvers find can be compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import networkx
import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog

from mtl_split_core.errors import InputError

Integers = npt.NDArray[np.int64]

NEVER = -1
"""The duration of a task on a machine that cannot run it."""

FAR = np.int64(1 << 60)
"""Longer than anything."""


class NoRoomError(InputError):
    """The tasks do not fit into the machines' memory, or one that has to run there leaves no room."""


@dataclass(frozen=True)
class Problem:
    """Tasks and machines, all by their index.

    durations: (tasks, machines) of microseconds, NEVER where a machine cannot run a task; edges: (before, behind) of
    tasks; transfers: (edges, machines, machines) of microseconds from the machine of the one to that of the other, zero
    on the diagonal; sizes: (tasks,) of bytes in memory; room: (machines,) of bytes. Raises ValueError where a cycle is
    among the edges, or no machine can run a task.
    """

    durations: Integers
    edges: tuple[tuple[int, int], ...]
    transfers: Integers
    sizes: Integers
    room: Integers

    def __post_init__(self) -> None:
        count, machines = self.durations.shape
        shapes = self.transfers.shape, self.sizes.shape, self.room.shape
        if shapes != ((len(self.edges), machines, machines), (count,), (machines,)):
            raise ValueError(f"transfers, sizes and room have the shapes {shapes}, durations {self.durations.shape}")
        if (self.durations.max(axis=1, initial=NEVER) == NEVER).any():
            raise ValueError("a task has no machine that can run it")
        if len(self.order) < count:
            raise ValueError("the edges have a cycle")

    @property
    def count(self) -> int:
        """How many tasks there are."""
        return len(self.durations)

    @property
    def machines(self) -> int:
        """How many machines there are."""
        return len(self.room)

    @cached_property
    def graph(self) -> networkx.DiGraph:
        """The tasks as a graph."""
        graph = networkx.DiGraph(self.edges)
        graph.add_nodes_from(range(self.count))
        return graph

    @cached_property
    def order(self) -> list[int]:
        """The tasks in a topological order."""
        graph = networkx.DiGraph(self.edges)
        graph.add_nodes_from(range(self.count))
        return list(networkx.topological_sort(graph)) if networkx.is_directed_acyclic_graph(graph) else []

    @cached_property
    def before(self) -> list[list[tuple[int, int]]]:
        """By task, those whose results it needs, each with the index of the edge."""
        found: list[list[tuple[int, int]]] = [[] for _ in range(self.count)]
        for index, (first, second) in enumerate(self.edges):
            found[second].append((first, index))
        return found

    @cached_property
    def behind(self) -> list[list[tuple[int, int]]]:
        """By task, those that need its result, each with the index of the edge."""
        found: list[list[tuple[int, int]]] = [[] for _ in range(self.count)]
        for index, (first, second) in enumerate(self.edges):
            found[first].append((second, index))
        return found

    @cached_property
    def allowed(self) -> list[list[int]]:
        """By task, the machines that can run it."""
        return [[int(machine) for machine in np.flatnonzero(row != NEVER)] for row in self.durations]

    @cached_property
    def ranks(self) -> list[float]:
        """By task, the mean time from its beginning to the end of all, as in HEFT (Topcuoglu et al. 2002)."""
        off = ~np.eye(self.machines, dtype=bool)
        links = self.transfers[:, off].mean(axis=1) if self.machines > 1 else np.zeros(len(self.edges))
        ranks = [0.0] * self.count
        for task in reversed(self.order):
            mean = self.durations[task, self.allowed[task]].mean()
            ranks[task] = mean + max((links[edge] + ranks[other] for other, edge in self.behind[task]), default=0.0)
        return ranks

    @cached_property
    def by_rank(self) -> list[int]:
        """The tasks by falling rank, which is a topological order too."""
        place = {task: index for index, task in enumerate(self.order)}
        return sorted(range(self.count), key=lambda task: (-self.ranks[task], place[task]))

    @cached_property
    def lower_bound(self) -> int:
        """Microseconds that no schedule can beat, without solving the problem. Raises NoRoomError.

        The larger of two: the longest path, each task at its best time for the one behind it, as if machines could run
        everything at once; and the work, divided over the machines as if tasks could be cut into parts, within the
        memory.
        """
        return max(int(self.earliest_ends.min(axis=1).max()), self._least_work())

    @cached_property
    def earliest_ends(self) -> Integers:
        """(tasks, machines) of microseconds: when a task can end on a machine, as if these could run all at once."""
        durations = np.where(self.durations == NEVER, FAR, self.durations)
        ends = np.zeros_like(durations)
        for task in self.order:
            ready = np.zeros(self.machines, np.int64)
            for other, edge in self.before[task]:
                ready = np.maximum(ready, (ends[other][:, None] + self.transfers[edge]).min(axis=0))
            ends[task] = np.minimum(ready + durations[task], FAR)
        return ends

    @cached_property
    def least_rests(self) -> Integers:
        """(tasks, machines) of microseconds: from a task's begin on a machine to the end of all, in the same way."""
        durations = np.where(self.durations == NEVER, FAR, self.durations)
        rests = np.zeros_like(durations)
        for task in reversed(self.order):
            rest = np.zeros(self.machines, np.int64)
            for other, edge in self.behind[task]:
                rest = np.maximum(rest, (self.transfers[edge] + rests[other][None, :]).min(axis=1))
            rests[task] = np.minimum(rest + durations[task], FAR)
        return rests

    def _least_work(self) -> int:
        pairs = [(task, machine) for task in range(self.count) for machine in self.allowed[task]]
        tasks, machines = np.array(pairs).T
        columns = np.arange(len(pairs))
        each = np.zeros((self.count, len(pairs) + 1))
        each[tasks, columns] = 1
        loads = np.zeros((2 * self.machines, len(pairs) + 1))
        loads[machines, columns] = self.durations[tasks, machines]
        loads[: self.machines, -1] = -1
        unit = max(1, int(self.sizes.max()))
        loads[self.machines + machines, columns] = self.sizes[tasks] / unit
        limits = np.concatenate([np.zeros(self.machines), self.room / unit])
        solved = linprog([0.0] * len(pairs) + [1.0], loads, limits, each, np.ones(self.count))
        if solved.status == 2:
            raise NoRoomError(f"the tasks need {self.sizes.sum()} bytes, the machines have {self.room.tolist()}")
        return int(np.ceil(solved.fun * (1 - 1e-7) - 1e-3))


@dataclass(frozen=True)
class Schedule:
    """Where and when each task begins, and when all are done, in microseconds."""

    machines: tuple[int, ...]
    starts: tuple[int, ...]
    end: int


class Builder:
    """A schedule in the making: each task is put into the first gap of a machine that is long enough."""

    def __init__(self, problem: Problem) -> None:
        """Begin with no task."""
        self._problem = problem
        self._durations = problem.durations.tolist()
        self._transfers = problem.transfers.tolist()
        self._busy: list[list[tuple[int, int]]] = [[] for _ in range(problem.machines)]
        self._machines = [0] * problem.count
        self._starts = [0] * problem.count
        self._ends = [0] * problem.count
        self.left = problem.room.tolist()

    def fits(self, task: int) -> list[int]:
        """Return the machines that can run a task and have room for it. Raises NoRoomError where there is none."""
        size = int(self._problem.sizes[task])
        machines = [machine for machine in self._problem.allowed[task] if size <= self.left[machine]]
        if not machines:
            raise NoRoomError(f"no machine has {size} bytes left for task {task}: {self.left}")
        return machines

    def find(self, task: int, machine: int, insert: bool = True) -> int:
        """Return the earliest start of a task, whose predecessors are placed, on a machine."""
        ready = 0
        for other, edge in self._problem.before[task]:
            arrival = self._ends[other] + self._transfers[edge][self._machines[other]][machine]
            ready = max(ready, arrival)
        busy = self._busy[machine]
        if not insert:
            return max(ready, busy[-1][1]) if busy else ready
        need = self._durations[task][machine]
        for start, end in busy:
            if ready + need <= start:
                break
            ready = max(ready, end)
        return ready

    def end(self, task: int, machine: int, insert: bool = True) -> int:
        """Return the earliest end of a task on a machine."""
        return self.find(task, machine, insert) + self._durations[task][machine]

    def place(self, task: int, machine: int, start: int) -> None:
        """Put a task where `find` found room."""
        end = start + self._durations[task][machine]
        busy = self._busy[machine]
        at = len(busy)
        while at and busy[at - 1][0] >= end:
            at -= 1
        busy.insert(at, (start, end))
        self.left[machine] -= int(self._problem.sizes[task])
        self._machines[task], self._starts[task], self._ends[task] = machine, start, end

    def schedule(self) -> Schedule:
        """Return what was placed."""
        return Schedule(tuple(self._machines), tuple(self._starts), max(self._ends, default=0))


def schedule_on(problem: Problem, machines: Sequence[int], order: Sequence[int]) -> Schedule:
    """Return a schedule with a given machine for each task, placed in a topological order. Raises NoRoomError."""
    check_room(problem, machines)
    builder = Builder(problem)
    for task in order:
        builder.place(task, machines[task], builder.find(task, machines[task]))
    return builder.schedule()


def check_room(problem: Problem, machines: Sequence[int]) -> None:
    """Raise NoRoomError where the tasks do not fit into their machines' memory."""
    used = np.bincount(machines, problem.sizes, problem.machines)
    for machine, (size, room) in enumerate(zip(used.tolist(), problem.room.tolist(), strict=True)):
        if size > room:
            raise NoRoomError(f"the tasks of machine {machine} need {size:.0f} bytes, it has {room}")


def check(problem: Problem, schedule: Schedule) -> None:
    """Raise ValueError where a schedule is not one for the problem: every rule is looked at anew."""
    machines, starts = schedule.machines, schedule.starts
    ends = [start + int(problem.durations[task, machines[task]]) for task, start in enumerate(starts)]
    for task, machine in enumerate(machines):
        if problem.durations[task, machine] == NEVER or starts[task] < 0:
            raise ValueError(f"task {task} cannot begin at {starts[task]} on machine {machine}")
    for edge, (first, second) in enumerate(problem.edges):
        if starts[second] < ends[first] + problem.transfers[edge, machines[first], machines[second]]:
            raise ValueError(f"task {second} begins before the result of task {first} is there")
    for machine in range(problem.machines):
        own = sorted((starts[task], ends[task], task) for task in range(problem.count) if machines[task] == machine)
        for (_, end, task), (start, _, other) in pairwise(own):
            if start < end:
                raise ValueError(f"tasks {task} and {other} run at the same time on machine {machine}")
        if sum(int(problem.sizes[task]) for *_, task in own) > problem.room[machine]:
            raise ValueError(f"the tasks of machine {machine} do not fit into its memory")
    if schedule.end != max(ends, default=0):
        raise ValueError(f"the schedule ends at {max(ends, default=0)}, not at {schedule.end}")
