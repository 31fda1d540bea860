"""The roadside unit's controller: how long a frame takes with each cut, by what is measured, and which is the next.

Only the present cut is measured. What it says of the machines and of the link is taken to hold for the others, too; and
what nobody has measured for a while is taken to be as at the start, so that a better cut is tried again.
"""

import statistics
import threading
from collections import OrderedDict, defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mtl_split_core.control.link import Fate, Report
from mtl_split_core.control.repair import repair_cut

WHOLE = "whole"
"""The cut with which the whole suffix stays with the server: bottlenecks are passed on as they are."""

TOLERANCE = 0.1
"""The part by which the present cut may be slower than the best: so much is noise."""

RECENT = 7
"""Frames whose median is what a machine or the link takes now."""

NEWEST = 3
SETTLED = 0.25
"""The median of the newest frames differs from that by less than this part where a machine is as slow as it was."""

ENOUGH = 5
"""Frames that have to be answered with a cut before it is changed again."""

OVERDUE = 0.5
"""Seconds without a report after which it is changed all the same."""

MEMORY = 30.0
"""Seconds for which what was measured of machines and link counts."""

CORRECTED = 300.0
"""Seconds for which a correction of what one cut takes counts."""

MOST_IN_FLIGHT = 64
"""Frames of a vehicle whose reports are waited for."""

LEAST_SECONDS = 1e-4
"""On a link, and of a part of the network: what is shorter cannot be measured."""


@dataclass(frozen=True)
class Cost:
    """What a cut costs where nothing else runs: seconds of the unit's and of the server's part, and bytes sent on.

    The server's seconds may be those on another machine: only their ratio counts.
    """

    unit: float
    server: float
    bytes: float


@dataclass(frozen=True)
class _Sent:
    cut: str
    size: int
    at: float


class UnitController:
    """What is known of a roadside unit, its server and the link between them.

    Times are of one monotonic clock, in seconds. Any thread may call any method.
    """

    def __init__(self, costs: Mapping[str, Cost], rate: float) -> None:
        """Begin with what was measured at the start.

        costs: by cut, that of WHOLE among them; rate: bytes per second of the link where none has been measured.
        """
        self._lock = threading.Lock()
        self._cuts = sorted(costs, key=lambda cut: costs[cut].unit)
        self._bytes = {cut: cost.bytes for cut, cost in costs.items()}
        self._unit = _Machine({cut: cost.unit for cut, cost in costs.items()})
        self._server = _Machine({cut: cost.server for cut, cost in costs.items()})
        self._nominal_rate = rate
        self._trips: dict[bool, deque[tuple[float, int, float]]] = defaultdict(lambda: deque(maxlen=RECENT))
        self._in_flight: dict[str, OrderedDict[tuple[int, int], _Sent]] = defaultdict(OrderedDict)
        self._present = ""
        self._answered = 0

    def sent(self, vehicle: str, session: int, sequence: int, cut: str, size: int, took: float, now: float) -> None:
        """Note what goes on to the server of a vehicle's bottleneck.

        size: in bytes; took: seconds on the unit, waiting included.
        """
        with self._lock:
            self._bytes[cut] = size
            if cut != WHOLE:
                self._unit.note(cut, took, now)
            in_flight = self._in_flight[vehicle]
            in_flight[session, sequence] = _Sent(cut, size, now)
            if len(in_flight) > MOST_IN_FLIGHT:
                in_flight.popitem(last=False)

    def reported(self, vehicle: str, report: Report, now: float) -> None:
        """Take in the server's report; that of a frame that is not waited for says nothing."""
        with self._lock:
            in_flight = self._in_flight[vehicle]
            sent = in_flight.get((report.session, report.sequence))
            if sent is None:
                return
            # Reports get lost, and those of older frames come no more.
            while in_flight.popitem(last=False)[1] is not sent:
                pass
            in_server = report.queued + report.service
            self._trips[sent.cut != WHOLE].append((now, sent.size, max(LEAST_SECONDS, now - sent.at - in_server)))
            if report.fate == Fate.ANSWERED:
                self._server.note(sent.cut, in_server, now)
                self._answered += sent.cut == self._present

    def choose(self, present: str, now: float) -> str:
        """Return the cut for the next frames: the present one, unless another is clearly better."""
        with self._lock:
            if present != self._present:
                self._present, self._answered = present, 0
            oldest = min((sent.at for sent in self._waiting()), default=now)
            judged = self._answered >= ENOUGH and self._unit.is_settled(now) and self._server.is_settled(now)
            if not judged and now - oldest < OVERDUE:
                return present
            seconds = np.array([self._expect(cut, now) for cut in self._cuts])
            return self._cuts[repair_cut(seconds, self._cuts.index(present), TOLERANCE)]

    def facts(self, now: float) -> dict[str, str]:
        """Return what is known as key and value pairs."""
        with self._lock:
            delay, rate = self._link(now)
            return {
                **{f"expected_ms/{cut}": f"{self._expect(cut, now) * 1e3:.1f}" for cut in self._cuts},
                "backhaul_ms": f"{delay * 1e3:.1f}",
                "backhaul_mbit_s": f"{rate * 8e-6:.1f}",
                "unit_slowness": f"{self._unit.slowness(now):.2f}",
                "server_slowness": f"{self._server.slowness(now):.2f}",
            }

    def _waiting(self) -> list[_Sent]:
        """The oldest frame of each vehicle whose report is waited for."""
        return [next(iter(in_flight.values())) for in_flight in self._in_flight.values() if in_flight]

    def _expect(self, cut: str, now: float) -> float:
        """Seconds from a bottleneck's arrival at the unit to its results, with a cut."""
        delay, rate = self._link(now)
        on_link = delay + self._bytes[cut] / rate
        return self._unit.seconds(cut, now) + on_link + self._server.seconds(cut, now)

    def _link(self, now: float) -> tuple[float, float]:
        """The link's delay in seconds, that of a small message, and its rate in bytes per second."""
        for trips in self._trips.values():
            while trips and trips[0][0] < now - MEMORY:
                trips.popleft()
        delay = min((trip for _, _, trip in self._trips[False]), default=0.0)
        rates = [size / max(LEAST_SECONDS, trip - delay) for _, size, trip in self._trips[True]]
        rate = statistics.median(rates) if rates else self._nominal_rate
        for sent in self._waiting():
            # What is still on its way has taken so long at least.
            trip = now - sent.at - self._server.seconds(sent.cut, now) - delay
            if sent.cut != WHOLE and trip > sent.size / rate:
                rate = sent.size / trip
        return delay, rate


