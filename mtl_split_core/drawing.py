"""Pictures for people: results drawn into a camera image, and many images on one contact sheet."""

import math
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from mtl_split_core.canvas import FONT, PALE, Canvas, Colour
from mtl_split_core.geometry import PADDING_GREY, Letterbox
from mtl_split_core.kinds import KINDS, by_kind, results_of
from mtl_split_core.scene import Image, Results, Size, Task, Truth

LARGE = 1280 * 720
SMALL = 640 * 360
"""Pixels of a picture in the video and on the contact sheet."""

BAR = (28, 26, 24)
GREY = (165, 165, 165)


def fit(size: Size, area: int) -> Size:
    """Return the size (width, height) of the same aspect with about `area` pixels, both even for the video codec."""
    scale = math.sqrt(area / (size[0] * size[1]))
    return max(2, round(size[0] * scale / 2) * 2), max(2, round(size[1] * scale / 2) * 2)


def annotate(
    image: Image, results: Results, tasks: Sequence[Task], caption: str, size: Size, truth: Truth | None = None
) -> Image:
    """Return the image letterboxed into `size` (width, height), with the results drawn in and a caption bar below.

    image: of any size; results: of these tasks, in pixels of `image`; caption: the text at the right of the bar, whose
    left names the results of the whole picture; truth: drawn below the results.
    """
    unit = max(math.sqrt(size[0] * size[1] / LARGE), 0.7)
    letterbox = Letterbox((image.shape[1], image.shape[0]), size)
    canvas = Canvas(letterbox.apply(image), letterbox, unit)
    # What is in all of the picture lies below what is in a part of it.
    for kind, own in reversed(by_kind(tasks).items()):
        KINDS[kind].draw(canvas, own, results_of(own, results), truth)
    words = {task.name: KINDS[task.kind].caption(results[task.name]) for task in tasks if task.name in results}
    return np.concatenate([canvas.picture, _caption_bar(size[0], words, caption, unit)])


def contact_sheet(pictures: Sequence[Image], columns: int = 3, gap: int = 8) -> Image:
    """Lay pictures of one size out in rows of `columns`, row by row, `gap` pixels apart."""
    blank = np.full_like(pictures[0], PADDING_GREY)
    cells = [*pictures, *[blank] * (-len(pictures) % columns)]
    framed = [cv2.copyMakeBorder(cell, 0, gap, 0, gap, cv2.BORDER_CONSTANT, value=PALE) for cell in cells]
    rows = [np.concatenate(framed[i : i + columns], axis=1) for i in range(0, len(framed), columns)]
    return cv2.copyMakeBorder(np.concatenate(rows), gap, 0, gap, 0, cv2.BORDER_CONSTANT, value=PALE).astype(np.uint8)


def _caption_bar(width: int, words: Mapping[str, str], caption: str, unit: float) -> Image:
    bar = np.full((round(17 * unit) * 2, width, 3), BAR, np.uint8)
    texts: list[tuple[str, Colour]] = []
    for task, word in words.items():
        if word:
            texts += [(f"{task} ", GREY), (f"{word}     ", PALE)]
    margin = round(12 * unit)
    needed = _width("".join(text for text, _ in texts) + caption, 0.5 * unit) + 2 * margin
    scale = 0.5 * unit * min(1, width / needed)
    baseline, x = round(bar.shape[0] * 0.66), margin
    for text, colour in texts:
        cv2.putText(bar, text, (x, baseline), FONT, scale, colour, 1, cv2.LINE_AA)
        x += _width(text, scale)
    left = width - margin - _width(caption, scale)
    cv2.putText(bar, caption, (left, baseline), FONT, scale, GREY, 1, cv2.LINE_AA)
    return bar


def _width(text: str, scale: float) -> int:
    """Width of a text in pixels."""
    return int(cv2.getTextSize(text, FONT, scale, 1)[0][0])
