"""The ways in which a vehicle's frames can be answered: bundle, operating point, and the machine of the suffix."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import networkx

from mtl_split_core.bundle import PREFIX, SUFFIX
from mtl_split_core.errors import InputError
from mtl_split_lab.planning.fleet import Fleet, Loaded, Vehicles

OWN = ""
"""The machine of a suffix that runs on the vehicle's own computer."""

EDGE, UP, SERVER, DOWN = "edge", "up", "server", "down"

_BITS = 8e-3
"""Bits per byte, and milliseconds times Mbit/s per bit."""


@dataclass(frozen=True)
class Step:
    """A part of a frame's way: it occupies a resource for some milliseconds, and is on its way for some more.

    resource: its name; kind: EDGE, UP, SERVER or DOWN; own: whether every vehicle has one of its own; width: how many
    cores it takes at once.
    """

    resource: str
    kind: str
    milliseconds: float
    delay: float = 0.0
    own: bool = False
    width: int = 1


@dataclass(frozen=True)
class Route:
    """One way: steps in their order; value: how good its answers are, 0 to 1, as far as the bundle knows."""

    vehicles: str
    bundle: str
    point: str
    machine: str
    steps: tuple[Step, ...]
    value: float

    @property
    def latency(self) -> float:
        """Milliseconds from the picture to the results where no other frame is on its way."""
        return sum(step.milliseconds + step.delay for step in self.steps)

    @property
    def name(self) -> str:
        """The route in words."""
        where = f"suffix on {self.machine}" if self.machine else "both halves on the vehicle"
        return f"{self.bundle}, {self.point}, {where}"


def find_routes(loaded: Loaded) -> dict[str, list[Route]]:
    """Return the routes of each kind of vehicles that keep the deadline and overload nothing of the vehicle's own.

    Raises InputError where some have none, with what comes nearest.
    """
    return {name: _of(name, vehicles, loaded) for name, vehicles in loaded.fleet.vehicles.items()}


def _of(name: str, vehicles: Vehicles, loaded: Loaded) -> list[Route]:
    every = list(every_route(name, vehicles, loaded))
    if not every:
        raise InputError(
            f"vehicles.{name}: no machine within reach has memory for {', '.join(vehicles.bundles)}, and its profile"
        )
    most = 1e3 * vehicles.deadline
    good = [route for route in every if route.latency <= most and not _overload(route, vehicles, loaded.fleet)]
    if not good:
        best = min(every, key=lambda route: route.latency)
        busy = _overload(best, vehicles, loaded.fleet)
        why = f"and {busy}" if busy else f"the deadline is {most:g} ms"
        raise InputError(f"vehicles.{name}: the fastest route ({best.name}) takes {best.latency:.1f} ms, {why}")
    return good


def every_route(name: str, vehicles: Vehicles, loaded: Loaded) -> Iterator[Route]:
    """Yield all routes of a kind of vehicles, whether they keep the deadline or not."""
    fleet = loaded.fleet
    for bundle in vehicles.bundles:
        values = loaded.bundles[bundle].values
        form = loaded.bundles[bundle].payload_format
        default = form.operating_points[loaded.bundles[bundle].default_point].name
        points = vehicles.operating_points or (tuple(p.name for p in form.operating_points) if values else (default,))
        for machine in (OWN, *fleet.servers):
            if not _fits(fleet, loaded, vehicles, bundle, machine):
                continue
            for point in points:
                steps = _steps(fleet, loaded, vehicles, bundle, point, machine)
                if steps:
                    yield Route(name, bundle, point, machine, steps, values.server[point] if values else 1.0)


def _fits(fleet: Fleet, loaded: Loaded, vehicles: Vehicles, bundle: str, machine: str) -> bool:
    """Whether the machine has the profile, and the vehicle's computer the memory for what runs there."""
    if machine and bundle not in loaded.profiles[machine]:
        return False
    memory = loaded.profiles[vehicles.computer][bundle].memory
    own = memory[PREFIX] + (0 if machine else memory[SUFFIX])
    nodes = 1 if machine else 2
    return own / 1e6 + nodes * fleet.nodes.memory <= fleet.machines[vehicles.computer].memory


