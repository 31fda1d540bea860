"""What became of the inputs that a fuzzer tried, in one line."""

import gc
import os
from collections import Counter

from mtl_split_lab.bench.usage import resident_bytes

WARM_UP = 0.1
"""The part of a run after which memory counts: at first, caches fill."""

MOST_GROWTH = 50e6
"""Bytes by which the process may grow after that, most of them the fuzzer's own collection."""


class Tally:
    """The fates of the inputs of one kind so far."""

    def __init__(self, kind: str, runs: int) -> None:
        """Expect so many inputs."""
        self._kind, self._runs = kind, runs
        self._fates: Counter[str] = Counter()
        self._warm = 0

    @property
    def left(self) -> int:
        """How many inputs are still to come."""
        return self._runs - self._fates.total()

    def add(self, fate: str) -> None:
        """Count an input."""
        self._fates[fate] += 1
        if self._fates.total() == int(self._runs * WARM_UP):
            self._warm = _memory()

    def tell(self, more: str = "") -> None:
        """Print all of it. AssertionError where the process has grown too much."""
        now = _memory()
        fates = ", ".join(f"{count:,} {fate}" for fate, count in self._fates.most_common())
        memory = f"memory {self._warm / 1e6:.1f} MB after a tenth of them, {now / 1e6:.1f} MB at the end"
        print(f"{self._fates.total():,} {self._kind}: {fates}; {more}{memory}", flush=True)
        assert now - self._warm < MOST_GROWTH


def _memory() -> int:
    gc.collect()
    return resident_bytes(os.getpid())
