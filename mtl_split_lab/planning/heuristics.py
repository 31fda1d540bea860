"""Schedules in a moment: greedy, HEFT, and modules of tasks that belong together, solved exactly and then improved."""

import contextlib
import random
from collections.abc import Collection, Sequence

import networkx
import numpy as np

from mtl_split_lab.planning.exact import solve_cp_sat
from mtl_split_lab.planning.problem import NEVER, Builder, NoRoomError, Problem, Schedule, check_room

MOST_MODULES = 32
"""Modules that CP-SAT places; with as many tasks or less, each is a module."""

SECONDS = 0.3
"""About, for CP-SAT to place the modules."""

RESOLUTIONS = (1.0, 0.3)
"""Of the modularity: a larger one makes smaller modules (Newman 2016). The first one's are placed exactly."""

KICKS = 3
"""How often the best schedule is disturbed by chance, and improved again."""


def greedy(problem: Problem) -> Schedule:
    """Put each task, in a topological order, onto the machine that ends it first. Raises NoRoomError."""
    builder = Builder(problem)
    for task in problem.order:
        machine = min(builder.fits(task), key=lambda machine: builder.end(task, machine, insert=False))
        builder.place(task, machine, builder.find(task, machine, insert=False))
    return builder.schedule()


def heft(problem: Problem) -> Schedule:
    """Heterogeneous earliest finish time (Topcuoglu et al. 2002): by rank, into the first gap. Raises NoRoomError."""
    builder = Builder(problem)
    for task in problem.by_rank:
        machine = min(builder.fits(task), key=lambda machine: builder.end(task, machine))
        builder.place(task, machine, builder.find(task, machine))
    return builder.schedule()


def modules(problem: Problem, kicks: int = KICKS) -> Schedule:
    """Find modules by modularity, place them exactly, and then move modules and tasks while that shortens the schedule.

    The idea is DiviML's: tasks between which much is sent belong onto one machine. Raises NoRoomError where no schedule
    is found that fits into the memory.
    """
    alone = [{task} for task in range(problem.count)]
    few = problem.count <= MOST_MODULES
    groups = [] if few else [find_modules(problem, resolution) for resolution in RESOLUTIONS]
    coarse = alone if few else groups[0]
    found: list[Schedule] = []
    for way in (heft, greedy, lambda problem: place_modules(problem, coarse)):
        with contextlib.suppress(NoRoomError):
            found.append(way(problem))
    if not found:
        raise NoRoomError(f"no way was found to fit {problem.sizes.sum()} bytes into {problem.room.tolist()}")
    if few:
        return min(found, key=lambda schedule: schedule.end)
    movable = {frozenset(group) for of in (*groups, find_sides(problem), alone) for group in of}
    search = _Search(problem, sorted(movable, key=lambda group: (-len(group), sorted(group))))
    for schedule in found:
        search.improve(schedule)
    chance = random.Random(0)
    for _ in range(kicks):
        search.kick(chance)
    return search.best


def place_modules(problem: Problem, groups: Sequence[set[int]]) -> Schedule:
    """Place modules exactly, if there is the time, and then their tasks one by one. Raises NoRoomError."""
    coarse, module = contract(problem, groups)
    placed = solve_cp_sat(coarse, SECONDS, repeatable=True).schedule
    if placed is None:
        raise NoRoomError(f"no place was found for {coarse.count} modules within {SECONDS:g} s")
    if coarse.count == problem.count:
        return Schedule(
            tuple(placed.machines[module[task]] for task in range(problem.count)),
            tuple(placed.starts[module[task]] for task in range(problem.count)),
            placed.end,
        )
    return schedule_by_own_ranks(problem, [placed.machines[module[task]] for task in range(problem.count)])


def find_modules(problem: Problem, resolution: float) -> list[set[int]]:
    """Return the tasks in modules, in a topological order of these: communities, cut where there would be none."""
    graph = networkx.Graph()
    graph.add_nodes_from(range(problem.count))
    for (first, second), weight in zip(problem.edges, problem.transfers.mean(axis=(1, 2)).tolist(), strict=True):
        graph.add_edge(first, second, weight=weight + 1.0)
    communities = networkx.community.louvain_communities(graph, resolution=resolution, seed=0)
    community = {task: index for index, tasks in enumerate(communities) for task in tasks}
    # Along every edge that leaves a module, this number grows, so no way leads back into it.
    crossings = [0] * problem.count
    for task in problem.order:
        for other, _ in problem.before[task]:
            crossings[task] = max(crossings[task], crossings[other] + (community[other] != community[task]))
    found: dict[tuple[int, int], set[int]] = {}
    for task in problem.order:
        found.setdefault((crossings[task], community[task]), set()).add(task)
    return [found[key] for key in sorted(found)]


