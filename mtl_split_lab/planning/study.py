"""Ways of planning compared on random graphs: how good, how fast, and how near to a bound."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tqdm import tqdm

from mtl_split_lab.machine import machine_in_words
from mtl_split_lab.markdown import table
from mtl_split_lab.planning import heuristics
from mtl_split_lab.planning.exact import MOST_TASKS, Solution, brute_force, solve_cp_sat, solve_milp
from mtl_split_lab.planning.heuristics import CHANGES, FEW, greedy, heft, modules
from mtl_split_lab.planning.plan import Plan, format_plan, write_plan
from mtl_split_lab.planning.problem import NoRoomError, Problem, Schedule, check
from mtl_split_lab.planning.random_graphs import draw_problem

SIZES = (5, 6, 7, 8, 10, 12, 16, 20, 24, 28, 30, 32, 40, 50, 60, 80)
"""Tasks of the graphs, in turn."""

MADE_ON = 100_000
"""The first seed of the graphs that the heuristic was made on."""

MOST_FOR_MILP = 16
"""Tasks of the graphs that DiviML's integer program is tried on, too."""

PAGE, PLOT, PLACEMENT = "planning.md", "planning.png", "planning_example.png"

LARGE = 40
"""Tasks from which on the heuristic has to be much faster than the exact solver."""

EXACT, MILP, MODULES, HEFT, GREEDY = "CP-SAT", "DiviML's program", "modules", "HEFT", "greedy"
HEURISTICS: Mapping[str, Callable[[Problem], Schedule]] = {MODULES: modules, HEFT: heft, GREEDY: greedy}


@dataclass(frozen=True)
class Row:
    """One graph: microseconds of the bound without a solver, of CP-SAT's bound, and of the optimum by brute force.

    ends: of the schedules, by way, None where none fits into the memory; seconds: of one core that each way took.
    """

    seed: int
    tasks: int
    lower_bound: int
    bound: int
    optimum: int | None = None
    ends: Mapping[str, int | None] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def known(self) -> bool:
        """Whether CP-SAT proved its schedule to be the best."""
        return self.ends[EXACT] == self.bound


