"""One answer for every frame: the server's if it comes in time, else the edge's own, begun early enough."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from mtl_split_core.scene import Results

Frame = TypeVar("Frame")

MOST_OPEN = 256
"""Frames that wait for an answer; of more, the oldest are given up."""

SLACK = 0.01
"""Seconds of the time to a deadline that are kept for publishing, and for waiting for the processor."""

LONG = 1.0
"""Seconds to wait where no frame is open."""


@dataclass
class _Open(Generic[Frame]):
    frame: Frame
    deadline: float
    sequence: int | None
    hopeless: bool
    begun: bool = False
    parts: Results = field(default_factory=dict)


class Answers(Generic[Frame]):
    """The frames that have no answer yet, by a key of their own, in the order in which they came.

    Times are of one monotonic clock, in seconds. Any thread may call any method.
    """

    def __init__(self, tasks: frozenset[str]) -> None:
        """Begin without a frame; tasks: the names of those that a complete answer has results of."""
        self._tasks = tasks
        self._open: OrderedDict[Hashable, _Open[Frame]] = OrderedDict()
        self._changed = threading.Condition()
        self._closed = False

    def expect(self, key: Hashable, frame: Frame, deadline: float, sequence: int | None) -> int:
        """Wait for an answer to a frame; returns how many older ones were given up for it, 0 or 1.

        sequence: of the bottleneck that asks the server, None where none goes out, so that the edge begins at once.
        """
        with self._changed:
            # A camera that sends the same image again must not put off its answer.
            if before := self._open.pop(key, None):
                deadline = min(deadline, before.deadline)
            self._open[key] = _Open(frame, deadline, sequence, hopeless=sequence is None)
            given_up = len(self._open) > MOST_OPEN
            if given_up:
                self._open.popitem(last=False)
            self._changed.notify()
        return int(given_up)

    def hear(self, key: Hashable, task: str, result: Any) -> tuple[Frame, Results] | None:
        """Take the server's result of one task; returns the frame and all results once they are complete.

        The server answers in order, so earlier frames have nothing to hope for then. None as well for a frame that has
        been answered, or that nobody waits for.
        """
        with self._changed:
            if key not in self._open:
                return None
            one = self._open[key]
            one.parts[task] = result
            if one.parts.keys() != self._tasks:
                return None
            for other, earlier in self._open.items():
                if other == key:
                    break
                earlier.hopeless = True
            del self._open[key]
            self._changed.notify()
            return one.frame, one.parts

    def settle(self, sequence: int, answered: bool) -> None:
        """Take in that the server is done with a bottleneck, with or without an answer, and so with all before it."""
        with self._changed:
            for one in self._open.values():
                if one.sequence is not None and one.sequence < sequence + (not answered):
                    one.hopeless = True
            self._changed.notify()

    def begin(self, now: float, needed: float) -> tuple[Hashable, Frame] | float:
        """Return the key of the next frame for the edge to answer itself, and the frame; or the seconds until there is.

        It takes `needed` seconds. Of several, it is the one with the earliest deadline that can still be kept; those
        past theirs come last, the newest first.
        """
        with self._changed:
            waiting = [(key, one) for key, one in self._open.items() if not one.begun]
            due = [(key, one) for key, one in waiting if one.hopeless or one.deadline - needed <= now]
            if not due:
                return min((one.deadline - needed - now for _, one in waiting), default=LONG)
            key, one = min(due, key=lambda at: (at[1].deadline < now, abs(at[1].deadline - now)))
            one.begun = True
            return key, one.frame

    def take(self, clock: Callable[[], float], needed: Callable[[], float]) -> tuple[Hashable, Frame] | None:
        """Wait for what `begin` returns; None once it is closed."""
        with self._changed:
            while not self._closed:
                found = self.begin(clock(), needed())
                if not isinstance(found, float):
                    return found
                self._changed.wait(found)
            return None

    def finish(self, key: Hashable) -> bool:
        """Close a frame that the edge has answered itself; returns False where the server was first."""
        with self._changed:
            return self._open.pop(key, None) is not None

    def close(self) -> None:
        """Forget all frames, and end `take`."""
        with self._changed:
            self._closed = True
            self._open.clear()
            self._changed.notify_all()
