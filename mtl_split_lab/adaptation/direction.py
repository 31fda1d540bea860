"""One direction of a link, in simulated or in real time: what waits, what is on its way, what gets lost."""

import math
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from mtl_split_lab.adaptation.traces import Trace

QUEUE_SECONDS = 0.25
QUEUE_BYTES = 64_000
"""What waits for a slow link is bounded, as in a modem: by the larger of the two; what comes then is dropped."""


@dataclass
class Counts:
    """Ethernet frames of one direction: those that entered, and what became of them."""

    entered: int = 0
    forwarded: int = 0
    forwarded_bytes: int = 0
    lost: int = 0
    overflowed: int = 0


class Direction:
    """One direction of a link: a drop-tail queue, a wire of a certain rate, and a loss at its end."""

    def __init__(self, rate: float, loss: float, chance: random.Random, delay: float = 0.0, keeps: bool = True) -> None:
        """Carry `rate` Mbit/s of Ethernet frames, for `delay` seconds, and lose each with a probability of `loss`.

        keeps: whether what enters while a trace carries nothing waits for it to carry again, or is lost.
        """
        self._keeps = keeps
        self._delay = delay
        self._bits_per_second = rate * 1e6
        self._loss = loss
        self._chance = chance
        self._trace: Trace | None = None
        self._began = 0.0
        self._idle_at = 0.0
        self._waiting_bytes = 0
        self._on_the_way: deque[tuple[float, int, bytes]] = deque()
        self._occupied: deque[tuple[float, int]] = deque()
        self.counts = Counts()

    def follow(self, trace: Trace, now: float) -> None:
        """Carry from now on what a trace carries; a `now` in the past leaves out its beginning."""
        self._trace, self._began = trace, now

    def enter(self, now: float, frame: bytes, size: int) -> None:
        """Take a frame of `size` bytes at the time `now`, seconds, which never goes back."""
        self.counts.entered += 1
        if self._is_lost_in_outage(now):
            self.counts.lost += 1
            return
        begin = max(now, self._idle_at)
        if self._is_full(now, begin):
            self.counts.overflowed += 1
            return
        # A frame that gets lost on the way has taken its time on the wire all the same.
        self._idle_at = self._end(begin, size)
        self._occupied.append((self._idle_at, size))
        self._waiting_bytes += size
        if self._chance.random() < self._loss:
            self.counts.lost += 1
            return
        self._on_the_way.append((self._idle_at + self._delay, size, frame))

    def foresee(self, now: float, size: int, count: int = 1) -> list[float]:
        """Return when each of so many frames would come out that entered now, infinity for those that would be lost."""
        if self._is_lost_in_outage(now):
            return [math.inf] * count
        idle_at, state, exits = self._idle_at, self._chance.getstate() if self._loss else None, []
        for _ in range(count):
            begin = max(now, idle_at)
            if self._is_full(now, begin):
                exits.append(math.inf)
                continue
            idle_at = self._end(begin, size)
            exits.append(math.inf if self._loss and self._chance.random() < self._loss else idle_at)
        if state is not None:
            self._chance.setstate(state)
        return exits

    def _is_lost_in_outage(self, now: float) -> bool:
        return not self._keeps and self._trace is not None and self._trace.rate(now - self._began) == 0.0

    def _is_full(self, now: float, begin: float) -> bool:
        while self._occupied and self._occupied[0][0] <= now:
            self._waiting_bytes -= self._occupied.popleft()[1]
        return begin - now > QUEUE_SECONDS and self._waiting_bytes > QUEUE_BYTES

    def _end(self, begin: float, size: int) -> float:
        if self._trace is None:
            return begin + 8 * size / self._bits_per_second
        return self._began + self._trace.carried(begin - self._began, 8 * size)

    @property
    def next_exit(self) -> float:
        """When the next frame comes out; infinity if none is on its way."""
        return self._on_the_way[0][0] if self._on_the_way else float("inf")

    def leave(self, now: float) -> Iterator[bytes]:
        """Yield the frames that have come out by the time `now`, in the order in which they entered."""
        while self.next_exit <= now:
            _, size, frame = self._on_the_way.popleft()
            self.counts.forwarded += 1
            self.counts.forwarded_bytes += size
            yield frame
