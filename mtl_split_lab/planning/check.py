"""A plan's routes run for real: in two network namespaces, with processes slowed as the machines are, and measured."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from mtl_split_lab.bench.answers import answered, judge
from mtl_split_lab.bench.listener import CAMERA_INFO, read_log, result_topics
from mtl_split_lab.bench.namespaces import SERVER, VEHICLE, Condition, Link, lay_link
from mtl_split_lab.bench.slowing import slowed
from mtl_split_lab.live.processes import ProcessError, Processes
from mtl_split_lab.markdown import table
from mtl_split_lab.planning.fleet import Loaded
from mtl_split_lab.planning.plan import Plan, engine_of, most_bytes
from mtl_split_lab.planning.routes import UP, Route, every_route, link_name
from mtl_split_ros.graph import Options, Value, camera, edge, server

SECONDS = 20.0
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


@dataclass(frozen=True)
class Checked:
    """One route, with one vehicle on it: milliseconds at the median, as predicted and as measured.

    half: the same where the machine of the suffix has half its speed.
    """

    route: Route
    predicted: float
    measured: float
    half_predicted: float
    half_measured: float

    @property
    def close(self) -> bool:
        """Whether both measurements are as predicted."""
        pairs = (self.predicted, self.measured), (self.half_predicted, self.half_measured)
        return all(abs(measured - predicted) <= CLOSE * predicted for predicted, measured in pairs)


def check_plan(plan: Plan, seconds: float = SECONDS) -> Iterator[Checked]:
    """Run every route of a plan with one vehicle, twice, and measure it for so many seconds each time.

    Raises NoLinkError or CannotSlowError where this machine cannot, InputError for a machine faster than this one, and
    ProcessError where a process ends that should not.
    """
    for route in plan.assignment.taken:
        slower = _halve(plan.loaded, route)
        choices = every_route(route.vehicles, slower.fleet.vehicles[route.vehicles], slower)
        key = route.bundle, route.point, route.machine
        half = next(each for each in choices if (each.bundle, each.point, each.machine) == key)
        yield Checked(
            route,
            route.latency,
            measure_route(plan.loaded, route, seconds),
            half.latency,
            measure_route(slower, half, seconds),
        )


def measure_route(loaded: Loaded, route: Route, seconds: float) -> float:
    """Return the median milliseconds from the images of one vehicle to their results, back on the vehicle."""
    fleet = loaded.fleet
    vehicles = fleet.vehicles[route.vehicles]
    machine = route.machine or vehicles.computer
    resources = {step.resource for step in route.steps}
    ups = [fleet.links[number] for number in range(len(fleet.links)) if link_name(fleet, number, UP) in resources]
    rate = min((link.rate for link in ups), default=FASTEST_LINK)
    condition = Condition(rate, delay=sum(link.delay for link in ups) / 1e3)
    with ExitStack() as stack:
        link = stack.enter_context(lay_link(condition))
        folder = Path(stack.enter_context(TemporaryDirectory()))
        slow = {
            VEHICLE: stack.enter_context(slowed(fleet.machines[vehicles.computer].speed, VEHICLE)),
            SERVER: stack.enter_context(slowed(fleet.machines[machine].speed, SERVER)),
        }
        processes = Processes(folder / "logs")
        try:
            _start(loaded, route, link, processes, folder, slow)
            if not _wait(lambda: bool(_answers(loaded, route, folder)), PATIENCE, processes):
                raise ProcessError(f"no frame was answered within {PATIENCE:g} s: {route.name}")
            _wait(lambda: False, SETTLING, processes)
            begin = time.time_ns()
            _wait(lambda: False, seconds + LAST_ANSWERS, processes)
            sent = read_log(folder / "sent")[CAMERA_INFO]
            judged = judge(sent, _answers(loaded, route, folder), begin, begin + round(seconds * 1e9))
        finally:
            complaints = processes.stop()
        if complaints:
            raise ProcessError("; ".join(complaints))
    if judged.p50 is None:
        raise ProcessError(f"no frame was answered while it was measured: {route.name}")
    return judged.p50


def _halve(loaded: Loaded, route: Route) -> Loaded:
    """Return the same fleet, but that the machine of a route's suffix has half its speed."""
    fleet = loaded.fleet
    name = route.machine or fleet.vehicles[route.vehicles].computer
    machine = replace(fleet.machines[name], speed=fleet.machines[name].speed / 2)
    return replace(loaded, fleet=replace(fleet, machines={**fleet.machines, name: machine}))


def _start(
    loaded: Loaded, route: Route, link: Link, processes: Processes, folder: Path, slow: dict[str, list[str]]
) -> None:
    """Start camera, listeners, edge and server, each at its end of the link; slow: what goes before edge and server."""
    vehicles = loaded.fleet.vehicles[route.vehicles]
    computer = loaded.profiles[vehicles.computer][route.bundle]
    at_vehicle = link.within[VEHICLE]
    at_server = link.within[SERVER if route.machine else VEHICLE]
    bundle = str(loaded.bundles[route.bundle].folder)
    listen = [*at_vehicle, sys.executable, "-m", "mtl_split_lab.bench.listener"]
    processes.run("listener of the camera", [*listen, str(folder / "sent")])
    processes.run("listener", [*listen, str(folder / "results"), "--bundle", bundle])
    far = loaded.profiles[route.machine or vehicles.computer][route.bundle]
    options = Options(bundle=bundle, engine=engine_of(far), threads=far.threads)
    processes.start(server(options, max_age=0.0), [*slow[SERVER], *at_server])
    options = replace(options, engine=engine_of(computer), threads=computer.threads, operating_point=route.point)
    options = replace(options, max_payload_bytes=most_bytes(computer, route.point))
    processes.start(edge(options), [*slow[VEHICLE], *at_vehicle])
    width, height = computer.picture
    eyes: dict[str, Value] = {"source": "sim", "width": width, "height": height, "rate": vehicles.rate}
    processes.start(camera(Options(), wait_for_subscribers=1, **eyes), at_vehicle)


def _answers(loaded: Loaded, route: Route, folder: Path) -> dict[int, int]:
    heard = read_log(folder / "results")
    return answered([heard.get(topic, {}) for topic in result_topics(loaded.bundles[route.bundle])])


def _wait(condition: Callable[[], bool], seconds: float, processes: Processes) -> bool:
    """Wait until a condition holds, but at most so many seconds, and return whether it does."""
    deadline = time.monotonic() + seconds
    while not (holds := condition()) and time.monotonic() < deadline:
        processes.check()
        time.sleep(0.1)
    return holds


def format_checks(checks: Sequence[Checked]) -> str:
    """Write what was measured as a table."""
    rows = []
    for each in checks:
        changes = each.half_predicted / each.predicted, each.half_measured / each.measured
        rows.append(
            [
                f"{each.route.vehicles}: {each.route.name}",
                f"{each.predicted:.1f}",
                f"{each.measured:.1f}",
                f"{each.measured / each.predicted - 1:+.0%}",
                f"{each.half_predicted:.1f}",
                f"{each.half_measured:.1f}",
                f"{each.half_measured / each.half_predicted - 1:+.0%}",
                " / ".join(f"{change:.2f}" for change in changes),
            ]
        )
    head = "route|predicted p50, ms|measured|off by|suffix' machine at half speed: predicted|measured|off by|change"
    return table(head, rows)
