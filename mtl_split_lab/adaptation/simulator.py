"""Vehicles over their links to one server, faster than real time: the nodes' control, with everything around simulated.

`Link`, `Answers`, `Session` and the policies are the objects that the nodes run, and the link is the relay's
`Direction`. Simulated are the times that computing takes, and the server's mailbox with one place for each vehicle.
"""

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from mtl_split_core.control.answers import SLACK, Answers
from mtl_split_core.control.link import Fate, Link, Report
from mtl_split_core.control.policy import Action, Menu, Own, Policy, Situation
from mtl_split_core.session import Arrival, Session
from mtl_split_core.tracks import NONE, Tracks
from mtl_split_lab.adaptation.direction import Direction
from mtl_split_lab.adaptation.traces import Trace

PACKET = 1472
"""Bytes of a datagram that one Ethernet frame carries; what is longer takes several, and is lost with any of them."""

BOTTLENECK_OVERHEAD = 96 + 108 + 14
"""Bytes of a bottleneck beside its payload: the message's other fields, and RTPS, UDP, IP, Ethernet."""
REPORT_BYTES = 56 + 108 + 14
RESULT_BYTES = 3000
"""Bytes of all results of a frame with a dozen objects. They are sent reliably, so that they are lost as one or not."""

MAX_AGE = 1.0
"""The server's parameter max_age, in seconds."""

BUSY_WINDOW = 1.0
"""Seconds over which it is counted what own answers take of the processor."""

AFTER = 1.0
"""Seconds after the last frame's deadline that are simulated."""


@dataclass(frozen=True)
class Times:
    """Seconds that computing takes: from an image to its latents, an own answer by network, and the server's answer."""

    prefix: float
    own: Mapping[Own, float]
    service: float


@dataclass
class Outcome:
    """What became of one frame.

    action: what was chosen for it; source: the index of the operating point whose answer from the server was used, the
    network of an own one, None without an answer; age: of the answer, in seconds, infinity without one; bytes: of
    payloads that were sent; own_seconds: that the edge computed for an own answer, whether or not it was used.
    """

    action: Action = field(default_factory=lambda: Action(None))
    source: int | Own | None = None
    age: float = math.inf
    bytes: int = 0
    own_seconds: float = 0.0

    def in_time(self, answer_by: float) -> int | Own | None:
        """Return the source where the answer was there by the deadline."""
        return self.source if self.age <= answer_by + 1e-9 else None


@dataclass(frozen=True)
class Drive:
    """What one vehicle drives through.

    sizes: bytes of the payload of each frame at each operating point; rate: frames per second; trace: of the link, both
    ways; begin: the second of the trace at which the drive begins; loss: of the Ethernet frames, 0 to 1; delay:
    seconds that the link takes each way beside the rate; seed: of the loss.
    """

    sizes: Sequence[Sequence[int]]
    rate: float
    trace: Trace
    begin: float = 0.0
    loss: float = 0.0
    delay: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Decision:
    """A frame that waits for its action."""

    vehicle: int
    frame: int
    now: float
    situation: Situation


class Simulation:
    """Vehicles with one server. `decisions` yields what is to be decided; each needs an `act` before the next."""

    def __init__(self, menu: Menu, times: Times, drives: Sequence[Drive], workers: int = 1) -> None:
        """Prepare; drives: one of each vehicle; workers: bottlenecks that the server processes in parallel."""
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = itertools.count()
        self._open: Decision | None = None
        self._server = _Server(self.at, times.service, workers)
        self._vehicles = [
            _Vehicle(self, self._server, menu, times, drive, number / len(drives) / drive.rate)
            for number, drive in enumerate(drives)
        ]
        self._end = max(len(drive.sizes) / drive.rate + menu.answer_by + AFTER for drive in drives)
        for number, vehicle in enumerate(self._vehicles):
            for frame in range(len(drives[number].sizes)):
                self.at(vehicle.stamp(frame) + times.prefix, partial(self._ask, number, frame))

    @property
    def outcomes(self) -> list[list[Outcome]]:
        """Of each vehicle's frames; those after the last decision are not settled yet."""
        return [vehicle.outcomes for vehicle in self._vehicles]

    def decisions(self) -> Iterator[Decision]:
        """Simulate until something has to be decided, and so on until the end."""
        while self._events and self._events[0][0] <= self._end:
            now, _, do = heapq.heappop(self._events)
            do(now)
            if self._open is not None:
                yield self._open
                assert self._open is None, "a decision was left without an action"

    def act(self, action: Action) -> None:
        """Decide what was asked for last."""
        assert self._open is not None
        decision, self._open = self._open, None
        self._vehicles[decision.vehicle].act(decision.frame, action, decision.now)

    def foresee(self, points: Sequence[int], copies: int) -> list[float]:
        """Return when the server's answer would be in the vehicle, were the open frame sent, by operating point.

        Infinity for one that would get lost. It is what really will be, as long as no other vehicle is at the server.
        """
        assert self._open is not None
        vehicle = self._vehicles[self._open.vehicle]
        return [vehicle.foresee(self._open.frame, point, copies, self._open.now) for point in points]

    def at(self, moment: float, do: Callable[[float], None]) -> None:
        """Call `do` with the moment when it has come."""
        heapq.heappush(self._events, (moment, next(self._order), do))

    def _ask(self, vehicle: int, frame: int, now: float) -> None:
        self._open = Decision(vehicle, frame, now, self._vehicles[vehicle].look(frame, now))


