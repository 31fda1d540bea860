"""The edge's controller: what is known of link, clock and processor, and the policy that chooses by it."""

import statistics
import threading
from collections import deque
from collections.abc import Iterable, Mapping

from mtl_split_core.bundle import Bundle
from mtl_split_core.control.link import Account, Link, LinkState, Report
from mtl_split_core.control.policy import (
    BUSY_WINDOW,
    SLACK,
    Action,
    Menu,
    Own,
    Point,
    Policy,
    Situation,
    best_own,
    reserve,
    send_again_at,
)

NOMINAL = {Own.EXIT: 0.5, Own.WHOLE: 1.0}
"""What own answers are worth where the bundle does not tell: only which of them is better counts then."""

RECENT = 16
"""Own answers of a network from which the time for the next is estimated."""


def is_measured(bundle: Bundle, networks: Iterable[Own]) -> bool:
    """Whether a bundle tells all that policies weigh: how good the answers are, the edge's own too, and the bytes."""
    values, points = bundle.values, bundle.payload_format.operating_points
    return (
        values is not None
        and all(own.value in values.own for own in networks)
        and all(point.name in bundle.median_bytes for point in points)
    )


def menu_of(bundle: Bundle, networks: Iterable[Own], answer_by: float, **limits: float) -> Menu:
    """Return what a bundle has to choose from, by its manifest, with some own networks.

    limits: the further fields of Menu. Of a bundle that is not measured, all points are worth the same.
    """
    values = bundle.values if is_measured(bundle, networks) else None
    points = [
        Point(bundle.median_bytes.get(point.name, 0.0), values.server[point.name] if values else 1.0)
        for point in bundle.payload_format.operating_points
    ]
    own = {own: values.own[own.value] if values else NOMINAL[own] for own in networks}
    return Menu(points, own, answer_by, **limits)


class Controller:
    """One session's. Times are of one monotonic clock, in seconds. Any thread may call any method.

    menu, policy: may be set anew between two frames.
    """

    def __init__(self, menu: Menu, policy: Policy, session: int, own_seconds: Mapping[Own, float]) -> None:
        """Begin with nothing sent; session: as in Bottleneck.msg; own_seconds: what an own answer of each network took.

        own_seconds has each network of the menu.
        """
        self.menu = menu
        self.policy = policy
        self._link = Link(session)
        self._lock = threading.Lock()
        self._own = {own: deque([seconds], maxlen=RECENT) for own, seconds in own_seconds.items()}
        self._computed: deque[tuple[float, float]] = deque()
        self._own_seconds = 0.0
        self._copies = 0

    def observe(self, age: float, now: float) -> Situation:
        """Return what is known of a frame whose image has an age, in seconds."""
        with self._lock:
            while self._computed and self._computed[0][0] < now - BUSY_WINDOW:
                self._computed.popleft()
            busy = sum(seconds for _, seconds in self._computed) / BUSY_WINDOW
            usual = {own: statistics.median(times) for own, times in self._own.items()}
        return Situation(age, usual, min(1.0, busy), self._link.observe(now))

    def choose(self, situation: Situation) -> Action:
        """Return what to do with a frame, by the policy. Raises as the policy does."""
        return self.policy(self.menu, situation)

    def answer_alone(self, situation: Situation) -> Action:
        """Return what to do with a frame without a policy: nothing is sent, and the edge answers at once."""
        return Action(None, own=best_own(self.menu, situation), at_once=True)

    def sent(self, sequence: int, size: int, copies: int, now: float) -> None:
        """Note a bottleneck that goes out so often: its number, one more than the last one's, and its bytes."""
        self._copies = copies
        self._link.sent(sequence, size, now, copies)

    def sent_again(self, sequence: int, copies: int, now: float) -> None:
        """Note that the newest bottleneck goes out again."""
        self._copies += copies
        self._link.sent_again(sequence, now, copies)

    def send_again_at(self, now: float, deadline: float, link: LinkState | None = None) -> float:
        """Return when the newest bottleneck, which goes out now, is to go out again if unanswered; infinity: never.

        link: what is known of it, None: to be observed.
        """
        return send_again_at(link or self._link.observe(now), now, self._copies, deadline - reserve(self.menu))

    def reported(self, report: Report, now: float) -> Account | None:
        """Take in a link report; see Link.reported."""
        return self._link.reported(report, now)

    def answered(self, sequence: int, now: float) -> None:
        """Note that the server's answer to a bottleneck has come."""
        self._link.answered(sequence, now)

    def computed(self, own: Own, seconds: float, now: float) -> None:
        """Note how long an own answer has taken that is done now, with all that there is to do until it is out."""
        with self._lock:
            self._own[own].append(seconds)
            self._computed.append((now, seconds))
            self._own_seconds += seconds

    @property
    def own_seconds(self) -> float:
        """What all own answers took so far."""
        return self._own_seconds

    def needed(self, own: Own) -> float:
        """Return how many seconds before its deadline an own answer has to begin."""
        with self._lock:
            return max(self._own[own]) + SLACK

    def network_for(self, own: Own, left: float) -> Own:
        """Return the network that is to answer within so many seconds: the chosen one, or else the quickest."""
        with self._lock:
            usual = {each: statistics.median(times) for each, times in self._own.items() if each in self.menu.own}
        return own if usual[own] <= left else min(usual, key=lambda each: usual[each])
