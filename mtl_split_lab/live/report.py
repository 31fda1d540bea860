"""A recording in figures, tables and pictures."""

import json
import math
import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from fractions import Fraction
from functools import reduce
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
from tqdm import tqdm

from mtl_split_core.drawing import LARGE, SMALL, annotate, contact_sheet, fit
from mtl_split_core.scene import Image, Size
from mtl_split_lab.data.pictures import write_picture
from mtl_split_lab.kinds import KINDS
from mtl_split_lab.kinds.sheet import Sheet
from mtl_split_lab.live.answers_plot import plot_answers
from mtl_split_lab.live.recording import Frame, Recording
from mtl_split_lab.scoring.frames import NOTHING_KNOWN, join_truths, keep_known, results_to_json
from mtl_split_lab.scoring.measurement import Measurement

PICTURES_ON_SHEET = 12

SPREAD = {"median": 50, "p95": 95, "max": 100}
"""Names of percentiles."""

LATE = 100.0
"""Milliseconds after which an answer is late."""

EDGE_STAGES = {
    "convert": "the camera's message becomes a picture",
    "prepare": "the picture is scaled to the network's input",
    "prefix": "the edge's part of the network",
    "choose": "what is done with the frame",
    "encode": "its output becomes the payload",
}
SERVER_STAGES = {
    "decode": "the payload becomes the input of the rest",
    "suffix": "the server's part of the network",
    "post": "its outputs become results",
    "answer": "the results become one packet, for an edge with a deadline",
    "track": "objects are given their identities",
    "publish": "the results are handed to the middleware",
}
STAGES = {
    "image_transport": "the image on its way from the camera to the edge",
    **EDGE_STAGES,
    "link": "the bottleneck on its way from the edge to the server",
    **SERVER_STAGES,
}
"""A frame's way, and what each stage is; stages that only other nodes report come after these."""

OTHER = "other"
"""What no stage explains."""

SPANS = {
    "round_trip": "a bottleneck to the server and its link report back, without the time in the server",
    "server": "a bottleneck's whole time in the server",
    "local": "an answer of the edge's own, while the server's may be on its way",
}
"""What the edge measures across the stages, which is in them already."""

SHORTFALL = 0.05
"""Share of the frames from which on it is told why they are missing."""


def summarise(recording: Recording) -> dict[str, Any]:
    """Return the figures of a recording, ready for JSON, about the frames that count: see `Recording.counted`.

    What only the nodes or the recorder know, namely fates, stages and what was skipped or lost, is about the whole
    recording. Milliseconds, bytes, frames per second and shares of 0 to 1; None where there is nothing to take a figure
    of.
    """
    counted = recording.counted()
    frames = counted.values()
    results = {task.name: sum(task.name in frame.results for frame in frames) for task in recording.tasks}
    latencies = [max(frame.arrivals.values()) for frame in frames if recording.is_complete(frame) and frame.arrivals]
    jpeg = recording.pictures.bytes_of
    first = min(counted, default=math.inf)
    earlier = [stamp for stamp in recording.frames if stamp < first]
    return {
        "frames_sent": len(counted),
        "frames_sent_before_discovery": sum(recording.frames[stamp].sent for stamp in earlier),
        "results": results,
        "complete": sum(recording.is_complete(frame) for frame in frames),
        "results_ratio": min(results.values()) / len(counted) if counted else 0.0,
        "late": sum(latency > LATE for latency in latencies),
        "answers": _answers(frames),
        "fates": {fate: count for fate, count in sorted(recording.fates.items()) if count},
        "skipped": dict(+recording.skipped),
        "latency_from": "the image's arrival" if recording.simulated_time else "the camera's stamp",
        "latency_ms": _percentiles(latencies, p50=50, p95=95, p99=99),
        "stages_ms": _stages(recording, latencies),
        "bytes_per_frame": _percentiles([f.payload_bytes for f in frames if f.payload_bytes is not None], **SPREAD),
        "jpeg_bytes_per_frame": _percentiles([jpeg[stamp] for stamp in counted if stamp in jpeg], **SPREAD),
        "accuracy": _accuracy(_measure(recording)),
        "rate": _rate(sorted(counted)),
        "wanted_rate": recording.wanted_rate,
        "pictures_lost": recording.pictures.lost,
    }


