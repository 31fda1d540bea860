"""One frame of a bundle as tasks: every layer of both networks, to be placed on machines however that is best.

What the nodes can do, one cut at the bottleneck, is one of these placements; how much better the best one is says
whether another division would pay.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import networkx
import numpy as np

from mtl_split_core.bundle import PREFIX, SUFFIX, Bundle
from mtl_split_core.contract import LATENTS
from mtl_split_core.errors import InputError
from mtl_split_core.profile import POST, PREPARE, Layer, Profile
from mtl_split_lab.planning.fleet import Loaded
from mtl_split_lab.planning.problem import NEVER, NoRoomError, Problem
from mtl_split_lab.planning.routes import transfer_milliseconds
from mtl_split_net.onnx_graph import OnnxGraph

IMAGE = "images"


@dataclass(frozen=True)
class FrameTasks:
    """The problem, and the names of tasks and machines by their index; the first machine is the vehicle's computer."""

    problem: Problem
    tasks: tuple[str, ...]
    machines: tuple[str, ...]


def frame_tasks(loaded: Loaded, computer: str, bundle_name: str, point: str, servers: Sequence[str]) -> FrameTasks:
    """Return one frame of a bundle on a vehicle's computer and some servers.

    The picture is taken, and the results are wanted, on the computer. The latents cross a link as the payload, coded;
    any other tensor as it is, or compressed as well as the profiles' divisions. Raises InputError where a profile has
    no layers, or no link leads to a server.
    """
    bundle = loaded.bundles[bundle_name]
    machines = (computer, *servers)
    profiles = [loaded.profiles[machine][bundle_name] for machine in machines]
    speeds = [loaded.fleet.machines[machine].speed for machine in machines]
    builder = _Builder(loaded, machines, speeds, profiles, point)
    builder.add("prepare", [profile.parts[PREPARE].median for profile in profiles], pinned=True)
    builder.made[IMAGE] = (0, math.prod(bundle.input_size) * 3)
    builder.add_network(bundle, PREFIX)
    outputs = builder.add_network(bundle, SUFFIX)
    post = builder.add("post", [profile.parts[POST].median for profile in profiles])
    for output in outputs:
        builder.connect(builder.made[output], post)
    results = builder.add("results", [0.0] * len(machines), pinned=True)
    builder.connect((post, int(loaded.fleet.nodes.result_bytes)), results)
    groups = find_segments(builder.problem())
    names = tuple(builder.names[group[-1]] for group in groups)
    return FrameTasks(contract(builder.problem(), groups)[0], names, machines)


def contract(problem: Problem, groups: Sequence[Collection[int]]) -> tuple[Problem, list[int]]:
    """Return the problem of modules, each run in one go, and by task the index of its module.

    Raises NoRoomError where a module has no machine that can run all of it.
    """
    module = [0] * problem.count
    for index, group in enumerate(groups):
        for task in group:
            module[task] = index
    parts = [problem.durations[sorted(group)] for group in groups]
    durations = np.array([np.where((part == NEVER).any(axis=0), NEVER, part.sum(axis=0)) for part in parts])
    if (durations.max(axis=1) == NEVER).any():
        raise NoRoomError("a module has no machine that can run all of it")
    between: dict[tuple[int, int], list[int]] = {}
    for edge, (first, second) in enumerate(problem.edges):
        if module[first] != module[second]:
            between.setdefault((module[first], module[second]), []).append(edge)
    transfers = np.array([problem.transfers[edges].max(axis=0) for edges in between.values()], np.int64)
    shape = (len(between), problem.machines, problem.machines)
    sizes = np.array([problem.sizes[sorted(group)].sum() for group in groups])
    return Problem(durations, tuple(between), transfers.reshape(shape), sizes, problem.room), module


