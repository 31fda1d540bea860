"""A fleet's plan: what runs where, what to expect of it, how near it is to a bound, and how to launch it."""

import json
import math
import shlex
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mtl_split_core.profile import Profile
from mtl_split_lab.markdown import table
from mtl_split_lab.planning.assignment import SECONDS, Assignment, assign
from mtl_split_lab.planning.exact import solve_cp_sat
from mtl_split_lab.planning.fleet import EXIT, THROUGH, Loaded, load_fleet
from mtl_split_lab.planning.frame import frame_tasks
from mtl_split_lab.planning.heuristics import greedy, heft, modules
from mtl_split_lab.planning.picture import draw_plan
from mtl_split_lab.planning.prediction import Prediction, predict
from mtl_split_lab.planning.routes import EDGE, MIDDLE, SERVER, Route, find_routes

ONE_FRAME = 1200
"""Bytes of a payload up to which the edge sends it without being told: one Ethernet frame."""

PLAN, LAUNCH, PICTURE = "plan.json", "launch.txt", "plan.png"
MOST_SERVERS = 2
"""Beside a vehicle's computer, the machines over which the layers of one frame are placed."""

FRAME_SECONDS = 5.0
"""For CP-SAT to place them."""


@dataclass(frozen=True)
class FreePlacement:
    """One frame of a bundle, its layers placed freely: milliseconds without what the nodes add.

    best, bound: of the exact solver; nodes: of the best route that the nodes can take; others: by heuristic; segments:
    how many parts the layers make between which a cut can make sense; seconds: that the exact solver took.
    """

    vehicles: str
    bundle: str
    point: str
    machines: tuple[str, ...]
    segments: int
    best: float
    bound: float
    nodes: float
    others: Mapping[str, float]
    seconds: float


@dataclass(frozen=True)
class Plan:
    """An assignment of a fleet's vehicles, what is expected of each route, and by kind of vehicles the free placement.

    seconds: that planning took, without the free placements.
    """

    loaded: Loaded
    assignment: Assignment
    expected: Mapping[Route, Prediction]
    free: tuple[FreePlacement, ...]
    seconds: float

    def named(self) -> Iterator[tuple[str, Route]]:
        """Yield every vehicle's name, its namespace, with its route."""
        numbers: dict[str, int] = defaultdict(int)
        for route, count in self.assignment.taken.items():
            for _ in range(count):
                numbers[route.vehicles] += 1
                alone = self.loaded.fleet.vehicles[route.vehicles].count == 1
                yield route.vehicles if alone else f"{route.vehicles}{numbers[route.vehicles]}", route


def make_plan(path: Path, seconds: float = SECONDS) -> Plan:
    """Plan the fleet of a file within some seconds. Raises InputError for one that is wrong, or that does not fit."""
    loaded = load_fleet(path)
    start = time.perf_counter()
    assignment = assign(loaded, seconds)
    took = time.perf_counter() - start
    expected = predict(loaded.fleet, assignment.taken)
    return Plan(loaded, assignment, expected, tuple(_place_freely(loaded)), took)


def _place_freely(loaded: Loaded) -> Iterator[FreePlacement]:
    for name, routes in find_routes(loaded).items():
        computer = loaded.fleet.vehicles[name].computer
        for bundle in dict.fromkeys(route.bundle for route in routes):
            # An exit is another network.
            whole = [route for route in routes if route.bundle == bundle and route.way != EXIT]
            own = sorted(whole, key=lambda route: route.latency)
            point = next((route.point for route in own if route.point), None)
            if point is None:
                continue
            servers = [m for m in dict.fromkeys(route.machine for route in own) if m][:MOST_SERVERS]
            machines = (computer, *servers)
            if not all(loaded.profiles[machine][bundle].layers for machine in machines):
                continue
            problem = frame_tasks(loaded, computer, bundle, point, servers).problem
            start = time.perf_counter()
            quick = modules(problem)
            solution = solve_cp_sat(problem, FRAME_SECONDS, hint=quick)
            took = time.perf_counter() - start
            assert solution.schedule is not None
            others = {"modules": quick.end, "HEFT": heft(problem).end, "greedy": greedy(problem).end}
            nodes = min(route.latency - _added(loaded, route) for route in own)
            yield FreePlacement(
                name,
                bundle,
                point,
                machines,
                problem.count,
                solution.schedule.end / 1e3,
                solution.bound / 1e3,
                nodes,
                {way: end / 1e3 for way, end in others.items()},
                took,
            )


def _added(loaded: Loaded, route: Route) -> float:
    """Milliseconds of a route that the nodes add to the halves."""
    fleet = loaded.fleet
    computer = fleet.vehicles[route.vehicles].computer
    added = fleet.nodes.edge / fleet.machines[computer].speed
    added += fleet.nodes.middle / fleet.machines[route.unit].speed if route.unit else 0.0
    return added + fleet.nodes.server / fleet.machines[route.machine or computer].speed


