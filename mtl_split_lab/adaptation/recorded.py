"""A trace of a link that one drove over oneself: from recorded bottlenecks, and the reports of what became of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mtl_split.msg import Bottleneck, LinkReport

from mtl_split_core.control.link import OUTAGE, REPORTED
from mtl_split_core.errors import InputError
from mtl_split_lab.adaptation.simulator import BOTTLENECK_OVERHEAD
from mtl_split_lab.adaptation.traces import Trace
from mtl_split_lab.recordings.bags import Bag, deserialize, open_bag
from mtl_split_ros.messages import type_name

LEAST = 1e-3
"""Seconds between two moments of a trace at least, and which a bottleneck takes at least."""


@dataclass
class Crossing:
    """One bottleneck on the link.

    sent: in seconds; size: bytes, with all that carries them; arrived: in seconds, None where its report is missing;
    lost: whether others tell that it never arrived.
    """

    sent: float
    size: int
    arrived: float | None = None
    lost: bool = False


def trace_of_bag(path: Path, namespace: str = "") -> Trace:
    """Make a trace of the bottlenecks and link reports that a bag has of a vehicle.

    namespace: of the vehicle, where there are several. Raises InputError for a damaged bag, and where it has no
    bottlenecks with reports.
    """
    with open_bag(path) as bag:
        sent_on = _find(bag, path, type_name(Bottleneck), "bottleneck", namespace)
        told_on = _find(bag, path, type_name(LinkReport), "link_report", namespace)
        crossings: dict[tuple[int, int], Crossing] = {}
        begin: int | None = None
        for topic, recorded, data in bag.messages([sent_on, told_on]):
            begin = recorded if begin is None else begin
            now = (recorded - begin) * 1e-9
            if topic == sent_on:
                bottleneck = deserialize(data, Bottleneck, topic)
                size = len(bottleneck.payload) + BOTTLENECK_OVERHEAD
                crossings.setdefault((bottleneck.session, bottleneck.sequence), Crossing(now, size))
            else:
                _take_in(crossings, deserialize(data, LinkReport, topic), now)
    try:
        return trace_of(sorted(crossings.values(), key=lambda crossing: crossing.sent))
    except InputError as error:
        raise InputError(f"{path} makes no trace: {error}") from error


def trace_of(crossings: Sequence[Crossing]) -> Trace:
    """Make a trace of bottlenecks in the order in which they were sent.

    The rate while one was on its way is what it takes to carry it in that time, its report's way back included: a lower
    bound, by which a simulated bottleneck takes as long as the real one did. OUTAGE lost ones or more in a row are an
    outage. Raises InputError for fewer than two that arrived.
    """
    rows: list[tuple[float, float]] = []
    arrived, missing = -np.inf, list[float]()
    for crossing in crossings:
        if crossing.lost:
            missing.append(crossing.sent)
        if crossing.arrived is None:
            continue
        if len(missing) >= OUTAGE:
            rows.append((missing[0], 0.0))
        missing.clear()
        # What was sent before it has to arrive first.
        begin = max(crossing.sent, arrived)
        arrived = max(crossing.arrived, begin + LEAST)
        rows.append((begin, 8 * crossing.size / (arrived - begin)))
    if len(rows) < 2:
        raise InputError(f"{len(rows)} bottlenecks have a report, expected two or more")
    moments, rates = map(np.array, zip(*rows, strict=True))
    later = np.append(True, np.diff(np.maximum.accumulate(moments)) >= LEAST)
    return Trace(moments[later] - moments[0], rates[later])


def _find(bag: Bag, path: Path, kind: str, name: str, namespace: str) -> str:
    topics = [topic for topic, found in bag.types.items() if found == kind and topic.endswith(f"/{name}")]
    wanted = [topic for topic in topics if topic.strip("/") == f"{namespace.strip('/')}/{name}".strip("/")]
    if namespace and wanted:
        return wanted[0]
    if namespace or len(topics) != 1:
        expected = f"of {namespace}" if namespace else "of one vehicle, or a namespace to choose"
        raise InputError(f"{path} has {topics or 'nothing'} as {kind}, expected {name} {expected}")
    return topics[0]


def _take_in(crossings: dict[tuple[int, int], Crossing], report: LinkReport, now: float) -> None:
    told = crossings.get((report.session, report.sequence))
    if told is None:
        return
    in_server = report.queued + report.service
    if told.arrived is None and np.isfinite(in_server) and 0 <= in_server < now - told.sent:
        told.arrived, told.lost = now - in_server, False
    for behind in range(1, REPORTED):
        before = crossings.get((report.session, report.sequence - behind))
        if before is not None and before.arrived is None:
            before.lost = not report.received >> behind & 1
