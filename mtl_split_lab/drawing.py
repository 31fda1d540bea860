"""Pictures for people: results drawn into a camera image, and many images on one contact sheet."""

import math
from collections.abc import Sequence

import cv2
import numpy as np

from mtl_split_core.geometry import PADDING_GREY, Letterbox
from mtl_split_core.scene import Classification, Detections, Image, Results, Size, Truth

Colour = tuple[int, int, int]

SHOWN_SCORE = 0.3
"""Detections below this score are not drawn."""

LARGE = 1280 * 720
SMALL = 640 * 360
"""Pixels of a picture in the video and on the contact sheet."""

COLOURS: tuple[Colour, ...] = (
    (80, 80, 255),
    (60, 170, 255),
    (70, 225, 90),
    (240, 200, 60),
    (255, 120, 70),
    (255, 120, 220),
    (200, 90, 255),
    (60, 230, 240),
    (180, 240, 170),
)
"""Blue-green-red, told apart on a street by day and by night; labels beyond the ninth begin again."""

FONT = cv2.FONT_HERSHEY_SIMPLEX
BAR = (28, 26, 24)
PALE = (235, 235, 235)
GREY = (165, 165, 165)


def fit(size: Size, area: int) -> Size:
    """Return the size (width, height) of the same aspect with about `area` pixels, both even for the video codec."""
    scale = math.sqrt(area / (size[0] * size[1]))
    return max(2, round(size[0] * scale / 2) * 2), max(2, round(size[1] * scale / 2) * 2)


def annotate(
    image: Image, results: Results, labels: Sequence[str], caption: str, size: Size, truth: Truth | None = None
) -> Image:
    """Return the image letterboxed into `size` (width, height), with the results drawn in and a caption bar below.

    image: of any size; results: in pixels of `image`; labels: all detection labels, in the order that gives them their
    colours; caption: the text at the right of the bar, whose left names the classifications; truth: drawn below the
    results, in white, but for what is to be ignored.
    """
    unit = max(math.sqrt(size[0] * size[1] / LARGE), 0.7)
    letterbox = Letterbox((image.shape[1], image.shape[0]), size)
    picture = letterbox.apply(image)
    if truth is not None:
        for x1, y1, x2, y2 in letterbox.to_input(truth.boxes[~truth.ignore]).round().astype(int).tolist():
            cv2.rectangle(picture, (x1, y1), (x2, y2), PALE, max(1, round(1.5 * unit)), cv2.LINE_AA)
    for result in results.values():
        if isinstance(result, Detections):
            _draw_detections(picture, result, labels, letterbox, unit)
    return np.concatenate([picture, _caption_bar(size[0], results, caption, unit)])


def contact_sheet(pictures: Sequence[Image], columns: int = 3, gap: int = 8) -> Image:
    """Lay pictures of one size out in rows of `columns`, row by row, `gap` pixels apart."""
    blank = np.full_like(pictures[0], PADDING_GREY)
    cells = [*pictures, *[blank] * (-len(pictures) % columns)]
    framed = [cv2.copyMakeBorder(cell, 0, gap, 0, gap, cv2.BORDER_CONSTANT, value=PALE) for cell in cells]
    rows = [np.concatenate(framed[i : i + columns], axis=1) for i in range(0, len(framed), columns)]
    return cv2.copyMakeBorder(np.concatenate(rows), gap, 0, gap, 0, cv2.BORDER_CONSTANT, value=PALE).astype(np.uint8)


def _draw_detections(
    picture: Image, detections: Detections, labels: Sequence[str], letterbox: Letterbox, unit: float
) -> None:
    shown = np.flatnonzero(detections.scores >= SHOWN_SCORE)[::-1]  # the best is drawn last, on top
    boxes = letterbox.to_input(detections.boxes).round().astype(int)
    line = max(1, round(1.5 * unit))
    for i in shown:
        x1, y1, x2, y2 = map(int, boxes[i])
        cv2.rectangle(picture, (x1, y1), (x2, y2), _colour(labels, detections.labels[i]), line, cv2.LINE_AA)
    for i in shown:
        text = f"{detections.labels[i]} {detections.scores[i]:.2f}"
        _draw_tag(picture, text, (int(boxes[i][0]), int(boxes[i][1])), _colour(labels, detections.labels[i]), unit)


def _colour(labels: Sequence[str], label: str) -> Colour:
    return COLOURS[labels.index(label) % len(COLOURS)]


def _draw_tag(picture: Image, text: str, corner: tuple[int, int], colour: Colour, unit: float) -> None:
    """Write a name on its colour just above the upper left corner of a box, or inside where the picture ends."""
    scale = 0.42 * unit
    (width, height), below = cv2.getTextSize(text, FONT, scale, 1)
    pad = max(1, round(2 * unit))
    tall = height + below + 2 * pad
    left = max(0, min(corner[0], picture.shape[1] - width - 2 * pad))
    top = corner[1] - tall if corner[1] >= tall else corner[1]
    cv2.rectangle(picture, (left, top), (left + width + 2 * pad, top + tall), colour, cv2.FILLED)
    cv2.putText(picture, text, (left + pad, top + pad + height), FONT, scale, (0, 0, 0), 1, cv2.LINE_AA)


def _caption_bar(width: int, results: Results, caption: str, unit: float) -> Image:
    bar = np.full((round(17 * unit) * 2, width, 3), BAR, np.uint8)
    texts: list[tuple[str, Colour]] = []
    for task, result in results.items():
        if isinstance(result, Classification):
            texts += [(f"{task} ", GREY), (f"{result.best} {result.scores.max():.2f}     ", PALE)]
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
