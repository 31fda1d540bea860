"""Which vehicles take which route: the assignment with the least mean latency, with a bound that proves how good it is.

By Little's law the mean latency over all frames is the mean number of frames in the system, divided by their rate.
That number has a part for each route, linear in the vehicles that take it, and for each machine the frames that wait
there, a convex function of its load: tangents to it make an integer program whose bound holds for the whole.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ortools.sat.python import cp_model

from mtl_split_core.errors import InputError
from mtl_split_lab.planning.fleet import Loaded
from mtl_split_lab.planning.routes import Route, capacity, find_routes, memory_of

SECONDS = 60.0
_TANGENTS = 12
_UNIT = 1_000_000
"""Frames in the system and cores in use are counted in millionths."""


@dataclass(frozen=True)
class Assignment:
    """How many vehicles take each route.

    cost: mean milliseconds per frame, waiting included, and with what the operating points lose in accuracy at its
    worth; bound: what no assignment can beat; loads: the part of each shared resource in use; alternatives: how many
    routes there were to choose from.
    """

    taken: Mapping[Route, int]
    cost: float
    bound: float
    loads: Mapping[str, float]
    alternatives: int

    @property
    def gap(self) -> float:
        """How much better another assignment could be, as a part of the cost."""
        return (self.cost - self.bound) / self.cost if self.cost else 0.0


def waiting(load: float, servers: int) -> float:
    """Return the mean number of frames that wait where `load` of some servers is busy: half of Erlang's C formula.

    Half, because service takes about as long each time (M/D/c, see Tijms 2003); frames that come at a steady pace wait
    less. Infinite where the load is not below the number of servers.
    """
    if load >= servers:
        return math.inf
    inverse = 1.0
    for number in range(1, servers + 1):  # Erlang's B formula, by its recursion
        inverse = 1.0 + inverse * number / load if load else math.inf
    blocked = 1.0 / inverse
    busy = load / servers
    return 0.5 * blocked / (1 - busy * (1 - blocked)) * busy / (1 - busy) if load else 0.0


def cost_of(loaded: Loaded, taken: Mapping[Route, int]) -> float:
    """Return the cost of an assignment, by the waiting itself and not by tangents."""
    fleet = loaded.fleet
    frames = sum(count * fleet.vehicles[route.vehicles].rate for route, count in taken.items())
    inside = sum(count * _in_system(loaded, route) for route, count in taken.items())
    inside += sum(
        waiting(share * capacity(fleet, resource), capacity(fleet, resource))
        for resource, share in _loads(loaded, taken).items()
        if resource in fleet.machines
    )
    return 1e3 * inside / frames


def assign(loaded: Loaded, seconds: float = SECONDS, routes: Mapping[str, Sequence[Route]] | None = None) -> Assignment:
    """Find the assignment, with CP-SAT, within some seconds.

    routes: by kind of vehicles, those to choose from (None: all). Raises InputError where the machines cannot serve the
    fleet, with what it would need.
    """
    routes = routes or find_routes(loaded)
    fleet = loaded.fleet
    model = cp_model.CpModel()
    taken = {route: model.new_int_var(0, fleet.vehicles[name].count, "") for name, of in routes.items() for route in of}
    for name, of in routes.items():
        model.add(sum(taken[route] for route in of) == fleet.vehicles[name].count)
    goal = [round(_UNIT * _in_system(loaded, route)) * number for route, number in taken.items()]
    for resource in {step.resource for route in taken for step in route.steps if not step.own}:
        room = capacity(fleet, resource)
        load = sum(round(_UNIT * _load(loaded, route, resource)) * number for route, number in taken.items())
        most = fleet.busiest * room
        model.add(load <= math.floor(_UNIT * most))
        if resource in fleet.machines:
            waits = model.new_int_var(0, math.ceil(_UNIT * waiting(most, room)) + _UNIT, "")
            for tangent in range(1, _TANGENTS + 1):
                slope, foot = _tangent(most * tangent / _TANGENTS, room)
                # Rounded down, so that a bound stays one.
                model.add(1000 * waits >= math.floor(1000 * slope) * load + math.floor(1000 * _UNIT * foot))
            goal.append(waits)
    _add_nodes(model, loaded, taken)
    model.minimize(sum(goal))
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = seconds
    status = solver.solve(model)
    if status == cp_model.INFEASIBLE:
        raise InputError(_say_what_is_needed(loaded, routes))
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        raise InputError(f"no assignment was found within {seconds:g} s")
    chosen = {route: solver.value(number) for route, number in taken.items() if solver.value(number)}
    frames = sum(vehicles.count * vehicles.rate for vehicles in fleet.vehicles.values())
    cost = cost_of(loaded, chosen)
    slack = len(goal) + sum(vehicles.count for vehicles in fleet.vehicles.values())  # of what was rounded
    bound = min(cost, 1e3 * (solver.best_objective_bound - slack) / _UNIT / frames)
    return Assignment(chosen, cost, bound, _loads(loaded, chosen), len(taken))


def _add_nodes(model: cp_model.CpModel, loaded: Loaded, taken: Mapping[Route, cp_model.IntVar]) -> None:
    """Every bundle that is used on a machine takes a node in its memory, however many vehicles use it.

    A roadside unit has one cut at a time, for all of its vehicles.
    """
    users: dict[tuple[str, str, str], dict[str, list[cp_model.IntVar]]] = defaultdict(lambda: defaultdict(list))
    for route, number in taken.items():
        for machine, kind in route.nodes():
            users[machine, kind, route.bundle][route.division if machine == route.unit else ""].append(number)
    sizes: dict[str, list[cp_model.LinearExprT]] = defaultdict(list)
    for (machine, kind, bundle), by_cut in users.items():
        cuts = []
        for numbers in by_cut.values():
            used = model.new_bool_var("")
            cuts.append(used)
            for number in numbers:
                model.add(number == 0).only_enforce_if(used.negated())
        model.add_at_most_one(cuts)
        size = memory_of(loaded.profiles[machine][bundle], kind) + 1e6 * loaded.fleet.nodes.memory
        sizes[machine] += [math.ceil(size) * used for used in cuts]
    for machine, own in sizes.items():
        model.add(sum(own) <= math.floor(1e6 * loaded.fleet.machines[machine].memory))


def _in_system(loaded: Loaded, route: Route) -> float:
    """The mean number of a vehicle's frames that are on a route, without waiting, and what its accuracy loses."""
    lost = 100 * (1 - route.value) * loaded.fleet.point_worth
    return loaded.fleet.vehicles[route.vehicles].rate * (route.latency + lost) / 1e3


