"""The page of rate against accuracy: tables and plots."""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pydantic import TypeAdapter

from mtl_split_core.bundle import Bundle
from mtl_split_core.choice import AUTO
from mtl_split_core.errors import InputError
from mtl_split_core.scene import Image
from mtl_split_lab.data.pictures import LabelledPicture
from mtl_split_lab.data.simulated import CAMERA_SIZE
from mtl_split_lab.data.sources import check_there, find_pictures
from mtl_split_lab.kinds import object_labels
from mtl_split_lab.learning.training import build_network
from mtl_split_lab.machine import machine_in_words
from mtl_split_lab.markdown import table
from mtl_split_lab.recipe import Portion, Recipe
from mtl_split_lab.studies.backbone_cuts import count_multiply_adds
from mtl_split_lab.studies.rate_accuracy import SPLIT, UNCOMPRESSED, Curve, bytes_at, measure_ways, time_edge

TIMED_PICTURES = 100
PAGE = "rate_accuracy.md"
PLOT = "rate_accuracy.png"
DATA = "rate_accuracy.json"


def compare_rates(bundle: Bundle, pictures: Sequence[str], data: Path, drawn: Path, out: Path, processes: int) -> None:
    """Measure every way to send pictures, and what the edge's half costs, and write the page.

    pictures: as mtl_split_lab.data.sources.find_pictures takes them, in the folder `data`, or drawn into the folder
    `drawn`. Raises InputError where there are none, or nothing in them to detect.
    """
    check_there(map(Portion, pictures), data)
    sources = {name: find_pictures(Portion(name), data, drawn, CAMERA_SIZE, processes) for name in pictures}
    labels = set(object_labels(bundle.tasks))
    for name, found in sources.items():
        if not any(labels.intersection(picture.truth.labels) for picture in found):
            raise InputError(f"{name} has nothing that {bundle.name} detects: the ways are compared by mAP50")
    timed = _read_sound(next(iter(sources.values())))
    write_page(bundle, measure_ways(bundle, sources, processes), _costs(bundle, timed), out)


def _read_sound(pictures: Iterable[LabelledPicture]) -> list[Image]:
    images: list[Image] = []
    for picture in pictures:
        with suppress(InputError):  # which measure_ways warns of
            images.append(picture.read())
        if len(images) == TIMED_PICTURES:
            break
    return images


def _costs(bundle: Bundle, images: Sequence[Image]) -> dict[str, str]:
    """What the edge's half takes of a vehicle's computer."""
    prefix = build_network(TypeAdapter(Recipe).validate_python(bundle.manifest["recipe"])).prefix.eval()
    width, height = bundle.input_size
    example = torch.zeros((1, height, width, 3), dtype=torch.uint8)
    engine, times = time_edge(bundle, images, AUTO)
    rows = {
        "parameters": f"{bundle.manifest['parameters']['prefix']:,}",
        "multiply-adds per frame": f"{count_multiply_adds(prefix, example) / 1e6:.0f} M",
        "engine, the fastest of those installed": engine,
    }
    size = "x".join(map(str, images[0].shape[1::-1]))
    edge = ("prepare", "prefix", "encode")
    for stage, milliseconds in times.items():
        rows[f"{stage}, one thread" + (" (on the server)" if stage == "decode" else "")] = f"{milliseconds:.2f} ms"
    rows[f"prepare, prefix and encode of {size} pictures"] = f"{sum(times[stage] for stage in edge):.2f} ms"
    return rows


