"""The best schedule and a bound that proves it: CP-SAT, the integer program of DiviML, and every schedule there is."""

import contextlib
import math
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import networkx
import numpy as np
from ortools.sat.python import cp_model
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from mtl_split_lab.planning.problem import FAR, NEVER, Builder, NoRoomError, Problem, Schedule, schedule_on

MOST_TASKS = 8
"""Of a problem that brute force is for."""


@dataclass(frozen=True)
class Solution:
    """The best schedule that was found, None where time was too short for any, and what no schedule can beat."""

    schedule: Schedule | None
    bound: int


def solve_cp_sat(problem: Problem, seconds: float, hint: Schedule | None = None, repeatable: bool = False) -> Solution:
    """Solve a problem with OR-Tools' CP-SAT on one core, within some seconds of its time, whatever else runs.

    hint: a schedule to begin with: whatever cannot be part of a shorter one is left out from the start; repeatable:
    count CP-SAT's own steps, about as many as fit into so many seconds, so that a busy machine finds the same. Raises
    NoRoomError where the tasks do not fit into the memory.
    """
    limit = hint.end if hint else longest(problem)
    model = cp_model.CpModel()
    end = model.new_int_var(problem.lower_bound, limit, "end")
    starts = [model.new_int_var(0, limit, "") for _ in range(problem.count)]
    ends = [model.new_int_var(0, limit, "") for _ in range(problem.count)]
    groups = _tied(problem, limit)
    on = _choices(model, problem, limit, groups)
    for group in groups:
        if len(group) > 1:
            begin = model.new_int_var(0, limit, "")
            model.add_min_equality(begin, [starts[task] for task in group])
            for machine, chosen in on[group[0]].items():
                # One after the other, and then what is behind the last: the solver would find that out only slowly.
                work = problem.durations[group, machine]
                rest = int((problem.least_rests[group, machine] - work).min())
                model.add(end >= begin + int(work.sum()) + rest).only_enforce_if(chosen)
    for machine in range(problem.machines):
        own = [task for task in range(problem.count) if machine in on[task]]
        lengths = [int(problem.durations[task, machine]) for task in own]
        model.add_no_overlap(
            model.new_optional_interval_var(starts[task], length, ends[task], on[task][machine], "")
            for task, length in zip(own, lengths, strict=True)
        )
        model.add(sum(int(problem.sizes[task]) * on[task][machine] for task in own) <= int(problem.room[machine]))
        model.add(sum(length * on[task][machine] for task, length in zip(own, lengths, strict=True)) <= end)
    for task in range(problem.count):
        model.add(ends[task] <= end)
    for edge, (first, second) in enumerate(problem.edges):
        model.add(starts[second] >= ends[first])
        if on[first] is on[second]:
            continue
        for before, left in on[first].items():
            for behind, right in on[second].items():
                transfer = int(problem.transfers[edge, before, behind])
                if problem.earliest_ends[first, before] + transfer + problem.least_rests[second, behind] > limit:
                    model.add_bool_or(left.negated(), right.negated())
                elif transfer:
                    model.add(starts[second] >= ends[first] + transfer).only_enforce_if(left, right)
    model.minimize(end)
    if hint:
        for task in range(problem.count):
            model.add_hint(starts[task], hint.starts[task])
        for group in groups:
            for machine, chosen in on[group[0]].items():
                model.add_hint(chosen, machine == hint.machines[group[0]])
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    if repeatable:
        solver.parameters.max_deterministic_time = seconds
        status = solver.solve(model)
    else:
        with _stopping(solver, seconds):
            status = solver.solve(model)
    if status == cp_model.INFEASIBLE:
        raise NoRoomError(f"the tasks need {problem.sizes.sum()} bytes, the machines have {problem.room.tolist()}")
    if status == cp_model.UNKNOWN:
        return Solution(hint, problem.lower_bound)
    machines = tuple(
        next(machine for machine, chosen in choice.items() if solver.boolean_value(chosen)) for choice in on
    )
    found = Schedule(machines, tuple(solver.value(start) for start in starts), solver.value(end))
    return Solution(found, math.ceil(solver.best_objective_bound - 1e-6))


@contextlib.contextmanager
def _stopping(solver: cp_model.CpSolver, seconds: float) -> Iterator[None]:
    """Stop a solver after so many seconds of the processor: OR-Tools counts those of the clock alone."""
    end = time.process_time() + seconds
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            if time.process_time() > end:
                solver.stop_search()

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield
    finally:
        done.set()
        watching.join()