def compare(graphs: int, seconds: float, file: Path, seed: int) -> list[Row]:
    """Plan so many graphs in every way, CP-SAT within so many seconds each; seed: of the first graph.

    Rows are added to a file of JSON lines, so that an interrupted comparison goes on where it was. Raises ValueError
    where a schedule breaks a rule.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = [Row(**json.loads(line)) for line in file.read_text().splitlines()] if file.is_file() else []
    seeds = range(seed, seed + graphs)
    done = {row.seed for row in rows}
    with file.open("a") as lines:
        for each in tqdm([each for each in seeds if each not in done], "graphs", disable=None):
            rows.append(compare_one(each, SIZES[each % len(SIZES)], seconds))
            lines.write(json.dumps(asdict(rows[-1])) + "\n")
            lines.flush()
    return sorted((row for row in rows if row.seed in seeds), key=lambda row: (row.tasks, row.seed))


def compare_one(seed: int, tasks: int, seconds: float) -> Row:
    """Plan one graph in every way; every schedule is checked."""
    problem = draw_problem(seed, tasks)
    ends: dict[str, int | None] = {}
    took: dict[str, float] = {}

    def note(way: str, plan: Callable[[Problem], Schedule | Solution]) -> Solution:
        fresh = replace(problem)  # nothing that another way has found out
        start = time.process_time()
        try:
            found = plan(fresh)
        except NoRoomError:
            found = Solution(None, 0)
        took[way] = time.process_time() - start
        solution = found if isinstance(found, Solution) else Solution(found, 0)
        if solution.schedule:
            check(problem, solution.schedule)
        ends[way] = solution.schedule.end if solution.schedule else None
        return solution

    exact = note(EXACT, partial(solve_cp_sat, seconds=seconds))
    if tasks <= MOST_FOR_MILP:
        note(MILP, partial(solve_milp, seconds=seconds))
    for way, plan in HEURISTICS.items():
        note(way, plan)
    optimum = brute_force(problem).end if tasks <= MOST_TASKS else None
    return Row(seed, tasks, problem.lower_bound, exact.bound, optimum, ends, took)


def write_page(rows: Sequence[Row], plan: Plan, seconds: float, out: Path) -> None:
    """Write page and plots into the folder `out`; plan: of the example."""
    out.mkdir(parents=True, exist_ok=True)
    draw(rows).savefig(out / PLOT, dpi=90)
    written = write_plan(plan, out / "planning")
    written[-1].replace(out / PLACEMENT)
    for file in written[:-1]:
        file.unlink()
    (out / "planning").rmdir()
    large = [row for row in rows if row.tasks >= LARGE]
    stopped = [row for row in large if not row.known]
    known = [row for row in rows if row.known and row.ends[MODULES]]
    (out / PAGE).write_text(
        _PAGE.format(
            graphs=len(rows),
            smallest=min(row.tasks for row in rows),
            largest=max(row.tasks for row in rows),
            brute=sum(row.optimum is not None for row in rows),
            most_brute=MOST_TASKS,
            wrong=sum(map(is_wrong, rows)),
            known=len(known),
            seconds=f"{seconds:g}",
            over=_say_over(known),
            known_large=len(large) - len(stopped),
            over_large=_say_over([row for row in large if row.known]),
            reached=f"{np.mean(list(map(_is_reached, rows))):.0%}",
            first=min(row.seed for row in rows),
            made_on=MADE_ON,
            better=f"{np.mean([_beats(row, strictly=True) for row in rows]):.0%}",
            beatable=f"{np.mean([_beats(row, strictly=True) for row in rows if not _is_reached(row)] or [True]):.0%}",
            as_good=f"{np.mean([_beats(row, strictly=False) for row in rows]):.0%}",
            large=LARGE,
            large_graphs=len(large),
            few=FEW,
            changes=CHANGES,
            modules_seconds=heuristics.SECONDS,
            faster=_say_speed(large),
            stopped=len(stopped),
            gap=f"{np.mean([_gap(row) for row in stopped] or [0.0]):.0%}",
            shorter=f"{-np.mean([_over(row, MODULES) for row in stopped] or [0.0]):.1%}",
            most_milp=MOST_FOR_MILP,
            sizes=_size_table(rows),
            plot=PLOT,
            placement=PLACEMENT,
            plan=format_plan(plan),
            machine=machine_in_words(),
        )
    )


def is_wrong(row: Row) -> bool:
    """Whether anything contradicts: a bound above a schedule, or an exact way that differs from the optimum."""
    ends = [end for end in row.ends.values() if end is not None]
    best = row.ends[EXACT] if row.known else row.optimum
    exact = {end for end in (row.optimum, best) if end is not None}
    return (
        max(row.lower_bound, row.bound) > min(ends, default=1 << 62)
        or len(exact) > 1
        or any(end < best for end in ends if best is not None)
    )


def _over(row: Row, way: str) -> float:
    end, best = row.ends[way], row.ends[EXACT]
    return end / best - 1 if end and best else 0.0


def _percent_over(way: str, row: Row) -> float:
    return 100 * _over(row, way)


def _seconds(way: str, row: Row) -> float:
    return row.seconds[way]


def _beats(row: Row, strictly: bool) -> bool:
    """Whether the heuristic is better than both others, or not worse; a way without a schedule is beaten."""
    own = row.ends[MODULES]
    others = [row.ends[way] or 1 << 62 for way in (HEFT, GREEDY)]
    return own is not None and all(own < other or (own == other and not strictly) for other in others)


def _is_reached(row: Row) -> bool:
    """Whether HEFT or greedy has reached the bound, so that nothing can be better."""
    return row.bound in (row.ends[HEFT], row.ends[GREEDY])


def _say_over(rows: Sequence[Row]) -> str:
    """Say how far over the optimum the heuristic is."""
    over = np.array([_over(row, MODULES) for row in rows] or [0.0])
    mean, high, close = np.mean(over), np.percentile(over, 95), np.mean(over <= 0.05)
    return f"{mean:.1%} over it in the mean, {high:.1%} at the 95th percentile, and within 5 % on {close:.0%}"


def _gap(row: Row) -> float:
    """How much better than what CP-SAT found a schedule could be, for all that it has proved."""
    end = row.ends[EXACT]
    return 1 - row.bound / end if end else 1.0


def _say_speed(rows: Sequence[Row]) -> str:
    """Say how many times as long CP-SAT takes as the heuristic, where it was stopped at least."""
    ratios = np.array([row.seconds[EXACT] / row.seconds[MODULES] for row in rows] or [0.0])
    often = np.mean(ratios >= 50)
    return f"{np.median(ratios):.0f} times faster than CP-SAT at the median, at least 50 times on {often:.0%}"


def _size_table(rows: Sequence[Row]) -> str:
    cells = []
    for size in sorted({row.tasks for row in rows}):
        own = [row for row in rows if row.tasks == size]
        known = [row for row in own if row.known and row.ends[MODULES]]
        gaps = [[_over(row, way) for row in known if row.ends[way]] for way in HEURISTICS]
        took = [[row.seconds[way] for row in own if way in row.seconds] for way in (EXACT, MILP, MODULES)]
        bounds = [row.lower_bound / row.bound - 1 for row in known]
        cells.append(
            [
                str(size),
                f"{len(known)} of {len(own)}",
                *(f"{np.mean(gap):+.1%}" if gap else "-" for gap in gaps),
                f"{np.mean(bounds):+.1%}" if bounds else "-",
                f"{np.mean([_gap(row) for row in own]):.1%}",
                *(f"{np.median(time):.2f}" if time else "-" for time in took),
            ]
        )
    ways = [f"{way} over it" for way in HEURISTICS]
    times = [f"{way}, s" for way in (EXACT, MILP, MODULES)]
    head = ["tasks", "optimum known", *ways, "bound without a solver", "CP-SAT's gap", *times]
    return table("|".join(head), cells)


def draw(rows: Sequence[Row]) -> Figure:
    """Draw how good and how fast each way is, by the number of tasks."""
    figure = Figure((11, 4.2), layout="constrained")
    good, fast = figure.subplots(1, 2)
    colours = {MODULES: "black", HEFT: "tab:orange", GREEDY: "tab:blue", EXACT: "tab:green", MILP: "tab:red"}
    for way in HEURISTICS:
        known = [row for row in rows if row.known and row.ends[way]]
        good.plot([r.tasks for r in known], [100 * _over(r, way) for r in known], ".", color=colours[way], alpha=0.4)
        _plot_means(good, known, colours[way], way, partial(_percent_over, way), np.mean)
    good.axhline(5, color="grey", ls=":", lw=1)
    good.set(xlabel="tasks", ylabel="% over the optimum, where it is known", ylim=(-2, 80))
    for way in (EXACT, MILP, MODULES, HEFT):
        timed = [row for row in rows if way in row.seconds]
        _plot_means(fast, timed, colours[way], way, partial(_seconds, way), np.median)
    fast.set(xlabel="tasks", ylabel="seconds of one core, median", yscale="log")
    for panel in (good, fast):
        panel.grid(alpha=0.3)
        panel.legend()
    return figure


def _plot_means(
    panel: Axes,
    rows: Sequence[Row],
    colour: str,
    label: str,
    value: Callable[[Row], float],
    middle: Callable[[Sequence[float]], float],
) -> None:
    sizes = sorted({row.tasks for row in rows})
    means = [middle([value(row) for row in rows if row.tasks == size]) for size in sizes]
    panel.plot(sizes, means, "-", color=colour, label=label)


_PAGE = """# Planning