def figures(summary: Mapping[str, Any]) -> str:
    """Render the figures of the whole chain in a few lines."""
    explained = {**STAGES, **SPANS, OTHER: "waiting for a turn, and the results on their way here"}
    latency, size, jpeg = summary["latency_ms"], summary["bytes_per_frame"], summary["jpeg_bytes_per_frame"]
    lines = [
        f"{summary['frames_sent']} frames at {summary['rate'] or 0} frames/s, "
        f"{summary['complete'] / max(1, summary['frames_sent']):.1%} of them answered by every task",
        f"{summary['late']} answers later than {LATE:g} ms"
        + "".join(f", {count} {what}" for what, count in (summary["fates"] | summary["skipped"]).items()),
    ]
    if answers := summary["answers"]:
        sources = ", ".join(f"{share:.1%} {source}" for source, share in answers["answered_by"].items())
        points = ", ".join(f"{share:.1%} {point}" for point, share in answers["sent_at"].items())
        lines.append(f"final answers: {sources}; {answers['late']:.1%} after the deadline; sent at: {points}")
    if latency:
        lines += [
            f"latency from {summary['latency_from']}: "
            f"p50 {latency['p50']}, p95 {latency['p95']}, p99 {latency['p99']} ms",
            "of it, medians:",
            *(
                f"  {stage:<16}{milliseconds:8.2f} ms  {explained.get(stage, '')}".rstrip()
                for stage, milliseconds in summary["stages_ms"].items()
            ),
        ]
    if size and jpeg:
        share = size["median"] / jpeg["median"]
        lines.append(f"{size['median']:,.0f} bytes per frame, {share:.1%} of the {jpeg['median']:,.0f} of a JPEG")
    return "\n".join(lines)


def limits(summary: Mapping[str, Any]) -> list[str]:
    """Say what kept frames from being sent or answered, and what to do about it; nothing where few are missing."""
    sent, rate, wanted = summary["frames_sent"], summary["rate"], summary["wanted_rate"]
    fates, lines = summary["fates"], []
    if rate and wanted and rate < (1 - SHORTFALL) * wanted:
        lines.append(f"the source reached {rate:.1f} of {wanted:.1f} frames/s; try RATE={_below(rate)}")
    for node, stages in (("edge", EDGE_STAGES), ("server", SERVER_STAGES)):
        took = sum(summary["stages_ms"].get(stage, 0.0) for stage in stages)
        if took and fates.get(f"{node}/dropped", 0) > SHORTFALL * sent:
            lines.append(
                f"the {node} takes {took:.0f} ms for a frame: {fates[f'{node}/dropped']} were replaced by newer ones"
                f" before their turn; try RATE={_below(min(1e3 / took, rate or math.inf))}"
            )
    if fates.get("server/lost", 0) > SHORTFALL * sent:
        lines.append(
            f"{fates['server/lost']} bottlenecks were lost between edge and server: the link is too slow, or busy"
        )
    if fates.get("server/too_old", 0) > SHORTFALL * sent:
        lines.append(f"{fates['server/too_old']} bottlenecks were too old at the server: see max_age, and the clocks")
    return lines


def _below(rate: float) -> str:
    """A rate that is reached for certain, in few digits."""
    return f"{math.floor(0.95 * rate)}" if rate >= 2 else f"{0.95 * rate:.2g}"


def tables(recording: Recording) -> str:
    """Render a table for every task: how often each label was answered and, where there is truth, how well."""
    frames = list(recording.counted().values())
    scores = _measure(recording).scores()
    sheets = []
    for task in recording.tasks:
        results = [frame.results[task.name] for frame in frames if task.name in frame.results]
        sheets.append(KINDS[task.kind].sheet(task, results, scores[task.kind]))
    return "\n".join(map(_render, sheets))


def write_frames(recording: Recording, path: Path) -> None:
    """Write a line of JSON for each of the frames that count: bytes, milliseconds to each task's result, results."""
    with path.open("w") as lines:
        for stamp, frame in recording.counted().items():
            line = {"frame": str(stamp), "bytes": frame.payload_bytes, "arrivals_ms": frame.arrivals}
            line |= {"origin": asdict(frame.origin)} if frame.origin else {}
            lines.write(json.dumps(line | {"results": results_to_json(frame.results, recording.tasks)}) + "\n")


def write_answers(recording: Recording, path: Path) -> bool:
    """Plot where the answers of the frames that count come from; returns False where the edge has no deadline."""
    counted = recording.counted()
    origins = {(stamp - min(counted)) / 1e9: frame.origin for stamp, frame in counted.items() if frame.origin}
    if origins:
        plot_answers(origins).savefig(path, dpi=120)
    return bool(origins)


