"""Classification of the whole picture: a score for every label."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from mtl_split_core.canvas import Canvas
from mtl_split_core.errors import InputError
from mtl_split_core.geometry import Letterbox
from mtl_split_core.scene import Classification, Results, Task, Truth

HAS_THRESHOLD = False

MOST_LABELS = None


def outputs(task: Task) -> dict[str, tuple[int | None, ...]]:
    """Probabilities, 0 to 1."""
    return {task.name: (1, len(task.labels))}


def result(
    task: Task, outputs: Mapping[str, npt.NDArray[np.generic]], score_threshold: float, overlap_threshold: float
) -> Classification:
    """Name the probabilities; neither threshold applies."""
    return Classification(task.labels, outputs[task.name][0].astype(np.float32, copy=False))


def to_picture(result: Classification, letterbox: Letterbox) -> Classification:
    """Nothing in it has a place."""
    return result


def tracker(score_threshold: float, name: Callable[[], str]) -> None:
    """A class is no object."""


def to_json(result: Classification) -> dict[str, float]:
    """Score by label."""
    return dict(zip(result.labels, result.scores.tolist(), strict=True))


def select(result: Classification, score_threshold: float) -> Classification:
    """No threshold applies."""
    return result


def to_bytes(result: Classification, task: Task, letterbox: Letterbox) -> bytes:
    """The scores, in the order of the task's labels."""
    return result.scores.astype("<f4").tobytes()


def from_bytes(data: bytes, task: Task, letterbox: Letterbox) -> Classification:
    """Read the scores."""
    if len(data) != 4 * len(task.labels):
        raise InputError(f"the answer to {task.name} has {len(data)} bytes, expected {4 * len(task.labels)}")
    scores = np.frombuffer(data, "<f4").astype(np.float32)
    if not ((scores >= 0) & (scores <= 1)).all():
        raise InputError(f"the answer to {task.name} has the scores {scores.tolist()!s:.80}, expected 0 to 1")
    return Classification(task.labels, scores)


def draw(canvas: Canvas, tasks: Sequence[Task], results: Results, truth: Truth | None) -> None:
    """Nothing: the caption says it."""


def caption(result: Classification) -> str:
    """The best label and its score."""
    return f"{result.best} {result.scores.max():.2f}"


def in_words(result: Classification) -> str:
    """The caption."""
    return caption(result)


def count_objects(result: Classification) -> Counter[str]:
    """None: a class is no object."""
    return Counter()
