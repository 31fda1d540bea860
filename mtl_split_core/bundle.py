"""A bundle: the folder with one network's files, and the manifest that says what they are: docs/bundle-format.md."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mtl_split_core.contract import Contract, parse_contract, pattern, read_entry, refuse, text
from mtl_split_core.division import ROLE, Division, parse_divisions
from mtl_split_core.errors import BundleError
from mtl_split_core.payload import PayloadFormat
from mtl_split_core.plain_json import parse_json
from mtl_split_core.scene import Size, Task

SCHEMA = 3
MANIFEST = "manifest.json"
MOST_MANIFEST_BYTES = 1 << 23

UNSUPPRESSED = "unsuppressed"
DIVISIONS = "divisions"
MEDIAN_BYTES = "median_bytes"
VALUES = "values"
SERVER = "server"
PREFIX = "prefix"
"""Role of the edge's half of the network."""
SUFFIX = "suffix"
"""Role of the server's half."""
EXIT = "exit"
"""Role of the small network that answers on the edge, with the interface of the suffix."""
WHOLE = "whole"
"""How `values` calls the suffix on the edge, which sees the latents as they are."""
HALVES: Mapping[str, str] = MappingProxyType({PREFIX: "prefix.onnx", SUFFIX: "suffix.onnx"})
"""By role, how export names the files of the halves."""


