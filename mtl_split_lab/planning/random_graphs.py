"""Randomly wired networks on a vehicle, a roadside unit and a server, to compare ways of planning on."""

import networkx
import numpy as np

from mtl_split_lab.planning.problem import NEVER, Problem

SPEEDS = (1.0, 2.5, 4.0)
"""Of vehicle, roadside unit and server."""

RATIOS = (0.1, 0.5, 2.0)
"""How long the mean transfer takes, as a part of the mean task on the vehicle."""

NEIGHBOURS, REWIRED = 4, 0.5
"""Of the Watts-Strogatz graphs, as in randomly wired networks (Xie et al. 2019)."""

ROOM = (0.4, 0.5, 0.8)
"""Memory of the machines, as a part of what all tasks need."""


def draw_problem(seed: int, tasks: int) -> Problem:
    """Draw a network of so many tasks; the first takes the camera's picture and so runs on the vehicle."""
    rng = np.random.default_rng(seed)
    neighbours = min(NEIGHBOURS, max(2, tasks - 1))
    wired = networkx.connected_watts_strogatz_graph(tasks, neighbours, REWIRED, tries=1000, seed=seed)
    edges = tuple(sorted((min(edge), max(edge)) for edge in wired.edges))
    work = rng.lognormal(0.0, 0.8, tasks)
    fitting = rng.lognormal(0.0, 0.25, (tasks, len(SPEEDS)))  # a machine is good at some tasks and bad at others
    durations = np.maximum(1, np.rint(1e3 * work[:, None] * fitting / np.array(SPEEDS))).astype(np.int64)
    durations[0, 1:] = NEVER
    ratio = RATIOS[seed % len(RATIOS)]
    milliseconds = ratio * work.mean() * rng.lognormal(0.0, 0.8, len(edges))
    # To the roadside unit it is near, from there to the server there is a cable, and between the others both.
    links = np.array([[0.0, 1.0, 1.5], [1.0, 0.0, 0.5], [1.5, 0.5, 0.0]])
    transfers = np.rint(1e3 * milliseconds[:, None, None] * links).astype(np.int64)
    sizes = rng.integers(1, 1000, tasks)
    room = np.maximum(np.array(ROOM) * sizes.sum(), sizes.max()).astype(np.int64)
    return Problem(durations, edges, transfers, sizes, room)
