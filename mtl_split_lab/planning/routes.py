"""The ways in which a vehicle's frames can be answered: bundle, operating point, and where which part of it runs."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import networkx

from mtl_split_core.bundle import EXIT as EXIT_ROLE
from mtl_split_core.bundle import PREFIX, SUFFIX, Bundle
from mtl_split_core.control.controller import NOMINAL
from mtl_split_core.control.policy import Own
from mtl_split_core.division import MIDDLE as MIDDLE_ROLE
from mtl_split_core.division import REST
from mtl_split_core.errors import InputError
from mtl_split_core.profile import Profile
from mtl_split_lab.planning.fleet import AT_SERVER, EXIT, THROUGH, WHOLE, Fleet, Loaded, Vehicles

OWN = ""
"""The machine of a suffix or an exit that runs on the vehicle's own computer."""

EDGE, UP, MIDDLE, SERVER, DOWN = "edge", "up", "middle", "server", "down"
"""Kinds of steps."""

_BITS = 8e-3
"""Bits per byte, and milliseconds times Mbit/s per bit."""


@dataclass(frozen=True)
class Step:
    """A part of a frame's way: it occupies a resource for some milliseconds, and is on its way for some more.

    resource: its name; kind: EDGE, UP, MIDDLE, SERVER or DOWN; own: whether every vehicle has one of its own; width:
    how many cores it takes at once.
    """

    resource: str
    kind: str
    milliseconds: float
    delay: float = 0.0
    own: bool = False
    width: int = 1


@dataclass(frozen=True)
class Route:
    """One way: steps in their order; value: how good its answers are, 0 to 1, as far as the bundle knows.

    way: one of the fleet's WAYS; point: empty where nothing is sent; machine: of the suffix, its rest or the exit, OWN
    for the vehicle's computer; unit, division: the roadside unit of the middle, and its cut; empty for other ways.
    """

    vehicles: str
    bundle: str
    point: str
    machine: str
    steps: tuple[Step, ...]
    value: float
    way: str = AT_SERVER
    unit: str = ""
    division: str = ""

    @property
    def latency(self) -> float:
        """Milliseconds from the picture to the results where no other frame is on its way."""
        return sum(step.milliseconds + step.delay for step in self.steps)

    @property
    def where(self) -> str:
        """Where what runs, in words."""
        match self.way:
            case "exit":
                return "exit on the vehicle"
            case "whole":
                return "whole network on the vehicle"
            case "middle":
                return f"middle up to {self.division} on {self.unit}, rest on {self.machine}"
            case _:
                return f"suffix on {self.machine}"

    @property
    def name(self) -> str:
        """The route in words."""
        return ", ".join(filter(None, (self.bundle, self.point, self.where)))

    def nodes(self) -> list[tuple[str, str]]:
        """The machines that all share with the role of what runs there, MIDDLE or SERVER, as node of its own."""
        return [*([(self.unit, MIDDLE)] if self.unit else []), *([(self.machine, SERVER)] if self.machine else [])]

    def is_like(self, other: "Route") -> bool:
        """Whether it is the same, but perhaps of machines and links of another speed."""
        return all(
            getattr(self, name) == getattr(other, name)
            for name in ("vehicles", "bundle", "point", "machine", "way", "unit", "division")
        )


def find_routes(loaded: Loaded) -> dict[str, list[Route]]:
    """Return the routes of each kind of vehicles that keep the deadline and overload nothing of the vehicle's own.

    Raises InputError where some have none, with what comes nearest.
    """
    return {name: _of(name, vehicles, loaded) for name, vehicles in loaded.fleet.vehicles.items()}