def find_segments(problem: Problem) -> list[list[int]]:
    """Return the tasks in groups, in a topological order, within which no cut makes sense.

    Of tasks in a row, those between which at least as much is sent as before them; and a detour beside a shortcut, as
    of squeeze and excitation, with what it leads to. What can run on one machine alone is a group of its own.
    """
    graph = networkx.DiGraph()
    for task in range(problem.count):
        graph.add_node(task, tasks=[task], free=len(problem.allowed[task]) == problem.machines)
    for (first, second), milliseconds in zip(problem.edges, problem.transfers.mean(axis=(1, 2)).tolist(), strict=True):
        graph.add_edge(first, second, sent=milliseconds)
    while (pair := next(_mergeable(graph), None)) is not None:
        first, second = pair
        graph.nodes[second]["tasks"] = graph.nodes[first]["tasks"] + graph.nodes[second]["tasks"]
        for before, _, sent in list(graph.in_edges(first, data="sent")):
            known = graph.get_edge_data(before, second, {"sent": 0.0})["sent"]
            graph.add_edge(before, second, sent=max(sent, known))
        graph.remove_node(first)
    place = {task: index for index, task in enumerate(problem.order)}
    order = networkx.lexicographical_topological_sort(graph, key=place.__getitem__)
    return [sorted(graph.nodes[node]["tasks"], key=place.__getitem__) for node in order]


def _mergeable(graph: networkx.DiGraph) -> Iterator[tuple[int, int]]:
    for first in graph:
        behind = list(graph.successors(first))
        if len(behind) != 1 or not (graph.nodes[first]["free"] and graph.nodes[behind[0]]["free"]):
            continue
        [second] = behind
        before = list(graph.predecessors(first))
        in_a_row = graph.in_degree(second) == 1
        widens = all(graph.edges[first, second]["sent"] >= graph.edges[each, first]["sent"] for each in before)
        if (in_a_row and widens) or _is_on_detour(graph, first):
            yield first, second


def _is_on_detour(graph: networkx.DiGraph, task: int) -> bool:
    """Whether a task is on a way from one task to another, without branches, beside the edge that joins both."""
    if graph.in_degree(task) != 1:
        return False
    end, begin = task, task
    while graph.in_degree(end) == 1 == graph.out_degree(end):
        [end] = graph.successors(end)
    while graph.in_degree(begin) == 1 == graph.out_degree(begin):
        [begin] = graph.predecessors(begin)
    return bool(graph.has_edge(begin, end))


