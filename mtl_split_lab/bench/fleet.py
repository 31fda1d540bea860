"""How many vehicles one server can serve: answered frames, latency, memory and processor time.

ros2_ws/run python -m mtl_split_lab.bench.fleet --out docs/results
ros2_ws/run python -m mtl_split_lab.bench.fleet --part engines --seconds 6
"""

import argparse
import os
import time
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.util import find_spec
from itertools import cycle, groupby, islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from matplotlib.figure import Figure
from mtl_split.msg import Bottleneck
from rclpy.serialization import serialize_message
from std_msgs.msg import Header
from tqdm import tqdm

from mtl_split_camera.street import Street
from mtl_split_core.bundle import Bundle, load_bundle
from mtl_split_core.halves import EdgeHalf, ServerHalf
from mtl_split_core.scene import Image
from mtl_split_core.serving import ORDERS
from mtl_split_core.share import bundle_folder
from mtl_split_core.stopwatch import measure_in_turn
from mtl_split_core.tracks import Tracks, needed_score
from mtl_split_lab.bench.answers import DEADLINE
from mtl_split_lab.bench.traffic import Outcome, Traffic, running
from mtl_split_lab.bench.usage import processor_seconds, resident_bytes
from mtl_split_lab.learning.eight_bit_suffix import quantise_suffix
from mtl_split_lab.machine import machine_in_words
from mtl_split_lab.markdown import table
from mtl_split_ros.graph import Options, server
from mtl_split_ros.kinds import KINDS as ROS_KINDS
from mtl_split_ros.parameters import read_defaults
from mtl_split_ros.qos import NEWEST

FLEETS = (1, 2, 4, 8, 16, 32)
COMPARED = 8
"""Vehicles with which the server's settings are compared."""

CALIBRATING = 32
"""Pictures that calibrate the 8-bit suffix."""

RATE = 10.0
"""Frames per second of a vehicle."""

SIZE = (1280, 720)
PICTURES = 4
"""Different bottlenecks of a vehicle, sent over and over."""

WARM_UP = 1.0
"""Seconds of traffic before what is measured."""

ENOUGH = 0.95
"""The share of answered frames from which on a fleet counts as served."""

BATCHES = (1, 2, 4, 8)
BATCH_CALLS = 50

Messages = Mapping[str, Sequence[Bottleneck]]
Half = tuple[str, bool]
"""An engine, and whether the suffix has 8 bits."""


JITTER = 0.01
"""Mean of the seconds by which bottlenecks are late, in the part with a deadline: an exponential distribution."""

TIMELY_FLEETS = (8, 12, 16)
"""Vehicles of that part; the orders are compared with the largest fleet, and so are the engines."""


PARTS = ("fleets", "settings", "orders", "engines")


@dataclass(frozen=True)
class Setting:
    """The server's parameters of these names."""

    workers: int
    threads: int = 1
    deadline: float = 0.0
    order: str = "dysta"
    least_share: float = 0.3
    engine: str = "onnxruntime"

    def __str__(self) -> str:
        return f"`workers: {self.workers}`, `threads: {self.threads}`"


@dataclass(frozen=True)
class Run:
    """What is measured: a fleet, the server's setting, whether its suffix has 8 bits, and the link's jitter."""

    vehicles: int
    setting: Setting
    eight_bits: bool = False
    jitter: float = 0.0

    @property
    def half(self) -> Half:
        """What the suffix runs in."""
        return self.setting.engine, self.eight_bits

    @property
    def server(self) -> tuple[Setting, bool]:
        """What a server has to be started for; runs that follow each other and have the same are on one server."""
        return self.setting, self.eight_bits


