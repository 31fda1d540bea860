"""A division: the suffix in two once more, the middle for a roadside unit and the rest for the server.

The contract between edge and server stays as it is. What passes from the middle to the rest, the features, has a small
contract of its own: tensors in their order, with their shapes, float32.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgpack

from mtl_split_core.contract import items, pattern, read_entry, refuse, text

VERSION = 1
"""Of the features' bytes, see docs/wire-format.md."""

MIDDLE, REST = "middle", "rest"
"""What the roles of a division's files begin with."""

MOST_TENSORS = 64
MOST_AXES = 8
MOST_NUMBERS = 1 << 24
"""Features of more tensors, axes or numbers in all are refused."""

FEATURE_BYTES = 4
"""Of each number: float32."""

ROLE = pattern("[a-z][a-z0-9_-]{0,39}", "a role of lower-case letters, digits, '_' and '-'")
FINGERPRINT = pattern("[0-9a-f]{16}", "16 hexadecimal digits")


@dataclass(frozen=True)
class Tensor:
    """One of the tensors at which the suffix is divided; shape: for one picture, its batch axis included."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Division:
    """One division of a bundle's suffix.

    cut: its name, that of the tensor at which it was asked for; tensors: what the middle calculates for the rest;
    contract: the fingerprint of the one between edge and server; feature_space: 16 hexadecimal digits that name the
    suffix that was divided: a middle and a rest fit together if they come from the same; middle, rest: the roles of the
    two files.
    """

    cut: str
    tensors: tuple[Tensor, ...]
    contract: str
    feature_space: str
    middle: str
    rest: str

    @property
    def numbers(self) -> int:
        """How many numbers the features have."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors)

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of a SHA-256 over all that middle and rest must share, see docs/bundle-format.md."""
        parts = (VERSION, self.contract, self.feature_space, [(each.name, each.shape) for each in self.tensors])
        return hashlib.sha256(msgpack.packb(parts)).hexdigest()[:16]


def parse_divisions(value: Any, contract: str) -> tuple[Division, ...]:
    """Read a manifest's `divisions`, from an untrusted source; contract: the fingerprint of the bundle's.

    Raises ValueError, which names the entry, for anything else.
    """
    divisions = tuple(_parse(entry, contract) for entry in items(value))
    cuts = [division.cut for division in divisions]
    if len(set(cuts)) < len(cuts):
        raise ValueError(f"two divisions have the same cut, expected each once: {', '.join(cuts)[:80]}")
    return divisions


def format_divisions(divisions: Sequence[Division]) -> list[dict[str, Any]]:
    """Return divisions as plain data for a manifest."""
    return [
        {
            "cut": division.cut,
            "tensors": [{"name": tensor.name, "shape": [*tensor.shape]} for tensor in division.tensors],
            "feature_space": division.feature_space,
            "middle": division.middle,
            "rest": division.rest,
        }
        for division in divisions
    ]


def _parse(value: Any, contract: str) -> Division:
    division = Division(
        cut=read_entry(value, "cut", text),
        tensors=read_entry(value, "tensors", _parse_tensors),
        contract=contract,
        feature_space=read_entry(value, "feature_space", FINGERPRINT),
        middle=read_entry(value, "middle", ROLE),
        rest=read_entry(value, "rest", ROLE),
    )
    if division.numbers > MOST_NUMBERS:
        raise ValueError(f"tensors: expected at most {MOST_NUMBERS} numbers in all, got {division.numbers}")
    return division


def _parse_tensors(value: Any) -> tuple[Tensor, ...]:
    if len(items(value)) > MOST_TENSORS:
        raise ValueError(f"expected at most {MOST_TENSORS}, got {len(value)}")
    tensors = tuple(Tensor(read_entry(each, "name", text), read_entry(each, "shape", _parse_shape)) for each in value)
    if len({tensor.name for tensor in tensors}) < len(tensors):
        raise ValueError("two tensors have the same name, expected each once")
    return tensors


def _parse_shape(value: Any) -> tuple[int, ...]:
    if len(items(value)) > MOST_AXES:
        raise ValueError(f"expected at most {MOST_AXES} axes, got {len(value)}")
    return tuple(
        side if type(side) is int and 1 <= side <= MOST_NUMBERS else refuse(side, f"a size of 1 to {MOST_NUMBERS}")
        for side in value
    )
