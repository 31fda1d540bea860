"""A bundle: the folder with the two exported halves of one network and the manifest that says all about them."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from mtl_split_core.entropy import EntropyTables
from mtl_split_core.errors import BundleError
from mtl_split_core.kinds import KINDS
from mtl_split_core.payload import OperatingPoint, PayloadFormat, Shape
from mtl_split_core.scene import Size, Task

SCHEMA = 2
MANIFEST = "manifest.json"
PREFIX = "prefix.onnx"
SUFFIX = "suffix.onnx"

T = TypeVar("T")


@dataclass(frozen=True)
class Bundle:
    """What the two halves need to know of one trained network, and where its two files are.

    fingerprint: 16 hexadecimal digits of the SHA-256 of the manifest, which itself holds the SHA-256 of every other
    file; manifest: everything in `manifest.json`, as the exporter wrote it.
    """

    folder: Path
    name: str
    fingerprint: str
    tasks: tuple[Task, ...]
    input_size: Size
    split_point: str
    payload_format: PayloadFormat
    manifest: Mapping[str, Any]

    @property
    def prefix(self) -> Path:
        """The edge's half of the network: uint8 (1, height, width, 3) blue-green-red in, latents out."""
        return self.folder / PREFIX

    @property
    def suffix(self) -> Path:
        """The server's half: latents, float32 (N, channels, height, width), in; every task's outputs out."""
        return self.folder / SUFFIX


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle, every file checked against the manifest's SHA-256.

    Raises BundleError where the folder, the manifest or a file is missing, unreadable, damaged or of another schema.
    """
    try:
        return _load(folder)
    except OSError as error:
        raise BundleError(f"the bundle at {folder} cannot be read: {error}") from error


def _load(folder: Path) -> Bundle:
    path = folder / MANIFEST
    if not path.is_file():
        raise BundleError(f"no bundle at {folder}: expected a folder with a {MANIFEST}")
    written = path.read_bytes()
    try:
        manifest = json.loads(written)
    except ValueError as error:
        raise BundleError(f"{path} is no JSON: {error}") from error
    schema = manifest.get("schema") if isinstance(manifest, dict) else None
    if schema != SCHEMA:
        raise BundleError(f"{path} has schema {schema!r}, expected {SCHEMA}")
    files = _read(path, manifest, "files", dict)
    for name in (PREFIX, SUFFIX):
        _check_file(folder / name, files.get(name))
    bottleneck = _read(path, manifest, "bottleneck", _parse_shape)
    points = _read(path, manifest, "operating_points", _parse_operating_points)
    names = [point.name for point in points]
    default = _read(path, manifest, "default_operating_point", names.index)
    tables = _read(path, manifest, "entropy_tables", parse_entropy_tables)
    try:
        payload_format = PayloadFormat(bottleneck, points, default, tables)
    except ValueError as error:
        raise BundleError(f"{path}: bottleneck, operating points and entropy tables do not fit: {error}") from error
    return Bundle(
        folder=folder,
        name=_read(path, manifest, "name", _text),
        fingerprint=hashlib.sha256(written).hexdigest()[:16],
        tasks=_read(path, manifest, "tasks", parse_tasks),
        input_size=_read(path, manifest, "input", _parse_input),
        split_point=_read(path, manifest, "split_point", _text),
        payload_format=payload_format,
        manifest=manifest,
    )


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> Bundle:
    """Complete a manifest with the schema and the SHA-256 of the two halves in `folder`, write it, load the bundle."""
    files = {name: _sha256(folder / name) for name in (PREFIX, SUFFIX)}
    complete = {"schema": SCHEMA, **manifest, "files": files}
    (folder / MANIFEST).write_text(json.dumps(complete, indent=2) + "\n")
    return load_bundle(folder)


def _read(path: Path, manifest: Mapping[str, Any], key: str, parse: Callable[[Any], T]) -> T:
    try:
        return parse(manifest[key])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        value = json.dumps(manifest.get(key))[:80]
        raise BundleError(f"{path}: {key} is {value}, which is not of schema {SCHEMA} ({error!r})") from error


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"expected a text instead of {value!r}")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ValueError(f"expected a whole number above 0 instead of {value!r}")
    return value


def _parse_input(value: Any) -> Size:
    return _count(value["width"]), _count(value["height"])


def _parse_shape(value: Any) -> Shape:
    return _count(value["channels"]), _count(value["height"]), _count(value["width"])


def _parse_operating_points(value: Any) -> tuple[OperatingPoint, ...]:
    points = tuple(OperatingPoint(_text(point["name"]), np.array(point["steps"], np.float32)) for point in value)
    if not points or not all(point.steps.ndim == 1 and (point.steps > 0).all() for point in points):
        raise ValueError("expected at least one operating point, each with a positive step per channel")
    if len({point.name for point in points}) != len(points):
        raise ValueError("expected every operating point's name once")
    return points


def parse_entropy_tables(value: Any) -> EntropyTables:
    """Read the manifest's `entropy_tables`. Raises KeyError, TypeError or ValueError for anything else."""
    return EntropyTables(
        groups=tuple(tuple(map(int, group)) for group in value["groups"]),
        **{name: np.array(value[name], np.int64) for name in ("weights", "thresholds", "counts")},
    )


def format_entropy_tables(tables: EntropyTables) -> dict[str, Any]:
    """Return tables as plain data for the manifest's `entropy_tables`."""
    arrays = {name: getattr(tables, name).tolist() for name in ("weights", "thresholds", "counts")}
    return {"groups": tables.groups, **arrays}


def parse_tasks(value: Any) -> tuple[Task, ...]:
    """Read tasks from plain data: a list of mappings with name, kind and labels.

    Raises KeyError, TypeError or ValueError for anything else, and for a name that cannot be part of a topic's.
    """
    tasks = tuple(Task(_text(task["name"]), _text(task["kind"]), tuple(map(_text, task["labels"]))) for task in value)
    if not tasks or not all(task.labels for task in tasks):
        raise ValueError("expected at least one task, each with labels")
    for task in tasks:
        if task.kind not in KINDS:
            raise ValueError(f"task {task.name!r} is of kind {task.kind!r}, expected one of {', '.join(KINDS)}")
        if not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", task.name):
            raise ValueError(f"{task.name!r} is no task name: expected letters, digits and _, as in a topic's name")
    if len({task.name for task in tasks}) != len(tasks):
        raise ValueError("expected every task's name once")
    return tasks


def _check_file(path: Path, expected: object) -> None:
    if not path.is_file():
        raise BundleError(f"{path} is missing")
    found = _sha256(path)
    if found != expected:
        raise BundleError(f"{path} is damaged: its SHA-256 is {found}, the manifest expects {expected}")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
