"""Servers of a group share the vehicles equally, take over from dead ones, and never answer a bottleneck twice."""

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mtl_split_core.group import (
    BEAT,
    FENCE,
    FIND,
    HOLD,
    LEASE,
    MOST_SERVERS,
    SETTLE,
    GroupError,
    Holding,
    Member,
    Place,
    Server,
    State,
    share_out,
)

names = st.sets(st.text(min_size=1, max_size=8), min_size=1, max_size=8)


@given(names, names)
def test_all_vehicles_are_shared_out_equally_and_the_order_does_not_matter(vehicles: set[str], names: set[str]) -> None:
    servers = {Server(name, 0): sorted(vehicles) for name in sorted(names)}
    shares = share_out(servers)
    assert shares.keys() == vehicles
    counts = Counter(shares.values())
    assert max(counts.values()) - min(counts.get(server, 0) for server in servers) <= 1
    assert shares == share_out({server: vehicles for server in reversed(servers)})


def test_hardly_more_than_the_share_of_a_dead_server_moves() -> None:
    vehicles = [f"/car{number}/bottleneck" for number in range(240)]
    servers = {Server(f"machine{number}:/server", number): vehicles for number in range(6)}
    before = share_out(servers)
    dead = servers.popitem()[0]
    after = share_out(servers)
    moved = [vehicle for vehicle in vehicles if before[vehicle] != after[vehicle]]
    assert {vehicle for vehicle in vehicles if before[vehicle] == dead} <= set(moved)
    assert len(moved) < 1.5 * 240 / 6


def test_a_vehicle_goes_only_to_a_server_that_can_serve_it() -> None:
    one, other = Server("one", 0), Server("other", 0)
    shares = share_out({one: ["a", "b", "c"], other: ["c"]})
    assert shares == {"a": one, "b": one, "c": other}
    assert share_out({one: ["a", "b", "c"], other: []}) == dict.fromkeys("abc", one)
    assert share_out({}) == {}


def test_a_server_alone_takes_everything_once_it_has_listened() -> None:
    member = Member(Server("one", 1), ["a"], 0.0)
    place = Place(5, 7)
    for beat in range(round(FIND / BEAT) + 4):
        now = beat * BEAT
        state = member.tell(now)
        assert state.number == beat and state.vehicles["a"].serves == (now >= FIND + HOLD)
    assert member.takes("a", place, now) and member.tell(now).vehicles == {"a": Holding(True, place)}
    assert member.holders("a") == [Server("one", 1)] == [member.wanted("a")]
    member.leave()
    assert not member.takes("a", Place(5, 8), now)
    assert not member.tell(now).ready and member.tell(now).vehicles == {"a": Holding(False, place)}


def told(server: Server, number: int, ready: bool = True, **vehicles: Holding) -> State:
    return State(server, number, ready, vehicles)


def beat(member: Member, begin: float, end: float, hear: Callable[[float], None] = lambda _: None) -> float:
    """Let a member live from one time to another; `hear` is called before each message of its own."""
    now = begin
    while now < end:
        hear(now)
        member.tell(now)
        now += BEAT / 2
    return now


def test_what_another_server_took_before_is_not_answered_again() -> None:
    other, numbers = Server("other", 1), itertools.count()
    member = Member(Server("one", 1), ["a"], 0.0)

    def serves(now: float) -> None:
        member.hear(told(other, next(numbers), ready=False, a=Holding(True, Place(3, 9))), now)

    now = beat(member, 0.0, FIND + 1, serves)
    assert not member.takes("a", Place(3, 10), now) and member.holders("a") == [other]
    assert member.hear(told(other, next(numbers), ready=False, a=Holding(False, Place(3, 11))), now)
    assert [member.takes("a", Place(3, sequence), now) for sequence in (10, 11, 12)] == [False, False, True]
    assert member.takes("a", Place(2, 5), now)  # an edge whose clock went back is not refused
    # The same message again, and one's own, say nothing.
    assert not member.hear(told(other, 0, a=Holding(True)), now)
    assert not member.hear(told(Server("one", 1), 10**6, a=Holding(True)), now)
    assert member.takes("a", Place(3, 13), now)


