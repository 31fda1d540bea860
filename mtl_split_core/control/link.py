"""What the edge knows of the link: from its own clock and the server's reports, so that no clocks are synchronised."""

import math
import statistics
import threading
from collections import deque
from dataclasses import dataclass, replace
from enum import IntEnum

REPORTED = 64
"""How many bottlenecks a report tells of: the one it is about, and those before it."""

MOST_IN_FLIGHT = 1024
"""Bottlenecks whose reports are waited for; of more, the oldest are forgotten. At 10 per second, 100 s of silence."""

WINDOW = 1.0
"""Seconds over which acknowledged bytes become a rate."""

RECENT = 16
"""Reports of which times and answers are remembered."""

OUTAGE = 5
"""So many bottlenecks that are lost one after the other were lost in an outage, and say nothing of the link's loss."""

OWN_BACKLOG = 0.01
"""Seconds: what waited shorter in the server when a newer one replaced it, or it was too old, came late itself, all at
once with others at the end of an outage: that says nothing of how busy the server is.
"""

LEAST_SPREAD = 0.005
"""Seconds by which times on a link differ at least."""

RISE = 0.25
"""The part of the way by which an estimate of a time follows a longer one; a shorter one it takes at once, because what
waited for the end of an outage says nothing of the time after it.
"""


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
    HOPELESS = 4
    """It was given up, because its results could not have come by the server's deadline any more."""


@dataclass(frozen=True)
class Report:
    """What the server says of one bottleneck: the fields of LinkReport.msg, its times in seconds."""

    session: int
    sequence: int
    received: int
    queued: float
    service: float
    fate: Fate
    copies: int = 1


@dataclass(frozen=True)
class LinkState:
    """What is known of the link at one moment: all that a policy may see of it. Times in seconds.

    silence: since the last report, infinity before the first; in_flight: bottlenecks sent that no report has told of
    yet; overdue: those of them whose reports should be there by now; oldest, newest: since the first and the last of
    them were sent, 0 without any; idle: since anything was sent, infinity before; rate: bytes per second that were
    acknowledged of late, which is a lower bound of what the link carries; loss: the part of what was sent, copies
    included, that never arrived, 0 to 1, of the last REPORTED bottlenecks without those of outages; round_trip: what it
    takes now, without the time in the server, infinity before the first report; spread: how much longer the slowest of
    the recent ones took than the median; server: the time in the server now, queue and service; unanswered: the part of
    the recent bottlenecks that the server did not answer because it was busy or failed, 0 to 1; expected: after which a
    bottleneck's report should be there, as four of five of the recent ones were, infinity before the first.
    """

    silence: float = math.inf
    in_flight: int = 0
    overdue: int = 0
    oldest: float = 0.0
    newest: float = 0.0
    idle: float = math.inf
    rate: float = 0.0
    loss: float = 0.0
    round_trip: float = math.inf
    spread: float = 0.0
    server: float = 0.0
    unanswered: float = 0.0
    expected: float = math.inf


@dataclass(frozen=True)
class Account:
    """What one report told.

    arrived, lost: how many bottlenecks it settled; round_trip: seconds of the reported one from sending to the report,
    but for those in the server.
    """

    arrived: int
    lost: int
    round_trip: float


@dataclass
class _Settled:
    sequence: int
    sent: int
    arrived: int


@dataclass(frozen=True)
class _Sent:
    sequence: int
    size: int
    at: float
    first: int
    copies: int


