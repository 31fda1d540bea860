"""A stopwatch for the stages of a frame."""

import time
from collections.abc import Iterator
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
