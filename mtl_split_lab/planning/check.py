"""A plan's routes run for real: each machine in a network namespace, slowed as the fleet says, and measured."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import dropwhile, takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mtl_split_core.errors import InputError
from mtl_split_lab.bench.answers import judge
from mtl_split_lab.bench.listener import CAMERA_INFO, read_answers, read_log
from mtl_split_lab.bench.namespaces import SERVER as SERVER_END
from mtl_split_lab.bench.namespaces import UNIT, VEHICLE, Condition, Link, lay_link
from mtl_split_lab.bench.slowing import slowed
from mtl_split_lab.bench.stages import read_stages
from mtl_split_lab.live.processes import ProcessError, Processes
from mtl_split_lab.markdown import table
from mtl_split_lab.planning.fleet import Fleet, Loaded
from mtl_split_lab.planning.plan import Plan, engine_of, most_bytes
from mtl_split_lab.planning.routes import (
    DOWN,
    EDGE,
    MIDDLE,
    SERVER,
    UP,
    Route,
    Step,
    every_route,
    link_name,
)
from mtl_split_ros.graph import DISCOVERY_RANGE, Options, edge, middle, server

SECONDS = 15.0
"""Of each measurement."""

SETTLING = 3.0
"""Seconds after the first answer that are not measured."""

LAST_ANSWERS = 1.0
"""Seconds to wait for answers after what is measured."""

PATIENCE = 60.0
"""Seconds within which a first answer has to come."""

CLOSE = 0.15
"""The part of the prediction by which a measurement may differ."""

FASTEST_LINK = 10_000.0
"""Mbit/s of the link where a route needs none."""

ANSWER_BY = 1.0
"""Of an edge that answers alone: so long that it takes no quicker network instead."""

AT_EDGE, BOTTLENECK, AT_UNIT, FEATURES, ANSWER, REST = (
    "image to edge, and edge", "bottleneck on its way", "roadside unit", "features on their way", "answer",
    "results on their way, and what is in no stage",
)  # fmt: skip
"""The parts of a frame's time, in their order."""

_EDGE_STAGES = ("image_transport", "convert", "prepare", "prefix", "choose", "encode")
_UNIT_STAGES = ("decode", "middle", "pack", "publish")
_SERVER_STAGES = ("decode", "suffix", "post", "answer", "track", "publish")

Parts = Mapping[str, float]
"""Milliseconds of a frame by its parts, which make up the whole."""


@dataclass(frozen=True)
class Checked:
    """One route, with one vehicle on it: the parts of a frame's median time, as predicted and as measured.

    half_...: the same where the machine of the suffix, its rest or the exit has half its speed.
    """

    route: Route
    predicted: Parts
    measured: Parts
    half_predicted: Parts
    half_measured: Parts

    @property
    def close(self) -> bool:
        """Whether both measurements are as predicted."""
        pairs = (self.predicted, self.measured), (self.half_predicted, self.half_measured)
        return all(abs(whole(measured) - whole(predicted)) <= CLOSE * whole(predicted) for predicted, measured in pairs)


def whole(parts: Parts) -> float:
    """Return the milliseconds from the image to its results."""
    return sum(parts.values())


def check_plan(plan: Plan, seconds: float = SECONDS) -> Iterator[Checked]:
    """Run every route of a plan with one vehicle, twice, and measure it for so many seconds each time.

    Raises NoLinkError or CannotSlowError where this machine cannot, InputError for a machine faster than this one, and
    ProcessError where a process ends that should not.
    """
    for route in plan.assignment.taken:
        slower = _halve(plan.loaded, route)
        choices = every_route(route.vehicles, slower.fleet.vehicles[route.vehicles], slower)
        half = next(each for each in choices if each.is_like(route))
        yield Checked(
            route,
            predict_parts(route),
            measure_route(plan.loaded, route, seconds),
            predict_parts(half),
            measure_route(slower, half, seconds),
        )


def predict_parts(route: Route) -> dict[str, float]:
    """Return what a route promises where no other frame is on its way, which make up its latency."""
    parts = {AT_EDGE: 0.0}
    names = {EDGE: AT_EDGE, MIDDLE: AT_UNIT, SERVER: ANSWER, DOWN: REST}
    for step in route.steps:
        name = names.get(step.kind) or (FEATURES if AT_UNIT in parts else BOTTLENECK)
        parts[name] = parts.get(name, 0.0) + step.milliseconds + step.delay
    return parts