def _tied(problem: Problem, limit: int) -> list[list[int]]:
    """Return all tasks in groups that are on one machine in every schedule that ends by `limit`.

    Between the tasks of a group there is no time for any link.
    """
    ties = networkx.Graph()
    ties.add_nodes_from(range(problem.count))
    apart = ~np.eye(problem.machines, dtype=bool)
    for edge, (first, second) in enumerate(problem.edges):
        whole = problem.earliest_ends[first][:, None] + problem.transfers[edge] + problem.least_rests[second][None, :]
        if (whole[apart] > limit).all():
            ties.add_edge(first, second)
    return [sorted(group) for group in networkx.connected_components(ties)]


def _choices(
    model: cp_model.CpModel, problem: Problem, limit: int, groups: list[list[int]]
) -> list[dict[int, cp_model.IntVar]]:
    """Return by task a variable for each machine that it may be on; those of a group share theirs."""
    durations = np.where(problem.durations == NEVER, FAR, problem.durations)
    possible = problem.earliest_ends - durations + problem.least_rests <= limit
    on: list[dict[int, cp_model.IntVar]] = [{} for _ in range(problem.count)]
    for group in groups:
        choice = {int(machine): model.new_bool_var("") for machine in np.flatnonzero(possible[group].all(axis=0))}
        model.add_exactly_one(choice.values())
        for task in group:
            on[task] = choice
    return on


def longest(problem: Problem) -> int:
    """Return microseconds within which there is a schedule, if any: one task after the other, each over a link."""
    return int(problem.durations.max(axis=1).sum() + problem.transfers.max(axis=(1, 2), initial=0).sum())


def brute_force(problem: Problem) -> Schedule:
    """Return the best of all schedules, tried one by one, of at most MOST_TASKS tasks. Raises NoRoomError."""
    if problem.count > MOST_TASKS:
        raise ValueError(f"{problem.count} tasks, expected at most {MOST_TASKS} for brute force")
    search = _Search(problem)
    search.go_on([], [])
    if search.best is None:
        raise NoRoomError(f"the tasks need {problem.sizes.sum()} bytes, the machines have {problem.room.tolist()}")
    return search.best