def find_sides(problem: Problem) -> list[set[int]]:
    """Return what lies on either side of every edge that alone joins two parts of the graph, as a bottleneck does.

    What has to be on certain machines is left out.
    """
    graph = problem.graph.to_undirected()
    free = {task for task in range(problem.count) if len(problem.allowed[task]) == problem.machines}
    sides = []
    for one, other in list(networkx.bridges(graph)):
        graph.remove_edge(one, other)
        sides += [networkx.node_connected_component(graph, end) & free for end in (one, other)]
        graph.add_edge(one, other)
    return [side for side in sides if side]


def contract(problem: Problem, groups: Sequence[Collection[int]]) -> tuple[Problem, list[int]]:
    """Return the problem of modules, each run in one go, and by task the index of its module.

    Raises NoRoomError where a module has no machine that can run all of it.
    """
    module = [0] * problem.count
    for index, group in enumerate(groups):
        for task in group:
            module[task] = index
    parts = [problem.durations[sorted(group)] for group in groups]
    durations = np.array([np.where((part == NEVER).any(axis=0), NEVER, part.sum(axis=0)) for part in parts])
    if (durations.max(axis=1) == NEVER).any():
        raise NoRoomError("a module has no machine that can run all of it")
    between: dict[tuple[int, int], list[int]] = {}
    for edge, (first, second) in enumerate(problem.edges):
        if module[first] != module[second]:
            between.setdefault((module[first], module[second]), []).append(edge)
    transfers = np.array([problem.transfers[edges].max(axis=0) for edges in between.values()], np.int64)
    shape = (len(between), problem.machines, problem.machines)
    sizes = np.array([problem.sizes[sorted(group)].sum() for group in groups])
    return Problem(durations, tuple(between), transfers.reshape(shape), sizes, problem.room), module


def schedule_by_own_ranks(problem: Problem, machines: Sequence[int]) -> Schedule:
    """Return a schedule with a given machine for each task; first comes what has most behind it on these machines.

    Raises NoRoomError where they do not fit.
    """
    check_room(problem, machines)
    schedule = _Search(problem, []).try_out(list(machines))
    assert schedule is not None
    return schedule


class _Search:
    """Local search: of all groups of tasks, each is moved to another machine wherever that shortens the schedule."""

    def __init__(self, problem: Problem, groups: Sequence[frozenset[int]]) -> None:
        self._groups = groups
        self._machines = range(problem.machines)
        self._durations = problem.durations.tolist()
        self._transfers = problem.transfers.tolist()
        self._sizes = problem.sizes.tolist()
        self._room = problem.room.tolist()
        self._before, self._behind = problem.before, problem.behind
        self._order = problem.order
        self.best = Schedule((), (), 1 << 62)

    def improve(self, schedule: Schedule) -> None:
        """Begin with a schedule, and keep the end if it is the best so far."""
        now = min(filter(None, [self.try_out(list(schedule.machines)), schedule]), key=lambda each: each.end)
        moved = True
        while moved:
            moved = False
            for group in self._groups:
                for machine in self._machines:
                    machines = self._move(now.machines, group, machine)
                    if machines and (better := self.try_out(machines, now.end)):
                        now, moved = better, True
        if now.end < self.best.end:
            self.best = now

    def kick(self, chance: random.Random) -> None:
        """Move two groups by chance, and improve what comes of it."""
        machines: tuple[int, ...] | list[int] | None = self.best.machines
        for group in chance.sample(self._groups, min(2, len(self._groups))):
            machines = machines and self._move(machines, group, chance.choice(self._machines))
        schedule = machines and self.try_out(list(machines))
        if schedule:
            self.improve(schedule)

    def try_out(self, machines: list[int], limit: int = 1 << 62) -> Schedule | None:
        """Return the schedule on given machines, None where it does not end before `limit`."""
        ranks = [0] * len(machines)
        for task in reversed(self._order):
            machine, rest = machines[task], 0
            for other, edge in self._behind[task]:
                rest = max(rest, ranks[other] + self._transfers[edge][machine][machines[other]])
            ranks[task] = rest + self._durations[task][machine]
            if ranks[task] >= limit:
                return None
        free, starts, ends = [0] * len(self._room), [0] * len(machines), [0] * len(machines)
        for task in sorted(self._order, key=ranks.__getitem__, reverse=True):
            machine = machines[task]
            start = free[machine]
            for other, edge in self._before[task]:
                start = max(start, ends[other] + self._transfers[edge][machines[other]][machine])
            if start + ranks[task] >= limit:
                return None
            starts[task] = start
            free[machine] = ends[task] = start + self._durations[task][machine]
        return Schedule(tuple(machines), tuple(starts), max(ends, default=0))

    def _move(self, machines: Sequence[int], group: frozenset[int], machine: int) -> list[int] | None:
        moved = list(machines)
        for task in group:
            if self._durations[task][machine] == NEVER:
                return None
            moved[task] = machine
        if moved == machines:
            return None
        used = [0] * len(self._room)
        for task, where in enumerate(moved):
            used[where] += self._sizes[task]
        return moved if all(map(int.__le__, used, self._room)) else None
