"""Three tiers against two: what a division costs, and whether a roadside unit between vehicle and server is worth it.

ros2_ws/run python -m mtl_split_lab.bench.tiers --traces FOLDER --out docs/results
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice, product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np
from matplotlib.figure import Figure
from mtl_split.msg import Bottleneck
from tqdm import tqdm

from mtl_split_camera.sources import SECONDS_PER_STREET, Streets
from mtl_split_core.bundle import SUFFIX, Bundle, load_bundle
from mtl_split_core.control.repair import TOLERANCE, Chain, latency, optimum, repair
from mtl_split_core.division import FEATURE_BYTES, Division
from mtl_split_core.engine import ENGINES
from mtl_split_core.halves import EdgeHalf, MiddleHalf, ServerHalf
from mtl_split_core.onnx_file import OnnxFile
from mtl_split_core.scene import Size
from mtl_split_core.share import bundle_folder
from mtl_split_lab.adaptation.traces import read_trace
from mtl_split_lab.bench.fleet import RATE, WARM_UP, bottlenecks
from mtl_split_lab.bench.tier_simulation import MAX_AGE, Arrangement, Costs, Machines, Outcome, Scene, simulate
from mtl_split_lab.bench.traffic import Outcome as Exchange
from mtl_split_lab.bench.traffic import Traffic, running
from mtl_split_lab.learning.division import compare_parts, divide
from mtl_split_lab.machine import machine_in_words
from mtl_split_lab.markdown import table
from mtl_split_net.onnx_graph import OnnxGraph
from mtl_split_ros.graph import Options, middle, server
from mtl_split_ros.qos import NEWEST

CUTS = {"street": ("conv2d_6", "add_664", "add_1002"), "roads": ("add_96", "conv2d_19", "add_1353")}
"""Where the shipped bundles are divided: places with few bytes, from an early one to a late one."""

SIZE: Size = (1280, 720)
TIMED = 60
"""Pictures on which the stages are timed."""

SLOWNESS = (4.0, 2.0, 1.0)
"""How many times slower vehicle, roadside unit and server are than the machine that the times were measured on."""
WORKERS = (2, 2)
"""Of the roadside unit and of the server."""
RADIO = 10.0
"""Mbit/s between each vehicle and the roadside unit, or the server."""
BACKHAULS = (100.0, 1000.0)
"""Mbit/s between roadside unit and server."""
SCENES = (Scene(4, 10.0), Scene(8, 10.0), Scene(1, 30.0))
BUSY = (0.0, 0.5, 0.8, 0.95, 1.1)
"""How much of the server's time the frames of other vehicles would take; 1: all of it."""
MARKED = 0.8
"""From which of BUSY on the server counts as busy."""
SIMULATED = 30.0
"""Seconds of each simulation."""

ENOUGH = 1.2
"""Times the p50 of three tiers that the best two have to take for three to be worth it."""

DIRECT, PASSED_ON = "straight to the server", "whole"
"""Ways of a frame through live nodes: without a roadside unit, and through one that passes bottlenecks on."""

STEP = 1.0
"""Seconds between two repairs."""
LONGEST_TRACE = 600.0
"""Seconds of a trace that are followed."""


T = TypeVar("T")


@dataclass(frozen=True)
class Parity:
    """How a division's parts in series compare with the whole suffix in one engine.

    pictures: how many were compared; same: those whose outputs all have the same bits; largest: the largest difference
    of any output, relative to its largest number.
    """

    engine: str
    cut: str
    pictures: int
    same: int
    largest: float


@dataclass(frozen=True)
class Times:
    """Milliseconds of the edge half and of the whole server half, and the bottleneck's bytes, all of them medians."""

    edge: float
    server: float
    bytes: float


@dataclass(frozen=True)
class Cost:
    """What a division costs: compressed bytes, and milliseconds of the middle's and the rest's part, all medians."""

    division: Division
    bytes: float
    middle: float
    rest: float


