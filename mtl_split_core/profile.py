"""A profile: what each part of a bundle takes on one machine, in a file that controller, simulator and planner read."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mtl_split_core.bundle import EXIT, PREFIX, SUFFIX, WHOLE
from mtl_split_core.contract import items, pattern, read_entry, refuse, text
from mtl_split_core.errors import InputError
from mtl_split_core.plain_json import parse_json
from mtl_split_core.scene import Size
from mtl_split_core.text_file import read_text

SCHEMA = 1
MOST_BYTES = 1 << 22
"""Files of more bytes are refused."""
MOST_LAYERS = 10_000
MOST_DIVISIONS = 100

PREPARE, POST = "prepare", "post"
PARTS = (PREPARE, PREFIX, SUFFIX, POST, WHOLE, EXIT)
"""Parts of the work on a frame: the stages of both halves but for the coding, all four in one go, and the answer of the
bundle's exit from the latents on."""
NEEDED = PARTS[:4]
"""The parts that every profile has."""

_LARGEST = 1e9


@dataclass(frozen=True)
class Spread:
    """A figure over several pictures: its median and its 95th percentile."""

    median: float
    p95: float


@dataclass(frozen=True)
class PointCost:
    """What an operating point costs: milliseconds to encode and to decode, and the payload's bytes."""

    encode: Spread
    decode: Spread
    bytes: Spread


@dataclass(frozen=True)
class DivisionCost:
    """What a division of the suffix costs, decoding and packing included.

    middle, rest: milliseconds of the roadside unit's and of the server's part; bytes: of the features; raw: how many
    bytes they would be without compression.
    """

    middle: Spread
    rest: Spread
    bytes: Spread
    raw: int


@dataclass(frozen=True)
class Layer:
    """A part of an ONNX graph that the engine runs in one go: the tensor that it makes, and how long it takes."""

    output: str
    milliseconds: float


@dataclass(frozen=True)
class Profile:
    """What each part of a bundle takes on one machine, one frame at a time.

    bundle, fingerprint: the bundle's name and fingerprint; contract: its contract's fingerprint; engine, threads: what
    ran the networks; machine: in words and numbers; picture: size (width, height) of the pictures; calls: how often
    each part was called; parts: milliseconds, by names of PARTS, those that the bundle has; points: by operating point,
    the coarsest first; divisions: by cut, those that the bundle has; memory: bytes that loading a network takes, by
    role, the middles and the rests of all divisions as one; layers: of networks, by role, in the order in which they
    run, where those were asked for.
    """

    bundle: str
    fingerprint: str
    contract: str
    engine: str
    threads: int
    machine: Mapping[str, str | int]
    picture: Size
    calls: int
    parts: Mapping[str, Spread]
    points: Mapping[str, PointCost]
    memory: Mapping[str, int]
    layers: Mapping[str, tuple[Layer, ...]] = field(default_factory=dict)
    divisions: Mapping[str, DivisionCost] = field(default_factory=dict)

    def edge(self, point: str) -> float:
        """Median milliseconds from the picture to the payload at an operating point."""
        return self.latents + self.points[point].encode.median

    @property
    def latents(self) -> float:
        """Median milliseconds from the picture to the latents, which are not coded."""
        return self.parts[PREPARE].median + self.parts[PREFIX].median

    def own(self, network: str) -> float | None:
        """Median milliseconds from the latents to the results of the edge itself, by EXIT or WHOLE; None: no exit."""
        if network == WHOLE:
            return self.parts[SUFFIX].median + self.parts[POST].median
        return self.parts[EXIT].median if EXIT in self.parts else None

    def server(self, point: str) -> float:
        """Median milliseconds from the payload at an operating point to the results."""
        return self.points[point].decode.median + self.parts[SUFFIX].median + self.parts[POST].median

    @property
    def whole(self) -> float:
        """Median milliseconds from the picture to the results where both halves run on this machine."""
        return self.parts[WHOLE].median if WHOLE in self.parts else sum(self.parts[part].median for part in NEEDED)

    def check_fits(self, contract: str, path: Path) -> None:
        """Raise InputError where the profile, read from a file, is of a bundle with another contract."""
        if self.contract != contract:
            raise InputError(
                f"{path} is a profile of contract {self.contract}, the bundle has {contract}: "
                "run `mtl-split profile` again"
            )