def write_pictures(recording: Recording, folder: Path) -> None:
    """Write `annotated.mp4` and `contact_sheet.png` of the frames that count."""
    kept = recording.pictures.bytes_of
    stamps = [stamp for stamp in recording.counted() if stamp in kept]
    if not stamps:
        return
    first = recording.pictures.get(stamps[0])
    size = (first.shape[1], first.shape[0])
    answered = [stamp for stamp in stamps if recording.is_complete(recording.frames[stamp])] or stamps
    chosen = [answered[i] for i in np.linspace(0, len(answered) - 1, min(PICTURES_ON_SHEET, len(answered))).astype(int)]
    sheet = contact_sheet(list(_annotated(recording, chosen, fit(size, SMALL))))
    write_picture(folder / "contact_sheet.png", sheet)
    video = _annotated(recording, tqdm(stamps, "annotated.mp4", unit=" frames", disable=None), fit(size, LARGE))
    _write_video(folder / "annotated.mp4", video, _rate(stamps) or 1.0)


def _answers(frames: Collection[Frame]) -> dict[str, Any] | None:
    """Return the shares of who answered, of what was sent, and of what was late; None of an edge without a deadline."""
    origins = [frame.origin for frame in frames if frame.origin]
    if not origins:
        return None
    sources = Counter(origin.source for origin in origins)
    points = Counter(origin.operating_point for origin in origins)
    return {
        "answered_by": {source: round(count / len(origins), 4) for source, count in sources.most_common()},
        "sent_at": {point: round(count / len(origins), 4) for point, count in points.most_common()},
        "late": round(sum(origin.late for origin in origins) / len(origins), 4),
    }


def _stages(recording: Recording, latencies: Sequence[float]) -> dict[str, float]:
    """Each stage's median milliseconds in the order of a frame's way, "other" for what none explains, and SPANS."""
    order = [*STAGES, *sorted(recording.stages.keys() - {*STAGES, *SPANS})]
    if recording.simulated_time:
        order.remove("image_transport")  # in the recording's time, and over before the image arrived here
    stages = {stage: statistics.median(recording.stages[stage]) for stage in order if stage in recording.stages}
    if stages and latencies:
        stages[OTHER] = statistics.median(latencies) - sum(stages.values())
    stages |= {span: statistics.median(recording.stages[span]) for span in SPANS if span in recording.stages}
    return {stage: round(milliseconds, 2) for stage, milliseconds in stages.items()}


def _percentiles(values: Sequence[float], **percentiles: int) -> dict[str, float] | None:
    if not values:
        return None
    return {name: round(float(np.percentile(values, percentile)), 2) for name, percentile in percentiles.items()}


def _rate(stamps: Sequence[int]) -> float | None:
    """Frames per second by the stamps, in order."""
    return round((len(stamps) - 1) / (stamps[-1] - stamps[0]) * 1e9, 2) if len(stamps) > 1 else None


def _measure(recording: Recording) -> Measurement:
    """Put the frames that count together with what is known of them."""
    measurement = Measurement(recording.tasks)
    for frame in recording.counted().values():
        truth = reduce(join_truths, frame.truths.values(), NOTHING_KNOWN)
        measurement.add(keep_known(truth, recording.tasks, Counter()), frame.payload_bytes or 0, frame.results)
    return measurement


def _accuracy(measurement: Measurement) -> dict[str, Any] | None:
    accuracy: dict[str, Any] = {}
    for kind, score in measurement.scores().items():
        accuracy |= {name: value for name, value in KINDS[kind].figures(score).items() if value not in (None, {})}
    return accuracy or None


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _render(sheet: Sheet) -> str:
    rows = [tuple(cell if isinstance(cell, str) else _share(cell) for cell in row) for row in (sheet.head, *sheet.rows)]
    lines = [f"{name:<16}{first:>20}{second:>12}" for name, first, second in rows]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], ""])


def _annotated(recording: Recording, stamps: Iterable[int], size: Size) -> Iterator[Image]:
    for stamp in stamps:
        frame = recording.frames[stamp]
        caption = f"{frame.payload_bytes:,} bytes" if frame.payload_bytes is not None else "no bottleneck"
        caption += f"   {max(frame.arrivals.values()):.0f} ms" if frame.arrivals else "   no result"
        caption += f"   {frame.origin.source}" if frame.origin else ""
        yield annotate(recording.pictures.get(stamp), frame.results, recording.tasks, caption, size)


def _write_video(path: Path, pictures: Iterator[Image], rate: float) -> None:
    """Write H.264 that browsers play, and begin to play before they have all of it."""
    # Of a relative path, what is before a colon would be a protocol.
    with av.open(f"file:{path}", "w", options={"movflags": "+faststart"}) as video:
        stream = video.add_stream(
            "libx264", Fraction(rate).limit_denominator(1001), {"preset": "veryfast", "crf": "20"}
        )
        stream.pix_fmt = "yuv420p"
        first = next(pictures)
        stream.height, stream.width = first.shape[:2]
        for picture in chain([first], pictures):
            video.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        video.mux(stream.encode())