class _Search:
    """Every order in which tasks can begin, each on every machine; a way that is already as long as the best ends."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._tails = [0] * problem.count
        for task in reversed(problem.order):
            behind = max((self._tails[other] for other, _ in problem.behind[task]), default=0)
            self._tails[task] = behind + min(int(problem.durations[task, m]) for m in problem.allowed[task])
        self.best: Schedule | None = None

    def go_on(self, order: list[int], machines: list[int]) -> None:
        problem = self._problem
        builder = Builder(problem)
        for task, machine in zip(order, machines, strict=True):
            if machine not in problem.allowed[task] or problem.sizes[task] > builder.left[machine]:
                return
            start = builder.find(task, machine, insert=False)
            if self.best and start + int(problem.durations[task, machine]) + self._rest(task) >= self.best.end:
                return
            builder.place(task, machine, start)
        if len(order) == problem.count:
            self.best = builder.schedule()
            return
        done = set(order)
        for task in problem.order:
            if task not in done and all(other in done for other, _ in problem.before[task]):
                for machine in problem.allowed[task]:
                    self.go_on([*order, task], [*machines, machine])

    def _rest(self, task: int) -> int:
        return max((self._tails[other] for other, _ in self._problem.behind[task]), default=0)


def solve_milp(problem: Problem, seconds: float) -> Solution:
    """Solve a problem as DiviML's integer program, with HiGHS, within some seconds. Raises NoRoomError.

    Variables: which machine runs a task, when it begins, over which link each result goes, and which of two tasks that
    may meet on one machine is the first.
    """
    return _Milp(problem).solve(seconds)


class _Milp:
    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._upper: list[float] = []
        self._integral: list[int] = []
        self._rows: list[tuple[dict[int, float], float, float]] = []
        self._horizon = longest(problem)

    def solve(self, seconds: float) -> Solution:
        problem, horizon = self._problem, float(self._horizon)
        self._end = self._variable(horizon, 0)
        self._starts = [self._variable(horizon, 0) for _ in range(problem.count)]
        self._on = [{m: self._variable(1, 1) for m in problem.allowed[t]} for t in range(problem.count)]
        for task in range(problem.count):
            self._row(dict.fromkeys(self._on[task].values(), 1.0), 1, 1)
            self._row(self._sum({self._end: 1, self._starts[task]: -1}, self._length(task, -1)), 0, np.inf)
        for machine in range(problem.machines):
            own = {task: on[machine] for task, on in enumerate(self._on) if machine in on}
            sizes = {variable: float(problem.sizes[task]) for task, variable in own.items()}
            self._row(sizes, -np.inf, float(problem.room[machine]))
        for edge in range(len(problem.edges)):
            self._add_edge(edge)
        self._add_order()
        columns = [c for row, _, _ in self._rows for c in row]
        values = [v for row, _, _ in self._rows for v in row.values()]
        numbers = [i for i, (row, _, _) in enumerate(self._rows) for _ in row]
        shape = (len(self._rows), len(self._upper))
        matrix = csr_array((values, (numbers, columns)), shape=shape)
        goal = np.zeros(len(self._upper))
        goal[self._end] = 1
        solved = milp(
            goal,
            integrality=np.array(self._integral),
            bounds=Bounds(0, np.array(self._upper)),
            constraints=LinearConstraint(matrix, [low for _, low, _ in self._rows], [high for *_, high in self._rows]),
            options={"time_limit": seconds},
        )
        if solved.status == 2:
            raise NoRoomError(f"the tasks need {problem.sizes.sum()} bytes, the machines have {problem.room.tolist()}")
        dual = solved.mip_dual_bound
        bound = problem.lower_bound
        if dual is not None and np.isfinite(dual):
            bound = max(bound, math.ceil(dual * (1 - 1e-6) - 1e-3))
        if solved.x is None:
            return Solution(None, bound)
        machines = [max(on, key=lambda m: solved.x[on[m]]) for on in self._on]
        order = sorted(problem.order, key=lambda task: round(solved.x[self._starts[task]]))
        found = schedule_on(problem, machines, order)
        return Solution(found, min(bound, found.end))

    def _add_edge(self, edge: int) -> None:
        problem = self._problem
        first, second = problem.edges[edge]
        over = {(k, m): self._variable(1, 0) for k in self._on[first] for m in self._on[second]}
        for k, variable in self._on[first].items():
            self._row(self._sum({variable: -1}, {over[k, m]: 1 for m in self._on[second]}), 0, 0)
        for m, variable in self._on[second].items():
            self._row(self._sum({variable: -1}, {over[k, m]: 1 for k in self._on[first]}), 0, 0)
        transfer = {variable: -float(problem.transfers[edge, k, m]) for (k, m), variable in over.items()}
        begin = {self._starts[second]: 1.0, self._starts[first]: -1.0}
        self._row(self._sum(begin, self._length(first, -1), transfer), 0, np.inf)

    def _add_order(self) -> None:
        problem, far = self._problem, float(self._horizon)
        reached = [networkx.descendants(problem.graph, task) for task in range(problem.count)]
        for one in range(problem.count):
            for other in range(one):
                shared = self._on[one].keys() & self._on[other].keys()
                if not shared or one in reached[other] or other in reached[one]:
                    continue
                one_first = self._variable(1, 1)
                for machine in shared:
                    both = {self._on[one][machine]: -far, self._on[other][machine]: -far}
                    for a, b, sign, limit in ((one, other, -far, -3 * far), (other, one, far, -2 * far)):
                        begin = {self._starts[b]: 1.0, self._starts[a]: -1.0, one_first: sign}
                        self._row(self._sum(begin, self._length(a, -1), both), limit, np.inf)

    def _variable(self, upper: float, integral: int) -> int:
        self._upper.append(upper)
        self._integral.append(integral)
        return len(self._upper) - 1

    def _row(self, terms: Mapping[int, float], low: float, high: float) -> None:
        self._rows.append((dict(terms), low, high))

    def _length(self, task: int, sign: int) -> dict[int, float]:
        return {variable: sign * float(self._problem.durations[task, m]) for m, variable in self._on[task].items()}

    def _sum(self, *terms: Mapping[int, float]) -> dict[int, float]:
        total: dict[int, float] = {}
        for each in terms:
            for variable, value in each.items():
                total[variable] = total.get(variable, 0.0) + value
        return total
