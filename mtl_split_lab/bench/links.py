"""The page about links: what was answered in time over which of them, in tables and plots.

ros2_ws/run python -m mtl_split_lab.bench.links --out docs/results
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mtl_split_camera.sources import DEFAULT_RATE
from mtl_split_core.bundle import Bundle, load_bundle
from mtl_split_core.share import bundle_folder
from mtl_split_lab.adaptation.direction import QUEUE_BYTES, QUEUE_SECONDS
from mtl_split_lab.bench.answers import DEADLINE, STALE
from mtl_split_lab.bench.link_runs import (
    DISCOVERY,
    OFFLOADING,
    QUALITIES,
    SETTLING,
    SIZE,
    SPLIT,
    Run,
    measure_links,
)
from mtl_split_lab.bench.namespaces import REASSEMBLY_SECONDS, Condition, NoLinkError
from mtl_split_lab.machine import machine_in_words
from mtl_split_lab.markdown import table

Where = Callable[[Condition], float]

PAGE = "links.md"
PLOT = "links.png"


def main() -> int:
    """Measure, and write links.md and links.png; returns 0 also where it has to be skipped, which it says."""
    parser = argparse.ArgumentParser(prog="links", description=main.__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/results"), help="folder of page and plot")
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="of each link; lossy ones longer (default: %(default)s)"
    )
    options = parser.parse_args()
    bundle = load_bundle(bundle_folder("street"))
    try:
        runs = list(measure_links(bundle, options.seconds))
    except NoLinkError as error:
        print(f"links: skipped: {error}", file=sys.stderr)
        return 0
    write_page(bundle, runs, options.out)
    return 0


def write_page(bundle: Bundle, runs: Sequence[Run], out: Path) -> None:
    """Write page and plot into the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    whole = [run for run in runs if run.condition is None]
    slow = [run for run in runs if run.condition and not run.condition.loss]
    rates = {run.condition.rate for run in runs if run.condition and run.condition.loss}
    lossy = [run for run in runs if run.condition and run.condition.rate in rates]
    _plot(slow, lossy, whole).savefig(out / PLOT, dpi=90)
    (out / PAGE).write_text(
        _PAGE.format(
            plot=PLOT,
            bundle=f"{bundle.name} ({bundle.fingerprint})",
            width=SIZE[0],
            height=SIZE[1],
            fps=DEFAULT_RATE,
            lowest=min(QUALITIES),
            settling=SETTLING,
            discovery=DISCOVERY,
            deadline=f"{DEADLINE * 1e3:.0f}",
            stale=f"{STALE:g}",
            queue=f"{QUEUE_SECONDS * 1e3:.0f} ms, at least {QUEUE_BYTES:,} bytes",
            reassembly=REASSEMBLY_SECONDS,
            slow=_table(whole + slow, lambda condition: f"{condition.rate:g} Mbit/s"),
            rate=_rates(lossy),
            lossy=_table(lossy, lambda condition: f"{condition.loss:.0%}"),
            machine=machine_in_words(),
        )
    )


def _table(runs: Sequence[Run], name: Callable[[Condition], str]) -> str:
    answered = "frames|answered in time|p50, ms|p99, ms|longest gap, s|stale|first in time after, s"
    rows = []
    for run in runs:
        answers, sent = run.answers, run.sent
        rows.append(
            [
                name(run.condition) if run.condition else "any",
                run.way if run.quality is None else f"{run.way}, quality {run.quality}",
                f"{answers.frames:,}",
                f"{answers.share:.1%}",
                _number(answers.p50),
                _number(answers.p99),
                f"{answers.gap:.2f}",
                str(answers.stale),
                "-" if run.discovery is None else f"{run.discovery:.1f}",
                f"{sent.lost / sent.entered:.1%}" if run.condition else "-",
                f"{sent.overflowed / sent.entered:.1%}" if run.condition else "-",
            ]
        )
    return table(f"link|way|{answered}|lost on the link|overflowed", rows)


