"""Servers that stand in for each other: one is killed over and over, and comes back.

ros2_ws/run python -m mtl_split_lab.bench.standing_in --out docs/results
"""

import argparse
import itertools
import socket
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from mtl_split.msg import Bottleneck

from mtl_split_core.bundle import Bundle, load_bundle
from mtl_split_core.group import FIND, Server, share_out
from mtl_split_core.share import bundle_folder
from mtl_split_lab.bench.fleet import Messages, bottlenecks
from mtl_split_lab.bench.traffic import Fate, Traffic, running
from mtl_split_lab.live.processes import Processes
from mtl_split_lab.machine import machine_in_words
from mtl_split_lab.markdown import table
from mtl_split_ros.graph import Options, Process, server
from mtl_split_ros.qos import NEWEST

SERVERS, VEHICLES = 3, 12
BEGIN = FIND + 6.0
"""Seconds within which all servers have started, found each other and shared out the vehicles."""

DOWN = 2.0
"""Seconds for which a server stays dead."""

BACK = FIND + 5.0
"""Seconds within which a server that starts again has its share back, and some more."""

PAGE, PLOT = "standing_in.md", "standing_in.png"


@dataclass(frozen=True)
class Blow:
    """One server killed. at: when, in nanoseconds since 1970; back: when it was started again; vehicles: its share."""

    at: int
    back: int
    vehicles: frozenset[str]


@dataclass(frozen=True)
class Recovery:
    """What became of the frames around one blow.

    seconds: by vehicle of the killed server, from the blow to the answer of the first frame that was sent after it; inf
    for none; lost, elsewhere: unanswered frames until the server was started again, of its vehicles and of the others;
    back: unanswered frames of all vehicles after that.
    """

    seconds: tuple[float, ...]
    lost: int
    elsewhere: int
    back: int


def recover(blow: Blow, until: int, fates: Sequence[Fate]) -> Recovery:
    """Look at the frames from a blow to the next one, or the end, `until`."""
    seconds = []
    for vehicle in sorted(blow.vehicles):
        answers = [
            (fate.stamp - blow.at) / 1e9 + fate.latency / 1e3
            for fate in fates
            if fate.vehicle == vehicle and blow.at <= fate.stamp < until and fate.latency < np.inf
        ]
        seconds.append(min(answers, default=float("inf")))
    missing = [fate for fate in fates if blow.at <= fate.stamp < until and fate.latency == np.inf]
    down = [fate for fate in missing if fate.stamp < blow.back]
    lost = sum(fate.vehicle in blow.vehicles for fate in down)
    return Recovery(tuple(seconds), lost, len(down) - lost, len(missing) - len(down))


def strike(bundle: Bundle, messages: Messages, rate: float, times: int) -> tuple[list[Blow], list[Fate]]:
    """Let a group serve a fleet while one of its servers after the other is killed and started again."""
    options = Options(bundle=str(bundle.folder))
    nodes = [
        replace(server(options, list(messages), group="fleet", workers=1), name=f"server{number}")
        for number in range(SERVERS)
    ]
    with running(nodes) as processes, ThreadPoolExecutor(1) as pool:
        traffic = Traffic(bundle, list(messages), Bottleneck, "bottleneck", NEWEST)
        traffic.connect(processes)
        stop = threading.Event()
        blows = pool.submit(_strike, processes, nodes, list(messages), times, stop)
        try:
            traffic.exchange(messages, rate, BEGIN + times * (DOWN + BACK))
        finally:
            stop.set()
        return blows.result(), traffic.fates()


def _strike(
    processes: Processes, nodes: Sequence[Process], vehicles: Sequence[str], times: int, stop: threading.Event
) -> list[Blow]:
    # Who has which vehicle follows from the names alone.
    topics = [f"/{vehicle}/bottleneck" for vehicle in vehicles]
    shares = share_out({Server(f"{socket.gethostname()}:/{node.name}", 0): topics for node in nodes})
    blows = []
    stop.wait(BEGIN)
    for node in itertools.islice(itertools.cycle(nodes), times):
        processes.kill(node.name)
        at = time.time_ns()
        stop.wait(DOWN)
        processes.start(node)
        own = frozenset(topic.split("/")[1] for topic, owner in shares.items() if owner.name.endswith(f"/{node.name}"))
        blows.append(Blow(at, time.time_ns(), own))
        stop.wait(BACK)
    return blows