def load_profile(path: Path) -> Profile:
    """Read a profile. Raises InputError for a file that is missing, or that `write_profile` would not have written."""
    written = read_text(path, MOST_BYTES)
    try:
        return _parse(parse_json(written))
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def write_profile(profile: Profile, path: Path) -> None:
    """Write a profile into a file, and its folder where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"schema": SCHEMA, **asdict(profile)}, indent=2) + "\n")


def _parse(value: Any) -> Profile:
    schema = value.get("schema") if isinstance(value, dict) else None
    if schema != SCHEMA:
        raise ValueError(f"schema is {repr(schema)[:20]}, expected {SCHEMA}: run `mtl-split profile` again")
    fingerprint = pattern("[0-9a-f]{16}", "16 hexadecimal digits")
    return Profile(
        bundle=read_entry(value, "bundle", text),
        fingerprint=read_entry(value, "fingerprint", fingerprint),
        contract=read_entry(value, "contract", fingerprint),
        engine=read_entry(value, "engine", text),
        threads=read_entry(value, "threads", _count),
        machine=read_entry(value, "machine", _parse_machine),
        picture=read_entry(value, "picture", _parse_size),
        calls=read_entry(value, "calls", _count),
        parts=read_entry(value, "parts", _parse_parts),
        points=read_entry(value, "points", _parse_points),
        memory=read_entry(value, "memory", lambda entry: {text(k): read_entry(entry, k, _bytes) for k in _keys(entry)}),
        layers=read_entry(value, "layers", _parse_layers),
        divisions=read_entry(value, "divisions", _parse_divisions) if "divisions" in value else {},
    )


def _keys(value: Any) -> list[str]:
    if not isinstance(value, dict):
        refuse(value, "an object")
    return list(value)


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= _LARGEST or not math.isfinite(value):
        refuse(value, f"a number of 0 to {_LARGEST:g}")
    return float(value)


def _bytes(value: Any) -> int:
    return value if type(value) is int and 0 <= value < 1 << 48 else refuse(value, "a whole number of bytes")


def _count(value: Any) -> int:
    return value if type(value) is int and 1 <= value < 1 << 31 else refuse(value, "a whole number above 0")


def _parse_size(value: Any) -> Size:
    if not isinstance(value, list) or len(value) != 2:
        refuse(value, "a width and a height")
    return _count(value[0]), _count(value[1])


def _parse_spread(value: Any) -> Spread:
    spread = Spread(read_entry(value, "median", _number), read_entry(value, "p95", _number))
    return spread if spread.median <= spread.p95 else refuse(spread.p95, "a p95 of at least the median")


def _parse_machine(value: Any) -> dict[str, str | int]:
    return {text(key): value[key] if type(value[key]) is int else text(value[key]) for key in _keys(value)}


def _parse_parts(value: Any) -> dict[str, Spread]:
    if strange := set(_keys(value)) - set(PARTS):
        refuse(min(strange), f"one of {', '.join(PARTS)}")
    missing = [part for part in NEEDED if part not in value]
    if missing:
        raise ValueError(f"{missing[0]} is missing")
    return {part: read_entry(value, part, _parse_spread) for part in value}


def _parse_points(value: Any) -> dict[str, PointCost]:
    if not _keys(value):
        refuse(value, "at least one operating point")
    return {text(name): read_entry(value, name, _parse_point) for name in value}


def _parse_point(value: Any) -> PointCost:
    encode, decode, size = (read_entry(value, key, _parse_spread) for key in ("encode", "decode", "bytes"))
    return PointCost(encode, decode, size)


def _parse_divisions(value: Any) -> dict[str, DivisionCost]:
    if len(_keys(value)) > MOST_DIVISIONS:
        refuse(len(value), f"at most {MOST_DIVISIONS} divisions")
    return {text(cut): read_entry(value, cut, _parse_division) for cut in value}


def _parse_division(value: Any) -> DivisionCost:
    middle, rest, size = (read_entry(value, key, _parse_spread) for key in ("middle", "rest", "bytes"))
    return DivisionCost(middle, rest, size, read_entry(value, "raw", _count))


def _parse_layers(value: Any) -> dict[str, tuple[Layer, ...]]:
    return {text(role): read_entry(value, role, _parse_layers_of_one) for role in _keys(value)}


def _parse_layers_of_one(value: Any) -> tuple[Layer, ...]:
    if len(items(value)) > MOST_LAYERS:
        refuse(value, f"at most {MOST_LAYERS} layers")
    layers = tuple(Layer(read_entry(v, "output", text), read_entry(v, "milliseconds", _number)) for v in value)
    names = {layer.output for layer in layers}
    return layers if len(names) == len(layers) else refuse(len(names), f"{len(layers)} different outputs")