How good and how fast the ways of placing tasks on machines are. {graphs} randomly wired networks of {smallest} to
{largest} tasks (Watts-Strogatz, as in Xie et al. 2019) on a vehicle, a roadside unit and a server with speeds of 1, 2.5
and 4. Transfers take a tenth, half or twice as long as a task on the vehicle; each machine has memory for a part of the
tasks alone, and the first task, the camera's, is bound to the vehicle. The schedule is to end as early as possible.

- **CP-SAT** (OR-Tools): at most {seconds} s of one core, without a hint;
- **DiviML's program** (Ghannane and Abdelfattah 2023), with HiGHS, up to {most_milp} tasks;
- **modules**: the best of HEFT, greedy, and all placements of at most seven communities by modularity, improved by
  {changes} steps of simulated annealing, most of them on the critical path; up to {few} tasks CP-SAT goes on from
  there, for about {modules_seconds} s at most;
- **HEFT** (Topcuoglu et al. 2002) and **greedy** for comparison;
- bounds: the solver's own, and one without a solver: longest path, and work divided as if tasks could be cut.

Seconds are those of one core, whatever else ran. The graphs' seeds begin at {first}; the heuristic was made on others,
from {made_on} on.

Up to {most_brute} tasks the optimum is found by brute force, too ({brute} graphs). **Graphs on which a bound is above a
schedule, two exact ways differ, or a heuristic is below the optimum: {wrong}.**

- Where the optimum is known ({known} graphs), modules are {over} of them.
  From {large} tasks on ({known_large} graphs) they are {over_large}.
- They are better than both HEFT and greedy on {better} of all graphs, and not worse than either on {as_good}. On
  {reached} of them one of the two is at the bound, so that nothing can be better; on the others modules are on
  {beatable}.
- From {large} tasks on ({large_graphs} graphs) they are {faster}.
  That is CP-SAT's seconds divided by theirs, for each graph; a run that was stopped counts with {seconds} s, and would
  have taken longer. Stopped were {stopped}: CP-SAT's gap was then {gap} in the mean, and the schedule of modules
  {shorter} shorter than its own.

![How far over the optimum, and how long it takes, by tasks]({plot})

{sizes}

## The example's fleet

What `mtl-split plan` says about its [example](../planning.md#the-fleet):

{plan}

![What runs where, and of what the milliseconds are made]({placement})

`mtl-split plan-study` makes this page. Measured on: {machine}.
"""
