"""Servers that stand in for each other: who of a group is alive, and which of them answers which bottleneck.

Every server of a group hears every bottleneck, and tells the others several times a second which vehicles it serves.
Who is to serve which follows from who is alive, by rendezvous hashing, so that nobody has to be asked. A vehicle
changes hands in two steps: the server that has it stops and tells the newest bottleneck that it took, and only then the
other one begins, after that one. Of a server that has died, what it may have answered has arrived at all others before
its lease ran out, and they answer only what arrives later. A server that was held up for so long that the others may
take it for dead gives up its vehicles before it does anything else, and listens before it takes any again. So none of
them answers what another one has answered, unless they lose sight of each other while both of them see the vehicles.
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from mtl_split_core.errors import InputError

BEAT = 0.1
"""Seconds between two messages of a server."""

FENCE = 0.35
"""Seconds without a message of its own after which a server gives up its vehicles: others may take it for dead soon."""

LEASE = 0.5
"""Seconds without a message after which a server counts as dead."""

HOLD = 0.08
"""Seconds for which nobody has come or gone before a vehicle changes hands: messages among servers take less, so that
all of them then know what each of them does.
"""

FIND = 4.0
"""Seconds for which a server that starts listens before it takes vehicles: within them it has found all others."""

SETTLE = 1.0
"""Seconds for which a server that was held up listens before it takes vehicles again: within LEASE and HOLD it has
heard all others, or takes them for dead. After a longer silence than that it may have to find them anew, in FIND.
"""

MOST_SERVERS = 16
"""Servers of one group; further ones are not heard."""

MOST_VEHICLES = 1024
"""Vehicles of one server."""

MOST_GONE = 1024
"""Servers that are gone whose messages are still known when they are sent again."""


class GroupError(InputError):
    """A message among servers that no server of the group sends."""


class Server(NamedTuple):
    """A server since it was activated. name: its own; session: when that was, in nanoseconds."""

    name: str
    session: int


class Place(NamedTuple):
    """A bottleneck's place among those of its vehicle: session and sequence as in Bottleneck.msg."""

    session: int
    sequence: int


NOWHERE = Place(0, 0)
"""Where nothing was taken yet."""


@dataclass(frozen=True)
class Holding:
    """What a server says of a vehicle: whether it answers its bottlenecks, and the newest that it took to answer."""

    serves: bool = False
    newest: Place = NOWHERE


@dataclass(frozen=True)
class State:
    """What a server tells the others.

    number: counts the messages; ready: whether it takes vehicles; vehicles: all that it can serve, by the resolved
    names of their topics.
    """

    server: Server
    number: int
    ready: bool
    vehicles: Mapping[str, Holding]


@dataclass
class _Own:
    """A vehicle of this server; after: the newest bottlenecks that others took before it began to serve it."""

    serves: bool = False
    newest: Place = NOWHERE
    after: frozenset[Place] = frozenset()


@dataclass
class _Other:
    state: State
    heard: float


def share_out(servers: Mapping[Server, Collection[str]]) -> dict[str, Server]:
    """Return which server is to serve each vehicle; servers: what each of them can serve.

    Rendezvous hashing (Thaler and Ravishankar 1998) with equal shares: of all pairs of a vehicle and a server, those
    with the highest weights become true, one for each vehicle and no more for a server than its share. The result
    depends on nothing but what is given, so all who know the same servers agree. When a server goes or comes, its own
    share moves, and hardly anything else.
    """
    share, more = divmod(len(set().union(*servers.values())), max(1, len(servers)))
    taken = dict.fromkeys(servers, 0)
    pairs = sorted(
        ((_weight(vehicle, server), vehicle, server) for server, able in servers.items() for vehicle in able),
        reverse=True,
    )
    shares: dict[str, Server] = {}
    for _, vehicle, server in pairs:
        # Where they cannot all have the same, so many have one more.
        if vehicle not in shares and taken[server] < share + (more > 0):
            shares[vehicle] = server
            taken[server] += 1
            more -= taken[server] > share
    # Where only servers that have their share can serve a vehicle, its best one takes it all the same.
    for _, vehicle, server in pairs:
        shares.setdefault(vehicle, server)
    return shares


def _weight(vehicle: str, server: Server) -> bytes:
    return hashlib.blake2b(vehicle.encode(), key=hashlib.sha256(server.name.encode()).digest(), digest_size=8).digest()