class _Machine:
    """How long a part of the network takes on a machine by its cut, and how slow the machine is now.

    The first cut that is measured tells of the machine; the first times of every other cut correct what was reckoned
    for that one, and all later ones are the machine's again. Medians of two are the lower one: what holds up a frame
    makes it longer only.
    """

    def __init__(self, seconds: Mapping[str, float]) -> None:
        self._nominal = {cut: max(LEAST_SECONDS, each) for cut, each in seconds.items()}
        self._known = ""
        self._corrections: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self._slowness: deque[tuple[float, float]] = deque(maxlen=RECENT)

    def note(self, cut: str, seconds: float, now: float) -> None:
        """Take in how long a frame took."""
        self._known = self._known or cut
        of_all, of_cut = self.slowness(now), self._correction(cut, now)
        ratio = max(LEAST_SECONDS, seconds) / self._nominal[cut]
        corrections = self._corrections[cut]
        if cut != self._known and len(corrections) < ENOUGH:
            corrections.append((now, ratio / of_all))
        else:
            corrections[:] = [(now, value) for _, value in corrections]
            self._slowness.append((now, ratio / of_cut))

    def seconds(self, cut: str, now: float) -> float:
        """How long a frame takes with a cut."""
        return self._nominal[cut] * self._correction(cut, now) * self.slowness(now)

    def slowness(self, now: float) -> float:
        """How many times slower than at the start the machine is."""
        while self._slowness and self._slowness[0][0] < now - MEMORY:
            self._slowness.popleft()
        return statistics.median_low(self._ratios()) if self._slowness else 1.0

    def is_settled(self, now: float) -> bool:
        """Whether the machine is as slow as it was a few frames ago."""
        slowness, newest = self.slowness(now), self._ratios()[-NEWEST:]
        return not newest or abs(statistics.median(newest) / slowness - 1) < SETTLED

    def _ratios(self) -> list[float]:
        return [ratio for _, ratio in self._slowness]

    def _correction(self, cut: str, now: float) -> float:
        corrections = self._corrections[cut]
        if corrections and corrections[-1][0] < now - CORRECTED:
            corrections.clear()
        return statistics.median_low(value for _, value in corrections) if corrections else 1.0
