"""The report of a replay for people: one HTML file with tables, plots and the frames that went worst."""

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import cv2
from matplotlib.figure import Figure

from mtl_split_core.bundle import Bundle
from mtl_split_core.scene import Image
from mtl_split_lab.drawing import SMALL, annotate, fit
from mtl_split_lab.kinds import KINDS, Kind
from mtl_split_lab.kinds.detection import SHOWN_SCORE
from mtl_split_lab.machine import machine_in_words
from mtl_split_lab.markdown import table
from mtl_split_lab.recordings.replay import PARTS, Replay, Shown
from mtl_split_lab.recordings.report_comparison import AGREEMENT
from mtl_split_lab.scoring.ways import WHOLE

PAGE = "report.html"
LEAST_SPAN = 10.0
"""Percent of mAP50 that a plot shows at least."""
_AGREEMENT_MEANS = (
    f"agreement is not accuracy: what {WHOLE} answers counts as the truth, right or wrong, its detections from a score"
    f" of {SHOWN_SCORE} on and its best labels"
)
_NOTHING_KNOWN = f"no accuracy, since nothing is known; with {WHOLE} among the ways, how far the others agree with it"


def write_page(report: dict[str, Any], done: Replay, bundle: Bundle, out: Path) -> None:
    """Write report.html into the folder `out`."""
    ways: dict[str, dict[str, Any]] = report["ways"]
    agreed, first, known = _by_agreement(ways), next(iter(ways)), report["frames_with_truth"]
    sections = [
        _section("Ways to send a picture", _table(*_ways(ways)), _picture(_plot_map50(ways), "mAP50 against bytes")),
        _section("Agreement with the whole network, which is not accuracy", _table(*_ways(agreed)) if agreed else "",
                 _picture(_plot_map50(agreed, AGREEMENT), "agreement against bytes")),
        _section("Time, median milliseconds", _table(*_times(ways)), _picture(_plot_times(ways), "time by stage")),
        *(_section(sheet.title, _table(sheet.head, [[_cell(cell) for cell in row] for row in sheet.rows]))
          for kind in KINDS.values() for sheet in kind.sheets(ways)),
        _section("Frames with the most mistakes", *_worst(done.worst, f"mistakes by {first}", bundle)),
        *([] if known else [_section("Frames with the most departures from the whole network",
                                     *_worst(done.departures, f"departures of {first} from {WHOLE}", bundle))]),
    ]  # fmt: skip
    (out / PAGE).write_text(
        _PAGE.format(
            title=escape(f"Replay of {report['input']['name']}"),
            notes="".join(f"<li>{escape(note)}</li>" for note in _notes(report)),
            bundle=escape(f"{bundle.name} ({bundle.fingerprint})"),
            machine=escape(machine_in_words()),
            whole=WHOLE,
            sections="\n".join(section for section in sections if section),
        )
    )


def format_report(report: dict[str, Any]) -> str:
    """Render the figures of the ways as a table for the terminal: agreement where there is no accuracy."""
    ways = report["ways"]
    head, rows = _ways(ways) if report["frames_with_truth"] else _ways(ways | _by_agreement(ways), AGREEMENT)
    return "\n".join([table("|".join(head), rows), *_notes(report)])


def _notes(report: dict[str, Any]) -> list[str]:
    """What is to be known of the figures, in words."""
    ways, source, refused = report["ways"], report["input"], report["refused"]
    known = ", ".join(f"{what} of {count}" for what, count in report["frames_with_truth"].items())
    odd = ", ".join(f"{count} {what}" for what, count in source["skipped"].items())
    agreed = bool(_by_agreement(ways))
    return [
        f"{next(iter(ways.values()))['frames']} of {source['frames'] or 'all'} frames; known are {known or 'none'}",
        *([_AGREEMENT_MEANS] if agreed else []),
        *([_NOTHING_KNOWN] if not (agreed or known) else []),
        *([f"{refused['count']} times refused, such as {refused['first'][0]}"] if refused["count"] else []),
        *([f"in the input: {odd}"] if odd else []),
        *(["interrupted before the end"] if report["interrupted"] else []),
        f"{report['frames_at_once']} frames at work at the same time, each on one thread",
    ]


_Rows = list[list[str]]