def _load(loaded: Loaded, route: Route, resource: str) -> float:
    """How much of a resource one vehicle on a route takes."""
    own = sum(step.milliseconds * step.width for step in route.steps if step.resource == resource)
    return own * loaded.fleet.vehicles[route.vehicles].rate / 1e3


def _loads(loaded: Loaded, taken: Mapping[Route, int]) -> dict[str, float]:
    resources = dict.fromkeys(step.resource for route in taken for step in route.steps if not step.own)
    return {
        resource: sum(count * _load(loaded, route, resource) for route, count in taken.items())
        / capacity(loaded.fleet, resource)
        for resource in resources
    }


def _tangent(load: float, servers: int) -> tuple[float, float]:
    """Slope of the waiting at a load, and where its tangent meets a load of zero; below the curve in between."""
    step = 1e-4 * load
    slope = (waiting(load, servers) - waiting(load - step, servers)) / step
    return slope, waiting(load, servers) - slope * load


def _say_what_is_needed(loaded: Loaded, routes: Mapping[str, Sequence[Route]]) -> str:
    fleet = loaded.fleet
    needed = 0.0
    for name, of in routes.items():
        least = min(sum(_load(loaded, route, machine) for machine in fleet.servers) for route in of)
        needed += fleet.vehicles[name].count * least
    have = fleet.busiest * sum(fleet.machines[machine].cores for machine in fleet.servers)
    return (
        f"the fleet does not fit: its vehicles need at least {needed:.1f} cores of the servers together, these have "
        f"{have:.1f} up to busiest {fleet.busiest:.0%}; look at their memory and at shared links too, and add a "
        "machine, lower a rate, or allow a coarser operating point"
    )
