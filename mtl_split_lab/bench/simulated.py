"""The simulator against the live nodes: fixed operating points over the same parts of the same traces.

ros2_ws/run python -m mtl_split_lab.bench.drives --traces FILE... --worst 60 --policies fixed:coarsest fixed:default
ros2_ws/run python -m mtl_split_lab.bench.simulated --traces FOLDER --profile FILE
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mtl_split_core.bundle import Bundle, load_bundle
from mtl_split_core.control.policy import FIXED, Own
from mtl_split_core.errors import InputError
from mtl_split_core.profile import Profile, load_profile
from mtl_split_core.share import bundle_folder
from mtl_split_lab.adaptation.cars import ANSWER_BY, SEEN, Car, Prices, cycle_from, make_car, payload_sizes
from mtl_split_lab.adaptation.simulator import Drive
from mtl_split_lab.adaptation.study import Row, run
from mtl_split_lab.adaptation.traces import Trace, read_traces
from mtl_split_lab.bench import drives
from mtl_split_lab.data.drives import find_drives
from mtl_split_lab.machine import machine_in_words
from mtl_split_lab.markdown import table

PAGE = "simulated.md"

WANTED = 0.02
"""How far apart simulation and nodes may be in what was answered in time."""


@dataclass(frozen=True)
class Shares:
    """The parts of the frames, 0 to 1, that were answered in time: by anybody, and by the server."""

    answered: float
    served: float


@dataclass(frozen=True)
class Compared:
    """One drive: what was measured of it, and what was simulated."""

    drive: drives.Row
    live: Shares
    simulated: Shares

    @property
    def apart(self) -> float:
        """The larger of the two differences, 0 to 1."""
        one, other = self.live, self.simulated
        return max(abs(one.answered - other.answered), abs(one.served - other.served))


def compare(bundle: Bundle, profile: Profile, traces: dict[str, Trace], rows: Sequence[drives.Row]) -> list[Compared]:
    """Simulate what was driven live at fixed operating points, sent once, over traces without further loss.

    Raises InputError where there is no such drive.
    """
    car = make_car(bundle, profile, [Own.WHOLE], 1.0, Prices(), Own.WHOLE.value, "")
    sizes = payload_sizes(bundle, [frame for drive in find_drives(SEEN, Path()) for frame in drive.frames()])
    found = []
    for row in rows:
        policy, _, point = row.policy.partition(":")
        if policy == FIXED and point in car.points and row.trace in traces and not row.loss:
            simulated = drive_simulated(car, sizes, traces[row.trace], row, car.points.index(point))
            found.append(Compared(row, Shares(row.answered, row.server), simulated))
    if not found:
        raise InputError(f"there are no drives by {FIXED}:POINT over {sorted(traces)}: run mtl_split_lab.bench.drives")
    return found


def drive_simulated(car: Car, sizes: Sequence[tuple[int, ...]], trace: Trace, row: drives.Row, point: int) -> Shares:
    """Drive with the simulator where a drive was measured."""
    count = round(row.seconds * drives.RATE)
    outcomes = run(car, Row(FIXED, FIXED, point), Drive(cycle_from(sizes, 0, count), drives.RATE, trace, row.begin))
    sources = [outcome.in_time(ANSWER_BY) for outcome in outcomes]
    served = sum(isinstance(source, int) for source in sources)
    return Shares(sum(source is not None for source in sources) / count, served / count)


def write_page(bundle: Bundle, compared: Sequence[Compared]) -> str:
    """Return the page."""
    rows = [
        [
            one.drive.trace,
            f"{one.drive.begin:.0f} to {one.drive.begin + one.drive.seconds:.0f}",
            one.drive.policy.partition(":")[2],
            *(f"{share:.1%}" for share in (one.live.answered, one.simulated.answered)),
            *(f"{share:.1%}" for share in (one.live.served, one.simulated.served)),
            f"{100 * one.apart:.1f}",
        ]
        for one in compared
    ]
    head = "trace|seconds|operating point|in time, live|in time, simulated"
    return _PAGE.format(
        bundle=f"{bundle.name} ({bundle.fingerprint})",
        rate=drives.RATE,
        deadline=1e3 * ANSWER_BY,
        table=table(f"{head}|by the server, live|by the server, simulated|apart, points", rows),
        most=100 * max(one.apart for one in compared),
        wanted=100 * WANTED,
        machine=machine_in_words(),
    )


def main() -> int:
    """Compare, and write the page; returns 1 where the two are further apart than WANTED."""
    parser = argparse.ArgumentParser(prog="simulated", description=main.__doc__)
    parser.add_argument("--traces", type=Path, required=True, help="folder of traces")
    parser.add_argument(
        "--live", type=Path, default=Path("out/drives.json"), help="written by drives (default: %(default)s)"
    )
    parser.add_argument(
        "--profile", type=Path, default=Path("out/profile.json"), help="of this machine (default: %(default)s)"
    )
    parser.add_argument("--bundle", default="street", help="name or folder of a bundle (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("docs/results"), help="folder of the page")
    options = parser.parse_args()
    try:
        bundle, profile = load_bundle(bundle_folder(options.bundle)), load_profile(options.profile)
        compared = compare(bundle, profile, read_traces(options.traces), drives.read_rows(options.live))
    except InputError as error:
        parser.exit(1, f"simulated: {error}\n")
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / PAGE).write_text(write_page(bundle, compared))
    return int(max(one.apart for one in compared) > WANTED)


_PAGE = """# The simulator against the live nodes

The same parts of the same traces, around their longest outages: once with the nodes over Fast DDS and a relay between
two network namespaces, once [simulated](../adaptation.md#the-simulator). {bundle},
{rate:g} frames per second, the policy `fixed`, and the whole network on the edge for what the server does not answer
within {deadline:g} ms. Shares are of the frames that the edge received.

{table}

They are at most {most:.1f} points apart; {wanted:g} are wanted.

`python -m mtl_split_lab.bench.simulated` makes this page. Measured on: {machine}.
"""


if __name__ == "__main__":
    raise SystemExit(main())
