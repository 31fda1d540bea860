"""The simulator against the live nodes: fixed operating points over the same parts of the same traces.

ros2_ws/run python -m mtl_split_lab.bench.simulated --traces FOLDER --profile FILE --out docs/results
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mtl_split.msg import AnswerInfo
from tqdm import tqdm

from mtl_split_core.bundle import Bundle, load_bundle
from mtl_split_core.control.policy import FIXED, Own
from mtl_split_core.profile import Profile, load_profile
from mtl_split_core.share import bundle_folder
from mtl_split_lab.adaptation.cars import (
    ANSWER_BY,
    RATE,
    SEEN,
    Car,
    Prices,
    cycle_from,
    make_car,
    payload_sizes,
)
from mtl_split_lab.adaptation.simulator import Drive
from mtl_split_lab.adaptation.study import Row, run
from mtl_split_lab.adaptation.traces import Trace, read_trace
from mtl_split_lab.bench.link_runs import BY_DEADLINE, measure
from mtl_split_lab.bench.namespaces import Condition, NoLinkError
from mtl_split_lab.data.drives import find_drives
from mtl_split_lab.machine import machine_in_words
from mtl_split_lab.markdown import table

PAGE = "simulated.md"

TRACES = ("att_lte_driving_up", "tmobile_umts_driving_up", "verizon_evdo_driving_up")
POINTS = (0, 2)
"""Indices of the operating points that are driven at."""

BEFORE = 15.0
"""Seconds before the longest outage at which a drive begins."""

WANTED = 0.02
"""How far apart simulation and nodes may be in what was answered in time."""

START_RATE = 50.0
"""Mbit/s of the link until the trace begins."""


@dataclass(frozen=True)
class Shares:
    """The parts of the frames, 0 to 1, that were answered in time: by anybody, and by the server."""

    answered: float
    served: float


@dataclass(frozen=True)
class Compared:
    """One operating point on one trace, from the second `begin` on."""

    trace: str
    begin: float
    point: str
    live: Shares
    simulated: Shares

    @property
    def apart(self) -> float:
        """The larger of the two differences, 0 to 1."""
        one, other = self.live, self.simulated
        return max(abs(one.answered - other.answered), abs(one.served - other.served))


def compare(bundle: Bundle, profile: Profile, folder: Path, names: Sequence[str], seconds: float) -> Iterator[Compared]:
    """Drive live and simulated, around the longest outage of each trace. Raises as `measure` does."""
    car = make_car(bundle, profile, Own.WHOLE, 1.0, Prices(), Own.WHOLE.value, "")
    sizes = payload_sizes(bundle, [frame for drive in find_drives(SEEN, Path()) for frame in drive.frames()])
    for name in names:
        path = folder / f"{name}.csv"
        trace = read_trace(path)
        begin = begin_before_outage(trace, seconds)
        for point in POINTS:
            live = drive_live(bundle, path, begin, car.points[point], seconds)
            simulated = drive_simulated(car, sizes, trace, begin, point, seconds)
            yield Compared(name, begin, car.points[point], live, simulated)


def begin_before_outage(trace: Trace, seconds: float) -> float:
    """Return where a drive of so many seconds begins that has the longest outage in it, as far as it fits in."""
    outages = trace.outages(0.0)
    begin, _ = max(outages, key=lambda outage: outage[1] - outage[0]) if outages else (0.0, 0.0)
    return max(0.0, min(begin - BEFORE, trace.duration - seconds))


def drive_live(bundle: Bundle, path: Path, begin: float, point: str, seconds: float) -> Shares:
    """Drive with the nodes over a relay."""
    condition = Condition(START_RATE, trace=path, begin=begin)
    found = measure(bundle, BY_DEADLINE, condition, seconds, rate=RATE, policy=FIXED, operating_point=point, copies=1)
    assert found.drive is not None
    in_time = [told for told in found.drive.told.values() if not told.late]
    served = sum(told.source == AnswerInfo.SERVER for told in in_time)
    return Shares(len(in_time) / found.answers.frames, served / found.answers.frames)


def drive_simulated(
    car: Car, sizes: Sequence[tuple[int, ...]], trace: Trace, begin: float, point: int, seconds: float
) -> Shares:
    """Drive with the simulator."""
    count = round(seconds * RATE)
    outcomes = run(car, Row(FIXED, FIXED, point), Drive(cycle_from(sizes, 0, count), RATE, trace, begin=begin))
    sources = [outcome.in_time(ANSWER_BY) for outcome in outcomes]
    served = sum(isinstance(source, int) for source in sources)
    return Shares(sum(source is not None for source in sources) / count, served / count)


def write_page(bundle: Bundle, compared: Sequence[Compared], seconds: float) -> str:
    """Return the page."""
    rows = [
        [
            one.trace,
            f"{one.begin:.0f}",
            one.point,
            *(f"{share:.1%}" for share in (one.live.answered, one.simulated.answered)),
            *(f"{share:.1%}" for share in (one.live.served, one.simulated.served)),
            f"{100 * one.apart:.1f}",
        ]
        for one in compared
    ]
    head = "trace|from second|operating point|in time, live|in time, simulated"
    return _PAGE.format(
        bundle=f"{bundle.name} ({bundle.fingerprint})",
        seconds=seconds,
        rate=RATE,
        deadline=1e3 * ANSWER_BY,
        table=table(f"{head}|by the server, live|by the server, simulated|apart, points", rows),
        most=100 * max(one.apart for one in compared),
        wanted=100 * WANTED,
        machine=machine_in_words(),
    )


def main() -> int:
    """Compare, and write the page; returns 1 where the two are further apart than WANTED, 0 where it is skipped."""
    parser = argparse.ArgumentParser(prog="simulated", description=main.__doc__)
    parser.add_argument("--traces", type=Path, required=True, help="folder of traces")
    parser.add_argument("--names", nargs="+", default=TRACES, help="of the traces (default: %(default)s)")
    parser.add_argument(
        "--profile", type=Path, default=Path("out/profile.json"), help="of this machine (default: %(default)s)"
    )
    parser.add_argument("--bundle", default="street", help="name or folder of a bundle (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each drive (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("docs/results"), help="folder of the page")
    options = parser.parse_args()
    bundle, profile = load_bundle(bundle_folder(options.bundle)), load_profile(options.profile)
    drives = compare(bundle, profile, options.traces, options.names, options.seconds)
    try:
        compared = list(tqdm(drives, "drives", len(options.names) * len(POINTS), unit="drive", disable=None))
    except NoLinkError as error:
        print(f"simulated: skipped: {error}", file=sys.stderr)
        return 0
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / PAGE).write_text(write_page(bundle, compared, options.seconds))
    return int(max(one.apart for one in compared) > WANTED)


_PAGE = """# The simulator against the live nodes

The same parts of the same traces, {seconds:g} s each around their longest outages: once with the nodes over Fast DDS
and a relay between two network namespaces, once [simulated](../adaptation.md#the-simulator). {bundle},
{rate:g} frames per second, the policy `fixed`, and the whole network on the edge for what the server does not answer
within {deadline:g} ms.

{table}

They are at most {most:.1f} points apart; {wanted:g} are wanted.

`python -m mtl_split_lab.bench.simulated` makes this page. Measured on: {machine}.
"""


if __name__ == "__main__":
    sys.exit(main())
