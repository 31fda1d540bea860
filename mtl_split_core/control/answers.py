"""One answer for every frame: the server's if it comes in time, else the edge's own, begun early enough.

What may have got lost on its way is sent again while there is time for it.
"""

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from mtl_split_core.control.policy import MOST_AGAIN, RESERVE, Own

Frame = TypeVar("Frame")
Found = TypeVar("Found")

MOST_OPEN = 256
"""Frames that wait for an answer; of more, the oldest are given up."""

REORDERED = 0.002
"""Seconds by which a report may come before the answer that it tells of, which was sent first."""

LONG = 1.0
"""Seconds to wait where no frame is open."""


@dataclass(frozen=True)
class Due(Generic[Frame]):
    """A frame that it is time for: a network of the edge answers it (own), or its bottleneck is sent again (own: None).

    key, frame: as expected; deadline: of the frame; sequence: of its bottleneck, None where none went out.
    """

    key: Hashable
    frame: Frame
    deadline: float
    sequence: int | None
    own: Own | None


@dataclass
class _Open(Generic[Frame]):
    frame: Frame
    deadline: float
    sequence: int | None
    own: Own | None
    hopeless: bool
    again_at: float
    again: int = 0
    begun: bool = False


class Answers(Generic[Frame]):
    """The frames that have no answer yet, by a key of their own, in the order in which they came.

    Times are of one monotonic clock, in seconds. Any thread may call any method.
    """

    def __init__(self) -> None:
        """Begin without a frame."""
        self._open: OrderedDict[Hashable, _Open[Frame]] = OrderedDict()
        self._newest = -1
        self._changed = threading.Condition()
        self._closed = False

    def expect(
        self,
        key: Hashable,
        frame: Frame,
        deadline: float,
        sequence: int | None,
        own: Own | None,
        at_once: bool = False,
        again_at: float = math.inf,
    ) -> int:
        """Wait for an answer to a frame; returns how many older ones were given up for it, 0 or 1.

        sequence: of the bottleneck that asks the server, larger than all before, None where none goes out; own: the
        network that answers where the server does not, None: none does; at_once: it begins at once, as it does where no
        bottleneck goes out; again_at: when the bottleneck is to be sent again.
        """
        with self._changed:
            # A camera that sends the same image again must not put off its answer.
            if before := self._open.pop(key, None):
                deadline = min(deadline, before.deadline)
            hopeless = at_once or sequence is None
            self._open[key] = _Open(frame, deadline, sequence, own, hopeless, again_at)
            self._newest = self._newest if sequence is None else sequence
            given_up = len(self._open) > MOST_OPEN
            if given_up:
                self._open.popitem(last=False)
            self._changed.notify_all()
        return int(given_up)

    def frame_of(self, sequence: int) -> Frame | None:
        """Return the frame that waits for the answer to a bottleneck; None where none does."""
        with self._changed:
            return next((one.frame for one in self._open.values() if one.sequence == sequence), None)

    def hear(self, sequence: int) -> bool:
        """Take in that the server's answer to a bottleneck is there; returns False where nobody waits for it.

        The server answers in order, so earlier frames have nothing to hope for then.
        """
        with self._changed:
            found = next((key for key, one in self._open.items() if one.sequence == sequence), None)
            if found is not None:
                del self._open[found]
                self._give_up_before(sequence)
                self._changed.notify_all()
            return found is not None

    def settle(self, sequence: int, answered: bool, now: float) -> None:
        """Take in that the server is done with a bottleneck, with or without an answer, and so with all before it.

        An answer that is not here by then has got lost, and is asked for again.
        """
        with self._changed:
            self._give_up_before(sequence + (not answered))
            for one in self._open.values():
                if one.sequence == sequence and not one.hopeless and one.again < MOST_AGAIN:
                    one.again_at = min(one.again_at, now + REORDERED)
            self._changed.notify_all()

    def ask_again(self, key: Hashable, again_at: float) -> None:
        """Note that a frame's bottleneck was sent again, and is to be sent once more at a time, if there is one."""
        with self._changed:
            if key in self._open and self._open[key].again < MOST_AGAIN:
                self._open[key].again_at = again_at
                self._changed.notify_all()

    def again(self, now: float) -> Due[Frame] | float:
        """Return the frame whose bottleneck is to be sent again now; or the seconds until there may be one.

        It is so also while an own answer is computed, which the server's may still forestall. Only the newest
        bottleneck is sent again: the server would take an older one for a replay.
        """
        with self._changed:
            wait = LONG
            for key, one in self._open.items():
                if one.sequence != self._newest:
                    continue
                if one.again_at <= now:
                    one.again, one.again_at = one.again + 1, math.inf
                    return Due(key, one.frame, one.deadline, one.sequence, None)
                wait = min(wait, one.again_at - now)
            return wait

    def begin(self, now: float, needed: Callable[[Own], float]) -> Due[Frame] | float:
        """Return the frame whose own answer is to begin now; or the seconds until there may be one.

        needed: how many seconds before a deadline a network has to begin. Of several, it is the one with the earliest
        deadline that can still be kept; those past theirs come last, the newest first.
        """
        with self._changed:
            waiting = [(key, one) for key, one in self._open.items() if not one.begun and one.own is not None]
            due = [(key, one) for key, one in waiting if _left(one, now, needed) <= 0]
            if not due:
                return min((_left(one, now, needed) for _, one in waiting), default=LONG)
            key, one = min(due, key=lambda at: (at[1].deadline < now, abs(at[1].deadline - now)))
            one.begun = True
            return Due(key, one.frame, one.deadline, one.sequence, one.own)

    def take(self, find: Callable[[], Found | float]) -> Found | None:
        """Wait for what `find`, which asks `again`, `begin` or `finish`, returns; None once it is closed."""
        with self._changed:
            while not self._closed:
                found = find()
                if not isinstance(found, float):
                    return found
                self._changed.wait(found)
            return None

    def finish(self, key: Hashable, now: float, needed: Callable[[Own], float]) -> bool | float:
        """Close a frame whose own answer is there; returns False where the server was first.

        While the server's answer may still come, it returns for how many seconds that is to be waited for: until
        RESERVE before the deadline, or another own answer has to begin.
        """
        with self._changed:
            one = self._open.get(key)
            if one is None:
                return False
            others = (_left(other, now, needed) for other in self._open.values() if not other.begun)
            wait = 0.0 if one.hopeless else min([one.deadline - RESERVE - now, *others])
            if wait > 0:
                return wait
            del self._open[key]
            return True

    def close(self) -> None:
        """Forget all frames, and end `take`."""
        with self._changed:
            self._closed = True
            self._open.clear()
            self._changed.notify_all()

    def _give_up_before(self, sequence: int) -> None:
        for one in self._open.values():
            if one.sequence is not None and one.sequence < sequence:
                one.hopeless, one.again_at = True, math.inf


def _left(one: _Open[Frame], now: float, needed: Callable[[Own], float]) -> float:
    """Return for how many seconds an own answer has not to begin yet."""
    if one.own is None:
        return LONG
    return 0.0 if one.hopeless else one.deadline - needed(one.own) - now
