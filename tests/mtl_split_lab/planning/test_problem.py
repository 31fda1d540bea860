"""On small random graphs, bound <= optimum <= heuristic, and every schedule keeps every rule."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_split_lab.planning.exact import brute_force, solve_cp_sat, solve_milp
from mtl_split_lab.planning.heuristics import find_modules, greedy, heft, modules, place_modules
from mtl_split_lab.planning.problem import NEVER, NoRoomError, Problem, Schedule, check
from mtl_split_lab.planning.random_graphs import draw_problem


@st.composite
def problems(draw: st.DrawFn, most: int = 6) -> Problem:
    """Any small problem: some tasks are bound to machines, some take no time, and the memory may be too small."""
    count, machines = draw(st.integers(1, most)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    pairs = [(first, second) for second in range(count) for first in range(second)]
    edges = tuple(pair for pair in pairs if rng.random() < 0.5)
    durations = rng.integers(0, 50, (count, machines))
    bound = rng.random((count, machines)) < 0.2
    bound[bound.all(axis=1)] = False
    transfers = rng.integers(0, draw(st.sampled_from([1, 20, 200])), (len(edges), machines, machines))
    transfers[:, np.arange(machines), np.arange(machines)] = 0
    sizes = rng.integers(0, 10, count)
    room = rng.integers(0, draw(st.sampled_from([10, 40])), machines)
    return Problem(np.where(bound, NEVER, durations), edges, transfers, sizes, room)


def solve(problem: Problem) -> Schedule | None:
    try:
        return brute_force(problem)
    except NoRoomError:
        return None


@settings(max_examples=25)
@given(problems())
def test_the_bound_is_never_above_the_optimum_and_no_heuristic_below_it(problem: Problem) -> None:
    best = solve(problem)
    if best is None:
        for way in (greedy, heft, modules):
            with pytest.raises(NoRoomError):
                way(problem)
        with pytest.raises(NoRoomError):
            solve_cp_sat(problem, 10.0)
        return
    check(problem, best)
    assert problem.lower_bound <= best.end
    exact = solve_cp_sat(problem, 10.0)
    assert exact.schedule is not None
    check(problem, exact.schedule)
    assert exact.bound == exact.schedule.end == best.end
    for way in (greedy, heft, modules):
        try:
            schedule = way(problem)
        except NoRoomError:
            continue  # a way may not find the only one that fits
        check(problem, schedule)
        assert schedule.end >= best.end
        # Whatever a hint leaves out, the best schedule is still found.
        assert solve_cp_sat(problem, 10.0, hint=schedule).bound == best.end


@settings(max_examples=25)
@given(problems(most=5))
def test_the_integer_program_finds_the_same(problem: Problem) -> None:
    best = solve(problem)
    if best is None:
        with pytest.raises(NoRoomError):
            solve_milp(problem, 10.0)
        return
    found = solve_milp(problem, 10.0)
    assert found.schedule is not None
    check(problem, found.schedule)
    assert found.bound <= best.end == found.schedule.end


@given(st.integers(0, 1000), st.integers(21, 60))
@settings(max_examples=5)
def test_a_larger_graph_is_planned_no_worse_than_by_heft_and_greedy(seed: int, tasks: int) -> None:
    problem = draw_problem(seed, tasks)
    schedule = modules(problem)
    check(problem, schedule)
    assert problem.lower_bound <= schedule.end
    for way in (heft, greedy):
        try:
            assert schedule.end <= way(problem).end
        except NoRoomError:
            continue


def test_much_is_found_that_heft_and_greedy_do_not_see() -> None:
    problem = draw_problem(100_028, 40)  # with transfers that take long
    assert modules(problem).end < 0.7 * min(heft(problem).end, greedy(problem).end)


def test_the_solver_is_stopped_in_time() -> None:
    problem = draw_problem(100_015, 80)
    found = solve_cp_sat(problem, 0.2, hint=heft(problem))
    assert found.schedule and problem.lower_bound <= found.bound < found.schedule.end


@given(st.integers(0, 1000), st.integers(1, 12))
@settings(max_examples=20)
def test_modules_are_all_tasks_once_and_not_too_many(seed: int, most: int) -> None:
    groups = find_modules(draw_problem(seed, 30), most)
    assert sorted(task for group in groups for task in group) == list(range(30))
    assert 1 <= len(groups) <= most


def line(durations: list[list[int]], transfer: int, room: list[int] | None = None) -> Problem:
    """Tasks in a row, each of one byte, with the same transfer between all machines."""
    count, machines = len(durations), len(durations[0])
    between = np.where(np.eye(machines, dtype=bool), 0, transfer)
    return Problem(
        np.array(durations),
        tuple((task, task + 1) for task in range(count - 1)),
        np.broadcast_to(between, (count - 1, machines, machines)).copy(),
        np.ones(count, np.int64),
        np.array(room or [count] * machines),
    )


def test_work_moves_where_the_link_pays_for_it() -> None:
    near, far = line([[10, NEVER], [50, 10], [50, 10]], 30), line([[10, NEVER], [50, 10], [50, 10]], 90)
    assert (brute_force(near).machines, brute_force(near).end) == ((0, 1, 1), 60)
    assert (brute_force(far).machines, brute_force(far).end) == ((0, 0, 0), 110)
    assert near.lower_bound == 60


def test_what_has_no_room_on_the_fast_machine_stays() -> None:
    problem = line([[10, NEVER], [50, 10], [50, 10]], 0, room=[3, 1])
    assert brute_force(problem).end == solve_cp_sat(problem, 10.0).bound == modules(problem).end == 70


def test_modules_that_belong_together_are_placed_together_at_their_best() -> None:
    """Two rows of tasks, joined by a thin edge: each row is a module, and goes where it is fastest."""
    near, far = [[10, NEVER]] + [[10, 90]] * 7, [[90, 10]] * 8
    problem = line(near + far, 0)
    thick = np.where(np.eye(2, dtype=bool), 0, 1000)
    problem.transfers[:] = thick
    problem.transfers[7] = thick // 100
    assert {frozenset(group) for group in find_modules(problem, 2)} == {frozenset(range(8)), frozenset(range(8, 16))}
    placed = place_modules(problem)
    check(problem, placed)
    assert (placed.machines, placed.end) == ((0,) * 8 + (1,) * 8, 170)


def test_a_cycle_is_refused() -> None:
    with pytest.raises(ValueError, match="cycle"):
        Problem(np.ones((2, 1), int), ((0, 1), (1, 0)), np.zeros((2, 1, 1), int), np.zeros(2, int), np.ones(1, int))


@pytest.mark.parametrize(
    ("machines", "starts", "end", "complaint"),
    [
        ((0, 1), (0, 10), 20, "before the result"),
        ((0, 0), (0, 5), 55, "before the result"),
        ((1, 1), (0, 10), 20, "cannot begin"),
        ((0, 0), (0, 10), 50, "ends at 60"),
        ((0, 1), (-1, 60), 70, "cannot begin"),
    ],
)
def test_a_schedule_that_breaks_a_rule_is_refused(
    machines: tuple[int, ...], starts: tuple[int, ...], end: int, complaint: str
) -> None:
    problem = line([[10, NEVER], [50, 10]], 30)
    with pytest.raises(ValueError, match=complaint):
        check(problem, Schedule(machines, starts, end))
    check(problem, Schedule((0, 1), (0, 40), 50))