@dataclass(frozen=True)
class Repairs:
    """How repairs did on one trace, that of the link of that name.

    worst: the largest latency relative to the optimum's, 1 or more; changes, best_changes: how often the repair and the
    optimum changed the division; milliseconds: of each call.
    """

    trace: str
    link: str
    steps: int
    worst: float
    changes: int
    best_changes: int
    milliseconds: Sequence[float]


@dataclass(frozen=True)
class Compared:
    """One simulated case: what became of the frames by arrangement; two, three: the best of two and of three tiers."""

    scene: Scene
    backhaul: float
    busy: float
    outcomes: Mapping[str, Outcome]
    two: str
    three: str

    @property
    def gain(self) -> float:
        """How many times the p50 of three tiers the best two take; not a number where neither answers half."""
        with np.errstate(invalid="ignore"):
            return float(np.divide(self.outcomes[self.two].p50, self.outcomes[self.three].p50))


def main() -> None:
    """Measure divisions of a bundle's suffix, simulate two and three tiers, and write tiers.md and tiers.png."""
    parser = argparse.ArgumentParser(prog="tiers", description=main.__doc__)
    parser.add_argument("--bundle", choices=CUTS, default="street", help="a shipped bundle (default: %(default)s)")
    parser.add_argument("--pictures", type=int, default=400, help="compared bit by bit (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of live traffic per way (default: %(default)s)")
    parser.add_argument("--traces", type=Path, metavar="FOLDER", help="CSV files of links, to repair divisions by")
    parser.add_argument("--out", type=Path, default=Path("docs/results"), help="folder of page and plot")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        bundle = divide_all(load_bundle(bundle_folder(options.bundle)), CUTS[options.bundle], Path(folder))
        payloads = encode_pictures(bundle, options.pictures)
        parities = [each for kind in ENGINES for each in compare(bundle, payloads, kind)]
        times, costs = measure(bundle, payloads[:TIMED])
        ways = (DIRECT, PASSED_ON, *(cost.division.cut for cost in costs))
        lived = {way: measure_live(bundle, way, options.seconds) for way in tqdm(ways, "live", disable=None)}
        chain = make_chain(bundle, times, costs)
        traces = sorted(options.traces.glob("*.csv")) if options.traces else []
        repairs = [follow(chain, path, link) for path, link in product(traces, LINKS)]
        compared = compare_tiers(times, costs)
        write_page(bundle, parities, times, costs, lived, repairs, compared, options.out)


def divide_all(bundle: Bundle, cuts: Sequence[str], folder: Path) -> Bundle:
    """Divide a copy of a bundle, within a folder, at several tensors."""
    for cut in cuts:
        bundle, *_ = divide(bundle, cut, folder / bundle.name)
    return bundle


def encode_pictures(bundle: Bundle, pictures: int) -> list[bytes]:
    """Return what an edge sends of so many pictures, one of each simulated street."""
    edge = EdgeHalf(bundle)
    streets = islice(Streets(SIZE, 1 / SECONDS_PER_STREET), pictures)
    return [edge.encode(picture).payload for picture, _ in tqdm(streets, "pictures", pictures, disable=None)]


def compare(bundle: Bundle, payloads: Sequence[bytes], kind: str) -> list[Parity]:
    """Compare the raw outputs of every division's parts in series with those of the suffix, in one engine."""
    engines = {
        role: ENGINES[kind](OnnxFile(bundle.path(role), bundle.read(role)).data, 1, 1)
        for role in (SUFFIX, *(role for each in bundle.divisions for role in (each.middle, each.rest)))
    }
    found = []
    for division in bundle.divisions:
        names = [tensor.name for tensor in division.tensors]
        parts = engines[SUFFIX], engines[division.middle], engines[division.rest]
        latents = (bundle.payload_format.unpack(payload)[None] for payload in payloads)
        shown = tqdm(latents, f"{kind}, {division.cut}", len(payloads), disable=None)
        differences = [compare_parts(*parts, names, each) for each in shown]
        same = sum(difference == 0 for difference in differences)
        found.append(Parity(kind, division.cut, len(payloads), same, max(differences)))
    return found


