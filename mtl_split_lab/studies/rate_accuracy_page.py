"""The page of rate against accuracy: tables and plots."""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mtl_split_core.bundle import PREFIX, Bundle
from mtl_split_core.choice import AUTO
from mtl_split_core.errors import InputError
from mtl_split_core.scene import Image
from mtl_split_lab.cluster import workers
from mtl_split_lab.data.drives import find_drives
from mtl_split_lab.data.pictures import LabelledPicture
from mtl_split_lab.data.simulated import CAMERA_SIZE
from mtl_split_lab.data.sources import check_there, find_pictures
from mtl_split_lab.kinds import object_labels
from mtl_split_lab.machine import machine_in_words
from mtl_split_lab.markdown import table
from mtl_split_lab.portion import Portion
from mtl_split_lab.studies.drives import StreamCurve, measure_streams
from mtl_split_lab.studies.drives_page import DRIVES_DATA, DRIVES_PLOT, format_drives, mark, plot_drives
from mtl_split_lab.studies.rate_accuracy import (
    SPLIT,
    UNCOMPRESSED,
    Curve,
    beaten,
    bytes_at,
    measure_ways,
    time_edge,
)
from mtl_split_net.onnx_graph import OnnxGraph

TIMED_PICTURES = 100
PAGE = "rate_accuracy.md"
PLOT = "rate_accuracy.png"
DATA = "rate_accuracy.json"


def compare_rates(
    bundle: Bundle,
    pictures: Sequence[str],
    drives: Sequence[str],
    data: Path,
    drawn: Path,
    out: Path,
    processes: int,
    cluster: str = "",
) -> None:
    """Measure every way to send pictures and drives, and what the edge's half costs, and write the page.

    pictures: as mtl_split_lab.data.sources.find_pictures takes them, in the folder `data`, or drawn into the folder
    `drawn`; drives: as mtl_split_lab.data.drives.find_drives takes them; processes, cluster: see
    mtl_split_lab.cluster.workers. Raises InputError where there are none, or nothing in the pictures to detect.
    """
    found_drives = {name: find_drives(name, data) for name in drives}
    check_there(map(Portion, pictures), data)
    sources = {name: find_pictures(Portion(name), data, drawn, CAMERA_SIZE, processes) for name in pictures}
    labels = set(object_labels(bundle.tasks))
    for name, found in sources.items():
        if not any(labels.intersection(picture.truth.labels) for picture in found):
            raise InputError(f"{name} has nothing that {bundle.name} detects: the ways are compared by mAP50")
    timed = _read_sound(next(iter(sources.values())))
    pool, at_once = workers(cluster, processes)
    with pool:
        curves = measure_ways(bundle, sources, pool, at_once)
        streams = measure_streams(bundle, found_drives, pool, at_once)
    write_page(bundle, curves, streams, _costs(bundle, timed), out)


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
    engine, times = time_edge(bundle, images, AUTO)
    rows = {
        "parameters": f"{bundle.manifest['parameters']['prefix']:,}",
        "multiply-adds per frame": f"{OnnxGraph(bundle.path(PREFIX)).whole.multiply_adds / 1e6:.0f} M",
        "engine, the fastest of those installed": engine,
    }
    size = "x".join(map(str, images[0].shape[1::-1]))
    edge = ("prepare", "prefix", "encode")
    for stage, milliseconds in times.items():
        rows[f"{stage}, one thread" + (" (on the server)" if stage == "decode" else "")] = f"{milliseconds:.2f} ms"
    rows[f"prepare, prefix and encode of {size} pictures"] = f"{sum(times[stage] for stage in edge):.2f} ms"
    return rows


def write_page(
    bundle: Bundle, curves: Sequence[Curve], streams: Sequence[StreamCurve], costs: Mapping[str, str], out: Path
) -> None:
    """Write the page, the plots and the figures as JSON into the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    _plot(curves).savefig(out / PLOT, dpi=90)
    plot_drives(streams).savefig(out / DRIVES_PLOT, dpi=90)
    for name, measured in ((DATA, curves), (DRIVES_DATA, streams)):
        (out / name).write_text(json.dumps([asdict(curve) for curve in measured], indent=1) + "\n")
    sources = dict.fromkeys(curve.source for curve in curves)
    parts = [_source(bundle, source, [curve for curve in curves if curve.source == source]) for source in sources]
    (out / PAGE).write_text(
        _PAGE.format(
            plot=PLOT,
            data=DATA,
            bundle=f"{bundle.name} ({bundle.fingerprint})",
            sources="\n\n".join(parts),
            drives=format_drives(bundle, streams),
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
    points = _rows("", split, best, tasks)
    rivals = []
    for curve in curves:
        if curve.family != SPLIT:
            needed = bytes_at(curve.bytes_and_map.values(), ours["map50"])
            times = f"{needed / ours['bytes']['median']:.1f}" if needed else "-"
            highest = max(point["map50"] for point in curve.points.values())
            rivals.append((curve.family, f"{needed:,.0f}" if needed else f"never: at most {100 * highest:.1f}", times))
    everything = [
        row for curve in curves if curve.family != SPLIT for row in _rows(f"{curve.family}, ", curve, best, tasks)
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


def _rows(before: str, curve: Curve, best: dict[str, Any], tasks: Sequence[str]) -> list[list[str]]:
    worse = beaten(curve.bytes_and_map)
    return [_point_row(before + name + mark(name in worse), point, best, tasks) for name, point in curve.points.items()]


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
    figure = Figure((6.2 * len(sources), 5.2), layout="constrained")
    panels = figure.subplots(1, len(sources), squeeze=False)[0]
    for panel, source in zip(panels, sources, strict=True):
        _plot_source(panel, [curve for curve in curves if curve.source == source])
        panel.set(title=source, xlabel="bytes per frame, median", ylabel="mAP50, %", xscale="log")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize="small", ncols=4, loc="outside lower center")
    return figure


def _plot_source(panel: Axes, curves: Sequence[Curve]) -> None:
    codecs = dict.fromkeys(curve.family.split(",")[0] for curve in curves if curve.family != SPLIT)
    colours = {codec: f"C{number}" for number, codec in enumerate(codecs)}
    for curve in curves:
        sizes, maps = zip(*sorted((size, 100 * map50) for size, map50 in curve.bytes_and_map.values()), strict=True)
        if curve.family == SPLIT:
            panel.plot(sizes, maps, "o-", color="black", lw=2.5, zorder=3, label=SPLIT)
        else:
            style = ".--" if "scaled" in curve.family else ".-"
            panel.plot(sizes, maps, style, color=colours[curve.family.split(",")[0]], lw=1.2, label=curve.family)
    panel.axvline(1200, color="grey", lw=0.8, ls=":")
    panel.grid(alpha=0.3)


_SOURCE = """## {source}

{pictures} pictures that were never trained on. *Lost* is in points, against the same network with its latents
uncompressed. † marks settings to which another one of the same family is preferable, with no more bytes and no lower
mAP50.

{points}

For the mAP50 of the operating point `{default}`, {map50} %, the other ways need:

{rivals}

<details><summary>All of their settings</summary>

{everything}

</details>"""


_PAGE = """# Rate against accuracy

What each byte on the link buys. One network, {bundle}, one run, the same pictures for every way to send them; for
video, whose frames refer to each other, see [Against video](#against-video):

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

{drives}

## What it costs

{costs}

Measured on: {machine}.
"""