def measured_parts(route: Route, stages: Mapping[str, Parts], p50: float) -> dict[str, float]:
    """Return what the nodes tell of their stages as parts of a median time; the last part is what they do not tell."""

    def sum_of(node: str, names: Sequence[str]) -> float:
        return sum(stages.get(node, {}).get(name, 0.0) for name in names)

    parts = {AT_EDGE: sum_of("edge", _EDGE_STAGES)}
    if route.machine:
        first = "middle" if route.unit else "server"
        parts[BOTTLENECK] = sum_of(first, ["link"])
        if route.unit:
            parts |= {AT_UNIT: sum_of("middle", _UNIT_STAGES), FEATURES: sum_of("server", ["link"])}
        parts[ANSWER] = sum_of("server", _SERVER_STAGES)
    else:
        parts[ANSWER] = sum_of("edge", ["local"])
    return {**parts, REST: p50 - whole(parts)}


def measure_route(loaded: Loaded, route: Route, seconds: float) -> dict[str, float]:
    """Return the parts of the median time from the images of one vehicle to their results, back on the vehicle."""
    fleet = loaded.fleet
    vehicles = fleet.vehicles[route.vehicles]
    up, backhaul = _conditions(fleet, route)
    slow = {
        end: slowed(fleet.machines[machine].speed)
        for end, machine in ((VEHICLE, vehicles.computer), (SERVER_END, route.machine), (UNIT, route.unit))
        if machine
    }
    with ExitStack() as stack:
        link = stack.enter_context(lay_link(up, backhaul=backhaul))
        folder = Path(stack.enter_context(TemporaryDirectory()))
        processes = Processes(folder / "logs")
        try:
            _start(loaded, route, link, processes, folder, slow)
            answers = partial(read_answers, folder / "results", loaded.bundles[route.bundle])
            if not processes.wait_for(answers, PATIENCE):
                raise ProcessError(f"no frame was answered within {PATIENCE:g} s: {route.name}")
            processes.wait_for(lambda: None, SETTLING)
            begin = time.time_ns()
            processes.wait_for(lambda: None, seconds + LAST_ANSWERS)
            end = begin + round(seconds * 1e9)
            sent = read_log(folder / "sent")[CAMERA_INFO]
            judged = judge(sent, answers(), begin, end)
            told = [read_stages(folder / f"stages_{name}", begin, end) for name in link.within]
        finally:
            complaints = processes.stop()
        if complaints:
            raise ProcessError("; ".join(complaints))
    if judged.p50 is None:
        raise ProcessError(f"no frame was answered while it was measured: {route.name}")
    return measured_parts(route, {node: stages for one in told for node, stages in one.items()}, judged.p50)


def _conditions(fleet: Fleet, route: Route) -> tuple[Condition, Condition | None]:
    """Return the conditions of the way up, and of the one from the roadside unit on, where there is one."""
    ends = {
        step.kind: [s.resource.rpartition(" ")[0] for s in route.steps if s.kind == step.kind] for step in route.steps
    }
    if sorted(ends.get(UP, [])) != sorted(ends.get(DOWN, [])):
        raise InputError(f"the plan cannot be checked: results come back on other links than frames go: {route.name}")
    before = takewhile(lambda step: step.kind != MIDDLE, route.steps)
    behind = dropwhile(lambda step: step.kind != MIDDLE, route.steps)
    return _condition(fleet, before), _condition(fleet, behind) if route.unit else None


def _condition(fleet: Fleet, steps: Iterator[Step]) -> Condition:
    resources = {step.resource for step in steps if step.kind == UP}
    links = [fleet.links[number] for number in range(len(fleet.links)) if link_name(fleet, number, UP) in resources]
    rate = min((link.rate for link in links), default=FASTEST_LINK)
    return Condition(rate, delay=sum(link.delay for link in links) / 1e3)


