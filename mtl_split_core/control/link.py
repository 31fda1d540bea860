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

MINUTE = 60.0
"""Seconds for which the shortest time is remembered: a vehicle that changes its cell may get another one for good."""

OUTAGE = 5
"""So many bottlenecks that are lost one after the other were lost in an outage, and say nothing of the link's loss."""

WAITED = 0.5
"""Seconds on the way after which a bottleneck that arrives has waited for the end of an outage."""

OWN_BACKLOG = 0.01
"""Seconds: what waited shorter in the server when a newer one replaced it, or it was too old, came late itself, all at
once with others at the end of an outage: that says nothing of how busy the server is.
"""

LEAST_SPREAD = 0.005
"""Seconds by which times on a link differ at least."""

LEAST_LOSS = 0.01
"""The loss that is reckoned with where none has been seen, and the chance at least that a report is only late."""

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

    silence: since the last report or answer, infinity before the first report; in_flight: bottlenecks sent that no
    report has told of yet; overdue: those of them, sent after the last that was answered, whose reports should be there
    by now; missing: how probable it is that losses alone keep all of their reports and answers away, 0 to 1; oldest,
    newest: since the first and the last in flight were sent, 0 without any; idle: since a bottleneck was first sent,
    infinity before; rate: bytes per second that were acknowledged of late, a lower bound of what the link carries;
    loss: the part of what was sent, copies included, that never arrived, 0 to 1, of the last REPORTED bottlenecks
    without those of outages, and taken to be that of the way back; round_trip: what it takes now, without the time in
    the server, infinity before the first report; size: bytes of payload, copies included, that it was measured with,
    averaged as it is; shortest: the shortest round trip of the last MINUTE, infinity before the first report; spread:
    how much longer the slowest of the recent ones took than the median; server: the time in the server now, queue and
    service; unanswered: the part of the recent bottlenecks that the server did not answer because it was busy or
    failed, 0 to 1; expected: after which a bottleneck's report should be there, as four of five of the recent ones
    were, infinity before the first; kept: the part of what was sent in outages that came out at their end, as from a
    modem's queue, 0.5 before the first outage.
    """

    silence: float = math.inf
    in_flight: int = 0
    overdue: int = 0
    missing: float = 1.0
    oldest: float = 0.0
    newest: float = 0.0
    idle: float = math.inf
    rate: float = 0.0
    loss: float = 0.0
    round_trip: float = math.inf
    size: float = 0.0
    shortest: float = math.inf
    spread: float = 0.0
    server: float = 0.0
    unanswered: float = 0.0
    expected: float = math.inf
    kept: float = 0.5


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
    """A bottleneck in flight; times: when each of its copies went out; first: how many of them at first."""

    sequence: int
    size: int
    times: tuple[float, ...]
    first: int

    @property
    def at(self) -> float:
        return self.times[0]

    @property
    def copies(self) -> int:
        return len(self.times)


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
        self._kept: deque[bool] = deque(maxlen=REPORTED)
        self._round_trip = self._server = math.inf
        self._size = 0.0
        self._shortest: deque[tuple[float, float]] = deque()
        self._heard_at = self._sent_at = -math.inf
        self._answered = -1

    def sent(self, sequence: int, size: int, now: float, copies: int = 1) -> None:
        """Note a bottleneck that goes out: its number, one more than the last one's, its payload's bytes, how often."""
        with self._lock:
            self._flight.append(_Sent(sequence, size, (now,) * copies, copies))
            self._sent_at = now
            if len(self._flight) > MOST_IN_FLIGHT:
                self._flight.popleft()

    def sent_again(self, sequence: int, now: float, copies: int = 1) -> None:
        """Note that the newest bottleneck goes out again, so often."""
        with self._lock:
            if self._flight and self._flight[-1].sequence == sequence:
                newest = self._flight[-1]
                self._flight[-1] = replace(newest, times=newest.times + (now,) * copies)
            elif self._settled and self._settled[-1].sequence == sequence:
                self._settled[-1].sent += copies

    def answered(self, sequence: int, now: float) -> None:
        """Note that the server's answer to a bottleneck has come: its report may get lost, but there is no outage."""
        with self._lock:
            if self._is_in_flight(sequence):
                self._answered, self._heard_at = max(self._answered, sequence), now

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
            self._kept.extend(True for one in arrived if now - one.at > WAITED)
            if len(lost) >= OUTAGE:
                self._kept.extend(False for _ in lost)
            self._settle(own, report, arrived, lost)
            self._forget(now)
            in_server = report.queued + report.service
            at, is_sure = self._sent_for(own, report, now)
            round_trip = max(0.0, now - at - in_server)
            if is_sure or math.isinf(self._round_trip):
                self._size += (1.0 if round_trip < self._round_trip else RISE) * (own.first * own.size - self._size)
                self._round_trip = _follow(self._round_trip, round_trip)
                self._remember(round_trip, now)
                self._trips.append(round_trip)
            if report.fate != Fate.UNTIMELY or not self._totals:
                self._totals.append(in_server + (round_trip if is_sure else self._round_trip))
            if report.fate in (Fate.ANSWERED, Fate.REPLACED):
                self._server = _follow(self._server, in_server)
            refused = report.fate == Fate.FAILED or in_server >= OWN_BACKLOG
            self._recent.append(report.fate == Fate.ANSWERED or not refused)
            self._heard_at = now
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
            expected = sorted(self._totals)[len(self._totals) * 4 // 5] + LEAST_SPREAD
            overdue = [own for own in self._flight if own.sequence > self._answered and now - own.at > expected]
            return replace(
                state,
                silence=now - self._heard_at,
                overdue=len(overdue),
                missing=math.prod(_chance_to_miss(own, state.loss, now - expected) for own in overdue),
                rate=sum(size for _, size in self._acknowledged) / WINDOW,
                round_trip=self._round_trip,
                size=self._size,
                shortest=self._shortest[0][1],
                spread=max(self._trips) - statistics.median(self._trips),
                server=self._server if self._server < math.inf else 0.0,
                unanswered=1 - sum(self._recent) / len(self._recent),
                expected=expected,
                kept=sum(self._kept) / len(self._kept) if self._kept else 0.5,
            )

    def _sent_for(self, own: _Sent, report: Report, now: float) -> tuple[float, bool]:
        """Return when what a report is about went out, and whether that is sure, where it was sent more than once.

        It is the last sending that the server can have got, worked on, and reported by now. Before that, it is the
        first one, unless more copies have arrived: then it may be what the server repeats.
        """
        least = report.queued + report.service + min(self._trips, default=math.inf) - LEAST_SPREAD
        at = max((one for one in own.times if now - one >= least), default=own.at)
        return at, at > own.at or own.copies == own.first or report.copies <= own.first

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

    def _remember(self, round_trip: float, now: float) -> None:
        """Keep what is the shortest round trip of the last MINUTE, or may become it: later ones that are longer."""
        while self._shortest and self._shortest[-1][1] >= round_trip:
            self._shortest.pop()
        self._shortest.append((now, round_trip))
        while self._shortest[0][0] < now - MINUTE:
            self._shortest.popleft()

    def _forget(self, now: float) -> None:
        while self._acknowledged and self._acknowledged[0][0] < now - WINDOW:
            self._acknowledged.popleft()


def _chance_to_miss(own: _Sent, loss: float, until: float) -> float:
    """Return how probable it is that neither a report nor an answer comes of what was sent until a moment."""
    loss = max(LEAST_LOSS, loss)
    copies = sum(at < until for at in own.times)
    return max(LEAST_LOSS, 1 - (1 - loss**copies) * (1 - loss**2))


def _follow(before: float, now: float) -> float:
    return now if now < before else before + RISE * (now - before)
