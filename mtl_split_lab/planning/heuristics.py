"""Schedules in a moment: greedy, HEFT, and modules of tasks that belong together, placed at best and then annealed."""

import contextlib
import itertools
import math
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import networkx
import numpy as np

from mtl_split_lab.planning.exact import solve_cp_sat
from mtl_split_lab.planning.problem import NEVER, Builder, Integers, NoRoomError, Problem, Schedule

FEW = 32
"""Tasks up to which CP-SAT goes on from what was found."""

SECONDS = 0.3
"""About, for CP-SAT to do so."""

MOST_PLACEMENTS = 3**7
"""Of modules on machines, all of which are tried: seven modules on three machines."""

CHANGES = 8000
"""To a schedule, tried one after the other by simulated annealing."""

HOT, COLD = 0.03, 0.001
"""Temperatures at its beginning and end, as a part of the schedule's length."""

CRITICAL = 0.9
"""How often a task of the critical path is changed, and not just any."""

TOGETHER = 0.6
"""Divided by a number: how often at least as many tasks move together."""


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


def modules(problem: Problem) -> Schedule:
    """Place modules of tasks, then change machines and order of the tasks by simulated annealing.

    The modules are DiviML's idea: tasks between which much is sent belong onto one machine. For annealing, see
    Kirkpatrick et al. 1983. From there CP-SAT goes on where there are few tasks. The schedule is never worse than those
    of `heft` and `greedy`. Raises NoRoomError where none is found that fits into the memory.
    """
    best: Schedule | None = None
    for way in (heft, greedy, place_modules):
        with contextlib.suppress(NoRoomError):
            best = _better(best, way(problem))
    if best is not None:
        best = _better(best, _Annealing(problem, best).run())
    if problem.count <= FEW:
        best = solve_cp_sat(problem, SECONDS, hint=best, repeatable=True).schedule
    if best is None:
        raise NoRoomError(f"no way was found to fit {problem.sizes.sum()} bytes into {problem.room.tolist()}")
    return best


def _better(one: Schedule | None, other: Schedule) -> Schedule:
    return other if one is None or other.end < one.end else one


def place_modules(problem: Problem) -> Schedule:
    """Return the best of all placements of the modules on machines, with the tasks in HEFT's order.

    A task that cannot run where its module does is on the first machine that can. Raises NoRoomError.
    """
    count, machines = problem.count, problem.machines
    most = max(number for number in range(1, 13) if machines**number <= MOST_PLACEMENTS)
    groups = find_modules(problem, most)
    module = np.zeros(count, np.int64)
    for index, group in enumerate(groups):
        module[list(group)] = index
    placements = np.array(list(itertools.product(range(machines), repeat=len(groups)))).T[module]
    runs = problem.durations != NEVER
    placements = np.where(runs[np.arange(count)[:, None], placements], placements, runs.argmax(axis=1)[:, None])
    used = np.array([problem.sizes @ (placements == machine) for machine in range(machines)])
    placements = placements[:, (used <= problem.room[:, None]).all(axis=0)]
    if not placements.size:
        raise NoRoomError(f"no placement of {len(groups)} modules fits into {problem.room.tolist()}")
    starts, ends = _schedule_all(problem, placements, problem.by_rank)
    best = int(ends.argmin())
    return Schedule(tuple(placements[:, best].tolist()), tuple(starts[:, best].tolist()), int(ends[best]))


def find_modules(problem: Problem, most: int) -> list[Collection[int]]:
    """Return the tasks in at most so many modules: communities by modularity (Clauset et al. 2004)."""
    graph = networkx.Graph()
    graph.add_nodes_from(range(problem.count))
    for (first, second), weight in zip(problem.edges, problem.transfers.mean(axis=(1, 2)).tolist(), strict=True):
        graph.add_edge(first, second, weight=weight + 1.0)
    found = networkx.community.greedy_modularity_communities(graph, weight="weight", best_n=min(most, problem.count))
    return [*found[: most - 1], *filter(None, [frozenset().union(*found[most - 1 :])])]


def _schedule_all(problem: Problem, placements: Integers, order: Sequence[int]) -> tuple[Integers, Integers]:
    """Schedule many placements, (tasks, placements) of machines, in one topological order.

    Returns when each task begins, of the same shape, and (placements,) when all are done.
    """
    durations = problem.durations[np.arange(problem.count)[:, None], placements]
    ends, columns = np.zeros_like(placements), np.arange(placements.shape[1])
    free = np.zeros((problem.machines, placements.shape[1]), np.int64)
    for task in order:
        machine = placements[task]
        ready = free[machine, columns]
        for other, edge in problem.before[task]:
            ready = np.maximum(ready, ends[other] + problem.transfers[edge][placements[other], machine])
        free[machine, columns] = ends[task] = ready + durations[task]
    return ends - durations, ends.max(axis=0)


@dataclass(frozen=True)
class _Change:
    """Machines by task, bytes in use by machine, and the tasks in order, as before up to the place `first`."""

    machines: list[int]
    used: list[int]
    order: list[int]
    first: int = 0


