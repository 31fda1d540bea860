"""A task as it is learned: with its head and its loss's weight."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mtl_split_core.contract import parse_tasks
from mtl_split_core.errors import brief
from mtl_split_core.scene import Task
from mtl_split_net.kinds import KINDS

MOST_WEIGHT = 1e6
"""Of a loss in the sum."""


@dataclass(frozen=True)
class LearnedTask(Task):
    """A task with the name of its head, one of its kind's, and the weight of its loss in the sum."""

    head: str
    weight: float


def parse_learned_tasks(value: Any) -> tuple[LearnedTask, ...]:
    """Read tasks from plain data: as parse_tasks does, and for each, if wanted, head and weight.

    Raises KeyError, TypeError or ValueError for anything else.
    """
    return tuple(_learned(task, entry) for task, entry in zip(parse_tasks(value), value, strict=True))


def _learned(task: Task, entry: Mapping[str, Any]) -> LearnedTask:
    unknown = set(entry) - {"name", "kind", "labels", "head", "weight"}
    heads = list(KINDS[task.kind].HEADS)
    head, weight = entry.get("head", heads[0]), entry.get("weight", 1.0)
    if unknown or head not in heads or type(weight) not in (int, float) or not 0 < weight <= MOST_WEIGHT:
        raise ValueError(
            f"task {task.name!r} has head {brief(head)}, weight {brief(weight)} and unknown keys "
            f"{brief(', '.join(map(str, unknown)))}; expected a head of {', '.join(heads)}, "
            f"and a weight above 0, at most {MOST_WEIGHT:g}"
        )
    return LearnedTask(task.name, task.kind, task.labels, head, float(weight))