def _halve(loaded: Loaded, route: Route) -> Loaded:
    """Return the same fleet, but that the machine of a route's suffix has half its speed."""
    fleet = loaded.fleet
    name = route.machine or fleet.vehicles[route.vehicles].computer
    machine = replace(fleet.machines[name], speed=fleet.machines[name].speed / 2)
    return replace(loaded, fleet=replace(fleet, machines={**fleet.machines, name: machine}))


def _start(
    loaded: Loaded, route: Route, link: Link, processes: Processes, folder: Path, slow: Mapping[str, list[str]]
) -> None:
    """Start camera, listeners and nodes, each at its end of the link; slow: what goes before the nodes there."""
    vehicles = loaded.fleet.vehicles[route.vehicles]
    profiles = {
        name: loaded.profiles[name][route.bundle] for name in (vehicles.computer, route.machine, route.unit) if name
    }
    computer, bundle = profiles[vehicles.computer], str(loaded.bundles[route.bundle].folder)
    python, at_vehicle = [sys.executable, "-m"], link.within[VEHICLE]
    # What only listens at its own end is not to be found from the others.
    here = ["env", f"{DISCOVERY_RANGE}=LOCALHOST", *python]
    for name, within in link.within.items():
        processes.run(
            f"listener of the {name}", [*within, *here, "mtl_split_lab.bench.stages", str(folder / f"stages_{name}")]
        )
    processes.run("listener of the camera", [*at_vehicle, *here, "mtl_split_lab.bench.listener", str(folder / "sent")])
    results = ["mtl_split_lab.bench.listener", str(folder / "results"), "--bundle", bundle]
    processes.run("listener", [*at_vehicle, *python, *results])

    def options(machine: str, **given: Any) -> Options:
        profile = profiles[machine]
        return replace(Options(bundle=bundle, engine=engine_of(profile), threads=profile.threads), **given)

    if route.machine:
        own = options(route.machine, middle=bool(route.unit))
        processes.start(server(own, max_age=0.0), [*slow[SERVER_END], *link.within[SERVER_END]])
    if route.unit:
        unit = middle(options(route.unit), max_age=0.0, cut=route.division)
        processes.start(unit, [*slow[UNIT], *link.within[UNIT]])
    how: dict[str, Any] = {"answer_by": ANSWER_BY, "policy": route.way}
    if route.machine:
        how = {"operating_point": route.point, "max_payload_bytes": most_bytes(computer, route.point)}
    processes.start(edge(options(vehicles.computer, **how)), [*slow[VEHICLE], *at_vehicle])
    pictures = ["--size", *map(str, computer.picture), "--rate", f"{vehicles.rate:g}"]
    processes.run("camera", [*at_vehicle, *here, "mtl_split_lab.bench.still_camera", *pictures])


def format_check(check: Checked) -> str:
    """Write what was measured of a route as a table, part by part."""
    columns = check.predicted, check.measured, check.half_predicted, check.half_measured
    rows = [
        [part, *_compared([each.get(part, 0.0) for each in columns], portion=False)]
        for part in (AT_EDGE, BOTTLENECK, AT_UNIT, FEATURES, ANSWER, REST)
        if any(part in each for each in columns)
    ]
    totals = [whole(each) for each in columns]
    rows.append(["**p50**", *_compared(totals, portion=True)])
    computer = check.route.machine or "the vehicle"
    head = f"ms|predicted|measured|off by|{computer} at half its speed: predicted|measured|off by"
    predicted, measured, half_predicted, half_measured = totals
    return (
        f"{check.route.vehicles}: {check.route.name}\n\n{table(head, rows)}\n\n"
        f"{'As predicted' if check.close else 'Not as predicted'}, within {CLOSE:.0%}. At half the speed, frames take "
        f"{half_predicted / predicted:.2f} times as long by the plan, {half_measured / measured:.2f} times as measured."
    )


def _compared(times: Sequence[float], portion: bool) -> list[str]:
    """Write pairs of a predicted and a measured time, and by how much they differ; portion: as a part of the former."""
    cells = []
    for predicted, measured in (times[:2], times[2:]):
        off = f"{measured / predicted - 1:+.0%}" if portion else f"{measured - predicted:+.1f}"
        cells += [f"{predicted:.1f}", f"{measured:.1f}", off]
    return cells
