"""Real drives, live: an edge that answers by a deadline behind a relay that follows traces of real links.

ros2_ws/run python -m mtl_split_lab.bench.drives --traces FILE... --worst 60 --policies fixed predictive
"""

import argparse
import itertools
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mtl_split.msg import AnswerInfo
from tqdm import tqdm

from mtl_split_core.bundle import Bundle, load_bundle
from mtl_split_core.control.policy import FIXED, LADDER, PREDICTIVE
from mtl_split_core.share import bundle_folder
from mtl_split_lab.adaptation.traces import Trace, read_trace
from mtl_split_lab.bench.answers import DEADLINE
from mtl_split_lab.bench.drive_listener import Drive
from mtl_split_lab.bench.link_runs import BY_DEADLINE, Run, measure
from mtl_split_lab.bench.namespaces import Condition, NoLinkError
from mtl_split_lab.machine import machine_in_words
from mtl_split_lab.markdown import table
from mtl_split_ros.graph import Value
from mtl_split_ros.messages import SOURCES

RATE = 10.0
"""Frames per second."""

FAST = 50.0
"""Mbit/s of a link until its trace begins."""

CHOSEN = "chosen/"
"""What the counts of actions in the edge's diagnostics begin with."""


@dataclass(frozen=True)
class Row:
    """What became of the frames of one drive with one policy.

    trace: name of the trace, or of the link without one; begin, seconds: which part of it; loss: part of the packets
    that got lost, 0 to 1; frames: of the camera; lost: those of them that the edge did not receive, or replaced by
    newer ones before it began with them; answered: of the others, how many had all results at the consumer by DEADLINE,
    and server: how many had them from the server by then, both 0 to 1; late: how many, by the edge's own account;
    value: mean worth of what the consumer had at the deadline, 0 for nothing, by the bundle's manifest, None where it
    has no values; p50, p99: of the ages of answers, in milliseconds; bytes: of messages sent for each frame, copies
    included; milliseconds: of the vehicle's processor for own answers, per second; sources, points: how many answers
    came from where, and how many frames were sent at which operating point; chosen: how often each action was;
    recovered: seconds from the end of each outage of LONG seconds or more to the server's first answer.
    """

    trace: str
    begin: float
    seconds: float
    loss: float
    policy: str
    frames: int
    lost: int
    answered: float
    server: float
    late: int
    value: float | None
    p50: float
    p99: float
    bytes: float
    milliseconds: float
    sources: Mapping[str, int]
    points: Mapping[str, int]
    chosen: Mapping[str, int]
    recovered: Sequence[float]


def main() -> int:
    """Drive every trace with every policy, one after the other, and write the rows as JSON and as a table."""
    parser = argparse.ArgumentParser(prog="drives", description=main.__doc__)
    parser.add_argument("--traces", type=Path, nargs="*", default=[], help="CSV files; none: a link of one rate")
    parser.add_argument("--begin", type=float, default=0.0, help="where in each trace, in seconds")
    parser.add_argument("--seconds", type=float, help="how long (default: to the trace's end; without a trace 60)")
    parser.add_argument(
        "--worst",
        type=float,
        metavar="SECONDS",
        help="of each trace the part around its longest outage, so long or longer; all of a short one",
    )
    parser.add_argument(
        "--policies",
        nargs="+",
        default=[FIXED, LADDER, PREDICTIVE],
        metavar="POLICY",
        help="as the edge's parameter; fixed:POINT and fixed:POINT:2 name an operating point, and copies",
    )
    parser.add_argument("--rates", type=float, nargs="+", default=[5.0], help="Mbit/s of links without a trace")
    parser.add_argument("--losses", type=float, nargs="+", default=[0.0], help="parts of the packets that get lost")
    parser.add_argument("--frames-per-second", type=float, default=RATE)
    parser.add_argument("--bundle", default="street")
    parser.add_argument("--parameters", nargs="*", default=[], metavar="NAME=VALUE", help="of the edge, values in JSON")
    parser.add_argument("--out", type=Path, default=Path("out/drives.json"), help="drives that are in it are left out")
    parser.add_argument("--again", action="store_true", help="drive anew what is in it")
    options = parser.parse_args()
    bundle = load_bundle(bundle_folder(options.bundle))
    if options.traces:
        parts = [(path, *_part(read_trace(path), options)) for path in options.traces]
        links = [(Condition(FAST, loss, *part), seconds) for *part, seconds in parts for loss in options.losses]
    else:
        pairs = itertools.product(options.rates, options.losses)
        links = [(Condition(rate, loss), options.seconds or 60.0) for rate, loss in pairs]
    given = {name: json.loads(value) for name, _, value in (part.partition("=") for part in options.parameters)}
    wanted = [(link, seconds, policy) for link, seconds in links for policy in options.policies]
    done = set() if options.again else {_drive(asdict(row)) for row in read_rows(options.out)}
    try:
        for link, seconds, policy in tqdm(wanted, "drives"):
            if (_name(link), link.begin, seconds, link.loss, policy) in done:
                continue
            parameters = {**given, **parameters_of(policy)}
            run = measure(bundle, BY_DEADLINE, link, seconds, rate=options.frames_per_second, **parameters)
            write([row_of(bundle, run, policy, link, seconds)], options.out)
    except NoLinkError as error:
        print(f"drives: skipped: {error}", file=sys.stderr)
        return 0
    print(markdown(read_rows(options.out)))
    return 0


