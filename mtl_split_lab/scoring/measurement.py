"""What a bundle achieves on pictures whose truth is known, through both of its halves as the nodes run them."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from mtl_split_core.bundle import Bundle
from mtl_split_core.errors import InputError
from mtl_split_core.halves import EdgeHalf, ServerHalf
from mtl_split_core.kinds import by_kind, results_of
from mtl_split_core.scene import Image, Results, Task, Truth
from mtl_split_lab.kinds import KINDS
from mtl_split_lab.scoring.frames import Frame

SPREAD = {"median": 50, "p98": 98, "p99": 99, "max": 100}
"""Names of percentiles."""


MOST_BYTES = 1200
"""The edge node's `max_payload_bytes` by default: frames that take more go out at a coarser operating point."""


Compared = dict[str, Any]
"""What the scores are made of that one picture's results get, by kind of task: see `pair` in mtl_split_lab.kinds."""


def compare(truth: Truth, results: Results, tasks: Sequence[Task]) -> Compared:
    """Compare the results of these tasks with what is true of their picture."""
    pairs = {kind: KINDS[kind].pair(truth, results_of(own, results)) for kind, own in by_kind(tasks).items()}
    return {kind: pair for kind, pair in pairs.items() if pair is not None}


class Measurement:
    """Results of pictures, as they come, and how many bytes each took."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        """Measure the results of these tasks."""
        self._sizes: list[int] = []
        self._tasks = tasks
        self._pairs: dict[str, list[Any]] = {kind: [] for kind in KINDS}

    @property
    def frames(self) -> int:
        """How many were added."""
        return len(self._sizes)

    def add(self, truth: Truth, size: int, results: Results) -> None:
        """Add one picture's."""
        self.add_compared(size, compare(truth, results, self._tasks))

    def add_compared(self, size: int, compared: Compared) -> None:
        """Add one picture's that were compared before, which takes most of the time."""
        self._sizes.append(size)
        for kind, pair in compared.items():
            self._pairs[kind].append(pair)

    def scores(self) -> dict[str, Any]:
        """Return every kind's score, see its module in mtl_split_lab.kinds."""
        return {kind: KINDS[kind].score(pairs) for kind, pairs in self._pairs.items()}

    def accuracies(self) -> dict[str, float]:
        """Return the one figure of every task of which anything is known, 0 to 1, by its name."""
        found = {}
        for kind, score in self.scores().items():
            for task in by_kind(self._tasks)[kind]:
                with suppress(KeyError):
                    found[task.name] = KINDS[kind].accuracy(score, task.name)
        return found

    def summary(self) -> dict[str, Any]:
        """Return how many frames, bytes per frame, and `figures`, ready for JSON."""
        sizes = {name: float(np.percentile(self._sizes or [0], share)) for name, share in SPREAD.items()}
        return {"frames": self.frames, "bytes": sizes, **self.figures()}

    def figures(self) -> dict[str, Any]:
        """Return `figures` of every kind, rounded to 4 digits, ready for JSON."""
        figures: dict[str, Any] = {}
        for kind, score in self.scores().items():
            figures |= _rounded(KINDS[kind].figures(score))
        return figures


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def find_mistakes(truth: Truth, results: Results, tasks: Sequence[Task]) -> Counter[str]:
    """Count what the results of these tasks have wrong in one picture, by what it is in words."""
    parts = (KINDS[kind].find_mistakes(truth, results_of(own, results)) for kind, own in by_kind(tasks).items())
    return sum(parts, Counter[str]())


def measure(bundle: Bundle, frames: Iterable[Frame]) -> dict[str, Any]:
    """Measure a bundle as an edge with default parameters sends it: see MOST_BYTES and Measurement.summary.

    Damaged frames are left out.
    """
    measurement = Measurement(bundle.tasks)
    for truth, size, results in answer(bundle, frames):
        measurement.add(truth, size, results)
    return measurement.summary()


def answer(bundle: Bundle, frames: Iterable[Frame]) -> Iterator[tuple[Truth, int, Results]]:
    """Yield the truth of sound frames, the bytes of their payloads, and the results; see `measure`."""
    edge, server = EdgeHalf(bundle), ServerHalf(bundle)
    for frame, image in read_sound(frames):
        payload = edge.encode(image, most_bytes=MOST_BYTES).payload
        yield frame.truth, len(payload), server.decode(payload, (image.shape[1], image.shape[0]))


def read_sound(frames: Iterable[Frame]) -> Iterator[tuple[Frame, Image]]:
    """Yield frames with their pictures; those that are damaged are named and left out."""
    for frame in frames:
        try:
            yield frame, frame.read()
        except InputError as error:
            logging.warning("left out: %s", error)
