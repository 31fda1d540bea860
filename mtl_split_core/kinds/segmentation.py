"""Semantic segmentation: a label for every place of the picture."""

import base64
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from mtl_split_core import label_map
from mtl_split_core.canvas import AREA_COLOURS, Canvas
from mtl_split_core.compressed import decode_numbers
from mtl_split_core.errors import InputError
from mtl_split_core.geometry import Letterbox
from mtl_split_core.label_map import Segmentation, fit_places, pack, renumber
from mtl_split_core.scene import Floats, Indices, Size, Task, Truth

HAS_THRESHOLD = False

MOST_LABELS = label_map.MOST_LABELS

BACKGROUND = "background"
"""The label that is not coloured."""


@dataclass(frozen=True)
class Probabilities:
    """The network's answer: values, float32 (labels, rows, columns), evenly over the whole input, 0 to 1."""

    labels: tuple[str, ...]
    values: Floats


def outputs(task: Task) -> dict[str, tuple[int | None, ...]]:
    """Probabilities, at any resolution."""
    return {task.name: (1, len(task.labels), None, None)}


def result(
    task: Task, outputs: Mapping[str, npt.NDArray[np.generic]], score_threshold: float, overlap_threshold: float
) -> Probabilities:
    """Name the probabilities; neither threshold applies."""
    return Probabilities(task.labels, outputs[task.name][0].astype(np.float32, copy=False))


def to_picture(result: Probabilities, letterbox: Letterbox) -> Segmentation:
    """Choose the most likely label of each place of the input, of which the picture's have the nearest one's."""
    chosen = _most_likely(result.values, letterbox.target)
    numbers = label_map.to_picture(chosen, letterbox)
    return Segmentation(result.labels, pack(numbers), fit_places(letterbox.source))


def _most_likely(values: Floats, size: Size) -> Indices:
    # One label after the other: all of them at the input's resolution would take a lot of memory.
    best = np.asarray(cv2.resize(values[0], size, interpolation=cv2.INTER_LINEAR), np.float32)
    chosen = np.zeros(best.shape, np.uint8)
    for number in range(1, len(values)):
        other = np.asarray(cv2.resize(values[number], size, interpolation=cv2.INTER_LINEAR), np.float32)
        chosen[other > best] = number
        np.maximum(best, other, out=best)
    return chosen


def tracker(score_threshold: float, name: Callable[[], str]) -> None:
    """An area is no object."""


def to_json(result: Segmentation) -> dict[str, Any]:
    """The labels, and the numbers as a PNG in Base64."""
    return {"labels": result.labels, "png": base64.b64encode(result.whole()).decode()}


def select(result: Segmentation, score_threshold: float) -> Segmentation:
    """No threshold applies."""
    return result


def to_bytes(result: Segmentation, task: Task, letterbox: Letterbox) -> bytes:
    """The PNG of the numbers, which is no larger than the network's input: see to_picture."""
    return result.png


def from_bytes(data: bytes, task: Task, letterbox: Letterbox) -> Segmentation:
    """Check the numbers, and give the result as many places as it had."""
    numbers = decode_numbers(data, letterbox.target[0] * letterbox.target[1])
    if (most := int(numbers.max())) >= len(task.labels):
        raise InputError(f"the answer to {task.name} has the number {most}, expected 0 to {len(task.labels) - 1}")
    return Segmentation(task.labels, data, fit_places(letterbox.source))


def draw(canvas: Canvas, tasks: Sequence[Task], results: Mapping[str, Segmentation], truth: Truth | None) -> None:
    """Colour the places of each label, and outline the true ones in white."""
    labels = [label for task in tasks for label in task.labels if label != BACKGROUND]
    for task in tasks:
        shown = [(number, label) for number, label in enumerate(task.labels) if label != BACKGROUND]
        if task.name in results:
            numbers = results[task.name].indices()
            for number, label in shown:
                canvas.tint(numbers == number, AREA_COLOURS[labels.index(label) % len(AREA_COLOURS)])
        if truth is not None and task.name in truth.masks:
            numbers = renumber(truth.masks[task.name], task.labels)
            for number, _ in shown:
                canvas.outline(numbers == number)


def caption(result: Segmentation) -> str:
    """Nothing: it is drawn into the picture."""
    return ""


def in_words(result: Segmentation) -> str:
    """The share of the picture that each label has, but for the background."""
    numbers = result.indices()
    shown = [(number, label) for number, label in enumerate(result.labels) if label != BACKGROUND]
    shares = [(label, np.count_nonzero(numbers == number) / numbers.size) for number, label in shown]
    return ", ".join(f"{label} {100 * share:.0f} %" for label, share in shares)


def count_objects(result: Segmentation) -> Counter[str]:
    """None: an area is no object."""
    return Counter()