@dataclass
class Member:
    """One server's part in its group. All times are of its monotonic clock, in seconds; one thread calls all methods.

    me: the server; vehicles: what it can serve; now: when it begins. Each method first gives up all vehicles where the
    server has been silent for longer than FENCE.
    """

    me: Server
    vehicles: Collection[str]
    now: float
    _own: dict[str, _Own] = field(init=False)
    _others: dict[Server, _Other] = field(init=False, default_factory=dict)
    _gone: dict[Server, int] = field(init=False, default_factory=dict)
    _able: dict[Server, frozenset[str]] = field(init=False, default_factory=dict)
    _shares: dict[str, Server] = field(init=False, default_factory=dict)
    _number: int = field(init=False, default=0)
    _is_ready: bool = field(init=False, default=False)
    _leaving: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self._own = {vehicle: _Own() for vehicle in self.vehicles}
        self._told = self._changed = self.now
        self._listens_until = self.now + FIND

    @property
    def ready(self) -> Collection[Server]:
        """The servers that take vehicles."""
        return self._able.keys()

    @property
    def alive(self) -> dict[Server, State | None]:
        """The servers of the group that are alive, with what they last told; None: this one."""
        return {self.me: None, **{server: other.state for server, other in self._others.items()}}

    def wanted(self, vehicle: str) -> Server | None:
        """Which server is to serve a vehicle; None: none is ready."""
        return self._shares.get(vehicle)

    def holders(self, vehicle: str) -> list[Server]:
        """Which servers say that they serve a vehicle: one, or none while it changes hands."""
        mine = [self.me] if self._own[vehicle].serves else []
        return mine + [server for server, other in self._others.items() if _holding(other.state, vehicle).serves]

    def takes(self, vehicle: str, place: Place, now: float) -> bool:
        """Whether a bottleneck that has just arrived is this server's to answer; if so, it counts as taken."""
        self._wake(now)
        own = self._own[vehicle]
        taken = any(place.session == other.session and place.sequence <= other.sequence for other in own.after)
        if not own.serves or taken:
            return False
        own.newest = place
        return True

    def hear(self, state: State, now: float) -> bool:
        """Take in what a server tells; returns whether this one has something new to tell.

        Its own messages, and those that are not newer than the last of the same server, say nothing. Raises GroupError
        where there are too many servers.
        """
        self._wake(now)
        server = state.server
        before = self._others.get(server)
        last = before.state.number if before else self._gone.get(server, -1)
        if server == self.me or state.number <= last:
            return False
        if before is None and len(self._others) + 1 >= MOST_SERVERS:
            raise GroupError(f"{server.name[:80]!r} is one server too many, expected at most {MOST_SERVERS} in a group")
        self._others[server] = _Other(state, now)
        return self._decide(now)

    def look(self, now: float) -> bool:
        """Forget the servers that have been silent for their LEASE; returns whether there is something new to tell."""
        self._wake(now)
        return self._decide(now)

    def leave(self) -> None:
        """Give up all vehicles, for good."""
        self._leaving, self._is_ready = True, False
        self._give_up()

    def tell(self, now: float) -> State:
        """Return what to tell the others now, which is to be sent at once."""
        self._wake(now)
        # Only here, so that the others hear of it before it could have a consequence.
        self._is_ready = not self._leaving and now >= self._listens_until
        self._decide(now)
        self._told = now
        vehicles = {vehicle: Holding(own.serves, own.newest) for vehicle, own in self._own.items()}
        state = State(self.me, self._number, self._is_ready, vehicles)
        self._number += 1
        return state

    def _wake(self, now: float) -> None:
        silent = now - self._told
        if silent <= FENCE:
            return
        self._give_up()
        self._is_ready = False
        self._told = now
        self._listens_until = max(self._listens_until, now + (FIND if silent > SETTLE else SETTLE))
        # What they have told meanwhile may still wait to be heard.
        for other in self._others.values():
            other.heard = now

    def _give_up(self) -> None:
        for own in self._own.values():
            own.serves = False

    def _decide(self, now: float) -> bool:
        """Stop serving the vehicles that are another one's, and take those that are ours and that nobody serves."""
        for server in [server for server, other in self._others.items() if now - other.heard > LEASE]:
            self._gone[server] = self._others.pop(server).state.number
            if len(self._gone) > MOST_GONE:
                del self._gone[next(iter(self._gone))]
        able = {server: frozenset(other.state.vehicles) for server, other in self._others.items() if other.state.ready}
        if self._is_ready:
            able[self.me] = frozenset(self._own)
        if able != self._able:
            self._able, self._shares, self._changed = able, share_out(able), now
        if now - self._changed < HOLD:
            return False
        changed = False
        for vehicle, own in self._own.items():
            wanted = self._shares.get(vehicle) == self.me
            if wanted == own.serves:
                continue
            others = [_holding(other.state, vehicle) for other in self._others.values()]
            if wanted and any(other.serves for other in others):
                continue
            own.serves, changed = wanted, True
            own.after = frozenset(other.newest for other in others) - {NOWHERE}
        return changed


def _holding(state: State, vehicle: str) -> Holding:
    return state.vehicles.get(vehicle, Holding())
