"""Dividing a bundle's suffix: its ONNX graph in two, without any change to what it calculates."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mtl_split_core.bundle import DIVISIONS, SUFFIX, Bundle, write_manifest
from mtl_split_core.division import MIDDLE, REST, Division, Tensor, format_divisions
from mtl_split_core.engine import Array, Engine, OnnxRuntime
from mtl_split_core.errors import InputError
from mtl_split_net.onnx_graph import OnnxGraph

LARGEST_DIFFERENCE = 1e-5
"""How far the parts' outputs in series may be from the suffix's, relative to the largest."""


def divide(bundle: Bundle, at: str, out: Path | None = None) -> tuple[Bundle, Division, float]:
    """Divide a bundle's suffix at a tensor and those that cross beside it; one more division, or that one anew.

    out: a folder for the bundle, which may be there already (None: its own). Returns the bundle, the division and the
    largest difference of the parts in series from the suffix, see LARGEST_DIFFERENCE. Raises InputError where it cannot
    be divided there, or the parts would answer otherwise.
    """
    suffix = bundle.read(SUFFIX)
    graph = OnnxGraph(bundle.path(SUFFIX))
    frontier = graph.frontier(at)
    if other := [name for name in frontier if graph.dtype(name) != np.float32]:
        raise InputError(f"{other[0]!r} of {graph.path} is {graph.dtype(other[0])}, expected float32: choose another")
    middle, rest = (part.SerializeToString() for part in graph.divide(at))
    kept = [division for division in bundle.divisions if division.cut != at]
    number = _free_number(kept)
    division = Division(
        cut=at,
        tensors=tuple(Tensor(name, graph.shape(name)) for name in frontier),
        contract=bundle.contract.fingerprint,
        feature_space=hashlib.sha256(suffix).hexdigest()[:16],
        middle=f"{MIDDLE}{number}",
        rest=f"{REST}{number}",
    )
    difference = _difference(suffix, middle, rest, frontier, (1, *bundle.payload_format.shape))
    if difference > LARGEST_DIFFERENCE:
        raise InputError(
            f"divided at {at!r}, {graph.path} would answer otherwise, by {difference:.0e}: choose another tensor"
        )
    folder = out or bundle.folder
    folder.mkdir(parents=True, exist_ok=True)
    files = {role: file.path.name for role, file in bundle.files.items()}
    for role, name in files.items():
        if folder.resolve() != bundle.folder.resolve():
            (folder / name).write_bytes(bundle.read(role))
    for role, data in ((division.middle, middle), (division.rest, rest)):
        files[role] = f"{role}.onnx"
        (folder / files[role]).write_bytes(data)
    manifest = {**bundle.manifest, DIVISIONS: format_divisions([*kept, division])}
    return write_manifest(folder, manifest, files), division, difference


def compare_parts(suffix: Engine, middle: Engine, rest: Engine, frontier: Sequence[str], latents: Array) -> float:
    """Return the largest difference of the parts in series from the suffix; 0: the same bits.

    It is relative to each output's largest number. latents: (1, channels, height, width).
    """
    features = middle(latents)
    found, right = rest(*(features[name] for name in frontier)), suffix(latents)
    return max(
        float(np.abs(np.subtract(found[name], value)).max() / max(1.0, float(np.abs(value).max())))
        for name, value in right.items()
    )


def _difference(suffix: bytes, middle: bytes, rest: bytes, frontier: Sequence[str], shape: tuple[int, ...]) -> float:
    whole, first, second = (OnnxRuntime(data, threads=1, at_once=1) for data in (suffix, middle, rest))
    noise = np.random.default_rng(0).standard_normal(shape, np.float32)
    return compare_parts(whole, first, second, frontier, noise)


def _free_number(divisions: Sequence[Division]) -> str:
    """What tells the roles of a further division from those of the others; empty for the first."""
    taken = {division.middle.removeprefix(MIDDLE) for division in divisions}
    return next(number for number in ("", *(f"_{n}" for n in range(2, len(taken) + 3))) if number not in taken)
