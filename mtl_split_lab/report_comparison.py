"""Two reports of replay side by side: what changed, and whether that is worse."""

import json
from pathlib import Path
from typing import Annotated

import pydantic
from pydantic import Field, TypeAdapter, ValidationError

from mtl_split_core.errors import InputError
from mtl_split_lab.markdown import table
from mtl_split_lab.pictures import name_fault

_Share = Annotated[float, Field(ge=0, le=1)]


@pydantic.dataclasses.dataclass(frozen=True)
class _Way:
    frames: int
    bytes: dict[str, float]
    map50: _Share
    map: _Share
    classification: dict[str, _Share]
    stages_ms: dict[str, float]


@pydantic.dataclasses.dataclass(frozen=True)
class Report:
    """The part of a report.json that is compared."""

    ways: dict[str, _Way]


def read_report(path: Path) -> Report:
    """Read a report.json. Raises InputError for a file that is none."""
    try:
        return TypeAdapter(Report).validate_python(json.loads(path.read_text()))
    except (OSError, ValueError) as error:
        fault = name_fault(error) if isinstance(error, ValidationError) else str(error)
        raise InputError(f"{path} is no report of `mtl-split replay`: {fault}") from error


def compare_reports(before: Report, after: Report, lost: float, grown: float) -> tuple[str, list[str]]:
    """Return a table of both reports' figures, and in words what is worse.

    Worse is an accuracy, 0 to 1, that fell by more than `lost`, median bytes that grew by more than the share `grown`,
    and a way or a task that is no longer there. Times are shown, but not judged: they are another machine's, or
    another day's. Raises InputError where the reports have no way in common.
    """
    if not before.ways.keys() & after.ways.keys():
        raise InputError(f"no way is in both reports: {sorted(before.ways)} and {sorted(after.ways)}")
    worse = [f"{way} is missing" for way in before.ways if way not in after.ways]
    rows = []
    for name in before.ways.keys() & after.ways.keys():
        old, new = before.ways[name], after.ways[name]
        scores = {"mAP50": (old.map50, new.map50), "mAP": (old.map, new.map)}
        for task, accuracy in old.classification.items():
            if task in new.classification:
                scores[task] = (accuracy, new.classification[task])
            else:
                worse.append(f"{name}: {task} is missing")
        for what, (one, other) in scores.items():
            rows.append((name, what, f"{100 * one:.1f} %", f"{100 * other:.1f} %", f"{100 * (other - one):+.1f}"))
            if other < one - lost:
                worse.append(f"{name}: {what} {100 * one:.1f} -> {100 * other:.1f} %")
        sizes = old.bytes["median"], new.bytes["median"]
        rows.append((name, "bytes, median", f"{sizes[0]:,.0f}", f"{sizes[1]:,.0f}", f"{sizes[1] - sizes[0]:+,.0f}"))
        if sizes[1] > sizes[0] * (1 + grown):
            worse.append(f"{name}: bytes {sizes[0]:,.0f} -> {sizes[1]:,.0f}")
        times = sum(old.stages_ms.values()), sum(new.stages_ms.values())
        rows.append((name, "stages, ms", f"{times[0]:.1f}", f"{times[1]:.1f}", f"{times[1] - times[0]:+.1f}"))
        if old.frames != new.frames:
            rows.append((name, "frames", str(old.frames), str(new.frames), f"{new.frames - old.frames:+d}"))
    order = list(before.ways)
    return table("way|figure|before|after|change", sorted(rows, key=lambda row: order.index(row[0]))), worse