def test_a_dead_server_is_forgotten_and_what_it_said_cannot_be_sent_again() -> None:
    other = Server("other", 1)
    member = Member(Server("one", 1), ["a"], 0.0)

    def serves(now: float) -> None:
        member.hear(told(other, int(now * 1e3), a=Holding(True)), now)

    now = beat(member, 0.0, FIND + 1, serves)
    assert not member.takes("a", Place(1, 1), now)
    now = beat(member, now, now + LEASE + HOLD + 2 * BEAT)
    assert member.takes("a", Place(1, 2), now) and member.alive == {Server("one", 1): None}
    assert not member.hear(told(other, 5, a=Holding(True)), now) and other not in member.alive
    member.hear(told(other, 10**6, a=Holding(True)), now)
    assert other in member.alive


def test_a_server_that_was_held_up_gives_up_its_vehicles_before_anything_else() -> None:
    for late in (FENCE * 0.9, FENCE * 1.1):
        member = Member(Server("one", 1), ["a"], 0.0)
        now = beat(member, 0.0, FIND + 1)
        member.tell(now)
        assert member.takes("a", Place(1, 1), now + late) == (late < FENCE)
        assert member.tell(now + late).ready == (late < FENCE)


@pytest.mark.parametrize(("late", "listens"), [(FENCE * 1.1, SETTLE), (SETTLE * 0.9, SETTLE), (SETTLE * 1.1, FIND)])
def test_a_server_that_was_held_up_listens_until_it_has_heard_all_others(late: float, listens: float) -> None:
    assert SETTLE > LEASE + HOLD + BEAT
    member = Member(Server("one", 1), ["a"], 0.0)
    last = beat(member, 0.0, FIND + 1) - BEAT / 2
    wakes = last + late
    beat(member, wakes, wakes + listens - BEAT)
    assert not member.tell(wakes + listens - BEAT / 4).ready and member.tell(wakes + listens + BEAT / 4).ready


def test_a_server_that_was_held_up_at_its_start_listens_no_shorter() -> None:
    member = Member(Server("one", 1), ["a"], 0.0)
    beat(member, FENCE + BEAT, FIND - BEAT)
    assert not member.tell(FIND - BEAT / 4).ready and member.tell(FIND + BEAT / 4).ready


def test_strangers_do_not_fill_the_memory() -> None:
    member = Member(Server("one", 1), ["a"], 0.0)
    for number in range(MOST_SERVERS - 1):
        member.hear(told(Server(f"{number}", 1), 0), 0.0)
    with pytest.raises(GroupError, match=f"'late' is one server too many, expected at most {MOST_SERVERS}"):
        member.hear(told(Server("late", 1), 0), 0.0)


