"""Vehicles over their links to one server, faster than real time: the nodes' control, with everything around simulated.

`Controller`, `Answers`, `Session`, `Schedule` and the policies are the objects that the nodes run, and the link is the
relay's `Direction`. Simulated are the times that computing takes, and the server's mailbox, with one place for each
vehicle.
"""

import heapq
import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from mtl_split_core.control.answers import Answers
from mtl_split_core.control.controller import Controller
from mtl_split_core.control.link import Fate, Report
from mtl_split_core.control.policy import MOST_COPIES, Action, Menu, Own, Policy, Situation, predictive
from mtl_split_core.serving import ORDERS, Schedule, Waiting
from mtl_split_core.session import Arrival, Session
from mtl_split_core.tracks import NONE, Tracks
from mtl_split_lab.adaptation.direction import Direction
from mtl_split_lab.adaptation.traces import Trace

At = Callable[[float, Callable[[float], None]], None]
"""Has something called with the moment, in seconds, when that has come."""

SESSION = 1

PACKET = 1472
"""Bytes of a datagram that one Ethernet frame carries; what is longer takes several, and is lost with any of them."""

HEADERS = 160
"""Bytes of RTPS as Fast DDS writes it, UDP, IP and Ethernet around a message."""
BOTTLENECK_OVERHEAD = 96 + HEADERS
"""Bytes of a bottleneck beside its payload: the message's other fields, and what carries it."""
REPORT_BYTES = 56 + HEADERS
ANSWER_BYTES = 1100 + HEADERS
"""Bytes of all results of a frame in a street, and of what carries them."""

ANNOUNCED = 1.5
"""Seconds between two announcements of each side that it is there, as in config/fastdds_link.xml."""
ANNOUNCEMENT_BYTES = 614
ANNOUNCEMENTS = 2
"""So often it is sent each time: to the other side, and to all."""

ORDER = "dysta"
"""The server's parameter order, which counts where it has a deadline."""