def _of(name: str, vehicles: Vehicles, loaded: Loaded) -> list[Route]:
    every = list(every_route(name, vehicles, loaded))
    if not every:
        raise InputError(
            f"vehicles.{name}: no machine within reach has memory for {', '.join(vehicles.bundles)}, and its profile,"
            f" by way of {' or '.join(vehicles.ways)}"
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
    for bundle in vehicles.bundles:
        ways = _Ways(name, vehicles, loaded, bundle)
        if WHOLE in vehicles.ways:
            yield from ways.alone(WHOLE)
        if EXIT in vehicles.ways:
            yield from ways.alone(EXIT)
        if AT_SERVER in vehicles.ways:
            yield from ways.at_server()
        if THROUGH in vehicles.ways:
            yield from ways.through_unit()


class _Ways:
    """The routes of a kind of vehicles with one bundle."""

    def __init__(self, name: str, vehicles: Vehicles, loaded: Loaded, bundle: str) -> None:
        self._name, self._vehicles, self._loaded, self._bundle = name, vehicles, loaded, bundle
        self._fleet = loaded.fleet
        self._profile = loaded.profiles[vehicles.computer][bundle]

    @property
    def _known(self) -> Bundle:
        return self._loaded.bundles[self._bundle]

    def alone(self, network: str) -> Iterator[Route]:
        """Yield the route where the edge answers itself, with the whole network or with the exit."""
        milliseconds, value = self._profile.own(network), self._own_value(network)
        if milliseconds is None or value is None:
            return
        memory = self._profile.memory
        # An exit of the bundle is always loaded.
        roles = (PREFIX, *([SUFFIX] if network == WHOLE else []), EXIT_ROLE)
        if not self._has_room(sum(memory.get(role, 0) for role in roles)):
            return
        nodes = self._fleet.nodes
        steps = (
            self._on_board(EDGE, self._profile.latents + nodes.edge),
            self._on_board(SERVER, milliseconds + nodes.server),
        )
        yield Route(self._name, self._bundle, "", OWN, steps, value, network)

    def at_server(self) -> Iterator[Route]:
        """Yield the routes with the suffix on a server."""
        for machine in self._servers():
            far = self._loaded.profiles[machine][self._bundle]
            for point, value in self._points():
                size = self._size(point)
                if path := self._path(self._vehicles.computer, machine, size):
                    answer = self._at(machine, SERVER, far, far.server(point) + self._fleet.nodes.server)
                    steps = self._coded(point), *self._up(path, size), answer, *self._down(path)
                    yield Route(self._name, self._bundle, point, machine, steps, value)

    def through_unit(self) -> Iterator[Route]:
        """Yield the routes with a division of the suffix: its middle on one machine, the rest on another."""
        for unit in self._servers():
            for machine in self._servers():
                for cut in self._cuts(unit, machine):
                    yield from self._divided(unit, machine, cut)

    def _cuts(self, unit: str, machine: str) -> list[str]:
        """The bundle's divisions that were measured on both machines; none for a machine with itself."""
        near, far = (self._loaded.profiles[each][self._bundle].divisions for each in (unit, machine))
        cuts = [division.cut for division in self._known.divisions]
        return [cut for cut in cuts if cut in near and cut in far] if unit != machine else []

    def _divided(self, unit: str, machine: str, cut: str) -> Iterator[Route]:
        near, far = (self._loaded.profiles[each][self._bundle] for each in (unit, machine))
        nodes, computer = self._fleet.nodes, self._vehicles.computer
        features = near.divisions[cut].bytes.median + nodes.message_bytes
        backhaul, back = self._path(unit, machine, features), self._path(computer, machine, nodes.result_bytes)
        for point, value in self._points():
            size = self._size(point)
            if (path := self._path(computer, unit, size)) and backhaul and back:
                steps = (
                    self._coded(point),
                    *self._up(path, size),
                    self._at(unit, MIDDLE, near, near.divisions[cut].middle.median + nodes.middle),
                    *self._up(backhaul, features),
                    self._at(machine, SERVER, far, far.divisions[cut].rest.median + nodes.server),
                    *self._down(back),
                )
                yield Route(self._name, self._bundle, point, machine, steps, value, THROUGH, unit, cut)

    def _own_value(self, network: str) -> float | None:
        """How good the edge's own answers are; None: nobody has measured it, unlike the server's."""
        values = self._known.values
        return values.own.get(network) if values else NOMINAL[Own(network)]

    def _points(self) -> list[tuple[str, float]]:
        """The operating points that may be used, with how good their answers are."""
        values, form = self._known.values, self._known.payload_format
        default = form.operating_points[self._known.default_point].name
        names = self._vehicles.operating_points or (
            tuple(point.name for point in form.operating_points) if values else (default,)
        )
        return [(name, values.server[name] if values else 1.0) for name in names]

    def _servers(self) -> list[str]:
        """The shared machines with a profile of the bundle, where the vehicle's computer has memory for the edge."""
        if not self._has_room(self._profile.memory[PREFIX]):
            return []
        return [name for name in self._fleet.servers if self._bundle in self._loaded.profiles[name]]

    def _has_room(self, memory: float) -> bool:
        most = self._fleet.machines[self._vehicles.computer].memory
        return memory / 1e6 + self._fleet.nodes.memory <= most

    def _size(self, point: str) -> float:
        return self._profile.points[point].bytes.median + self._fleet.nodes.message_bytes

    def _coded(self, point: str) -> Step:
        return self._on_board(EDGE, self._profile.edge(point) + self._fleet.nodes.edge)

    def _on_board(self, kind: str, milliseconds: float) -> Step:
        speed = self._fleet.machines[self._vehicles.computer].speed
        return Step(self._vehicles.computer, kind, milliseconds / speed, own=True, width=self._profile.threads)

    def _at(self, machine: str, kind: str, profile: Profile, milliseconds: float) -> Step:
        return Step(machine, kind, milliseconds / self._fleet.machines[machine].speed, width=profile.threads)

    def _path(self, one: str, other: str, size: float) -> list[int]:
        return _path(self._fleet, self._vehicles.computer, one, other, size)

    def _up(self, path: list[int], size: float) -> Iterator[Step]:
        return (_over(self._fleet, number, UP, size) for number in path)

    def _down(self, path: list[int]) -> Iterator[Step]:
        return (_over(self._fleet, number, DOWN, self._fleet.nodes.result_bytes) for number in reversed(path))


def memory_of(profile: Profile, kind: str) -> int:
    """Return the bytes that a node's networks take, MIDDLE or SERVER; of a divided bundle, both have all divisions."""
    if kind == MIDDLE:
        return profile.memory.get(MIDDLE_ROLE, 0)
    return profile.memory[SUFFIX] + profile.memory.get(REST, 0)


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