class World:
    """Servers and vehicles in simulated time, with messages that are late and servers that die, stall and return.

    Messages take up to 30 ms, bottlenecks too, to each server for itself; a server that stalls handles what has
    arrived in any order afterwards. A server that has just begun hears nobody until it has found the others.
    """

    LATEST = 0.03

    def __init__(self, servers: int, vehicles: int, seed: int, apart: float = 0.2) -> None:
        """Begin with servers that start within `apart` seconds."""
        self.random = random.Random(seed)
        self.now = 0.0
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.numbers = itertools.count()
        self.vehicles = [f"car{number}" for number in range(vehicles)]
        self.members: dict[str, Member] = {}
        self.stalled: dict[str, float] = {}
        self.found: dict[str, float] = {}
        self.answered: Counter[tuple[str, int]] = Counter()
        self.sent: list[tuple[float, str, int]] = []
        for number in range(servers):
            self.at(self.random.uniform(0.0, apart), partial(self.begin, f"server{number}"))
        for vehicle in self.vehicles:
            self.at(self.random.uniform(0.0, 0.1), partial(self.send, vehicle, 0))

    def at(self, time: float, event: Callable[[], None]) -> None:
        heapq.heappush(self.events, (time, next(self.numbers), event))

    def run(self, until: float) -> None:
        while self.events[0][0] < until:
            self.now, _, event = heapq.heappop(self.events)
            event()
        self.now = until

    def begin(self, name: str) -> None:
        assert name not in self.members
        self.members[name] = Member(Server(name, next(self.numbers)), self.vehicles, self.now)
        self.found[name] = self.now + self.random.uniform(0.0, FIND - 0.3)
        self.beat(name, self.members[name])

    def later(self, name: str, member: Member, event: Callable[[], None]) -> None:
        """Let an event happen to a server when it does not stall, unless it has died by then."""
        if (end := self.stalled.get(name, 0.0)) > self.now:
            self.at(end + self.random.uniform(0.0, 0.005), lambda: self.later(name, member, event))
        elif self.members.get(name) is member:
            event()

    def beat(self, name: str, member: Member) -> None:
        self.later(name, member, lambda: self.tell(name, member))
        if self.members.get(name) is member:
            self.at(max(self.now + BEAT, self.stalled.get(name, 0.0)), lambda: self.beat(name, member))

    def tell(self, name: str, member: Member) -> None:
        state = member.tell(self.now)
        for other, peer in self.members.items():
            if self.found[other] <= self.now:
                delay = self.random.uniform(0.0, self.LATEST)
                self.at(self.now + delay, partial(self.later, other, peer, partial(self.hear, other, peer, state)))

    def hear(self, name: str, member: Member, state: State) -> None:
        if member.hear(state, self.now):
            self.tell(name, member)

    def send(self, vehicle: str, sequence: int) -> None:
        self.sent.append((self.now, vehicle, sequence))
        for name, member in self.members.items():
            delay = self.random.uniform(0.0, self.LATEST)
            self.at(self.now + delay, partial(self.later, name, member, partial(self.take, member, vehicle, sequence)))
        self.at(self.now + 0.1, lambda: self.send(vehicle, sequence + 1))

    def take(self, member: Member, vehicle: str, sequence: int) -> None:
        self.answered[vehicle, sequence] += member.takes(vehicle, Place(1, sequence), self.now)

    def answered_between(self, begin: float, end: float) -> set[int]:
        return {self.answered[vehicle, sequence] for at, vehicle, sequence in self.sent if begin <= at < end}


BLOWS = ("kill", "stall", "leave")


@settings(max_examples=25)
# Three that begin at the same moment: none is ready before the others can hear of it.
@example(0, [(0.0, "kill", 0, 0.0), (0.0, "kill", 1, 0.0), (0.0, "kill", 2, 0.0)])
@given(
    st.integers(0, 10**6),
    st.lists(
        st.tuples(st.floats(0.0, 1.5), st.sampled_from(BLOWS), st.integers(0, 2), st.floats(0.0, 1.5)), max_size=8
    ),
)
def test_no_bottleneck_is_answered_twice_and_all_are_once_it_is_quiet(
    seed: int, blows: list[tuple[float, str, int, float]]
) -> None:
    world = World(3, 4, seed)
    world.run(FIND + 0.5)
    for pause, blow, number, length in blows:
        world.run(world.now + pause)
        name = f"server{number}"
        if name not in world.members:
            continue
        if blow == "stall":
            world.stalled[name] = max(world.stalled.get(name, 0.0), world.now + length)
            continue
        if blow == "leave" and world.stalled.get(name, 0.0) <= world.now:
            world.members[name].leave()
            world.tell(name, world.members[name])
        del world.members[name]
        world.at(world.now + length, partial(world.begin, name))
    world.run(world.now + 1.5 + FIND + 1.0)
    quiet = world.now
    world.run(quiet + 1.0)
    assert set(world.answered.values()) <= {0, 1}
    assert world.answered_between(quiet, quiet + 0.9) == {1}
    holders = Counter(holder for vehicle in world.vehicles for holder in world.members["server0"].holders(vehicle))
    assert sorted(holders.values()) == [1, 1, 2]


@pytest.mark.parametrize("seed", range(5))
def test_servers_that_start_at_the_same_moment_do_not_answer_the_same(seed: int) -> None:
    world = World(2, 8, seed, apart=0.02)
    world.run(FIND + 1.0)
    assert set(world.answered.values()) == {0, 1}


@pytest.mark.parametrize("seed", range(5))
def test_a_dead_server_is_replaced_within_a_second(seed: int) -> None:
    world = World(3, 6, seed)
    world.run(FIND + 1.0 + seed / 50)
    assert world.answered_between(world.now - 0.3, world.now - 0.1) == {1}
    del world.members["server1"]
    killed = world.now
    world.run(killed + 3.0)
    assert world.answered_between(killed + 0.8, killed + 2.5) == {1}