class _Annealing:
    """Simulated annealing of the tasks' machines and of their order, in which each begins as soon as it can.

    Mostly the critical path is changed: the task that ends last, what it waits for, and so on back to the beginning.
    """

    def __init__(self, problem: Problem, schedule: Schedule) -> None:
        self._chance = random.Random(0)
        self._durations = problem.durations.tolist()
        self._transfers = problem.transfers.tolist()
        self._sizes, self._room = problem.sizes.tolist(), problem.room.tolist()
        self._before, self._behind = problem.before, problem.behind
        self._near = [
            [task for task, _ in (*before, *behind)]
            for before, behind in zip(problem.before, problem.behind, strict=True)
        ]
        # At least, from a task's end to the end of all, so that a bad change is given up early.
        self._rests = (problem.least_rests - np.maximum(problem.durations, 0)).tolist()
        used = np.zeros(problem.machines, np.int64)
        np.add.at(used, list(schedule.machines), problem.sizes)
        place = {task: index for index, task in enumerate(problem.order)}
        order = sorted(place, key=lambda task: (schedule.starts[task], place[task]))
        self._ends = [0] * problem.count
        self._accept(_Change(list(schedule.machines), used.tolist(), order), math.inf)

    def run(self) -> Schedule:
        """Try all changes, and return the best schedule that came of them."""
        best = self._end, self._now.machines, self._ends
        temperature = HOT * self._end
        for _ in range(CHANGES):
            temperature *= (COLD / HOT) ** (1 / CHANGES)
            change = self._draw()
            limit = self._end + 1 - temperature * math.log(1 - self._chance.random())
            if change and self._accept(change, limit) and self._end < best[0]:
                best = self._end, self._now.machines, self._ends
        end, machines, ends = best
        starts = (end - self._durations[task][machines[task]] for task, end in enumerate(ends))
        return Schedule(tuple(machines), tuple(starts), end)

    def _draw(self) -> _Change | None:
        """Draw a change: a task gets another machine, or another place in the order, or both.

        It may take others along that are joined to it, and where there is no room for them, others have to go back.
        None where that cannot be.
        """
        chance, now = self._chance, self._now
        count = len(now.order)
        task = chance.choice(self._critical) if chance.random() < CRITICAL else int(chance.random() * count)
        near = self._near[task]
        own, to = now.machines[task], int(chance.random() * len(self._room))
        if near and chance.random() < 0.5:
            to = now.machines[chance.choice(near)]
        if to == own:
            return self._put(task, now.machines, now.used)
        machines, used = now.machines[:], now.used[:]
        moved = self._gather(task, TOGETHER / (chance.random() + TOGETHER / count))
        for each in moved:
            if self._durations[each][to] == NEVER:
                return None
            machines[each] = to
            used[own] -= self._sizes[each]
            used[to] += self._sizes[each]
        if used[to] > self._room[to]:
            others = [each for each in now.order if now.machines[each] == to and self._durations[each][own] != NEVER]
            chance.shuffle(others)
            while others and used[to] > self._room[to]:
                moved.append(others.pop())
                machines[moved[-1]] = own
                used[own] += self._sizes[moved[-1]]
                used[to] -= self._sizes[moved[-1]]
        if used[to] > self._room[to] or used[own] > self._room[own]:
            return None
        if len(moved) == 1:
            return self._put(task, machines, used)
        return _Change(machines, used, now.order, min(self._place[each] for each in moved))

    def _gather(self, task: int, most: float) -> list[int]:
        """Return a task and others on its machine that it is joined to, about so many at most."""
        own, found = self._now.machines[task], [task]
        for each in found:
            if len(found) > most - 1:
                break
            near = self._near[each]
            joined = [other for other in near if self._now.machines[other] == own and other not in found]
            found += [other for other in joined if self._chance.random() < 0.7]
        return found

    def _put(self, task: int, machines: list[int], used: list[int]) -> _Change | None:
        """Put a task to any place in the order that is behind what it needs, and before what needs it."""
        place, order = self._place, self._now.order
        low = max([place[other] for other, _ in self._before[task]], default=-1) + 1
        high = min([place[other] for other, _ in self._behind[task]], default=len(order))
        at = low + int(self._chance.random() * (high - low))
        if at != place[task]:
            order = order[:]
            del order[place[task]]
            order.insert(at, task)
        elif machines is self._now.machines:
            return None
        return _Change(machines, used, order, min(at, place[task]))

    def _accept(self, change: _Change, limit: float) -> bool:
        """Make a change if all can be done before `limit`; whether it was made.

        Nearly all of the time is spent here.
        """
        machines, order = change.machines, change.order
        before, durations, transfers, rests = self._before, self._durations, self._transfers, self._rests
        ends, free = self._ends[:], [0] * len(self._room)
        for task in order[: change.first]:
            free[machines[task]] = ends[task]
        for task in order[change.first :]:
            machine = machines[task]
            end = free[machine]
            for other, edge in before[task]:
                arrival = ends[other] + transfers[edge][machines[other]][machine]
                if arrival > end:
                    end = arrival
            end += durations[task][machine]
            if end + rests[task][machine] >= limit:
                return False
            free[machine] = ends[task] = end
        self._now, self._ends, self._end = change, ends, max(ends)
        self._place = [0] * len(order)
        for index, task in enumerate(order):
            self._place[task] = index
        self._critical = self._find_critical()
        return True

    def _find_critical(self) -> list[int]:
        machines, order, ends = self._now.machines, self._now.order, self._ends
        task = ends.index(self._end)
        path = [task]
        while begin := ends[task] - self._durations[task][machines[task]]:
            machine = machines[task]
            for other, edge in self._before[task]:
                if ends[other] + self._transfers[edge][machines[other]][machine] == begin:
                    break
            else:
                other = next(each for each in order[self._place[task] - 1 :: -1] if machines[each] == machine)
            path.append(other)
            task = other
        return path