class _Builder:
    def __init__(
        self,
        loaded: Loaded,
        machines: tuple[str, ...],
        speeds: Sequence[float],
        profiles: Sequence[Profile],
        point: str,
    ) -> None:
        self._loaded, self._machines, self._speeds, self._point = loaded, machines, speeds, point
        self._profiles = profiles
        divisions = (division for profile in profiles for division in profile.divisions.values())
        self._shrunk = min((division.bytes.median / division.raw for division in divisions), default=1.0)
        self.names: list[str] = []
        self.made: dict[str, tuple[int, int]] = {}  # by tensor, its task and its bytes
        self._durations: list[list[int]] = []
        self._sizes: list[int] = []
        self._edges: dict[tuple[int, int], list[list[int]]] = {}

    def add(self, name: str, milliseconds: Sequence[float], size: int = 0, pinned: bool = False) -> int:
        times = [round(1e3 * ms / speed) for ms, speed in zip(milliseconds, self._speeds, strict=True)]
        self._durations.append([time if not pinned or i == 0 else NEVER for i, time in enumerate(times)])
        self._sizes.append(size)
        self.names.append(name)
        return len(self.names) - 1

    def connect(self, source: tuple[int, int], task: int, coded: bool = False) -> None:
        """Let a task need the tensor of `source`: its task and its bytes; coded: by its operating point."""
        before, size = source
        transfers = [[self._transfer(one, other, size, coded) for other in range(len(self._machines))]
                     for one in range(len(self._machines))]  # fmt: skip
        known = self._edges.setdefault((before, task), transfers)
        self._edges[before, task] = [list(map(max, *rows)) for rows in zip(known, transfers, strict=True)]

    def _transfer(self, one: int, other: int, size: int, coded: bool) -> int:
        if one == other:
            return 0
        costs = self._profiles[one].points[self._point], self._profiles[other].points[self._point]
        coding = 0.0
        if coded:
            size = round(costs[0].bytes.median + self._loaded.fleet.nodes.message_bytes)
            coding = costs[0].encode.median / self._speeds[one] + costs[1].decode.median / self._speeds[other]
        else:
            # The nodes compress what a divided suffix sends: no placement of theirs is to be below the best one here.
            size = round(size * self._shrunk)
        ends = self._machines[one], self._machines[other]
        return round(1e3 * (coding + transfer_milliseconds(self._loaded.fleet, self._machines[0], ends, size)))

    def add_network(self, bundle: Bundle, role: str) -> list[str]:
        """Add the layers of a network; returns the names of its outputs."""
        graph = OnnxGraph(bundle.path(role))
        times = _common_layers(role, [profile.layers.get(role, ()) for profile in self._profiles])
        layer_of = _layers_of_nodes(graph, list(times))
        nodes = graph.model.graph.node
        constants = {c.name: len(c.SerializeToString()) for c in graph.model.graph.initializer}
        sizes = [0] * len(times)
        for index, layer in layer_of.items():
            sizes[layer] += sum(constants.pop(name, 0) for name in nodes[index].input)
        first = len(self.names)
        for (output, milliseconds), size in zip(times.items(), sizes, strict=True):
            self.add(f"{role} {output}", milliseconds, size)
        own: dict[str, tuple[int, int]] = {}
        for index, layer in layer_of.items():
            for name in nodes[index].input:
                if name in own:
                    if own[name][0] != first + layer:
                        self.connect(own[name], first + layer)
                elif name in graph.inputs:
                    self.connect(self.made[name], first + layer, coded=name == LATENTS)
            for name in filter(None, nodes[index].output):
                own[name] = first + layer, _bytes(graph, name)
        self.made |= {name: own[name] for name in graph.outputs if name in own}
        return [name for name in graph.outputs if name in own]

    def problem(self) -> Problem:
        room = [int(1e6 * self._loaded.fleet.machines[machine].memory) for machine in self._machines]
        count = len(self._machines)
        return Problem(
            np.array(self._durations, np.int64),
            tuple(self._edges),
            np.array(list(self._edges.values()), np.int64).reshape(len(self._edges), count, count),
            np.array(self._sizes, np.int64),
            np.array(room, np.int64),
        )


def _bytes(graph: OnnxGraph, tensor: str) -> int:
    return math.prod(graph.shape(tensor)) * graph.dtype(tensor).itemsize


def _common_layers(role: str, layers: Sequence[Sequence[Layer]]) -> Mapping[str, list[float]]:
    """Return the layers that all machines have, each with its milliseconds on each: others are part of the next."""
    if not all(layers):
        raise InputError(f"a profile has no layers of the {role}: run `mtl-split profile --layers`")
    common = set.intersection(*({layer.output for layer in of} for of in layers))
    times: dict[str, list[float]] = {layer.output: [0.0] * len(layers) for layer in layers[0] if layer.output in common}
    for machine, of in enumerate(layers):
        pending = 0.0
        for layer in of:
            pending += layer.milliseconds
            if layer.output in common:
                times[layer.output][machine] = pending
                pending = 0.0
        if common:
            times[next(reversed(times))][machine] += pending
    return times


def _layers_of_nodes(graph: OnnxGraph, outputs: Sequence[str]) -> dict[int, int]:
    """Return by node, in topological order, the index of its layer: of the first one that needs what the node makes.

    Nodes that no input reaches, constants, are in none.
    """
    nodes = graph.model.graph.node
    live = set(graph.inputs)
    reached = []
    for index, node in enumerate(nodes):
        if live.intersection(node.input):
            live.update(filter(None, node.output))
            reached.append(index)
    ends = {name: layer for layer, name in enumerate(outputs)}
    last = len(outputs) - 1
    needed: dict[str, int] = {}
    found: dict[int, int] = {}
    for index in reversed(reached):
        names = list(filter(None, nodes[index].output))
        own = [ends[name] for name in names if name in ends]
        later = [needed[name] for name in names if name in needed]
        layer = min(own) if own else min(later, default=last)
        found[index] = layer
        for name in nodes[index].input:
            needed[name] = min(needed.get(name, layer), layer)
    return {index: found[index] for index in reached}