def measure(bundle: Bundle, payloads: Sequence[bytes]) -> tuple[Times, list[Cost]]:
    """Measure the halves and every division's parts, one thread each, decoding and packing included.

    In processor time, which is what the work takes where nothing disturbs it; of each, the median over all pictures.
    """
    edge, between, at_server = EdgeHalf(bundle), MiddleHalf(bundle), ServerHalf(bundle, divisions=bundle.divisions)
    pictures = [picture for picture, _ in islice(Streets(SIZE, 1 / SECONDS_PER_STREET), len(payloads))]
    at_edge = [_processor_time(partial(edge.encode, picture))[0] for picture in pictures]
    whole = [_processor_time(partial(at_server.decode, payload, SIZE))[0] for payload in payloads]
    costs = []
    for division in bundle.divisions:
        middles = [_processor_time(partial(between.forward, payload, division.cut)) for payload in payloads]
        rests = [
            _processor_time(partial(at_server.decode, features, SIZE, division.fingerprint))[0]
            for _, features in middles
        ]
        size = _median(len(features) for _, features in middles)
        costs.append(Cost(division, size, _median(spent for spent, _ in middles), _median(rests)))
    return Times(_median(at_edge), _median(whole), _median(map(len, payloads))), costs


def _processor_time(call: Callable[[], T]) -> tuple[float, T]:
    """Return the milliseconds of processor time that a call takes, and what it returns."""
    begun = time.process_time()
    result = call()
    return (time.process_time() - begun) * 1e3, result


def _median(values: Iterable[float]) -> float:
    return float(statistics.median(values))


def measure_live(bundle: Bundle, way: str, seconds: float) -> Exchange:
    """Send one vehicle's bottlenecks through live nodes on this machine; way: DIRECT, or the roadside unit's `cut`.

    Raises ProcessError where a node ends.
    """
    through = way != DIRECT
    options = Options(bundle=str(bundle.folder), middle=through)
    messages = bottlenecks(bundle, 1)
    nodes = [server(options, [*messages])] + ([middle(options, [*messages], cut=way)] if through else [])
    with running(nodes) as processes:
        traffic = Traffic(bundle, [*messages], Bottleneck, "bottleneck", NEWEST)
        traffic.connect(processes)
        traffic.exchange(messages, RATE, WARM_UP)
        return traffic.exchange(messages, RATE, seconds)


LINKS = ("radio", "backhaul")


def make_chain(bundle: Bundle, times: Times, costs: Sequence[Cost]) -> Chain:
    """Return the network as a chain over three tiers: the prefix, and the suffix between all places of few tensors.

    Between the measured ends, a layer's time is the suffix's by its multiply-adds; what the features take is their
    size by the mean of the measured compression. On the radio a frame is a bottleneck, or there is none.
    """
    graph = OnnxGraph(bundle.path(SUFFIX))
    whole = graph.whole.multiply_adds
    shrunk = statistics.mean(cost.bytes / (FEATURE_BYTES * cost.division.numbers) for cost in costs)
    places: dict[float, float] = {}
    for name in graph.places(4):
        size = shrunk * FEATURE_BYTES * sum(int(np.prod(graph.shape(tensor))) for tensor in graph.frontier(name))
        part = graph.costs(name)[0].multiply_adds / whole
        places[part] = min(size, places.get(part, size))
    parts = sorted(places)
    work = np.array([times.edge, *(np.diff([0.0, *parts, 1.0]) * times.server)]) / 1e3
    sizes = np.array([0.0, times.bytes, *(places[part] for part in parts), 0.0])
    last = len(work)
    rates = np.array([RADIO, BACKHAULS[0]]) * 1e6 / 8
    allowed = [[1, last], [*range(1, last + 1)]]
    return Chain(np.outer(SLOWNESS, work), sizes, rates, np.full(2, 0.002), allowed)