def _by_agreement(ways: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The figures of agreement in place of those of accuracy, of the ways that have them."""
    return {
        name: {key: way[key] for key in ("bytes", "total_ms")} | way["agreement"]
        for name, way in ways.items()
        if "agreement" in way
    }


def _ways(ways: dict[str, dict[str, Any]], prefix: str = "") -> tuple[list[str], _Rows]:
    columns = [(kind, name) for kind in KINDS.values() for name in _columns(kind, ways)]
    names = [f"{prefix}{name}" for _, name in columns]
    head = ["way", "bytes, median", "p99", "max", *names, "ms, median", "p99"]
    rows = []
    for name, way in ways.items():
        row = [name, *(f"{way['bytes'][key]:,.0f}" for key in ("median", "p99", "max"))]
        row += [_cell(kind.columns(way).get(column)) for kind, column in columns]
        rows.append([*row, *(f"{way['total_ms'][key]:.1f}" for key in ("p50", "p99"))])
    return head, rows


def _columns(kind: Kind, ways: dict[str, dict[str, Any]]) -> list[str]:
    """The names of the figures that are known of any way."""
    columns = [column for way in ways.values() for column in kind.columns(way).items()]
    return list(dict.fromkeys(name for name, value in columns if value is not None))


def _times(ways: dict[str, dict[str, Any]]) -> tuple[list[str], _Rows]:
    stages = [stage for stage in PARTS if any(stage in way["stages_ms"] for way in ways.values())]
    rows = [
        [name, *(f"{way['stages_ms'][stage]:.2f}" if stage in way["stages_ms"] else "" for stage in stages)]
        for name, way in ways.items()
    ]
    return ["way", *stages], rows


def _cell(value: str | float | None) -> str:
    if isinstance(value, str):
        return value
    return "-" if value is None else f"{100 * value:.1f} %"


def _plot_map50(ways: dict[str, dict[str, Any]], prefix: str = "") -> Figure | None:
    scored = {name: way for name, way in ways.items() if way["ap50"]}
    if not scored:
        return None
    figure = Figure((7.5, 4.2), layout="constrained")
    panel = figure.subplots()
    for name, way in scored.items():
        size = max(way["bytes"]["median"], 1.0)
        panel.plot(size, 100 * way["map50"], "o" if name.startswith("split") else "s")
        panel.annotate(name, (size, 100 * way["map50"]), xytext=(4, 4), textcoords="offset points", fontsize=8)
    panel.set(xscale="log", xlabel="bytes per frame, median (whole: none)", ylabel=f"{prefix}mAP50, %")
    low, high = panel.get_ylim()
    spare = max(0.0, LEAST_SPAN - (high - low)) / 2
    panel.set_ylim(low - spare, min(high + spare, 101.0))  # ways that are alike shall look alike
    panel.grid(alpha=0.3)
    return figure


def _plot_times(ways: dict[str, dict[str, Any]]) -> Figure:
    figure = Figure((7.5, 1.3 + 0.3 * len(ways)), layout="constrained")
    panel = figure.subplots()
    names = list(ways)
    left = [0.0] * len(ways)
    for stage in PARTS:
        widths = [way["stages_ms"].get(stage, 0.0) for way in ways.values()]
        if any(widths):
            panel.barh(names, widths, left=left, label=stage)
            left = [start + width for start, width in zip(left, widths, strict=True)]
    panel.invert_yaxis()
    panel.set(xlabel="milliseconds, medians")
    figure.legend(fontsize=8, ncols=5, loc="outside lower center")
    return figure


def _worst(worst: Sequence[Shown], what: str, bundle: Bundle) -> Iterable[str]:
    for mistakes, frame, results in (one for one in worst if one[0]):
        image = frame.read()
        caption = f"{frame.name}   {mistakes} {what}"
        size = fit((image.shape[1], image.shape[0]), SMALL)
        yield _embed(annotate(image, results, bundle.tasks, caption, size, frame.truth), caption)


def _embed(image: Image, words: str) -> str:
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])
    return f'<img alt="{escape(words)}" src="data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}">'


def _picture(figure: Figure | None, words: str) -> str:
    if figure is None:
        return ""
    data = io.BytesIO()
    figure.savefig(data, dpi=90, format="png")
    return f'<img alt="{escape(words)}" src="data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}">'


def _section(title: str, *parts: str) -> str:
    return f"<h2>{escape(title)}</h2>\n" + "\n".join(parts) if any(parts) else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = ["".join(f"<th>{escape(cell)}</th>" for cell in head)]
    lines += ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; color: #222; }}
table {{ border-collapse: collapse; margin: 1rem 0; }}
th, td {{ padding: 0.2rem 0.7rem; white-space: nowrap; border-bottom: 1px solid #ddd; text-align: right; }}
th:first-child, td:first-child {{ text-align: left; }}
img {{ max-width: 100%; margin: 0.4rem 0.4rem 0.4rem 0; vertical-align: top; }}
</style>
</head>
<body>
<h1>{title}</h1>
<ul>{notes}<li>bundle {bundle}</li><li>measured on {machine}</li></ul>
{sections}
<p>White boxes are the truth, or what {whole} found where nothing is known.
Bytes are what crosses the link for one frame.</p>
</body>
</html>
"""
