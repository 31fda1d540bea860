"""Two reports of replay side by side: what changed, and whether that is worse."""

import json
from dataclasses import field
from pathlib import Path
from typing import Annotated

import pydantic
from pydantic import Field, TypeAdapter, ValidationError

from mtl_split_core.errors import InputError
from mtl_split_lab.markdown import table
from mtl_split_lab.untrusted import name_faults

AGREEMENT = "agreement, "
"""What stands before the name of a figure of agreement."""

_Share = Annotated[float, Field(ge=0, le=1)]


@pydantic.dataclasses.dataclass(frozen=True)
class _Bytes:
    median: float


@pydantic.dataclasses.dataclass(frozen=True)
class _Milliseconds:
    p50: float


@pydantic.dataclasses.dataclass(frozen=True)
class _Tracking:
    idf1: _Share
    hota: _Share


@pydantic.dataclasses.dataclass(frozen=True)
class _Figures:
    map50: _Share | None
    map: _Share | None
    classification: dict[str, _Share]
    tracking: _Tracking | None = None
    miou: dict[str, _Share] = field(default_factory=dict)

    @property
    def scores(self) -> dict[str, float]:
        """Every figure that is known."""
        maps = {"mAP50": self.map50, "mAP": self.map}
        tracking = {"IDF1": self.tracking.idf1, "HOTA": self.tracking.hota} if self.tracking else {}
        known = {name: score for name, score in maps.items() if score is not None}
        areas = {f"{task}, mIoU": score for task, score in self.miou.items()}
        return known | tracking | self.classification | areas


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True)
class _Way(_Figures):
    frames: int
    bytes: _Bytes
    total_ms: _Milliseconds
    agreement: _Figures | None = None


@pydantic.dataclasses.dataclass(frozen=True)
class _Input:
    frames: int


@pydantic.dataclasses.dataclass(frozen=True)
class _Refused:
    count: int


@pydantic.dataclasses.dataclass(frozen=True)
class Report:
    """The part of a report.json that is compared."""

    ways: dict[str, _Way]
    frames_with_truth: dict[str, int]
    input: _Input
    refused: _Refused
    interrupted: bool

    @property
    def whole(self) -> bool:
        """Whether every frame that it was to be of was used."""
        return not (self.interrupted or self.refused.count)

    def scores(self, way: str) -> dict[str, float]:
        """Return every accuracy of a way that is known; where there is no truth, how far it agrees with the whole."""
        agreement = self.ways[way].agreement
        if self.frames_with_truth or agreement is None:
            return self.ways[way].scores
        return {f"{AGREEMENT}{name}": score for name, score in agreement.scores.items()}


def read_report(path: Path) -> Report:
    """Read a report.json. Raises InputError for a file that is none."""
    try:
        return TypeAdapter(Report).validate_python(json.loads(path.read_text()))
    except (OSError, ValueError, RecursionError) as error:
        fault = name_faults(error) if isinstance(error, ValidationError) else str(error)
        raise InputError(f"{path} is no report of `mtl-split replay`: {fault}") from error


def _in_both(one: dict[str, int], other: dict[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """The counts of what both know of: a bundle with a task more knows more."""
    common = one.keys() & other.keys()
    return {what: one[what] for what in common}, {what: other[what] for what in common}


def compare_reports(before: Report, after: Report, lost: float, grown: float) -> tuple[str, list[str]]:
    """Return a table of both reports' figures, and in words what is worse.

    Worse is an accuracy or agreement, 0 to 1, that fell by more than `lost` or is no longer known, median bytes that
    grew by more than the share `grown`, fewer frames, more refused ones, a replay that was interrupted, and a way that
    is no longer there. Times are shown, but not judged: they are another machine's, or another day's. Raises InputError
    for reports of different frames, and where they have no way in common.
    """
    if before.input.frames != after.input.frames:
        raise InputError(f"the reports are of different inputs: {before.input.frames} and {after.input.frames} frames")
    common = [way for way in before.ways if way in after.ways]
    if not common:
        raise InputError(f"no way is in both reports: {sorted(before.ways)} and {sorted(after.ways)}")
    if before.whole and after.whole:
        for what, old_count, new_count in (
            ("frames", before.ways[common[0]].frames, after.ways[common[0]].frames),
            ("frames with truth", *_in_both(before.frames_with_truth, after.frames_with_truth)),
        ):
            if old_count != new_count:
                raise InputError(f"the reports are of different {what}: {old_count} and {new_count}")
    worse = [f"{way} is missing" for way in before.ways if way not in after.ways]
    worse += ["it was interrupted"] if after.interrupted else []
    if after.refused.count > before.refused.count:
        worse.append(f"refused frames {before.refused.count} -> {after.refused.count}")
    rows = []
    for name in common:
        old, new = before.ways[name], after.ways[name]
        new_scores = after.scores(name)
        for what, one in before.scores(name).items():
            other = new_scores.get(what)
            if other is None:
                worse.append(f"{name}: {what} is missing")
                continue
            rows.append((name, what, f"{100 * one:.1f} %", f"{100 * other:.1f} %", f"{100 * (other - one):+.1f}"))
            if other < one - lost:
                worse.append(f"{name}: {what} {100 * one:.1f} -> {100 * other:.1f} %")
        sizes = old.bytes.median, new.bytes.median
        rows.append((name, "bytes, median", f"{sizes[0]:,.0f}", f"{sizes[1]:,.0f}", f"{sizes[1] - sizes[0]:+,.0f}"))
        if sizes[1] > sizes[0] * (1 + grown):
            worse.append(f"{name}: bytes {sizes[0]:,.0f} -> {sizes[1]:,.0f}")
        times = old.total_ms.p50, new.total_ms.p50
        rows.append((name, "ms, median", f"{times[0]:.1f}", f"{times[1]:.1f}", f"{times[1] - times[0]:+.1f}"))
        rows.append((name, "frames", str(old.frames), str(new.frames), f"{new.frames - old.frames:+d}"))
        if new.frames < old.frames:
            worse.append(f"{name}: frames {old.frames} -> {new.frames}")
    return table("way|figure|before|after|change", rows), worse