def _part(trace: Trace, options: argparse.Namespace) -> tuple[float, float]:
    if options.worst:
        return trace.worst_part(options.worst)
    return options.begin, options.seconds or trace.duration - options.begin


def _name(link: Condition) -> str:
    return link.trace.stem if link.trace else f"{link.rate:g} Mbit/s"


def parameters_of(policy: str) -> dict[str, Value]:
    """Return the edge's parameters for a policy as it is named here: fixed may have an operating point and copies."""
    name, *further = policy.split(":")
    if name != FIXED:
        return {"policy": policy}
    point, copies, *_ = (*further, *("", "1")[len(further) :])
    return {"policy": FIXED, "operating_point": point, "copies": int(copies), "max_payload_bytes": 100_000}


def row_of(bundle: Bundle, run: Run, policy: str, link: Condition, seconds: float) -> Row:
    """Judge a drive."""
    drive, answers = run.drive, run.answers
    assert drive is not None
    told = drive.told
    received = len(told.keys() | drive.sent.keys())
    ages = [1e3 * one.age for one in told.values()] or [float("nan")]
    in_time = [one for one in told.values() if not one.late]
    chosen = {name.removeprefix(CHOSEN): round(drive.more(name)) for name in drive.after if name.startswith(CHOSEN)}
    p50, p99 = np.percentile(ages, (50, 99))
    return Row(
        trace=_name(link),
        begin=link.begin,
        seconds=seconds,
        loss=link.loss,
        policy=policy,
        frames=answers.frames,
        lost=answers.frames - received,
        answered=min(1.0, answers.in_time / received) if received else 0.0,
        server=sum(one.source == AnswerInfo.SERVER for one in in_time) / received if received else 0.0,
        late=sum(one.late for one in told.values()),
        value=_value(bundle, [(one.source, one.operating_point) for one in in_time], received),
        p50=float(p50),
        p99=float(p99),
        bytes=sum(drive.sent.values()) / max(1, answers.frames),
        milliseconds=1e3 * drive.more("own_seconds") / seconds,
        sources=dict(Counter(SOURCES[one.source] for one in told.values())),
        points=dict(Counter(one.operating_point or "none" for one in told.values())),
        chosen=chosen,
        recovered=_recoveries(drive, link, seconds),
    )


def _recoveries(drive: Drive, link: Condition, seconds: float) -> list[float]:
    if link.trace is None:
        return []
    heard = [
        (stamp - drive.begin) / 1e9 + one.age for stamp, one in drive.told.items() if one.source == AnswerInfo.SERVER
    ]
    recovered = read_trace(link.trace).recoveries(heard, link.begin, seconds)
    return [round(each, 3) for each in recovered]


def _value(bundle: Bundle, answers: Sequence[tuple[int, str]], frames: int) -> float | None:
    values = bundle.values
    if values is None or not frames:
        return None
    worth = [
        values.server[point] if source == AnswerInfo.SERVER else values.own.get(SOURCES[source], 0.0)
        for source, point in answers
    ]
    return sum(worth) / frames


def write(rows: Sequence[Row], path: Path) -> None:
    """Write rows into a JSON file, in the place of earlier ones of the same drives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = [asdict(row) for row in rows]
    kept = [row for row in map(asdict, read_rows(path)) if _drive(row) not in map(_drive, new)]
    rows_in_order = sorted([*kept, *new], key=_drive)
    path.write_text(json.dumps({"machine": machine_in_words(), "rows": rows_in_order}, indent=1) + "\n")


def read_rows(path: Path) -> list[Row]:
    """Return the rows that `write` wrote into a file, none where there is no file yet."""
    return [Row(**row) for row in json.loads(path.read_text())["rows"]] if path.exists() else []


def _drive(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("trace", "begin", "seconds", "loss", "policy"))


def markdown(rows: Sequence[Row]) -> str:
    """Return the rows as a table."""
    by = f"by {DEADLINE * 1e3:.0f} ms"
    heads = (
        f"link|seconds|lost|policy|frames|{by}|late|from the server|worth|p50, ms|p99, ms|bytes|own ms/s|back after, s"
    )
    return table(
        heads,
        [
            [
                row.trace,
                f"{row.begin:.0f} to {row.begin + row.seconds:.0f}",
                f"{row.loss:.0%}",
                row.policy,
                f"{row.frames:,}",
                f"{row.answered:.1%}",
                str(row.late),
                f"{row.server:.1%}",
                "-" if row.value is None else f"{row.value:.3f}",
                f"{row.p50:.0f}",
                f"{row.p99:.0f}",
                f"{row.bytes:,.0f}",
                f"{row.milliseconds:.0f}",
                f"{max(row.recovered):.2f}" if row.recovered else "-",
            ]
            for row in rows
        ],
    )


if __name__ == "__main__":
    raise SystemExit(main())
