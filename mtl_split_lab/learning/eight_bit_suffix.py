"""A finished bundle once more, with a suffix that calculates with 8-bit integers, and what that costs and saves."""

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from mtl_split_core.bundle import SUFFIX, Bundle, load_bundle, write_manifest
from mtl_split_core.engine import ENGINES, NotInstalledError
from mtl_split_core.errors import InputError
from mtl_split_core.halves import EdgeHalf, ServerHalf
from mtl_split_core.scene import Image, Size
from mtl_split_core.stopwatch import measure_in_turn
from mtl_split_lab.data.sources import find_pictures
from mtl_split_lab.learning.export import measure_sources, read_some
from mtl_split_lab.learning.quantisation import quantise_convolutions
from mtl_split_lab.markdown import table
from mtl_split_lab.recipe import Portion

MOST_LOST = 0.01
"""A suffix that loses more of any score, 0 to 1, is not written."""

CALLS = 40


def write_eight_bit_suffix(
    bundle: Bundle,
    folder: Path,
    calibrating: Sequence[str],
    testing: Sequence[str],
    data: Path,
    drawn: Path,
    processes: int,
    size: Size,
    tell: Callable[[str], None],
) -> Bundle:
    """Write a bundle with an 8-bit suffix and the same contract into a folder; returns it.

    calibrating: pictures that were trained on, of which some show what numbers there are; testing: others, on which
    both suffixes are measured; both as in a recipe's `pictures`. data, drawn, processes, size: see find_pictures;
    tell: is handed a report in Markdown. Raises InputError where a score of any source falls by more than MOST_LOST,
    and writes nothing then.
    """
    find = partial(find_pictures, data=data, drawn=drawn, size=size, processes=processes)
    pictures = [picture for name in calibrating for picture in find(Portion(name))]
    sources = {name: find(Portion(name)) for name in testing}
    with TemporaryDirectory() as unfinished:
        smaller = quantise_suffix(bundle, Path(unfinished) / "bundle", read_some(pictures))
        before, after = (measure_sources(each, sources) for each in (bundle, smaller))
        tell(f"{_compare(before, after)}\n\n{_time(bundle, smaller)}")
        lost = {source: max(_losses(before[source], after[source]).values(), default=0.0) for source in sources}
        worst = max(lost, key=lost.__getitem__)
        if lost[worst] > MOST_LOST:
            raise InputError(
                f"the 8-bit suffix loses {100 * lost[worst]:.1f} points on {worst}, at most {100 * MOST_LOST:g} may be"
                " lost: nothing was written"
            )
        added = {"measured": after, "int8": {"half": SUFFIX, "measured_before": before}}
        _write(smaller, smaller.folder, added)
        shutil.copytree(smaller.folder, folder, dirs_exist_ok=True)
    return load_bundle(folder)


def quantise_suffix(bundle: Bundle, folder: Path, pictures: Iterable[Image]) -> Bundle:
    """Copy a bundle into a folder, and quantise its suffix there; `pictures` show which numbers there are."""
    edge = EdgeHalf(bundle)
    latents = [bundle.payload_format.unpack(edge.encode(picture).payload) for picture in pictures]
    folder.mkdir(parents=True)
    for role, file in bundle.files.items():
        (folder / file.path.name).write_bytes(bundle.read(role))
    quantise_convolutions(folder / bundle.files[SUFFIX].path.name, latents)
    return _write(bundle, folder, {})


def _write(bundle: Bundle, folder: Path, added: Mapping[str, Any]) -> Bundle:
    names = {role: file.path.name for role, file in bundle.files.items()}
    return write_manifest(folder, {**bundle.manifest, **added}, names)


def _scores(measured: Mapping[str, Any]) -> dict[str, float]:
    """The scores of what was measured on a source that are known."""
    scores = {"mAP50": measured["map50"], **measured["classification"], **measured.get("miou", {})}
    return {name: score for name, score in scores.items() if score is not None}


def _losses(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, float]:
    found = _scores(after)
    return {name: score - found[name] for name, score in _scores(before).items()}


def _compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    rows = []
    for source, measured in before.items():
        found = _scores(after[source])
        for name, score in _scores(measured).items():
            rows.append([source, name, f"{score:.4f}", f"{found[name]:.4f}", f"{100 * (found[name] - score):+.1f}"])
    return table("pictures|score|float|8 bits|points", rows)


def _time(*bundles: Bundle) -> str:
    """A table of the suffix' milliseconds, by engine, of the fastest calls."""
    shape = bundles[0].payload_format.shape
    latents = np.random.default_rng(0).standard_normal((1, *shape), np.float32)
    rows = []
    for kind in ENGINES:
        try:
            halves = [ServerHalf(bundle, engine=kind) for bundle in bundles]
        except NotInstalledError:
            continue
        calls = {str(number): partial(half.choice.engine, latents) for number, half in enumerate(halves)}
        rows.append([kind, *(f"{min(times):.2f}" for times in measure_in_turn(calls, CALLS).values())])
    return table("engine, one thread|float, ms|8 bits, ms", rows)
