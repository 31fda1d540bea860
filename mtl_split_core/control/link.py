"""What the edge knows of the link: from its own clock and the server's reports, so that no clocks are synchronised."""

import math
import statistics
import threading
from collections import deque
from dataclasses import dataclass
from enum import IntEnum

REPORTED = 64
"""How many bottlenecks a report tells of: the one it is about, and those before it."""

MOST_IN_FLIGHT = 1024
"""Bottlenecks whose reports are waited for; of more, the oldest count as lost. At 10 per second, 100 s of silence."""

WINDOW = 1.0
"""Seconds over which acknowledged bytes become a rate."""

RECENT = 16
"""Reports from which times are taken."""


class Fate(IntEnum):
    """What became of a bottleneck at the server, with the numbers of LinkReport.msg."""

    ANSWERED = 0
    """Its results were published."""
    REPLACED = 1
    """A newer one came before a worker was free."""
    UNTIMELY = 2
    """Its image was too old or of the future, on arrival, before its turn, or when the results were there."""
    FAILED = 3
    """It could not be decoded, or the network had no finite answer."""


@dataclass(frozen=True)
class Report:
    """What the server says of one bottleneck: the fields of LinkReport.msg, its times in seconds."""

    session: int
    sequence: int
    received: int
    queued: float
    service: float
    fate: Fate


@dataclass(frozen=True)
class LinkState:
    """What is known of the link at one moment: all that a policy may see of it. Times in seconds.

    silence: since the last report, infinity before the first; in_flight: bottlenecks sent that no report has told of
    yet; oldest: since the first of them was sent, 0 without any; rate: bytes per second that were acknowledged of late,
    which is a lower bound of what the link carries; loss: the part of the last REPORTED bottlenecks that never arrived,
    0 to 1; round_trip: the median of the recent ones, without the time in the server, infinity before the first
    report; server: the median time in the server, queue and service; unanswered: the part of the recent bottlenecks
    that arrived and were not answered, 0 to 1.
    """

    silence: float = math.inf
    in_flight: int = 0
    oldest: float = 0.0
    rate: float = 0.0
    loss: float = 0.0
    round_trip: float = math.inf
    server: float = 0.0
    unanswered: float = 0.0


@dataclass(frozen=True)
class Account:
    """What one report told.

    arrived, lost: how many bottlenecks it settled; round_trip: seconds of the reported one from sending to the report,
    but for those in the server.
    """

    arrived: int
    lost: int
    round_trip: float


@dataclass(frozen=True)
class _Sent:
    sequence: int
    size: int
    at: float


class Link:
    """The memory of one session of the edge. Times are of one monotonic clock. Any thread may call any method."""

    def __init__(self, session: int) -> None:
        """Begin with nothing sent; session: as in Bottleneck.msg."""
        self._session = session
        self._lock = threading.Lock()
        self._flight: deque[_Sent] = deque()
        self._settled: deque[bool] = deque(maxlen=REPORTED)
        self._acknowledged: deque[tuple[float, int]] = deque()
        self._recent: deque[tuple[float, float, bool]] = deque(maxlen=RECENT)
        self._reported_at = -math.inf

    def sent(self, sequence: int, size: int, now: float) -> None:
        """Note a bottleneck that goes out: its number, one more than the last one's, and its payload's bytes."""
        with self._lock:
            self._flight.append(_Sent(sequence, size, now))
            if len(self._flight) > MOST_IN_FLIGHT:
                self._flight.popleft()
                self._settled.append(False)

    def reported(self, report: Report, now: float) -> Account | None:
        """Take in a report; returns None for one that says nothing new: repeated, overtaken, or of another session."""
        with self._lock:
            if report.session != self._session or not self._is_in_flight(report.sequence):
                return None
            arrived = lost = 0
            own = self._flight[0]
            while self._flight and self._flight[0].sequence <= report.sequence:
                own = self._flight.popleft()
                behind = report.sequence - own.sequence
                has_arrived = behind == 0 or (behind < REPORTED and bool(report.received >> behind & 1))
                self._settled.append(has_arrived)
                arrived, lost = arrived + has_arrived, lost + (not has_arrived)
                if has_arrived:
                    self._acknowledged.append((now, own.size))
            self._forget(now)
            in_server = report.queued + report.service
            round_trip = max(0.0, now - own.at - in_server)
            self._recent.append((round_trip, in_server, report.fate == Fate.ANSWERED))
            self._reported_at = now
            return Account(arrived, lost, round_trip)

    def observe(self, now: float) -> LinkState:
        """Return what is known now."""
        with self._lock:
            if not self._recent:
                return LinkState(in_flight=len(self._flight), oldest=self._oldest(now), loss=self._loss())
            self._forget(now)
            trips, in_server, answered = zip(*self._recent, strict=True)
            return LinkState(
                silence=now - self._reported_at,
                in_flight=len(self._flight),
                oldest=self._oldest(now),
                rate=sum(size for _, size in self._acknowledged) / WINDOW,
                loss=self._loss(),
                round_trip=statistics.median(trips),
                server=statistics.median(in_server),
                unanswered=1 - sum(answered) / len(answered),
            )

    def _is_in_flight(self, sequence: int) -> bool:
        return bool(self._flight) and self._flight[0].sequence <= sequence <= self._flight[-1].sequence

    def _oldest(self, now: float) -> float:
        return now - self._flight[0].at if self._flight else 0.0

    def _loss(self) -> float:
        return 1 - sum(self._settled) / len(self._settled) if self._settled else 0.0

    def _forget(self, now: float) -> None:
        while self._acknowledged and self._acknowledged[0][0] < now - WINDOW:
            self._acknowledged.popleft()
