"""The part of the page of rate against accuracy that is about drives and video: tables and plot."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mtl_split_core.bundle import Bundle
from mtl_split_lab.markdown import table
from mtl_split_lab.scoring.streams import CODECS, FRAMES_BUFFERED, PACKET
from mtl_split_lab.studies.drives import StreamCurve
from mtl_split_lab.studies.rate_accuracy import SPLIT, beaten, bytes_at

DRIVES_PLOT = "rate_accuracy_drives.png"
DRIVES_DATA = "rate_accuracy_drives.json"
_COLOURS = dict(zip((codec.name for codec in CODECS), ("tab:blue", "tab:orange", "tab:green"), strict=True))


def format_drives(bundle: Bundle, curves: Sequence[StreamCurve]) -> str:
    """Write the section about drives."""
    sources = dict.fromkeys(curve.source for curve in curves)
    settings = [
        (codec.name, codec.encoder, ", ".join(f"`{key}={value}`" for key, value in codec.options.items()))
        for codec in CODECS
    ]
    return _SECTION.format(
        plot=DRIVES_PLOT,
        data=DRIVES_DATA,
        packet=f"{PACKET:,}",
        buffered=FRAMES_BUFFERED,
        size="x".join(map(str, bundle.input_size)),
        settings=table("video|encoder|its settings", settings),
        sources="\n\n".join(_source(source, [c for c in curves if c.source == source]) for source in sources),
    )


def _source(source: str, curves: Sequence[StreamCurve]) -> str:
    losses = dict.fromkeys(curve.loss for curve in curves)
    rows, everything = [], []
    for loss in losses:
        families = {curve.family: curve for curve in curves if curve.loss == loss}
        rows += _answers(loss, families)
        for family, curve in families.items():
            worse = beaten(curve.bytes_and_map)
            everything += [
                (f"{loss:.0%}", f"{family}, {setting}{mark(setting in worse)}", f"{point.bytes:,.0f}",
                 f"{100 * point.map50:.1f}", f"{100 * point.answered:.1f}")
                for setting, point in curve.points.items()
            ]  # fmt: skip
    return _SOURCE.format(
        source=source,
        drives=curves[0].drives,
        scored=curves[0].scored,
        answers=table("lost|ours|bytes|mAP50|the best video for that|bytes|times ours", rows),
        everything=table("lost|stream|bytes|mAP50|answered, %", everything),
    )


def _answers(loss: float, families: Mapping[str, StreamCurve]) -> list[tuple[str, ...]]:
    """What video needs for the mAP50 of each of our operating points."""
    ours = families[SPLIT]
    video = {family: list(curve.bytes_and_map.values()) for family, curve in families.items() if family != SPLIT}
    highest = max(map50 for points in video.values() for _, map50 in points)
    worse = beaten(ours.bytes_and_map)
    rows: list[tuple[str, ...]] = []
    for setting, point in ours.points.items():
        row = (f"{loss:.0%}", setting + mark(setting in worse), f"{point.bytes:,.0f}", f"{100 * point.map50:.1f}")
        needed = {family: bytes_at(points, point.map50) for family, points in video.items()}
        reached = {family: size for family, size in needed.items() if size is not None}
        if reached:
            best = min(reached, key=lambda family: reached[family])
            rows.append((*row, best, f"{reached[best]:,.0f}", f"{reached[best] / point.bytes:.2f}"))
        else:
            rows.append((*row, f"none: at most {100 * highest:.1f}", "-", "-"))
    return rows


def mark(worse: bool) -> str:
    """Return the mark of a setting to which another one of its family is preferable."""
    return " †" if worse else ""


def plot_drives(curves: Sequence[StreamCurve]) -> Figure:
    """Draw mAP50 against bytes: a column for each source, a row for each share of lost packets."""
    sources = list(dict.fromkeys(curve.source for curve in curves))
    losses = list(dict.fromkeys(curve.loss for curve in curves))
    figure = Figure((6.2 * len(sources), 4.2 * len(losses)), layout="constrained")
    panels = figure.subplots(len(losses), len(sources), squeeze=False, sharex=True, sharey="col")
    for row, loss in zip(panels, losses, strict=True):
        for panel, source in zip(row, sources, strict=True):
            for curve in curves:
                if (curve.source, curve.loss) == (source, loss):
                    _draw(panel, curve)
            panel.axvline(PACKET, color="grey", lw=0.8, ls=":")
            panel.grid(alpha=0.3)
            panel.set(title=f"{source}, {loss:.0%} of the packets lost", ylabel="mAP50, %", xscale="log")
    for panel in panels[-1]:
        panel.set(xlabel="bytes per frame, mean")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize="small", ncols=2 * len(sources), loc="outside lower center")
    return figure


def _draw(panel: Axes, curve: StreamCurve) -> None:
    points = sorted((size, 100 * map50) for size, map50 in curve.bytes_and_map.values())
    sizes, maps = zip(*points, strict=True)
    if curve.family == SPLIT:
        panel.plot(sizes, maps, "o-", color="black", lw=2.5, zorder=3, label=SPLIT)
        return
    scaled, constant_rate = "scaled" in curve.family, "constant rate" in curve.family
    style = ("x" if scaled else "+") if constant_rate else (".--" if scaled else ".-")
    panel.plot(sizes, maps, style, color=_COLOURS[curve.family.split(",")[0]], lw=1.2, label=curve.family)


_SOURCE = """### {source}

{drives} drives, {scored} frames scored.

{answers}

<details><summary>All streams</summary>

{everything}

</details>"""


_SECTION = """## Against video

A vehicle that sends its pictures would send video, whose frames need fewer bytes because they refer to earlier ones.
Here whole drives are sent in order, as our payloads, each alone, and as low-delay video, at full size and scaled to
the network's input of {size}; of video, the whole network runs on the server. One frame in, one packet out: the first
frame of a drive is a key frame, every other one refers to earlier ones alone; no B frames, no lookahead, one thread,
and presets of which a frame of 1280x720 takes about 1/15 s or less on a server's core. *Constant quality* is the
encoder's constant rate factor (crf), *constant rate* a bit rate with a buffer of {buffered} frames.

{settings}

Bytes are the mean of all frames but the first of each drive, a key frame that a drive of hours has once. Headers of
the transport are counted for nobody.

*Lost* packets are packets of {packet} bytes that are not sent again; one and the same draw per frame decides for all
streams, and a frame of more packets is lost more easily. Of ours, a frame that loses a packet has no result. Of video,
neither have the frames after it until the next key frame. For that, the server asks: the key frame is the second frame
after the lost one, as over a link with a round trip shorter than the time between two frames. Key frames at fixed
times instead, every 15 or 30 frames, left more frames without a result for as many bytes where they were tried. Not
tried: intra refresh, results of damaged pictures, and sending lost packets again.

A file of pictures has only some frames of its drives: the farther apart they are, the less has video to refer to. In
carla_towns they are at least 20 frames apart, mostly over 60, which is far harder for video than a camera's own rate.

*Times ours* are the bytes of the best video, interpolated between its settings (logarithm of the bytes), over ours:
below 1, video is better. † marks settings to which another one of the same curve is preferable, with no more bytes and
no lower mAP50. All figures are in [{data}]({data}).

![mAP50 against bytes per frame, over drives]({plot})

{sources}"""