@dataclass(frozen=True)
class Load:
    """A server under the load of a fleet.

    run: what was measured; outcome: what became of the frames; memory: the server's, in bytes; processor: what the
    server took, in seconds of processor time per second; sender: what sending and listening took of it.
    """

    run: Run
    outcome: Outcome
    memory: int
    processor: float
    sender: float

    @property
    def worst(self) -> float:
        """The part of the frames of the worst vehicle that was answered within DEADLINE."""
        return min(vehicle.in_time(DEADLINE * 1e3) for vehicle in self.outcome.vehicles)

    @property
    def cost(self) -> float:
        """The server's milliseconds of processor time per answered frame."""
        return self.processor / self.outcome.rate * 1e3 if self.outcome.latencies else float("nan")


def main() -> None:
    """Measure how a server bears fleets of several sizes, and write fleet.md and fleet.png."""
    parser = argparse.ArgumentParser(prog="fleet", description=main.__doc__)
    parser.add_argument("--vehicles", type=int, nargs="+", default=FLEETS, metavar="N", help="sizes of the fleets")
    parser.add_argument(
        "--workers",
        type=int,
        default=read_defaults("server")["workers"],
        help="the server's parameter (default: %(default)s)",
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="of traffic for each (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("docs/results"), help="folder of page and plot")
    parser.add_argument("--part", choices=PARTS, help="measure only this, and print its table instead of a page")
    options = parser.parse_args()
    bundle = load_bundle(bundle_folder("street"))
    chosen = Setting(options.workers)
    parts = runs_of(chosen, options.vehicles)
    runs = parts[options.part] if options.part else [run for part in parts.values() for run in part]
    messages = bottlenecks(bundle, max(run.vehicles for run in runs))
    with TemporaryDirectory() as folder:
        eight_bits = any(run.eight_bits for run in runs)
        smaller = quantise_suffix(bundle, Path(folder) / "int8", calibrating()) if eight_bits else bundle
        loads: list[Load] = []
        with tqdm(total=len(runs), desc="fleets", disable=None) as progress:
            for (_, is_smaller), of_server in groupby(runs, lambda run: run.server):
                for load in measure(smaller if is_smaller else bundle, messages, [*of_server], options.seconds):
                    loads.append(load)
                    progress.update()
        if options.part:
            print(_timely_table(loads))
            return
        payloads = [message.payload.tobytes() for message in next(iter(messages.values()))]
        stages = {half: stage_times(smaller if half[1] else bundle, half[0], payloads) for half in halves(chosen)}
    write_page(bundle, loads, chosen, batch_times(bundle, messages), stages, options.out)


def runs_of(chosen: Setting, fleets: Sequence[int]) -> dict[str, list[Run]]:
    """Return what there is to measure, by PARTS; those of one server follow each other."""
    with_deadline = replace(chosen, deadline=DEADLINE)
    orders = [replace(chosen, order="turn")]
    orders += [replace(with_deadline, order=order) for order in ORDERS if order != chosen.order]
    orders.append(replace(with_deadline, least_share=0.0))
    others = [setting for setting in (Setting(1), Setting(1, 2), Setting(2)) if setting != chosen]
    return {
        "fleets": [Run(vehicles, chosen) for vehicles in fleets],
        "settings": [Run(COMPARED, setting) for setting in others],
        "orders": [Run(TIMELY_FLEETS[-1], setting, jitter=JITTER) for setting in orders],
        "engines": [
            Run(vehicles, replace(with_deadline, engine=engine), eight_bits, jitter)
            for engine, eight_bits in halves(chosen)
            for vehicles in TIMELY_FLEETS
            for jitter in (0.0, JITTER)
        ],
    }


def halves(chosen: Setting) -> list[Half]:
    """Return the engines that are installed, each with and without 8 bits where it has such operators."""
    return [(chosen.engine, False), *([("openvino", False), ("openvino", True)] if find_spec("openvino") else ())]


def calibrating() -> Iterator[Image]:
    """Yield pictures of streets that no vehicle of the fleets drives, to calibrate an 8-bit suffix on."""
    for street in range(1000, 1000 + CALIBRATING):
        yield from (picture for picture, _ in islice(Street(street, SIZE), 1))


def bottlenecks(bundle: Bundle, vehicles: int) -> dict[str, list[Bottleneck]]:
    """Return what edges would send for so many vehicles, each on a simulated street of its own; by namespace."""
    edge = EdgeHalf(bundle)
    return {
        f"car{number}": [
            Bottleneck(
                contract=bundle.contract.fingerprint,
                image_width=SIZE[0],
                image_height=SIZE[1],
                payload=array("B", edge.encode(picture).payload),
            )
            for picture, _ in islice(Street(number, SIZE), PICTURES)
        ]
        for number in range(vehicles)
    }


def measure(
    bundle: Bundle, messages: Messages, runs: Sequence[Run], seconds: float, warm_up: float = WARM_UP
) -> Iterator[Load]:
    """Let a server serve fleets for so many seconds each, after a warm-up, and tell how it did.

    messages: of as many vehicles at least; runs: of one server, which serves the largest of them, so that vehicles of a
    smaller fleet come from that. Raises ProcessError where the server ends.
    """
    vehicles = list(messages)[: max(run.vehicles for run in runs)]
    node = server(Options(bundle=str(bundle.folder)), vehicles, **asdict(runs[0].setting))
    with running([node]) as processes:
        traffic = Traffic(bundle, vehicles, Bottleneck, "bottleneck", NEWEST)
        traffic.connect(processes)
        pid = processes.pid(node.name)
        for run in runs:
            own_messages = dict(islice(messages.items(), run.vehicles))
            traffic.exchange(own_messages, RATE, warm_up, run.jitter)
            before, own_before = processor_seconds(pid), time.process_time()
            outcome = traffic.exchange(own_messages, RATE, seconds, run.jitter)
            processor, own = processor_seconds(pid) - before, time.process_time() - own_before
            yield Load(run, outcome, resident_bytes(pid), processor / seconds, own / seconds)


def batch_times(bundle: Bundle, messages: Messages, calls: int = BATCH_CALLS) -> dict[int, float]:
    """Return the suffix' milliseconds per frame where it runs on so many frames at once, the fastest of some calls."""
    suffix = ServerHalf(bundle).choice.engine
    payloads = [
        message.payload.tobytes() for message in islice(next(zip(*messages.values(), strict=True)), max(BATCHES))
    ]
    latents = np.stack([bundle.payload_format.unpack(payload) for payload in payloads])
    times = measure_in_turn({str(size): partial(suffix, latents[:size]) for size in BATCHES}, calls)
    return {size: min(times[str(size)]) / size for size in BATCHES}


def stage_times(bundle: Bundle, engine: str, payloads: Sequence[bytes], calls: int = BATCH_CALLS) -> dict[str, float]:
    """Return the milliseconds of a frame's stages on the server without the middleware, each the fastest of some calls.

    They are those of the half, the tracks, and the messages with the results, made and serialised.
    """
    values = read_defaults("server")
    tracking, threshold = values["tracking"], values["score_threshold"]
    half = ServerHalf(bundle, score_threshold=needed_score(tracking, threshold), engine=engine)
    tracks, stopwatch = Tracks(bundle.tasks, tracking, threshold), half.stopwatch
    stages: dict[str, float] = {}
    for number, payload in enumerate(islice(cycle(payloads), calls)):
        results = half.decode(payload, SIZE)
        with stopwatch.stage("track"):
            results = tracks.follow(results, round(number / RATE * 1e9))
        with stopwatch.stage("messages"):
            for task in bundle.tasks:
                serialize_message(ROS_KINDS[task.kind].to_message(results[task.name], Header()))
        stages = {stage: min(took, stages.get(stage, took)) for stage, took in stopwatch.milliseconds.items()}
    return stages


def served(loads: Sequence[Load]) -> int:
    """Return the most vehicles up to which every fleet is served; 0 if not even the smallest is."""
    most = 0
    for load in sorted(loads, key=lambda load: load.run.vehicles):
        if load.outcome.share < ENOUGH:
            break
        most = load.run.vehicles
    return most


def write_page(
    bundle: Bundle,
    loads: Sequence[Load],
    chosen: Setting,
    batches: Mapping[int, float],
    stages: Mapping[Half, Mapping[str, float]],
    out: Path,
) -> None:
    """Write page and plot into the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    steady = [load for load in loads if not load.run.jitter and not load.run.setting.deadline]
    fleets = sorted((load for load in steady if load.run.setting == chosen), key=lambda load: load.run.vehicles)
    compared = [load for load in steady if load.run.vehicles == COMPARED]
    _plot(fleets).savefig(out / "fleet.png", dpi=90)
    (out / "fleet.md").write_text(
        _PAGE.format(
            bundle=f"{bundle.name} ({bundle.fingerprint})",
            rate=f"{RATE:g}",
            width=SIZE[0],
            height=SIZE[1],
            setting=chosen,
            served=served(fleets),
            enough=f"{ENOUGH:.0%}",
            busiest=f"{max(load.processor + load.sender for load in fleets):.1f}",
            cores=len(os.sched_getaffinity(0)),
            fleets=_table("vehicles", [(str(load.run.vehicles), load) for load in fleets]),
            compared=COMPARED,
            settings=_table("setting", [(str(load.run.setting), load) for load in compared]),
            batches=table(
                "frames at once|ms per frame", [[str(size), f"{time:.2f}"] for size, time in batches.items()]
            ),
            plot="fleet.png",
            calls=BATCH_CALLS,
            deadline=f"{DEADLINE:g}",
            jitter=f"{JITTER * 1e3:g}",
            profile=_profile(loads, stages),
            timely=_timely_table([load for load in loads if load not in steady]),
            machine=machine_in_words(),
        )
    )


def _table(first: str, rows: Sequence[tuple[str, Load]]) -> str:
    head = f"{first}|answered|frames/s|p50, ms|p99, ms|server: memory, MB|processor, s/s|ms per frame|sender, s/s"
    return table(
        head,
        [
            [
                name,
                f"{load.outcome.share:.1%}",
                f"{load.outcome.rate:.1f}",
                f"{load.outcome.percentile(50):.0f}",
                f"{load.outcome.percentile(99):.0f}",
                f"{load.memory / 1e6:.0f}",
                f"{load.processor:.2f}",
                f"{load.cost:.1f}",
                f"{load.sender:.2f}",
            ]
            for name, load in rows
        ],
    )


def _name(half: Half) -> str:
    engine, eight_bits = half
    return f"{engine}, 8-bit suffix" if eight_bits else engine


def _profile(loads: Sequence[Load], stages: Mapping[Half, Mapping[str, float]]) -> str:
    """What a frame takes by stage, and beside the stages, with the smallest fleet of each half."""
    rows = []
    for half, own in stages.items():
        load = min((load for load in loads if load.run.half == half), key=lambda load: load.run.vehicles, default=None)
        if load is None:
            continue
        rest = load.cost - sum(own.values())
        vehicles = len(os.sched_getaffinity(0)) * 1e3 / load.cost / RATE
        row = (*own.values(), rest, load.cost)
        rows.append([_name(half), *(f"{milliseconds:.1f}" for milliseconds in row), f"{vehicles:.1f}"])
    return table("engine|decode|suffix|post|track|messages|the rest|ms per frame|vehicles at most", rows)


def _timely_table(loads: Sequence[Load]) -> str:
    head = (
        "vehicles|jitter|engine|order|in time|worst vehicle|answered at all|p50, ms|p99, ms|server, s/s|ms per frame"
        "|sender, s/s"
    )
    rows = []
    for load in loads:
        setting, outcome = load.run.setting, load.outcome
        order = f"`{setting.order}`, `least_share: {setting.least_share:g}`" if setting.deadline else "no deadline"
        rows.append(
            [
                str(load.run.vehicles),
                f"{load.run.jitter * 1e3:g} ms",
                _name(load.run.half),
                order,
                f"{outcome.in_time(DEADLINE * 1e3):.1%}",
                f"{load.worst:.1%}",
                f"{outcome.share:.1%}",
                f"{outcome.percentile(50):.0f}",
                f"{outcome.percentile(99):.0f}",
                f"{load.processor:.2f}",
                f"{load.cost:.1f}",
                f"{load.sender:.2f}",
            ]
        )
    return table(head, rows)


def _plot(fleets: Sequence[Load]) -> Figure:
    vehicles = [load.run.vehicles for load in fleets]
    figure = Figure((12, 4), layout="constrained")
    answered, latency, cost = figure.subplots(1, 3)
    answered.plot(vehicles, [RATE * number for number in vehicles], ":", color="grey", label="sent")
    answered.plot(vehicles, [load.outcome.rate for load in fleets], "o-", color="black", label="answered")
    answered.set(ylabel="frames/s")
    for percent, style in ((50, "o-"), (99, ".--")):
        latency.plot(
            vehicles, [load.outcome.percentile(percent) for load in fleets], style, color="black", label=f"p{percent}"
        )
    latency.set(ylabel="ms from stamp to last result")
    cost.plot(vehicles, [load.cost for load in fleets], "o-", color="black", label="server")
    cost.set(ylabel="ms of processor time per answered frame")
    for panel in (answered, latency, cost):
        panel.set_xscale("log", base=2)
        panel.set_ylim(0, None)
        panel.set_xlabel("vehicles")
        panel.set_xticks(vehicles, [str(number) for number in vehicles])
        panel.grid(alpha=0.3)
        panel.legend(fontsize="small")
    return figure


_PAGE = """# A fleet on one server

How many vehicles one server node serves. Each sends {rate} bottlenecks per second of its own simulated street at
{width}x{height}, evenly spread over time; they are encoded beforehand, so that only the server is measured, but the
sender, which also listens to all results, takes its time of the same {cores} cores. The server has {setting}, the
bundle is {bundle}.

A frame counts as *answered* if the results of every task have come; milliseconds are from the stamp, which is when the
bottleneck was sent, to the last of them. Where more is sent than can be answered, each vehicle's newest bottleneck
replaces the one that waits.

**{served} vehicles are served with at least {enough} of their frames answered.** At most, server and sender together
took {busiest} of {cores} cores: where that is all of them, the processor is what bounds the fleet.

![Answered frames, latency and cost by vehicles]({plot})

{fleets}

## Settings of the server, {compared} vehicles

*workers* are threads that work on bottlenecks of different vehicles, all with one suffix; *threads* are those
that share one frame.

{settings}

## By a deadline, over a link with jitter

Every bottleneck is to be answered within {deadline} s of its stamp: the server's `deadline`, but for *no deadline*.
With jitter, each arrives late by {jitter} ms on average (an exponential distribution). Shares are of all frames sent.
The 8-bit suffix is made by `mtl-split int8`; it is for OpenVINO, and [networks.md](../networks.md) says what it loses.
[serving.md](serving.md) says what the orders do.

{timely}

## What bounds it

Milliseconds of one core for each frame: its stages without the middleware, the fastest of {calls} calls each, and the
rest of what the server took, with the smallest fleet of each engine: taking the bottleneck from the middleware and
checking it, publishing, the report, the executor, diagnostics, and what a core that is shared costs. *Vehicles at most*
is what they would come to if the server had all {cores} cores for itself. A task of its own rate saves next to nothing:
the heads of the small tasks are a small part of the suffix, whose trunk all tasks share.

{profile}

## The suffix on several frames at once

Milliseconds per frame on one thread, the fastest of {calls} calls: what a batch across vehicles would save. The server
makes none.

{batches}

`make bench` makes this page. Measured on: {machine}.
"""

if __name__ == "__main__":
    main()