class Link:
    """The memory of one session of the edge. Times are of one monotonic clock. Any thread may call any method."""

    def __init__(self, session: int) -> None:
        """Begin with nothing sent; session: as in Bottleneck.msg."""
        self._session = session
        self._lock = threading.Lock()
        self._flight: deque[_Sent] = deque()
        self._settled: deque[_Settled] = deque(maxlen=REPORTED)
        self._acknowledged: deque[tuple[float, int]] = deque()
        self._recent: deque[bool] = deque(maxlen=RECENT)
        self._trips: deque[float] = deque(maxlen=RECENT)
        self._totals: deque[float] = deque(maxlen=RECENT)
        self._round_trip = self._server = math.inf
        self._reported_at = self._sent_at = -math.inf

    def sent(self, sequence: int, size: int, now: float, copies: int = 1) -> None:
        """Note a bottleneck that goes out: its number, one more than the last one's, its payload's bytes, how often."""
        with self._lock:
            self._flight.append(_Sent(sequence, size, now, copies, copies))
            self._sent_at = now
            if len(self._flight) > MOST_IN_FLIGHT:
                self._flight.popleft()

    def sent_again(self, sequence: int, now: float, copies: int = 1) -> None:
        """Note that the newest bottleneck goes out again, so often."""
        with self._lock:
            self._sent_at = now
            if self._flight and self._flight[-1].sequence == sequence:
                newest = self._flight[-1]
                self._flight[-1] = replace(newest, copies=newest.copies + copies)
            elif self._settled and self._settled[-1].sequence == sequence:
                self._settled[-1].sent += copies

    def reported(self, report: Report, now: float) -> Account | None:
        """Take in a report; returns None for one that says nothing new: repeated, overtaken, or of another session."""
        with self._lock:
            if report.session != self._session:
                return None
            if not self._is_in_flight(report.sequence):
                self._count_copies(report)
                return None
            arrived: list[_Sent] = []
            lost: list[_Sent] = []
            own = self._flight[0]
            while self._flight and self._flight[0].sequence <= report.sequence:
                own = self._flight.popleft()
                behind = report.sequence - own.sequence
                there = behind == 0 or (behind < REPORTED and bool(report.received >> behind & 1))
                (arrived if there else lost).append(own)
            self._acknowledged.extend((now, one.size) for one in arrived)
            self._settle(own, report, arrived, lost)
            self._forget(now)
            in_server = report.queued + report.service
            round_trip = max(0.0, now - own.at - in_server)
            # After it was sent again, nobody knows which of the two this is about, unless fewer have arrived.
            if own.copies == own.first or report.copies <= own.first or math.isinf(self._round_trip):
                self._round_trip = _follow(self._round_trip, round_trip)
                self._trips.append(round_trip)
                if report.fate != Fate.UNTIMELY or not self._totals:
                    self._totals.append(now - own.at)
            if report.fate in (Fate.ANSWERED, Fate.REPLACED):
                self._server = _follow(self._server, in_server)
            refused = report.fate == Fate.FAILED or in_server >= OWN_BACKLOG
            self._recent.append(report.fate == Fate.ANSWERED or not refused)
            self._reported_at = now
            return Account(len(arrived), len(lost), round_trip)

    def observe(self, now: float) -> LinkState:
        """Return what is known now."""
        with self._lock:
            sent = sum(one.sent for one in self._settled)
            state = LinkState(
                in_flight=len(self._flight),
                oldest=now - self._flight[0].at if self._flight else 0.0,
                newest=now - self._flight[-1].at if self._flight else 0.0,
                idle=now - self._sent_at,
                loss=1 - sum(one.arrived for one in self._settled) / sent if sent else 0.0,
            )
            if not self._recent:
                return state
            self._forget(now)
            state = replace(
                state,
                silence=now - self._reported_at,
                rate=sum(size for _, size in self._acknowledged) / WINDOW,
                round_trip=self._round_trip,
                spread=max(self._trips) - statistics.median(self._trips),
                server=self._server if self._server < math.inf else 0.0,
                unanswered=1 - sum(self._recent) / len(self._recent),
                expected=sorted(self._totals)[len(self._totals) * 4 // 5] + LEAST_SPREAD,
            )
            return replace(state, overdue=sum(now - own.at > state.expected for own in self._flight))

    def _is_in_flight(self, sequence: int) -> bool:
        return bool(self._flight) and self._flight[0].sequence <= sequence <= self._flight[-1].sequence

    def _settle(self, own: _Sent, report: Report, arrived: list[_Sent], lost: list[_Sent]) -> None:
        """Count what was sent and what arrived: of those that are only known to have arrived, not how often."""
        self._settled.extend(_Settled(one.sequence, 1, 1) for one in arrived[:-1] if one.copies == 1)
        if len(lost) < OUTAGE:
            self._settled.extend(_Settled(one.sequence, one.copies, 0) for one in lost)
        self._settled.append(_Settled(own.sequence, own.copies, min(own.copies, report.copies)))

    def _count_copies(self, report: Report) -> None:
        """Take in that more copies of the bottleneck have arrived that was reported last."""
        if self._settled and (last := self._settled[-1]).sequence == report.sequence:
            last.arrived = min(last.sent, max(last.arrived, report.copies))

    def _forget(self, now: float) -> None:
        while self._acknowledged and self._acknowledged[0][0] < now - WINDOW:
            self._acknowledged.popleft()


def _follow(before: float, now: float) -> float:
    return now if now < before or math.isinf(before) else before + RISE * (now - before)