MAX_AGE = 1.0
"""The server's parameter max_age, in seconds."""

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
    payloads that were sent, copies included; own_seconds: that the edge computed for an own answer, used or not.
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
    seconds that the link takes each way beside the rate; seed: of the loss; keeps: whether what is sent in an outage
    waits for its end, or is lost.
    """

    sizes: Sequence[Sequence[int]]
    rate: float
    trace: Trace
    begin: float = 0.0
    loss: float = 0.0
    delay: float = 0.0
    seed: int = 0
    keeps: bool = True


@dataclass(frozen=True)
class Decision:
    """A frame that waits for its action."""

    vehicle: int
    frame: int
    now: float
    situation: Situation


class Simulation:
    """Vehicles with one server. `decisions` yields what is to be decided; each needs an `act` before the next."""

    def __init__(
        self, menu: Menu, times: Times, drives: Sequence[Drive], workers: int = 1, deadline: float = math.inf
    ) -> None:
        """Prepare; drives: one of each vehicle; workers, deadline: the server's parameters, see there."""
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = itertools.count()
        self._open: Decision | None = None
        self._server = _Server(self.at, times.service, workers, deadline)
        self._vehicles = [
            _Vehicle(self.at, self._server, menu, times, drive, number / len(drives) / drive.rate)
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

    def foresee(self, point: int, copies: int) -> float:
        """Return the age at which the frame to be decided on would have the server's answer, were it sent like that.

        In seconds; infinity where it would get lost. It is what really will be, as long as no other vehicle is at the
        server, and what is sent later does not get lost on its way back in its stead.
        """
        assert self._open is not None
        return self._vehicles[self._open.vehicle].foresee(self._open.frame, point, copies, self._open.now)

    def spent(self, vehicle: int) -> float:
        """Return what a vehicle has spent on bytes and seconds until now, by the menu's prices."""
        return self._vehicles[vehicle].spent

    def at(self, moment: float, do: Callable[[float], None]) -> None:
        """Call `do` with the moment when it has come."""
        heapq.heappush(self._events, (moment, next(self._order), do))

    def _ask(self, vehicle: int, frame: int, now: float) -> None:
        self._open = Decision(vehicle, frame, now, self._vehicles[vehicle].look(frame, now))


def simulate(
    policy: Policy,
    menu: Menu,
    times: Times,
    drives: Sequence[Drive],
    workers: int = 1,
    deadline: float = math.inf,
) -> list[list[Outcome]]:
    """Return what becomes of the frames of each vehicle; all of them have the same policy. See Simulation."""
    simulation = Simulation(menu, times, drives, workers, deadline)
    for decision in simulation.decisions():
        simulation.act(policy(menu, decision.situation))
    return simulation.outcomes


class _Way:
    """One direction of a link, as events."""

    def __init__(self, at: At, drive: Drive, name: str) -> None:
        self._at = at
        self._direction = Direction(1.0, drive.loss, random.Random(f"{drive.seed} {name}"), keeps=drive.keeps)
        self._direction.follow(drive.trace, -drive.begin)
        self._delay = drive.delay
        self._arrivals: dict[bytes, tuple[int, Callable[[float], None]]] = {}
        self._parts: dict[int, int] = {}
        self._names = itertools.count()
        self._messages = itertools.count()
        self._watched = math.inf

    def send(self, now: float, size: int, arrive: Callable[[float], None]) -> None:
        """Send so many bytes; they get lost with any packet of theirs."""
        message = next(self._messages)
        parts = math.ceil(size / PACKET)
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

    def foresee(self, now: float, size: int, copies: int = 1) -> float:
        """Return when the first of so many copies that are sent now will have arrived, infinity where all get lost."""
        parts = math.ceil(size / PACKET)
        exits = self._direction.foresee(now, math.ceil(size / parts), parts * copies)
        return min(max(exits[copy * parts : (copy + 1) * parts]) for copy in range(copies)) + self._delay


@dataclass
class _Bottleneck:
    vehicle: "_Vehicle"
    frame: int
    sequence: int
    received: int
    since: float
    deadline: float
    told: Report | None = None
    answered: bool = False

    @property
    def waiting(self) -> "Waiting[_Vehicle]":
        return Waiting(self.vehicle, "", self.since, self.deadline)


class _Server:
    """Workers that take the newest bottleneck of each vehicle in the nodes' order, and never two of one at once."""

    def __init__(self, at: At, service: float, workers: int, deadline: float) -> None:
        self._at, self.service, self._free, self.deadline = at, service, workers, deadline
        self._schedule: Schedule[_Vehicle] = Schedule(ORDERS[ORDER], workers=workers)
        self._waiting: dict[_Vehicle, _Bottleneck] = {}
        self._at_work: dict[_Vehicle, float] = {}

    def put(self, new: _Bottleneck) -> None:
        """Take a bottleneck in; the one that waits, if any, is replaced."""
        replaced = self._waiting.get(new.vehicle)
        self._waiting[new.vehicle] = new
        self._schedule.arrive(new.waiting)
        if replaced is not None:
            new.vehicle.report(replaced, new.since - replaced.since, 0.0, Fate.REPLACED, new.since)
        self._begin(new.since)

    def begins(self, vehicle: "_Vehicle", arrived: float) -> float:
        """Return when a bottleneck's turn would come that arrives then, were there no other vehicle."""
        return max(arrived, self._at_work.get(vehicle, 0.0))

    def _begin(self, now: float) -> None:
        while self._free and (ready := [own for own in self._waiting if own not in self._at_work]):
            choice = self._schedule.choose([self._waiting[own].waiting for own in ready], now)
            for own in choice.hopeless:
                given_up = self._waiting.pop(own)
                own.report(given_up, now - given_up.since, 0.0, Fate.HOPELESS, now)
            if choice.next is None:
                return
            bottleneck = self._waiting.pop(choice.next)
            if now - choice.next.stamp(bottleneck.frame) > MAX_AGE:
                choice.next.report(bottleneck, now - bottleneck.since, 0.0, Fate.UNTIMELY, now)
                continue
            self._free -= 1
            self._at_work[choice.next] = now + self.service
            self._at(now + self.service, partial(self._done, bottleneck, now))

    def _done(self, bottleneck: _Bottleneck, begun: float, now: float) -> None:
        own = bottleneck.vehicle
        self._schedule.answered(bottleneck.waiting, begun, now)
        self._free += 1
        del self._at_work[own]
        late = now - own.stamp(bottleneck.frame) > MAX_AGE
        if not late:
            own.publish(bottleneck, now)
        own.report(bottleneck, begun - bottleneck.since, now - begun, Fate.UNTIMELY if late else Fate.ANSWERED, now)
        self._begin(now)


class _Vehicle:
    """A vehicle, its link, and what the server remembers of it."""

    def __init__(self, at: At, server: _Server, menu: Menu, times: Times, drive: Drive, begin: float) -> None:
        self._at, self._server, self._menu, self._times, self._drive = at, server, menu, times, drive
        self._first_stamp = begin
        self._up, self._down = (_Way(at, drive, name) for name in ("up", "down"))
        self._controller = Controller(menu, predictive, SESSION, times.own)
        self._answers: Answers[int] = Answers()
        self._session = Session(_Alone(), signed=False, any_stamp=False, tracks=Tracks((), NONE, 0.0))
        self._newest: _Bottleneck | None = None
        self.outcomes = [Outcome() for _ in drive.sizes]
        self._sequences = itertools.count()
        self._is_computing = False
        self._done: tuple[int, Own] | None = None
        self._wake_at = math.inf
        self.spent = 0.0
        for name, way in (("up", self._up), ("down", self._down)):
            phase = random.Random(f"{drive.seed} {name} announced").uniform(0.0, ANNOUNCED)
            at(begin + phase, partial(self._announce, way))

    def stamp(self, frame: int) -> float:
        return self._first_stamp + frame / self._drive.rate

    def look(self, frame: int, now: float) -> Situation:
        return self._controller.observe(now - self.stamp(frame), now)

    def foresee(self, frame: int, point: int, copies: int, now: float) -> float:
        arrived = self._up.foresee(now, self._drive.sizes[frame][point] + BOTTLENECK_OVERHEAD, copies)
        if arrived == math.inf:
            return math.inf
        answered = self._server.begins(self, arrived) + self._server.service
        return self._down.foresee(answered, ANSWER_BYTES, copies) - self.stamp(frame)

    def _announce(self, way: _Way, now: float) -> None:
        for _ in range(ANNOUNCEMENTS):
            way.send(now, ANNOUNCEMENT_BYTES, lambda _: None)
        self._at(now + ANNOUNCED, partial(self._announce, way))

    def act(self, frame: int, action: Action, now: float) -> None:
        self.outcomes[frame].action = action
        deadline = self.stamp(frame) + self._menu.answer_by
        sequence, again_at = None, math.inf
        if action.point is not None:
            sequence = next(self._sequences)
            self._controller.sent(sequence, self._drive.sizes[frame][action.point], action.copies, now)
            self._send(frame, sequence, action.copies, now)
            if not action.at_once:
                again_at = self._controller.send_again_at(now, deadline)
        self._answers.expect(frame, frame, deadline, sequence, action.own, action.at_once, again_at)
        self._go_on(now)

    def _send(self, frame: int, sequence: int, copies: int, now: float) -> None:
        point = self.outcomes[frame].action.point
        assert point is not None
        size = self._drive.sizes[frame][point]
        self.outcomes[frame].bytes += size * copies
        self.spent += size * copies * self._menu.byte_price
        for _ in range(copies):
            self._up.send(now, size + BOTTLENECK_OVERHEAD, partial(self._arrive, frame, sequence))

    def _arrive(self, frame: int, sequence: int, now: float) -> None:
        """At the server."""
        arrival = Arrival("edge", SESSION, sequence, round(self.stamp(frame) * 1e9))
        if self._session.repeats(arrival):
            self._repeat(sequence, now)
            return
        deadline = self.stamp(frame) + self._server.deadline
        bottleneck = _Bottleneck(self, frame, sequence, self._session.receive(arrival), now, deadline)
        if now - self.stamp(frame) > MAX_AGE:
            self.report(bottleneck, 0.0, 0.0, Fate.UNTIMELY, now)
        elif self._session.take(arrival) is not None:
            self._newest = bottleneck
            self._server.put(bottleneck)

    def _repeat(self, sequence: int, now: float) -> None:
        """At the server, which answers again what it has answered."""
        again, newest = self._session.count_copy(), self._newest
        if newest is None or newest.sequence != sequence or newest.told is None or not again:
            return
        if newest.answered:
            self._down.send(now, ANSWER_BYTES, partial(self._hear, newest.frame, sequence))
        self._tell(newest.told, now)

    def publish(self, bottleneck: _Bottleneck, now: float) -> None:
        """Send the answer, as often as its bottleneck has come."""
        bottleneck.answered = True
        for _ in range(self._session.answers(SESSION, bottleneck.sequence)):
            self._down.send(now, ANSWER_BYTES, partial(self._hear, bottleneck.frame, bottleneck.sequence))

    def report(self, bottleneck: _Bottleneck, queued: float, service: float, fate: Fate, now: float) -> None:
        """Send the report of what became of a bottleneck."""
        bottleneck.told = Report(SESSION, bottleneck.sequence, bottleneck.received, queued, service, fate)
        self._tell(bottleneck.told, now)

    def _tell(self, report: Report, now: float) -> None:
        counted = replace(report, copies=self._session.copies(SESSION, report.sequence))
        self._down.send(now, REPORT_BYTES, partial(self._take_in, counted))

    def _take_in(self, report: Report, now: float) -> None:
        if self._controller.reported(report, now) is not None:
            self._answers.settle(report.sequence, report.fate == Fate.ANSWERED, now)
            self._go_on(now)

    def _hear(self, frame: int, sequence: int, now: float) -> None:
        self._controller.answered(sequence, now)
        if self._answers.hear(sequence):
            self._close(frame, self.outcomes[frame].action.point, now)
            self._go_on(now)

    def _go_on(self, now: float) -> None:
        """Do what is due in the edge's threads for answers, or come back when something is."""
        while not isinstance(again := self._answers.again(now), float):
            assert again.sequence is not None
            self._send(again.frame, again.sequence, MOST_COPIES, now)
            self._controller.sent_again(again.sequence, MOST_COPIES, now)
            self._answers.ask_again(again.key, self._controller.send_again_at(now, again.deadline))
        wait = min(again, self._finish(now))
        if not self._is_computing:
            due = self._answers.begin(now, self._controller.needed)
            if not isinstance(due, float):
                assert due.own is not None
                self._compute(due.frame, self._controller.network_for(due.own, due.deadline - now), now)
            else:
                wait = min(wait, due)
        if not now < self._wake_at <= now + wait:
            self._wake_at = now + wait
            self._at(self._wake_at, self._go_on)

    def _compute(self, frame: int, own: Own, now: float) -> None:
        self._is_computing = True
        self.outcomes[frame].own_seconds = self._times.own[own]
        self.spent += self._times.own[own] * self._menu.second_price
        self._at(now + self._times.own[own], partial(self._computed, frame, own))

    def _computed(self, frame: int, own: Own, now: float) -> None:
        self._controller.computed(own, self._times.own[own], now)
        self._done = frame, own
        self._go_on(now)

    def _finish(self, now: float) -> float:
        """Close the frame whose own answer is there, or return for how many seconds the server's is waited for."""
        if self._done is None:
            return math.inf
        frame, own = self._done
        finished = self._answers.finish(frame, now, self._controller.needed)
        if isinstance(finished, float):
            return finished
        self._is_computing, self._done = False, None
        if finished:
            self._close(frame, own, now)
        return math.inf

    def _close(self, frame: int, source: int | Own | None, now: float) -> None:
        self.outcomes[frame].source = source
        self.outcomes[frame].age = now - self.stamp(frame)


class _Alone:
    """The only publisher there is: see mtl_split_core.session.Publishers."""

    def may_follow(self, publisher: str, other: str) -> bool:
        return True

    def name(self, publisher: str) -> str:
        return publisher