def format_plan(plan: Plan) -> str:
    """Write a plan as tables for people."""
    assignment, fleet = plan.assignment, plan.loaded.fleet
    rows = []
    for route, count in assignment.taken.items():
        expected = plan.expected[route]
        figures = [route.latency, expected.p50, expected.p95]
        rows.append(
            [
                f"{count} x {route.vehicles}",
                route.bundle,
                plan.loaded.bundles[route.bundle].cut,
                route.point,
                route.where,
                *(f"{figure:.1f}" for figure in figures),
                f"{expected.in_time:.1%}",
                f"{expected.rate:g}",
            ]
        )
    head = "vehicles|bundle|cut|operating point|what runs where|alone, ms|p50, ms|p95, ms|in time|answers/s in time"
    busy = [[resource, f"{share:.0%}", f"{fleet.busiest:.0%}"] for resource, share in sorted(assignment.loads.items())]
    parts = [table(head, rows)]
    if busy:
        parts.append(table("shared by all|in use|at most", busy))
    parts.append(
        f"Mean over all frames, waiting included and accuracy at its worth: {assignment.cost:.2f} ms. No plan is below "
        f"{assignment.bound:.2f} ms: gap {assignment.gap:.2%}, of {assignment.alternatives} routes, "
        f"in {plan.seconds:.1f} s."
    )
    parts += [_format_free(free) for free in plan.free]
    if not plan.free:
        parts.append("For the best division of the layers, measure the profiles with --layers.")
    return "\n\n".join(parts)


def _format_free(free: FreePlacement) -> str:
    proof = "optimal" if free.best == free.bound else f"bound {free.bound:.1f} ms"
    others = ", ".join(f"{way} {milliseconds:.1f}" for way, milliseconds in free.others.items())
    return (
        f"One frame of {free.bundle} for {free.vehicles}, all {free.segments} segments of its layers placed freely on "
        f"{', '.join(free.machines)}: {free.best:.1f} ms ({proof} in {free.seconds:.1f} s; {others}). The best that "
        f"the nodes can do is {free.nodes:.1f} ms, both without what the nodes add."
    )


def launch_lines(plan: Plan) -> list[str]:
    """Return the commands that launch a plan, by machine."""
    served: dict[tuple[str, str, str], list[tuple[str, Route]]] = defaultdict(list)
    lines = []
    for name, route in plan.named():
        vehicles = plan.loaded.fleet.vehicles[route.vehicles]
        lines.append(f"# on the vehicle {name}")
        how = {"answer_by": f"{vehicles.deadline:g}", "policy": route.way}
        how = {"operating_point": route.point} if route.machine else how
        lines.append(_launch(EDGE, plan, vehicles.computer, route, namespace=name, **how))
        for machine, kind in route.nodes():
            served[machine, kind, route.bundle].append((name, route))
    for (machine, kind, _), own in sorted(served.items()):
        names, routes = zip(*own, strict=True)
        how = {"cut": routes[0].division, "repair": "true"} if kind == MIDDLE else {}
        if kind == SERVER and any(route.way == THROUGH for route in routes):
            how = {"middle": "true"}
        lines.append(f"# on {machine}")
        lines.append(_launch(kind, plan, machine, routes[0], vehicles=",".join(names), **how))
    return lines


def _launch(node: str, plan: Plan, machine: str, route: Route, **arguments: str) -> str:
    profile = plan.loaded.profiles[machine][route.bundle]
    given = {**arguments, "bundle": route.bundle, "engine": engine_of(profile), "threads": str(profile.threads)}
    if node == EDGE and route.point and (most := most_bytes(profile, route.point)):
        given["max_payload_bytes"] = str(most)
    return shlex.join(["ros2", "launch", "mtl_split", f"{node}.launch.py", *(f"{k}:={v}" for k, v in given.items())])


def engine_of(profile: Profile) -> str:
    """Return the engine of a profile as the nodes' parameter names it."""
    return profile.engine.partition(",")[0]


def most_bytes(profile: Profile, point: str) -> int | None:
    """Return what the edge's `max_payload_bytes` has to be for an operating point; None where its default will do."""
    needed = profile.points[point].bytes.p95
    return 2 * math.ceil(needed) if needed > ONE_FRAME else None


def write_plan(plan: Plan, out: Path) -> list[Path]:
    """Write plan, launch arguments and picture into the folder `out`; returns the files."""
    out.mkdir(parents=True, exist_ok=True)
    files = [out / name for name in (PLAN, LAUNCH, PICTURE)]
    files[0].write_text(json.dumps(to_json(plan), indent=2) + "\n")
    files[1].write_text("\n".join(launch_lines(plan)) + "\n")
    draw_plan(plan.loaded, plan.assignment, plan.expected).savefig(files[2], dpi=90)
    return files


def to_json(plan: Plan) -> dict[str, Any]:
    """Return a plan as plain data."""
    assignment = plan.assignment
    names: dict[Route, list[str]] = defaultdict(list)
    for name, route in plan.named():
        names[route].append(name)
    return {
        "cost_ms": assignment.cost,
        "bound_ms": assignment.bound,
        "gap": assignment.gap,
        "loads": dict(assignment.loads),
        "routes": [
            {
                "vehicles": names[route],
                "bundle": route.bundle,
                "contract": plan.loaded.bundles[route.bundle].contract.fingerprint,
                "operating_point": route.point,
                "way": route.way,
                "suffix_on": route.machine,
                "middle_on": route.unit,
                "division": route.division,
                "alone_ms": route.latency,
                "steps": [asdict(step) for step in route.steps],
                "expected": asdict(plan.expected[route]),
            }
            for route in assignment.taken
        ],
        "free_placements": [asdict(free) for free in plan.free],
    }
