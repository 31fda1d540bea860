"""A plan as a picture: which vehicles go where, how busy everything is, and of what the milliseconds are made."""

from collections.abc import Mapping
from itertools import accumulate

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mtl_split_lab.planning.assignment import Assignment
from mtl_split_lab.planning.fleet import Loaded
from mtl_split_lab.planning.prediction import Prediction
from mtl_split_lab.planning.routes import DOWN, EDGE, MIDDLE, SERVER, UP, Route

COLOURS = {
    EDGE: "tab:blue", UP: "tab:orange", MIDDLE: "tab:purple", SERVER: "tab:green", DOWN: "gold", "waiting": "tab:red",
}  # fmt: skip
NAMES = {
    EDGE: "edge", UP: "links up", MIDDLE: "roadside unit", SERVER: "suffix, rest or exit", DOWN: "links down",
    "waiting": "waiting, at the median",
}  # fmt: skip


def draw_plan(loaded: Loaded, assignment: Assignment, expected: Mapping[Route, Prediction]) -> Figure:
    """Draw a plan."""
    routes = list(assignment.taken)
    machines = loaded.fleet.servers
    height = 2.2 + 0.9 * max(len(routes), len(machines)) + 0.7 * len(routes)
    figure = Figure((11, height), layout="constrained")
    ratios = [max(len(routes), len(machines), 1) + 0.5, len(routes) + 1.0]
    places, times = figure.subplots(2, 1, height_ratios=ratios)
    _draw_places(places, loaded, assignment, routes, machines)
    _draw_times(times, loaded, routes, expected)
    return figure


def _draw_places(axes: Axes, loaded: Loaded, assignment: Assignment, routes: list[Route], machines: list[str]) -> None:
    fleet = loaded.fleet
    for number, machine in enumerate(machines):
        share = assignment.loads.get(machine, 0.0)
        axes.barh(-number, 1.0, 0.55, left=6.0, color="whitesmoke", edgecolor="black")
        axes.barh(-number, share, 0.55, left=6.0, color="tab:green", alpha=0.6)
        axes.plot([6.0 + fleet.busiest] * 2, [-number - 0.27, -number + 0.27], color="tab:red", lw=1)
        cores = fleet.machines[machine].cores
        axes.text(7.1, -number, f"{machine}\n{share:.0%} of {cores} cores in use", va="center")
    for number, route in enumerate(routes):
        count = assignment.taken[route]
        label = f"{count} x {route.vehicles}\n{', '.join(filter(None, (route.bundle, route.point)))}"
        axes.text(0.0, -number, label, va="center", ha="left", bbox={"facecolor": "aliceblue", "boxstyle": "round"})
        if route.machine:
            wide = 0.6 + 0.25 * count
            stops = [(1.9, number), *([(6.0, machines.index(route.unit))] if route.unit else [])]
            stops.append((6.0, machines.index(route.machine)))
            x, y = zip(*stops, strict=True)
            axes.plot(
                x, [-place for place in y], color="tab:orange", lw=wide, alpha=0.8, marker="o" if route.unit else ""
            )
            links = " + ".join(dict.fromkeys(s.resource.rpartition(" ")[0] for s in route.steps if s.kind == UP))
            axes.text(2.1, -number + 0.12, links, fontsize="small", rotation=0)
            if route.unit:
                axes.text(2.1, -number - 0.3, route.where.replace(", ", "\n"), fontsize="small")
        else:
            axes.text(2.1, -number, route.where, va="center", fontsize="small")
    axes.set(xlim=(-0.1, 9.5), ylim=(-max(len(routes), len(machines)) + 0.3, 0.7))
    axes.set_title("what runs where (red: as busy as it may be)", loc="left")
    axes.axis("off")


def _draw_times(axes: Axes, loaded: Loaded, routes: list[Route], expected: Mapping[Route, Prediction]) -> None:
    for number, route in enumerate(routes):
        parts = dict.fromkeys((EDGE, UP, MIDDLE, SERVER, DOWN), 0.0)
        for step in route.steps:
            parts[step.kind] += step.milliseconds + step.delay
        parts["waiting"] = max(0.0, expected[route].p50 - route.latency)
        for (kind, width), end in zip(parts.items(), accumulate(parts.values()), strict=True):
            label = NAMES[kind] if number == 0 else None
            axes.barh(-number, width, 0.5, left=end - width, color=COLOURS[kind], label=label)
        axes.plot([expected[route].p95], [-number], "k|", ms=14, label="95 %" if number == 0 else None)
        deadline = 1e3 * loaded.fleet.vehicles[route.vehicles].deadline
        axes.plot([deadline] * 2, [-number - 0.35, -number + 0.35], "r--", label="deadline" if number == 0 else None)
    axes.set_yticks(
        [-number for number in range(len(routes))],
        [f"{r.vehicles}: {' + '.join(filter(None, (r.unit, r.machine))) or 'vehicle'}" for r in routes],
    )
    axes.set(xlabel="milliseconds from the image to its results", ylim=(-len(routes) + 0.4, 1.4), xlim=(0, None))
    axes.legend(ncols=4, loc="upper right", fontsize="small")
    axes.grid(axis="x", alpha=0.3)