def write_page(bundle: Bundle, curves: Sequence[Curve], costs: Mapping[str, str], out: Path) -> None:
    """Write the page, the plot and the figures as JSON into the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    _plot(curves).savefig(out / PLOT, dpi=90)
    (out / DATA).write_text(json.dumps([asdict(curve) for curve in curves], indent=1) + "\n")
    sources = dict.fromkeys(curve.source for curve in curves)
    parts = [_source(bundle, source, [curve for curve in curves if curve.source == source]) for source in sources]
    (out / PAGE).write_text(
        _PAGE.format(
            plot=PLOT,
            data=DATA,
            bundle=f"{bundle.name} ({bundle.fingerprint})",
            sources="\n\n".join(parts),
            costs=table("on the edge|", list(costs.items())),
            machine=machine_in_words(),
        )
    )


def _source(bundle: Bundle, source: str, curves: Sequence[Curve]) -> str:
    families = {curve.family: curve for curve in curves}
    split = families[SPLIT]
    best = families[UNCOMPRESSED[0]].points[UNCOMPRESSED[1]]
    default = bundle.payload_format.operating_points[bundle.default_point].name
    ours = split.points[default]
    tasks = list(best["classification"])
    points = [_point_row(name, point, best, tasks) for name, point in split.points.items()]
    rivals = []
    for curve in curves:
        if curve.family != SPLIT:
            needed = bytes_at(curve, ours["map50"])
            times = f"{needed / ours['bytes']['median']:.1f}" if needed else "-"
            highest = max(point["map50"] for point in curve.points.values())
            rivals.append((curve.family, f"{needed:,.0f}" if needed else f"never: at most {100 * highest:.1f}", times))
    everything = [
        _point_row(f"{curve.family}, {name}", point, best, tasks)
        for curve in curves
        if curve.family != SPLIT
        for name, point in curve.points.items()
    ]
    head = "|bytes: median|98 %|most|mAP50|lost|" + "|".join(f"{task}|lost" for task in tasks)
    return _SOURCE.format(
        source=source,
        pictures=best["frames"],
        points=table(f"operating point{head}".rstrip("|"), points),
        default=default,
        map50=f"{100 * ours['map50']:.1f}",
        rivals=table("way|bytes for that|times ours", rivals),
        everything=table(f"way{head}".rstrip("|"), everything),
    )


def _point_row(name: str, point: dict[str, Any], best: dict[str, Any], tasks: Sequence[str]) -> list[str]:
    size = point["bytes"]
    row = [name, *(f"{size[key]:,.0f}" for key in ("median", "p98", "max")), f"{100 * point['map50']:.1f}"]
    row.append(f"{100 * (best['map50'] - point['map50']):+.1f}")
    for task in tasks:
        accuracy, whole = point["classification"][task], best["classification"][task]
        row += [f"{100 * accuracy:.1f}", f"{100 * (whole - accuracy):+.1f}"]
    return row


def _plot(curves: Sequence[Curve]) -> Figure:
    sources = list(dict.fromkeys(curve.source for curve in curves))
    figure = Figure((6.2 * len(sources), 4.6), layout="constrained")
    panels = figure.subplots(1, len(sources), squeeze=False)[0]
    for panel, source in zip(panels, sources, strict=True):
        _plot_source(panel, [curve for curve in curves if curve.source == source])
        panel.set(title=source, xlabel="bytes per frame, median", ylabel="mAP50, %", xscale="log")
    panels[0].legend(fontsize="small")
    return figure


def _plot_source(panel: Axes, curves: Sequence[Curve]) -> None:
    for curve in curves:
        points = sorted((p["bytes"]["median"], 100 * p["map50"]) for p in curve.points.values())
        ours = curve.family == SPLIT
        style = "-" if ours or "scaled" not in curve.family else "--"
        colour = "black" if ours else None
        panel.plot(
            *zip(*points, strict=True),
            style,
            marker="o" if ours else ".",
            color=colour,
            lw=2.5 if ours else 1.2,
            label=curve.family,
        )
    panel.axvline(1200, color="grey", lw=0.8, ls=":")
    panel.grid(alpha=0.3)


_SOURCE = """## {source}

{pictures} pictures that were never trained on. *Lost* is in points, against the same network with its latents
uncompressed.

{points}

For the mAP50 of the operating point `{default}`, {map50} %, the other ways need:

{rivals}

<details><summary>All of their settings</summary>

{everything}

</details>"""


_PAGE = """# Rate against accuracy

What each byte on the link buys. One network, {bundle}, one run, the same pictures for every way to send them:

- **split**: our payloads at the bundle's operating points, real bytes of single frames;
- **naive split**: the same latents as they are (float32), as float16, as 8-bit levels per channel, and these
  compressed;
- **JPEG, WebP, H.264 intra**: offloading, the camera's picture is sent and the whole network runs on the server; of
  H.264 the key frames' slices alone are counted, not what is sent once per stream. *Scaled* ones are reduced to the
  network's input before they are compressed.

The grey line is the largest payload that travels as one Ethernet frame, 1,200 bytes. `mtl-split rate-accuracy` makes
this page; all its figures are in [{data}]({data}).

![mAP50 against bytes per frame]({plot})

{sources}

## What it costs

{costs}

Measured on: {machine}.
"""