def simulate(
    policy: Policy, menu: Menu, times: Times, drives: Sequence[Drive], workers: int = 1
) -> list[list[Outcome]]:
    """Return what becomes of the frames of each vehicle; all of them have the same policy."""
    simulation = Simulation(menu, times, drives, workers)
    for decision in simulation.decisions():
        simulation.act(policy(menu, decision.situation))
    return simulation.outcomes


class _Way:
    """One direction of a link, as events."""

    def __init__(self, at: Callable[[float, Callable[[float], None]], None], drive: Drive, name: str) -> None:
        self._at = at
        self._direction = Direction(1.0, drive.loss, random.Random(f"{drive.seed} {name}"))
        self._direction.follow(drive.trace, -drive.begin)
        self._delay = drive.delay
        self._loss = drive.loss
        self._arrivals: dict[bytes, tuple[int, Callable[[float], None]]] = {}
        self._parts: dict[int, int] = {}
        self._names = itertools.count()
        self._messages = itertools.count()
        self._watched = math.inf

    def send(self, now: float, size: int, arrive: Callable[[float], None], whole: bool = False) -> None:
        """Send so many bytes; whole: they get lost as one."""
        message = next(self._messages)
        parts = 1 if whole else math.ceil(size / PACKET)
        self._parts[message] = parts
        for part in range(parts):
            name = next(self._names).to_bytes(8, "big")
            self._arrivals[name] = message, arrive
            self._direction.enter(now, name, size // parts + (part < size % parts))
        self._watch()

    def _watch(self) -> None:
        if (moment := self._direction.next_exit) < math.inf and self._watched == math.inf:
            self._watched = moment
            self._at(moment, self._leave)

    def _leave(self, now: float) -> None:
        self._watched = math.inf
        for name in list(self._direction.leave(now)):
            message, arrive = self._arrivals.pop(name)
            self._parts[message] -= 1
            if not self._parts[message]:
                del self._parts[message]
                if self._delay:
                    self._at(now + self._delay, arrive)
                else:
                    arrive(now)
        self._watch()

    def foresee(self, now: float, size: int, copies: int = 1, whole: bool = False) -> float:
        """Return when the first of so many copies that are sent now will have arrived, infinity where all get lost."""
        parts = 1 if whole else math.ceil(size / PACKET)
        exits = self._direction.foresee(now, math.ceil(size / parts), parts * copies)
        return min(max(exits[copy * parts : (copy + 1) * parts]) for copy in range(copies)) + self._delay


@dataclass(frozen=True)
class _Bottleneck:
    vehicle: "_Vehicle"
    frame: int
    sequence: int
    received: int
    since: float


class _Server:
    """Workers that take the newest bottleneck of each vehicle, the vehicles in turn and never two of one at once."""

    def __init__(self, at: Callable[[float, Callable[[float], None]], None], service: float, workers: int) -> None:
        self._at, self.service, self._free = at, service, workers
        self._waiting: dict[_Vehicle, _Bottleneck] = {}
        self._at_work: dict[_Vehicle, float] = {}

    def put(self, new: _Bottleneck) -> None:
        """Take a bottleneck in; the one that waits, if any, is replaced."""
        replaced = self._waiting.get(new.vehicle)
        self._waiting[new.vehicle] = new
        if replaced is not None:
            new.vehicle.report(replaced, new.since - replaced.since, 0.0, Fate.REPLACED, new.since)
        self._begin(new.since)

    def begins(self, vehicle: "_Vehicle", arrived: float) -> float:
        """Return when a bottleneck's turn would come that arrives then, were there no other vehicle."""
        return max(arrived, self._at_work.get(vehicle, 0.0))

    def _begin(self, now: float) -> None:
        while self._free and (own := next((one for one in self._waiting if one not in self._at_work), None)):
            bottleneck = self._waiting.pop(own)
            if now - own.stamp(bottleneck.frame) > MAX_AGE:
                own.report(bottleneck, now - bottleneck.since, 0.0, Fate.UNTIMELY, now)
                continue
            self._free -= 1
            self._at_work[own] = now + self.service
            self._at(now + self.service, partial(self._done, bottleneck, now))

    def _done(self, bottleneck: _Bottleneck, begun: float, now: float) -> None:
        self._free += 1
        del self._at_work[bottleneck.vehicle]
        late = now - bottleneck.vehicle.stamp(bottleneck.frame) > MAX_AGE
        if not late:
            bottleneck.vehicle.publish(bottleneck.frame, now)
        fate = Fate.UNTIMELY if late else Fate.ANSWERED
        bottleneck.vehicle.report(bottleneck, begun - bottleneck.since, now - begun, fate, now)
        self._begin(now)


class _Vehicle:
    def __init__(
        self, simulation: Simulation, server: _Server, menu: Menu, times: Times, drive: Drive, begin: float
    ) -> None:
        self._at, self._server, self._menu, self._times, self._drive = simulation.at, server, menu, times, drive
        self._begin = begin
        self._up, self._down = (_Way(simulation.at, drive, name) for name in ("up", "down"))
        self._link = Link(session=1)
        self._answers: Answers[int] = Answers(frozenset({"all"}))
        self._session = Session(_Alone(), signed=False, any_stamp=False, tracks=Tracks((), NONE, 0.0))
        self.outcomes = [Outcome() for _ in drive.sizes]
        self._sequences = itertools.count()
        self._computed: deque[tuple[float, float]] = deque()
        self._is_computing = False
        self._wake_at = math.inf

    def stamp(self, frame: int) -> float:
        return self._begin + frame / self._drive.rate

    def look(self, frame: int, now: float) -> Situation:
        while self._computed and self._computed[0][0] < now - BUSY_WINDOW:
            self._computed.popleft()
        busy = sum(seconds for _, seconds in self._computed) / BUSY_WINDOW
        return Situation(now - self.stamp(frame), self._times.own, busy, self._link.observe(now))

    def foresee(self, frame: int, point: int, copies: int, now: float) -> float:
        arrived = self._up.foresee(now, self._drive.sizes[frame][point] + BOTTLENECK_OVERHEAD, copies)
        if arrived == math.inf:
            return math.inf
        return self._down.foresee(self._server.begins(self, arrived) + self._server.service, RESULT_BYTES, whole=True)

    def act(self, frame: int, action: Action, now: float) -> None:
        outcome = self.outcomes[frame]
        outcome.action = action
        sequence = None
        if action.point is not None:
            sequence = next(self._sequences)
            size = self._drive.sizes[frame][action.point]
            outcome.bytes = size * action.copies
            self._link.sent(sequence, size, now)
            for _ in range(action.copies):
                self._up.send(now, size + BOTTLENECK_OVERHEAD, partial(self._arrive, frame, sequence))
        deadline = self.stamp(frame) + self._menu.answer_by
        self._answers.expect(frame, frame, deadline, None if action.at_once else sequence)
        self._begin_own(now)

    def _arrive(self, frame: int, sequence: int, now: float) -> None:
        arrival = Arrival("edge", 1, sequence, round(self.stamp(frame) * 1e9))
        bottleneck = _Bottleneck(self, frame, sequence, self._session.receive(arrival), now)
        if now - self.stamp(frame) > MAX_AGE:
            self.report(bottleneck, 0.0, 0.0, Fate.UNTIMELY, now)
        elif self._session.take(arrival) is not None:
            self._server.put(bottleneck)

    def report(self, bottleneck: _Bottleneck, queued: float, service: float, fate: Fate, now: float) -> None:
        report = Report(1, bottleneck.sequence, bottleneck.received, queued, service, fate)
        self._down.send(now, REPORT_BYTES, partial(self._take_in, report))

    def publish(self, frame: int, now: float) -> None:
        self._down.send(now, RESULT_BYTES, partial(self._hear, frame), whole=True)

    def _take_in(self, report: Report, now: float) -> None:
        if self._link.reported(report, now) is not None:
            self._answers.settle(report.sequence, report.fate == Fate.ANSWERED)
            self._begin_own(now)

    def _hear(self, frame: int, now: float) -> None:
        if self._answers.hear(frame, "all", None) is not None:
            self._close(frame, self.outcomes[frame].action.point, now)
            self._begin_own(now)

    def _begin_own(self, now: float) -> None:
        """Begin with the next own answer, or come back when one is due."""
        if self._is_computing or not self._menu.own:
            return
        found = self._answers.begin(now, max(self._times.own.values()) + SLACK)
        if isinstance(found, float):
            if not now < self._wake_at <= now + found:
                self._wake_at = now + found
                self._at(self._wake_at, self._begin_own)
            return
        frame = found[1]
        own = self.outcomes[frame].action.own
        if own is None:
            self._begin_own(now)
            return
        self._is_computing = True
        seconds = self._times.own[own]
        self.outcomes[frame].own_seconds = seconds
        self._computed.append((now + seconds, seconds))
        self._at(now + seconds, partial(self._done, frame, own))

    def _done(self, frame: int, own: Own, now: float) -> None:
        self._is_computing = False
        if self._answers.finish(frame):
            self._close(frame, own, now)
        self._begin_own(now)

    def _close(self, frame: int, source: int | Own | None, now: float) -> None:
        self.outcomes[frame].source = source
        self.outcomes[frame].age = now - self.stamp(frame)


class _Alone:
    """The only publisher there is: see mtl_split_core.session.Publishers."""

    def may_follow(self, publisher: str, other: str) -> bool:
        return True

    def name(self, publisher: str) -> str:
        return publisher