def follow(chain: Chain, path: Path, link: str) -> Repairs:
    """Let one link of a chain carry what a trace says, and repair the division as it changes."""
    trace = read_trace(path)
    rates, number = chain.rates.copy(), LINKS.index(link)
    present = best = optimum(chain)
    worst, changes, best_changes = 1.0, 0, 0
    milliseconds = []
    for at in np.arange(0.0, min(trace.duration, LONGEST_TRACE), STEP):
        rates[number] = trace.rate(float(at)) / 8
        now = replace(chain, rates=rates.copy())
        begun = time.perf_counter()
        repaired = repair(now, present)
        milliseconds.append((time.perf_counter() - begun) * 1e3)
        newest = optimum(now)
        worst = max(worst, latency(now, repaired) / latency(now, newest))
        changes += repaired != present
        best_changes += newest != best
        present, best = repaired, newest
    return Repairs(path.stem, link, len(milliseconds), worst, changes, best_changes, milliseconds)


def arrangements(scene: Scene, times: Times, costs: Sequence[Cost]) -> dict[str, list[Arrangement]]:
    """Return the ways to share the work: by "two" tiers, not always the same for all vehicles, and by "three"."""
    alone = Costs((times.edge + times.server) / 1e3, 0.0)
    at_server = Costs(times.edge / 1e3, times.bytes, backhaul=times.bytes, server=times.server / 1e3)
    at_roadside = replace(at_server, roadside=times.server / 1e3, backhaul=0.0, server=0.0)
    every = scene.vehicles
    two = [
        Arrangement("vehicle alone", (alone,) * every),
        Arrangement("vehicle and server", (at_server,) * every),
        Arrangement("vehicle and roadside unit", (at_roadside,) * every),
    ]
    two += [
        Arrangement(
            f"{near} at the roadside unit, the rest at the server", tuple(near * [at_roadside] + far * [at_server])
        )
        for near, far in zip(range(1, every), reversed(range(1, every)), strict=True)
    ]
    three = [
        Arrangement(
            f"three tiers, {cost.division.cut}",
            (replace(at_server, roadside=cost.middle / 1e3, backhaul=cost.bytes, server=cost.rest / 1e3),) * every,
        )
        for cost in costs
    ]
    return {"two": two, "three": three}


def compare_tiers(times: Times, costs: Sequence[Cost], seconds: float = SIMULATED) -> list[Compared]:
    """Simulate every scene, backhaul and load of the server."""
    found = []
    cases = [*product(SCENES, BACKHAULS, BUSY)]
    for scene, backhaul, busy in tqdm(cases, "simulations", disable=None):
        machines = Machines(SLOWNESS, WORKERS, RADIO * 1e6 / 8, backhaul * 1e6 / 8, busy, times.server / 1e3)
        outcomes: dict[str, Outcome] = {}
        best = {}
        for tiers, those in arrangements(scene, times, costs).items():
            own = {each.name: simulate(scene, each, machines, seconds) for each in those}
            best[tiers] = min(own, key=lambda name: (own[name].p50, -own[name].share))
            outcomes |= own
        found.append(Compared(scene, backhaul, busy, outcomes, best["two"], best["three"]))
    return found