def _steps(fleet: Fleet, loaded: Loaded, vehicles: Vehicles, bundle: str, point: str, machine: str) -> tuple[Step, ...]:
    """Return a route's steps; none where no link leads to the machine."""
    computer = vehicles.computer
    profile = loaded.profiles[computer][bundle]
    speed = fleet.machines[computer].speed
    first = Step(computer, EDGE, (profile.edge(point) + fleet.nodes.edge) / speed, own=True, width=profile.threads)
    if not machine:
        answer = (profile.server(point) + fleet.nodes.server) / speed
        return first, Step(computer, SERVER, answer, own=True, width=profile.threads)
    size = profile.points[point].bytes.median + fleet.nodes.message_bytes
    path = _path(fleet, computer, computer, machine, size)
    if not path:
        return ()
    far = loaded.profiles[machine][bundle]
    answer = (far.server(point) + fleet.nodes.server) / fleet.machines[machine].speed
    return (
        first,
        *(_over(fleet, number, UP, size) for number in path),
        Step(machine, SERVER, answer, width=far.threads),
        *(_over(fleet, number, DOWN, fleet.nodes.result_bytes) for number in reversed(path)),
    )


def _path(fleet: Fleet, computer: str, one: str, other: str, size: float) -> list[int]:
    """Numbers of the links on the fastest path between a vehicle's computer and servers, through no other vehicle."""
    graph = networkx.Graph()
    for number, link in enumerate(fleet.links):
        if not (set(link.between) & fleet.computers) - {computer}:
            time = link.delay + _BITS * size / link.rate
            if time <= graph.get_edge_data(*link.between, {"time": time})["time"]:
                graph.add_edge(*link.between, time=time, number=number)
    if one not in graph or other not in graph or not networkx.has_path(graph, one, other):
        return []
    path = networkx.shortest_path(graph, one, other, weight="time")
    return [graph.edges[ends]["number"] for ends in pairwise(path)]


def transfer_milliseconds(fleet: Fleet, computer: str, ends: tuple[str, str], size: float) -> float:
    """Return what some bytes take from one end to the other, of a vehicle's computer and the servers.

    Raises InputError where no link leads there.
    """
    path = _path(fleet, computer, *ends, size)
    if not path:
        raise InputError(f"no link leads from {ends[0]} to {ends[1]}")
    steps = [_over(fleet, number, UP, size) for number in path]
    return sum(step.milliseconds + step.delay for step in steps)


def _over(fleet: Fleet, number: int, way: str, size: float) -> Step:
    link = fleet.links[number]
    own = bool(set(link.between) & fleet.computers) and not link.shared
    return Step(link_name(fleet, number, way), way, _BITS * size / link.rate, link.delay, own)


def link_name(fleet: Fleet, number: int, way: str) -> str:
    """Name a link as a resource, of which there is one each way: UP or DOWN."""
    return f"{'-'.join(fleet.links[number].between)} {way}"


def _overload(route: Route, vehicles: Vehicles, fleet: Fleet) -> str:
    """Say what of the vehicle's own would be overloaded; empty where nothing is."""
    for resource in {step.resource for step in route.steps if step.own}:
        load = sum(s.milliseconds * s.width for s in route.steps if s.resource == resource) * vehicles.rate / 1e3
        room = capacity(fleet, resource)
        if load > fleet.busiest * room:
            return f"{resource} would be busy for {load / room:.0%} of the time, at most {fleet.busiest:.0%} allowed"
    return ""


def capacity(fleet: Fleet, resource: str) -> int:
    """How much of a resource there is: a machine's cores, or a link."""
    return fleet.machines[resource].cores if resource in fleet.machines else 1