def main() -> None:
    """Kill servers of a group, and write standing_in.md and standing_in.png."""
    parser = argparse.ArgumentParser(prog="standing_in", description=main.__doc__)
    parser.add_argument("--kills", type=int, default=20, help="(default: %(default)s)")
    parser.add_argument("--rate", type=float, default=4.0, help="frames/s of a vehicle (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("docs/results"), help="folder of page and plot")
    options = parser.parse_args()
    bundle = load_bundle(bundle_folder("street"))
    blows, fates = strike(bundle, bottlenecks(bundle, VEHICLES), options.rate, options.kills)
    write_page(bundle, blows, fates, options.rate, options.out)


def write_page(bundle: Bundle, blows: Sequence[Blow], fates: Sequence[Fate], rate: float, out: Path) -> None:
    """Write page and plot into the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    ends = [*(blow.at for blow in blows[1:]), max(fate.stamp for fate in fates) + 1]
    recoveries = [recover(blow, end, fates) for blow, end in zip(blows, ends, strict=True)]
    seconds = [one for recovery in recoveries for one in recovery.seconds]
    _plot(blows[0], fates, seconds).savefig(out / PLOT, dpi=90)
    counted = [fate for fate in fates if fate.stamp >= blows[0].at]
    spread = [f"{np.percentile(seconds, percent, method='higher'):.2f}" for percent in (50, 99, 100)]
    rows = {
        "kills": len(blows),
        "vehicles that changed to another server": len(seconds),
        "until they were answered again, s: p50, p99, longest": ", ".join(spread),
        "frames from the first kill on": len(counted),
        "answered twice": sum(fate.twice for fate in counted),
        "unanswered, of the dead server's vehicles": sum(one.lost for one in recoveries),
        "unanswered, of other vehicles while it was dead": sum(one.elsewhere for one in recoveries),
        "unanswered after it was started again": sum(one.back for one in recoveries),
    }
    (out / PAGE).write_text(
        _PAGE.format(
            servers=SERVERS,
            vehicles=VEHICLES,
            rate=f"{rate:g}",
            bundle=f"{bundle.name} ({bundle.fingerprint})",
            down=f"{DOWN:g}",
            plot=PLOT,
            rows=table("what|figure", [[name, str(value)] for name, value in rows.items()]),
            machine=machine_in_words(),
        )
    )


def _plot(blow: Blow, fates: Sequence[Fate], seconds: Sequence[float]) -> Figure:
    figure = Figure((12, 4), layout="constrained")
    frames, recovery = figure.subplots(1, 2, width_ratios=(2, 1))
    names = sorted({fate.vehicle for fate in fates}, key=lambda name: (name not in blow.vehicles, len(name), name))
    shown = [fate for fate in fates if -1 < (fate.stamp - blow.at) / 1e9 < DOWN + BACK - 1]
    for answered, style, label in ((True, ".", "answered"), (False, "x", "not answered")):
        some = [fate for fate in shown if (fate.latency < np.inf) == answered]
        at = [(fate.stamp - blow.at) / 1e9 for fate in some]
        colour = "tab:blue" if answered else "tab:red"
        frames.plot(at, [names.index(fate.vehicle) for fate in some], style, color=colour, label=label)
    frames.axvline(0.0, color="black", linewidth=1)
    frames.axvline((blow.back - blow.at) / 1e9, color="black", linewidth=1, linestyle=":")
    frames.set(xlabel="seconds after a kill (dotted: started again)", title="Frames around the first kill")
    frames.set_yticks(range(len(names)), [f"{name} *" if name in blow.vehicles else name for name in names])
    frames.legend(loc="lower right", fontsize="small")
    recovery.plot(sorted(seconds), np.linspace(0, 100, len(seconds)), color="black")
    recovery.set(xlabel="seconds from the kill to an answer", ylabel="% of the vehicles", title="All kills")
    recovery.set_xlim(0, None)
    recovery.grid(alpha=0.3)
    return figure


_PAGE = """# Servers that stand in for each other

{servers} servers of one group serve {vehicles} vehicles at {rate} frames/s each, all on one machine; the bundle is
{bundle}. One server after the other is killed (`kill -9`), and started again {down} s later. Counted is, for each
vehicle of the killed server, the time until a frame that was sent after the kill is answered by every task; and every
frame that was answered by no server or by two.

{rows}

![Frames around the first kill, and the time until vehicles are answered again]({plot})

Vehicles with a * are the killed server's. [Several machines](../several-machines.md) tells how it works.
`make bench` makes this page. Measured on: {machine}.
"""

if __name__ == "__main__":
    main()