def write_page(
    bundle: Bundle, parities: Sequence[Parity], times: Times, costs: Sequence[Cost], lived: Mapping[str, Exchange],
    repairs: Sequence[Repairs], compared: Sequence[Compared], out: Path,
) -> None:  # fmt: skip
    """Write page and plot into the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    plot(compared).savefig(out / "tiers.png", dpi=90)
    (out / "tiers.md").write_text(
        _PAGE.format(
            bundle=bundle.name,
            verdict=_verdict(compared),
            parity=_parity_table(parities),
            pictures=parities[0].pictures,
            costs=_cost_table(times, costs),
            live=_live_table(lived),
            repair=_repair_words(repairs),
            tolerance=f"{TOLERANCE:.0%}",
            step=f"{STEP:g}",
            slowness=", ".join(f"{each:g}" for each in SLOWNESS),
            workers=WORKERS[0],
            radio=f"{RADIO:g}",
            enough=ENOUGH,
            cases=_case_table(compared),
            seconds=f"{SIMULATED:g}",
            timed=TIMED,
            oldest=f"{MAX_AGE:g}",
            machine=machine_in_words(),
        )
    )


def _verdict(compared: Sequence[Compared]) -> str:
    busy = [each for each in compared if each.busy >= MARKED]
    better = [each for each in busy if each.gain >= ENOUGH]
    gains = [each.gain for each in busy if np.isfinite(each.gain)]
    if not better:
        most = f"are at most {max(gains):.2f} times as fast as the best two" if gains else "answer less than half"
        return f"**Two tiers suffice.** With a busy server, three {most}, in every case below."
    return (
        f"**Three tiers are at least {ENOUGH} times as fast as the best two in {len(better)} of {len(busy)} cases with"
        f" a busy server**, in the others two suffice."
    )


def _parity_table(parities: Sequence[Parity]) -> str:
    rows = [
        [each.engine, each.cut, f"{each.same} of {each.pictures}", "0" if each.largest == 0 else f"{each.largest:.1e}"]
        for each in parities
    ]
    return table("engine|cut|pictures with the same bits|largest difference", rows)


def _cost_table(times: Times, costs: Sequence[Cost]) -> str:
    rows = [["none", "", "", f"{times.bytes / 1e3:.1f}", "", f"{times.server:.1f}"]]
    for cost in costs:
        raw = FEATURE_BYTES * cost.division.numbers / 1e3
        rows.append([
            cost.division.cut, str(len(cost.division.tensors)), f"{raw:.0f}", f"{cost.bytes / 1e3:.0f}",
            f"{cost.middle:.1f}", f"{cost.rest:.1f}",
        ])  # fmt: skip
    return table("cut|tensors|kB|kB sent|middle, ms|rest or whole, ms", rows)


def _live_table(lived: Mapping[str, Exchange]) -> str:
    rows = [
        [way, f"{each.share:.1%}", f"{each.percentile(50):.1f}", f"{each.percentile(99):.1f}"]
        for way, each in lived.items()
    ]
    return table("way|answered|p50, ms|p99, ms", rows)


def _repair_words(repairs: Sequence[Repairs]) -> str:
    if not repairs:
        return "No traces were given, see `--traces`."
    rows = [
        [
            each.trace, each.link, str(each.steps), f"{each.worst - 1:.1%}", str(each.changes), str(each.best_changes),
            f"{statistics.median(each.milliseconds):.2f}", f"{np.percentile(each.milliseconds, 99):.2f}",
        ]
        for each in repairs
    ]  # fmt: skip
    head = "trace|of the link|steps|slower than the optimum, at most|changes|of the optimum|p50, ms|p99, ms"
    return table(head, rows)


def _case_table(compared: Sequence[Compared]) -> str:
    rows = []
    for each in compared:
        best = [each.outcomes[name] for name in (each.two, each.three)]
        names = [each.two, each.three.removeprefix("three tiers, ")]
        rows.append([
            f"{each.scene.vehicles} x {each.scene.rate:g}/s", f"{each.backhaul:g}", f"{each.busy:.0%}",
            *(f"{name}: {_words(outcome)}" for name, outcome in zip(names, best, strict=True)),
            f"{each.gain:.2f}" if np.isfinite(each.gain) else "",
        ])  # fmt: skip
    return table("vehicles|backhaul, Mbit/s|server busy|best of two tiers|best of three, by cut|gain", rows)


def _words(outcome: Outcome) -> str:
    p50 = f"{outcome.p50:.0f} ms" if np.isfinite(outcome.p50) else "none"
    return f"{p50}, {outcome.share:.0%} answered"


def plot(compared: Sequence[Compared]) -> Figure:
    """Draw the p50 over the load of the server, a panel for every scene and backhaul."""
    panels = [*dict.fromkeys((each.scene, each.backhaul) for each in compared)]
    figure = Figure((12, 6), layout="constrained")
    axes = figure.subplots(len(BACKHAULS), len(panels) // len(BACKHAULS), sharex=True, squeeze=False)
    for (scene, backhaul), panel in zip(panels, axes.T.flat, strict=True):
        own = [each for each in compared if (each.scene, each.backhaul) == (scene, backhaul)]
        load = [100 * each.busy for each in own]
        lines = {
            "vehicle and server": [each.outcomes["vehicle and server"] for each in own],
            "vehicle and roadside unit": [each.outcomes["vehicle and roadside unit"] for each in own],
            "best of two tiers": [each.outcomes[each.two] for each in own],
            "best of three tiers": [each.outcomes[each.three] for each in own],
        }
        for (name, outcomes), style in zip(lines.items(), ("s:", "^:", "o-", "D-"), strict=True):
            p50 = [outcome.p50 if np.isfinite(outcome.p50) else np.nan for outcome in outcomes]
            panel.plot(load, p50, style, label=name, markersize=5)
        panel.set_title(f"{scene.vehicles} x {scene.rate:g} frames/s, backhaul {backhaul:g} Mbit/s", fontsize=9)
        panel.set_ylim(0, None)
        panel.grid(alpha=0.3)
    for panel in axes[-1]:
        panel.set_xlabel("server busy with others, %")
    for panel in axes[:, 0]:
        panel.set_ylabel("p50, ms")
    axes[0, 0].legend(fontsize="small")
    return figure


_PAGE = """# Three tiers

