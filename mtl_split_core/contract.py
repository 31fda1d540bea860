"""The contract: all that edge and server must share, so that one understands what the other sends."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NoReturn, TypeVar

import msgpack
import numpy as np
import numpy.typing as npt

from mtl_split_core.entropy import EntropyTables
from mtl_split_core.errors import brief
from mtl_split_core.kinds import KINDS
from mtl_split_core.payload import MOST_PER_AXIS, VERSION, OperatingPoint, PayloadFormat, Shape
from mtl_split_core.scene import Floats, Size, Task

T = TypeVar("T")

LONGEST_TEXT = 1000
"""Names and labels of more characters are refused: every message would repeat them."""
LATENTS = "latents"
"""The suffix's input: no output, and so no task, may have this name."""


@dataclass(frozen=True)
class Contract:
    """What both ends must share.

    input_size: of the network; payload_format: the latents' shape, the operating points and the entropy tables;
    tasks: what the suffix answers, in this order; latent_space: 16 hexadecimal digits that name the space that the
    latents are in: a prefix and a suffix fit together if they were trained together, or one for the other.
    """

    input_size: Size
    payload_format: PayloadFormat
    tasks: tuple[Task, ...]
    latent_space: str

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of a SHA-256 over all parts, see docs/bundle-format.md."""
        form = self.payload_format
        tables = form.tables
        parts = (
            VERSION,
            self.input_size,
            form.shape,
            [(point.name, point.steps.tolist()) for point in form.operating_points],
            (tables.groups, tables.weights.tolist(), tables.thresholds.tolist(), tables.frequencies.tolist()),
            [(task.name, task.kind, task.labels) for task in self.tasks],
            self.latent_space,
        )
        return hashlib.sha256(msgpack.packb(parts, use_single_float=True)).hexdigest()[:16]


def parse_contract(value: Any) -> Contract:
    """Read a contract from plain data: the object `contract` of a manifest, from an untrusted source.

    Raises ValueError, which names the entry, for anything else. Sizes are checked before anything is allocated by them.
    """
    read_entry(value, "version", _parse_version)
    shape = read_entry(value, "latents", _parse_shape)
    points = read_entry(value, "operating_points", _parse_operating_points)
    tables = read_entry(value, "entropy_tables", parse_entropy_tables)
    form = PayloadFormat(shape, points, tables)
    coarseness = [float(np.log(point.steps.astype(np.float64)).mean()) for point in points]
    if coarseness != sorted(coarseness, reverse=True):
        raise ValueError(f"operating_points: expected the coarsest first, got {', '.join(p.name for p in points)[:80]}")
    return Contract(
        input_size=read_entry(value, "input", _parse_input),
        payload_format=form,
        tasks=read_entry(value, "tasks", parse_tasks),
        latent_space=read_entry(value, "latent_space", pattern("[0-9a-f]{16}", "16 hexadecimal digits")),
    )


def format_contract(contract: Contract) -> dict[str, Any]:
    """Return a contract as plain data for a manifest."""
    width, height = contract.input_size
    form = contract.payload_format
    channels, rows, columns = form.shape
    tables = form.tables
    return {
        "version": VERSION,
        "latent_space": contract.latent_space,
        "input": {"width": width, "height": height},
        "latents": {"channels": channels, "height": rows, "width": columns},
        "operating_points": [{"name": point.name, "steps": point.steps.tolist()} for point in form.operating_points],
        "tasks": [{"name": task.name, "kind": task.kind, "labels": task.labels} for task in contract.tasks],
        "entropy_tables": {
            "groups": tables.groups,
            **{name: getattr(tables, name).tolist() for name in ("weights", "thresholds", "frequencies")},
        },
    }


def read_entry(value: Any, key: str, parse: Callable[[Any], T]) -> T:
    """Parse one entry of an object. Raises ValueError, which begins with the key, for whatever `parse` refuses."""
    if not isinstance(value, dict) or key not in value:
        raise ValueError(f"{key} is missing")
    try:
        return parse(value[key])
    except KeyError as error:
        raise ValueError(f"{key}: {error.args[0]} is missing") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"{key}: {error}") from error


def refuse(value: Any, expected: str) -> NoReturn:
    """Raise ValueError for a value, of which no more is repeated than fits into a line."""
    raise ValueError(f"expected {expected}, got {brief(value)}")


def text(value: Any) -> str:
    """Return a string of 1 to LONGEST_TEXT printable characters. Raises ValueError for anything else."""
    if not isinstance(value, str) or not 1 <= len(value) <= LONGEST_TEXT or not value.isprintable():
        refuse(value, f"a printable text of 1 to {LONGEST_TEXT} characters")
    return value


def items(value: Any) -> Sequence[Any]:
    """Return a list that is not empty. Raises ValueError for anything else, a string too."""
    if not isinstance(value, list | tuple) or not value:
        refuse(value, "a list that is not empty")
    return value


def pattern(regular_expression: str, words: str) -> Callable[[Any], str]:
    """Return a function that returns a string that matches as a whole, and raises ValueError for anything else."""

    def parse(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(regular_expression, value):
            refuse(value, words)
        return value

    return parse


def _axis(value: Any) -> int:
    if type(value) is not int or not 1 <= value <= MOST_PER_AXIS:
        refuse(value, f"a whole number of 1 to {MOST_PER_AXIS}")
    return value


def _parse_version(value: Any) -> None:
    if type(value) is not int or value != VERSION:
        refuse(value, str(VERSION))


def _parse_input(value: Any) -> Size:
    return read_entry(value, "width", _axis), read_entry(value, "height", _axis)


def _parse_shape(value: Any) -> Shape:
    channels, height, width = (read_entry(value, key, _axis) for key in ("channels", "height", "width"))
    return channels, height, width


def _parse_operating_points(value: Any) -> tuple[OperatingPoint, ...]:
    return tuple(
        OperatingPoint(read_entry(point, "name", text), read_entry(point, "steps", _parse_steps))
        for point in items(value)
    )


def _parse_steps(value: Any) -> Floats:
    numbers = _parse_numbers(value, 1, (int, float))
    with np.errstate(over="ignore"):  # infinite steps are refused with those that are infinite from the start
        return numbers.astype(np.float32)


def parse_entropy_tables(value: Any) -> EntropyTables:
    """Read entropy tables from plain data. Raises ValueError for anything else."""
    weights, thresholds, frequencies = (
        read_entry(value, key, partial(_parse_numbers, axes=axes, types=(int,)))
        for key, axes in (("weights", 4), ("thresholds", 1), ("frequencies", 2))
    )
    return EntropyTables(read_entry(value, "groups", _parse_groups), weights, thresholds, frequencies)


def _parse_groups(value: Any) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(_parse_numbers(items(group), 1, (int,)).tolist()) for group in items(value))


def _parse_numbers(value: Any, axes: int, types: tuple[type, ...]) -> npt.NDArray[Any]:
    """Read lists of numbers within lists, as many as there are axes.

    They are looked through before NumPy is: it would make all strings as long as the longest, and True a 1.
    """
    shape: list[int] = []
    level = [value]
    for _ in range(axes):
        for part in level:
            if not isinstance(part, list | tuple) or len(part) != len(level[0]):
                refuse(part, f"{axes} levels of lists, on each all of one length")
        shape.append(len(level[0]) if level else 0)
        level = [inner for part in level for inner in part]
    for number in level:
        if type(number) not in types or (type(number) is int and number.bit_length() > 63):
            refuse(number, f"{' or '.join(kind.__name__ for kind in types)} of at most 64 bits")
    return np.array(level, np.int64 if types == (int,) else np.float64).reshape(shape)


def parse_tasks(value: Any) -> tuple[Task, ...]:
    """Read tasks from plain data: a list of mappings with name, kind and labels.

    Raises KeyError, TypeError or ValueError for anything else, and for a name that cannot be part of a topic's.
    """
    tasks = tuple(
        Task(text(task["name"]), text(task["kind"]), tuple(map(text, items(task["labels"])))) for task in items(value)
    )
    for task in tasks:
        if task.kind not in KINDS:
            raise ValueError(f"task {task.name!r} is of kind {task.kind!r}, expected one of {', '.join(KINDS)}")
        if not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", task.name):
            raise ValueError(f"{task.name!r} is no task name: expected letters, digits and _, as in a topic's name")
        if task.name == LATENTS:
            raise ValueError(f"the task is named {LATENTS!r}, as the suffix's input is: choose another name")
        if len(task.labels) > (most := KINDS[task.kind].MOST_LABELS or len(task.labels)):
            raise ValueError(f"the task {task.name!r} has {len(task.labels)} labels, expected at most {most}")
        if doubled := _first_doubled(task.labels):
            raise ValueError(f"the task {task.name!r} has the label {doubled!r} twice, expected each once")
    if doubled := _first_doubled([task.name for task in tasks]):
        raise ValueError(f"two tasks are named {doubled!r}, expected every task's name once")
    return tasks


def _first_doubled(names: Sequence[str]) -> str | None:
    return next((name for name, count in Counter(names).items() if count > 1), None)
