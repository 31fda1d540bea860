"""What a server remembers of one vehicle: who publishes for it, the newest of its bottlenecks, and its objects."""

from dataclasses import dataclass
from typing import Protocol

from mtl_split_core.control.link import REPORTED
from mtl_split_core.errors import ReplayError, SecondPublisherError
from mtl_split_core.tracks import Tracks

_ALL_REPORTED = (1 << REPORTED) - 1

MOST_ANSWERED = 8
"""Copies of one bottleneck that are answered; further ones would only be a stranger's, who wants many answers."""

MOST_LOST = 1_000_000
"""A sequence that jumps further ahead has begun anew: a day at 10 frames per second has fewer frames."""


@dataclass(frozen=True)
class Arrival:
    """Where a bottleneck came from, and its place among the others.

    publisher: who published it, by any name that no other publisher has; stamp: of the camera image, in nanoseconds;
    session, sequence: as in Bottleneck.msg; relayed: whether a roadside unit sent it, which speaks for the vehicle
    whose session it repeats; copies: how many of the bottleneck had arrived there, 1 or more.
    """

    publisher: str
    session: int
    sequence: int
    stamp: int
    relayed: bool = False
    copies: int = 1

    def is_of(self, newest: "Arrival") -> bool:
        """Whether it is of the same vehicle's same session as the newest, by what is known without a signature.

        A vehicle may change from frame to frame between sending its frames itself and through a roadside unit.
        """
        same = self.publisher == newest.publisher or self.relayed or newest.relayed
        return same and self.session == newest.session


class Publishers(Protocol):
    """Those who publish on the topic of a vehicle."""

    def may_follow(self, publisher: str, other: str) -> bool:
        """Whether a publisher has left, so that the other one may have the vehicle."""
        ...

    def name(self, publisher: str) -> str:
        """Name a publisher in a message to the user."""
        ...


class Session:
    """The memory of one vehicle. A bottleneck is first admitted, then checked for all else, then received and taken.

    tracks: those for the results of the bottleneck that was taken last.
    """

    def __init__(self, publishers: Publishers, signed: bool, any_stamp: bool, tracks: Tracks) -> None:
        """Begin without a publisher.

        signed: only bottlenecks whose signature is right are handed in, so that none can be made up; any_stamp: stamps
        may also go back or repeat themselves, as those of a recording that is played in a loop; tracks: to begin with.
        """
        self.tracks = tracks
        self._publishers = publishers
        self._signed = signed
        self._any_stamp = any_stamp
        self._newest: Arrival | None = None
        self._newest_stamp: int | None = None
        self._reported_session = self._highest = -1
        self._bits = 0
        self._copies = self._copies_before = 0

    def repeats(self, arrival: Arrival) -> bool:
        """Whether it is the newest one that was taken once more: an edge may send each of them twice.

        Without signatures, where any stamp is taken, it counts as a new one.
        """
        newest = self._newest
        if newest is None or (arrival.session, arrival.sequence) != (newest.session, newest.sequence):
            return False
        return self._signed or (arrival == newest and not self._any_stamp)

    def count_copy(self) -> bool:
        """Note that the newest one has come once more; returns False where that is too often to answer it again."""
        self._copies = min(self._copies + 1, MOST_ANSWERED + 1)
        return self._copies <= MOST_ANSWERED

    def copies(self, session: int, sequence: int) -> int:
        """Return how often a bottleneck has arrived, as far as that is remembered: of the newest."""
        newest = self._newest
        return self._copies if newest and (newest.session, newest.sequence) == (session, sequence) else 1

    def answers(self, session: int, sequence: int) -> int:
        """Return how often to answer a bottleneck: as often as it has arrived, and twice where the one before came so.

        An edge sends twice, or again, where packets get lost: those of the way back as those that did not arrive.
        """
        return max(self.copies(session, sequence), min(2, self._copies_before))

    def admit(self, arrival: Arrival) -> None:
        """Compare a bottleneck with the newest one that was taken.

        The first publisher keeps the vehicle until it is gone. With signatures, who delivers a bottleneck counts only
        at the beginning of a session: all others have to be newer than the last, and so can only be the vehicle's own.
        Raises SecondPublisherError, and ReplayError with signatures.
        """
        newest = self._newest
        if newest is None:
            return
        if self._signed and (arrival.session, arrival.sequence) <= (newest.session, newest.sequence):
            raise ReplayError(
                f"bottleneck {arrival.sequence} of session {arrival.session} comes after {newest.sequence} of session"
                f" {newest.session}: it was sent again, another edge of this vehicle was activated later, or the"
                " vehicle's clock went back before its edge was activated"
            )
        signed = self._signed and arrival.session == newest.session
        same = signed or arrival.publisher == newest.publisher or arrival.is_of(newest)
        if not same and not self._publishers.may_follow(newest.publisher, arrival.publisher):
            second, first = (self._publishers.name(one.publisher) for one in (arrival, newest))
            raise SecondPublisherError(
                f"{second} publishes too, but {first} was first and has the vehicle until it is gone: end one of them,"
                " or give it a namespace of its own"
            )

    def receive(self, arrival: Arrival) -> int:
        """Note a good bottleneck, whether or not it comes in time; returns which of its session's have arrived.

        In the returned number, bit i stands for the bottleneck i before this one; there are REPORTED bits.
        """
        ahead = arrival.sequence - self._highest
        if arrival.session != self._reported_session or abs(ahead) >= REPORTED:
            self._reported_session, self._highest, self._bits = arrival.session, arrival.sequence, 1
            return 1
        if ahead > 0:
            self._highest, self._bits = arrival.sequence, self._bits << ahead & _ALL_REPORTED
        behind = max(0, -ahead)
        self._bits |= 1 << behind
        return self._bits >> behind

    def take(self, arrival: Arrival) -> int | None:
        """Remember a bottleneck as the newest; returns how many were lost before it, by their numbers.

        Returns None, and remembers nothing, for one that is left out because its stamp is an old one or that of the
        newest.
        """
        newest, stamp = self._newest, self._newest_stamp
        restart = newest is None or not arrival.is_of(newest)
        if not (restart or self._any_stamp or stamp is None or arrival.stamp > stamp):
            return None
        self._newest, self._newest_stamp = arrival, arrival.stamp
        self._copies_before, self._copies = self._copies, min(max(arrival.copies, 1), MOST_ANSWERED)
        if newest is not None and restart:
            # A worker may still be at the last bottleneck, with the tracks that it had.
            self.tracks = self.tracks.anew()
        if newest is None or restart:
            return 0
        # A number that is not ahead, or far ahead, is a new beginning, and nothing can be said of what was lost before.
        lost = arrival.sequence - newest.sequence - 1
        return lost if 0 <= lost <= MOST_LOST else 0

    def forget_stamps(self) -> None:
        """Take the next bottleneck whatever its stamp, as if nothing had been seen: the clock has jumped back."""
        self._newest_stamp = None
        self.tracks = self.tracks.anew()
