"""A stopwatch for the stages of a frame, and for calls that are compared."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager


class Stopwatch:
    """Keeps how long each stage of the latest frame took: `milliseconds` by stage name."""

    def __init__(self) -> None:
        """Start with no stage measured."""
        self.milliseconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure the body of a `with` statement as the stage `name`."""
        start = time.perf_counter()
        yield
        self.milliseconds[name] = (time.perf_counter() - start) * 1e3


def measure_in_turn(
    calls: Mapping[str, Callable[[], object]], rounds: int, seconds: float = math.inf, pause: float = 0.0
) -> dict[str, list[float]]:
    """Return the milliseconds of so many calls of each, or as many as fit into some seconds, at least one.

    They are called in turn, so that whatever else the machine does is in all of them. pause: seconds before each call,
    in which the processor rests, as it does between frames.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    end = time.perf_counter() + seconds
    for _ in range(rounds):
        for name, call in calls.items():
            time.sleep(pause)
            start = time.perf_counter()
            call()
            times[name].append((time.perf_counter() - start) * 1e3)
        if time.perf_counter() > end:
            break
    return times