Whether a roadside unit that runs the middle of the network, between a vehicle and a server, is worth it. {verdict}

Bundle `{bundle}`; the contract between edge and server is the same everywhere. [middle.md](../middle.md) says how such
a unit is run.

## The parts in series are the suffix

The raw outputs of middle and rest in series against those of the whole suffix, for {pictures} pictures, one of each
simulated street; the difference is relative to each output's largest number.

{parity}

## What a division costs

Milliseconds of processor time on one thread, the median of {timed} pictures, decoding and packing included, and
kilobytes before and after compression.

{costs}

One vehicle's bottlenecks at 10 frames/s through live nodes on this machine, from the bottleneck's stamp to the last
result; `whole` is a roadside unit that passes bottlenecks on:

{live}

## Three tiers against two

Simulated from these times, {seconds} s each. Vehicle, roadside unit and server are {slowness} times slower than this
machine; the latter two have {workers} workers each. Between each vehicle and the rest is a radio of {radio} Mbit/s.
Machines take each vehicle's newest frame in turn, as the nodes do, and answers that are older than {oldest} s do not
count. p50 is of all frames that were sent: one without an answer counts as endless. The best of two tiers is the best
of: the vehicle alone, all vehicles at the server, all at the roadside unit, and every way to share the vehicles out
between those two. *Gain* is how many times the p50 of three tiers the best two take; from {enough} on, three count as
better.

![p50 by the load of the server](tiers.png)

{cases}

## Repairing a division

The network as a chain of layers over the three machines, one link with the rate of a trace, looked at every {step} s.
A repair keeps the present division while it is at most {tolerance} slower than the optimum (dynamic programming), and
else moves each cut no further than it has to.

{repair}

`make bench` makes this page; the traces are those that `--traces` names. Measured on: {machine}.
"""

if __name__ == "__main__":
    main()