@dataclass(frozen=True)
class File:
    """A file of a bundle, and the SHA-256, 64 hexadecimal digits, that its contents must have."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class Values:
    """How good the answers are, 0 to 1: the mean over the tasks of each one's accuracy on the pictures for testing.

    server: of the server's answers, by the operating point's name; own: of the edge's own, by WHOLE and EXIT.
    """

    server: Mapping[str, float]
    own: Mapping[str, float]


@dataclass(frozen=True)
class Bundle:
    """One trained network: the contract between its halves, and its files.

    fingerprint: 16 hexadecimal digits of the manifest's SHA-256, which name this bundle in reports; the contract's is
    what halves are compared by. default_point: index of the operating point that is used where none is asked for; cut:
    where the network is cut; unsuppressed: names of the tasks whose detections need no non-maximum suppression, because
    the network proposes no object twice; median_bytes: of the payloads, by the operating point's name, where that is
    known; values: None where they were not measured; divisions: of the suffix; files: by role; manifest: everything in
    `manifest.json`, as it was written.
    """

    folder: Path
    name: str
    fingerprint: str
    contract: Contract
    default_point: int
    cut: str
    unsuppressed: frozenset[str]
    median_bytes: Mapping[str, float]
    values: Values | None
    divisions: tuple[Division, ...]
    files: Mapping[str, File]
    manifest: Mapping[str, Any]

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The contract's tasks."""
        return self.contract.tasks

    @property
    def input_size(self) -> Size:
        """The contract's input size."""
        return self.contract.input_size

    @property
    def payload_format(self) -> PayloadFormat:
        """The contract's payload format."""
        return self.contract.payload_format

    def division(self, cut: str) -> Division:
        """Return the division at a cut, by its name; empty: the first one. Raises BundleError where there is none."""
        found = [division for division in self.divisions if cut in ("", division.cut)]
        if not self.divisions:
            raise BundleError(
                f"the suffix of the bundle at {self.folder} is not divided:"
                f" `mtl-split cut --bundle {self.folder} --at TENSOR --out FOLDER` does it"
            )
        if not found:
            cuts = ", ".join(division.cut for division in self.divisions)
            raise BundleError(f"the bundle at {self.folder} has no division at {cut!r}, only at {cuts}")
        return found[0]

    def path(self, role: str) -> Path:
        """Return where the file of a role is. Raises BundleError where the bundle has none."""
        if role not in self.files:
            raise BundleError(
                f"the bundle at {self.folder} has no {role}, only {', '.join(self.files) or 'a manifest'}"
            )
        return self.files[role].path

    def read(self, role: str) -> bytes:
        """Read the file of a role, once. Raises BundleError where it is missing, unreadable or damaged."""
        path = self.path(role)
        if not path.is_file():
            raise BundleError(f"{path} is missing")
        try:
            data = path.read_bytes()
        except OSError as error:
            raise BundleError(f"{path} cannot be read: {error}") from error
        found, expected = hashlib.sha256(data).hexdigest(), self.files[role].sha256
        if found != expected:
            raise BundleError(f"{path} is damaged: its SHA-256 is {found}, the manifest expects {expected}")
        return data


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle's manifest; the files are read and checked by `Bundle.read`.

    Raises BundleError where the folder or the manifest is missing, unreadable, of another schema, or has an entry that
    is out of range.
    """
    path = folder / MANIFEST
    try:
        if not path.is_file():
            raise BundleError(f"no bundle at {folder}: expected a folder with a {MANIFEST}")
        with path.open("rb") as file:
            written = file.read(MOST_MANIFEST_BYTES + 1)
    except OSError as error:
        raise BundleError(f"the bundle at {folder} cannot be read: {error}") from error
    try:
        return _parse(folder, written)
    except ValueError as error:
        raise BundleError(f"{path}: {error}") from error


def write_manifest(folder: Path, manifest: Mapping[str, Any], files: Mapping[str, str] = HALVES) -> Bundle:
    """Write a bundle's manifest and load the bundle.

    manifest: all entries but `schema` and `files`, which are made here (those of another manifest are replaced); files:
    names of files in `folder`, by role.
    """
    hashed = {
        role: {"file": name, "sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest()}
        for role, name in files.items()
    }
    complete = {"schema": SCHEMA} | dict(manifest) | {"schema": SCHEMA, "files": hashed}
    (folder / MANIFEST).write_text(json.dumps(complete, indent=2) + "\n")
    return load_bundle(folder)


def _parse(folder: Path, written: bytes) -> Bundle:
    if len(written) > MOST_MANIFEST_BYTES:
        raise ValueError(f"has more than {MOST_MANIFEST_BYTES} bytes")
    manifest = parse_json(written)
    schema = manifest.get("schema") if isinstance(manifest, dict) else None
    if schema != SCHEMA:
        raise ValueError(f"schema is {repr(schema)[:20]}, expected {SCHEMA}: export the training again")
    contract = read_entry(manifest, "contract", parse_contract)
    points = [point.name for point in contract.payload_format.operating_points]

    def parse_default(value: Any) -> int:
        return points.index(value) if value in points else refuse(value, f"one of {', '.join(points)}")

    tasks = [task.name for task in contract.tasks]

    def parse_unsuppressed(value: Any) -> frozenset[str]:
        if not isinstance(value, list):
            refuse(value, "a list of tasks")
        return frozenset(name if name in tasks else refuse(name, f"one of {', '.join(tasks)}") for name in value)

    return Bundle(
        folder=folder,
        name=read_entry(manifest, "name", text),
        fingerprint=hashlib.sha256(written).hexdigest()[:16],
        contract=contract,
        default_point=read_entry(manifest, "default_operating_point", parse_default),
        cut=read_entry(manifest, "cut", text),
        unsuppressed=read_entry(manifest, UNSUPPRESSED, parse_unsuppressed)
        if UNSUPPRESSED in manifest
        else frozenset(),
        median_bytes=read_entry(manifest, MEDIAN_BYTES, _parse_median_bytes) if MEDIAN_BYTES in manifest else {},
        values=read_entry(manifest, VALUES, lambda value: _parse_values(value, points)) if VALUES in manifest else None,
        divisions=read_entry(manifest, DIVISIONS, lambda value: parse_divisions(value, contract.fingerprint))
        if DIVISIONS in manifest
        else (),
        files=read_entry(manifest, "files", lambda value: _parse_files(folder, value)),
        manifest=manifest,
    )


def _parse_median_bytes(value: Any) -> dict[str, float]:
    if not isinstance(value, dict):
        refuse(value, "an object with a number by operating point")
    return {name: number if _is_size(number) else refuse(number, "a number of bytes") for name, number in value.items()}


def _parse_values(value: Any, points: list[str]) -> Values:
    if not isinstance(value, dict):
        refuse(value, f"an object with {SERVER}, and {WHOLE} and {EXIT} where there are such")
    server = read_entry(value, SERVER, lambda entry: entry if isinstance(entry, dict) else refuse(entry, "an object"))
    return Values(
        {point: read_entry(server, point, _parse_value) for point in points},
        {name: read_entry(value, name, _parse_value) for name in (WHOLE, EXIT) if name in value},
    )


def _parse_value(value: Any) -> float:
    return float(value) if type(value) in (int, float) and 0 <= value <= 1 else refuse(value, "a number from 0 to 1")


def _is_size(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < 1 << 32


def _parse_files(folder: Path, value: Any) -> dict[str, File]:
    if not isinstance(value, dict):
        refuse(value, "an object with a file by role")
    return {ROLE(role): read_entry(value, role, lambda entry: _parse_file(folder, entry)) for role in value}


def _parse_file(folder: Path, value: Any) -> File:
    return File(folder / read_entry(value, "file", _FILE_NAME), read_entry(value, "sha256", _SHA256))


_FILE_NAME = pattern("[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", "the name of a file in the bundle's folder")
_SHA256 = pattern("[0-9a-f]{64}", "64 hexadecimal digits")
