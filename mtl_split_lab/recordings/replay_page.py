"""The report of a replay for people: a page with tables, plots, and all frames by what went wrong in them."""

import base64
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from mtl_split_core.bundle import WHOLE, Bundle
from mtl_split_lab.kinds import KINDS, Kind
from mtl_split_lab.kinds.detection import SHOWN_SCORE
from mtl_split_lab.machine import machine_in_words
from mtl_split_lab.markdown import table
from mtl_split_lab.recordings.gallery import Gallery
from mtl_split_lab.recordings.replay import PARTS, Replay
from mtl_split_lab.recordings.report_comparison import AGREEMENT

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
        *(_section(sheet.title, _table(sheet.head, [[format_share(cell) for cell in row] for row in sheet.rows]))
          for kind in KINDS.values() for sheet in kind.sheets(ways)),
        _section(f"Frames, as {first} answers them" if known else f"Frames, and the departures of {first} from {WHOLE}",
                 _frames(done.gallery)),
    ]  # fmt: skip
    (out / PAGE).write_text(
        _PAGE.format(
            title=escape(f"Replay of {report['input']['name']}"),
            notes="".join(f"<li>{escape(note)}</li>" for note in _notes(report)),
            bundle=escape(f"{bundle.name} ({bundle.fingerprint})"),
            machine=escape(machine_in_words()),
            whole=WHOLE,
            sections="\n".join(section for section in sections if section),
            script=_SCRIPT,
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
    columns = [(kind, name) for kind in KINDS.values() for name in known_columns(kind, ways)]
    names = [f"{prefix}{name}" for _, name in columns]
    head = ["way", "bytes, median", "p99", "max", *names, "ms, median", "p99"]
    rows = []
    for name, way in ways.items():
        row = [name, *(f"{way['bytes'][key]:,.0f}" for key in ("median", "p99", "max"))]
        row += [format_share(kind.columns(way).get(column)) for kind, column in columns]
        rows.append([*row, *(f"{way['total_ms'][key]:.1f}" for key in ("p50", "p99"))])
    return head, rows


def known_columns(kind: Kind, ways: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the names of those of the figures of some ways that are known of any."""
    columns = [column for way in ways.values() for column in kind.columns(way).items()]
    return list(dict.fromkeys(name for name, value in columns if value is not None))


def _times(ways: dict[str, dict[str, Any]]) -> tuple[list[str], _Rows]:
    stages = [stage for stage in PARTS if any(stage in way["stages_ms"] for way in ways.values())]
    rows = [
        [name, *(f"{way['stages_ms'][stage]:.2f}" if stage in way["stages_ms"] else "" for stage in stages)]
        for name, way in ways.items()
    ]
    return ["way", *stages], rows


def format_share(value: str | float | None) -> str:
    """Say a figure of 0 to 1 in per cent, `-` where it is not known; words stay as they are."""
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
        panel.plot(size, 100 * way["map50"], "o" if name.startswith("split") else "s", label=name)
    panel.set(xscale="log", xlabel="bytes per frame, median (whole: none)", ylabel=f"{prefix}mAP50, %")
    low, high = panel.get_ylim()
    spare = max(0.0, LEAST_SPAN - (high - low)) / 2
    panel.set_ylim(low - spare, min(high + spare, 101.0))  # ways that are alike shall look alike
    panel.grid(alpha=0.3)
    figure.legend(fontsize=8, loc="outside right upper")  # names beside the points would cover each other
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


def _frames(gallery: Gallery) -> str:
    """All frames that have a picture, and a choice of what is to have gone wrong in them."""
    shown = gallery.shown
    counts = Counter(what for one in shown for what in one.mistakes)
    choices = [("", f"all frames ({len(shown)})"), *((what, f"{what} ({n})") for what, n in counts.most_common())]
    options = "".join(f'<option value="{escape(value)}">{escape(words)}</option>' for value, words in choices)
    note = f" {gallery.left_out} further frames, with no more mistakes than these, have no picture."
    figures = (
        f'<figure data-mistakes="{escape(json.dumps(list(one.mistakes)))}"><a href="{escape(one.file)}">'
        f'<img loading="lazy" alt="{escape(one.caption)}" src="{escape(one.file)}"></a>'
        f"<figcaption>{escape(one.caption)}</figcaption></figure>"
        for one in shown
    )
    return (
        f'<p><label>What went wrong: <select id="mistake">{options}</select></label>'
        f'{note if gallery.left_out else ""}</p>\n<div class="frames">{"".join(figures)}</div>'
    )


def _picture(figure: Figure | None, words: str) -> str:
    if figure is None:
        return ""
    data = io.BytesIO()
    figure.savefig(data, dpi=90, format="png")
    png = base64.b64encode(data.getvalue()).decode()
    return f'<div class="wide"><img class="plot" alt="{escape(words)}" src="data:image/png;base64,{png}"></div>'


def _section(title: str, *parts: str) -> str:
    return f"<h2>{escape(title)}</h2>\n" + "\n".join(parts) if any(parts) else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = ["".join(f"<th>{escape(cell)}</th>" for cell in head)]
    lines += ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    return '<div class="wide"><table>' + "".join(f"<tr>{line}</tr>" for line in lines) + "</table></div>"


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 1rem auto; padding: 0 1rem; color: #222; }}
h1, h2, li, figcaption {{ overflow-wrap: anywhere; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; margin: 1rem 0; }}
th, td {{ padding: 0.2rem 0.7rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap; }}
th:first-child, td:first-child {{ text-align: left; position: sticky; left: 0; background: #fff; }}
img {{ max-width: 100%; height: auto; margin: 0.4rem 0; vertical-align: top; }}
.plot {{ min-width: 36rem; }}
select {{ font: inherit; max-width: 100%; }}
.frames {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)); gap: 0.75rem; }}
figure {{ margin: 0; }}
figcaption {{ font-size: 0.85rem; color: #555; }}
</style>
</head>
<body>
<h1>{title}</h1>
<ul>{notes}<li>bundle {bundle}</li><li>measured on {machine}</li></ul>
{sections}
<p>White boxes and lines with a black edge are the truth, or what {whole} found where nothing is known.
Bytes are what crosses the link for one frame.</p>
<script>{script}</script>
</body>
</html>
"""

_SCRIPT = """
const choice = document.getElementById("mistake");
choice?.addEventListener("change", () => {
  for (const frame of document.querySelectorAll(".frames figure")) {
    frame.hidden = choice.value !== "" && !JSON.parse(frame.dataset.mistakes).includes(choice.value);
  }
});
"""