def _rates(runs: Sequence[Run]) -> str:
    return ", ".join(sorted({f"{run.condition.rate:g}" for run in runs if run.condition}))


def _number(milliseconds: float | None) -> str:
    return "never" if milliseconds is None else f"{milliseconds:,.0f}"


def _plot(slow: Sequence[Run], lossy: Sequence[Run], whole: Sequence[Run]) -> Figure:
    figure = Figure((11, 7), layout="constrained")
    panels = figure.subplots(2, 2, sharex="col", sharey="row")
    _plot_column(panels[:, 0], slow, whole, lambda condition: condition.rate)
    _plot_column(panels[:, 1], lossy, whole, lambda condition: 100 * condition.loss)
    panels[0, 0].set(ylabel=f"answered within {DEADLINE * 1e3:.0f} ms, %", ylim=(-3, 103))
    panels[1, 0].set(ylabel="ms: p50, and p99 dashed", yscale="log", xscale="log", xlabel="Mbit/s, nothing lost")
    panels[1, 1].set(xlabel=f"% of the packets lost, {_rates(lossy)} Mbit/s")
    panels[0, 0].legend()
    return figure


def _plot_column(panels: Sequence[Axes], runs: Sequence[Run], whole: Sequence[Run], where: Where) -> None:
    share, latency = panels
    for way, colour in ((SPLIT, "black"), (OFFLOADING, "tab:orange")):
        own = sorted(
            ((where(run.condition), run.answers) for run in runs if run.way == way and run.condition),
            key=lambda at: at[0],
        )
        places = [place for place, _ in own]
        share.plot(places, [100 * answers.share for _, answers in own], marker="o", color=colour, label=way)
        for percentile, style in (("p50", "-"), ("p99", "--")):
            latency.plot(places, [getattr(answers, percentile) for _, answers in own], style, marker=".", color=colour)
    for run in whole:
        share.axhline(100 * run.answers.share, color="grey", ls=":", label=run.way)
        for milliseconds, style in ((run.answers.p50, ":"), (run.answers.p99, "-.")):
            if milliseconds is not None:
                latency.axhline(milliseconds, color="grey", ls=style)
    latency.axhline(1e3 * DEADLINE, color="tab:red", lw=0.8)
    for panel in panels:
        panel.grid(alpha=0.3)


_PAGE = """# Links

How many camera frames are answered in time over a slow or a lossy link. The real nodes over Fast DDS, {bundle},
{width}x{height} at {fps:g} frames/s from the simulated streets; the vehicle and the server are two network namespaces,
without shared memory between them, joined by a relay in user space that is all that limits or loses anything:

- **split**: camera and edge in the vehicle, only bottlenecks cross the link, at the default operating point;
- **JPEG offloading**: the camera's JPEG pictures cross the link, best effort, both halves run on the server; the best
  quality that the link carries, or the lowest tried ({lowest}) where it carries none;
- **whole on the edge**: both halves run in the vehicle, and nothing crosses the link.

A frame counts as *answered in time* if its detections and all of its classifications have come to a listener beside
the server within {deadline} ms of the camera's stamp. Frames that get lost count as not answered; p50 and p99 are about
those that were answered, however late. The *longest gap* is the longest time without any answer; an answer is *stale*
if it is older than {stale} s. Measured from {settling:g} s after the first answer in time, or where there is none from
{discovery:g} s after the first frame: before that, the nodes' discovery of each other fills the link. *First in time
after* says how long that took from the camera's first frame on.

The link has no delay of its own, and a drop-tail queue of {queue}; each Ethernet frame is lost by chance, independently
of the others. Both ends give up a datagram of which a part is missing after {reassembly} s, as ROS 2's documentation
advises. What is lost on the link and what overflows its queue is given as a part of everything that the vehicle sends
from the nodes' start to their end, discovery included.

![Share answered in time and milliseconds, by rate and by loss]({plot})

## Slow links

{slow}

## Lossy links, {rate} Mbit/s

{lossy}

`make bench` makes this page. Measured on: {machine}.
"""

if __name__ == "__main__":
    raise SystemExit(main())
