"""A picture to draw into: boxes, and tags on them."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2

from mtl_split_core.geometry import Letterbox
from mtl_split_core.scene import Floats, Image

Colour = tuple[int, int, int]
"""Blue-green-red."""

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
"""Told apart on a street by day and by night; labels beyond the ninth begin again."""

FONT = cv2.FONT_HERSHEY_SIMPLEX
PALE = (235, 235, 235)


def colour_of(labels: Sequence[str], label: str) -> Colour:
    """Return the colour of one of these labels; PALE for another one."""
    return COLOURS[labels.index(label) % len(COLOURS)] if label in labels else PALE


@dataclass(frozen=True)
class Canvas:
    """A picture that is drawn into, uint8 (height, width, 3).

    letterbox: from the original picture to this one; unit: the size of what is drawn, 1 in a picture of 1280 x 720.
    """

    picture: Image
    letterbox: Letterbox
    unit: float

    def rectangles(self, boxes: Floats, colours: Sequence[Colour]) -> None:
        """Draw boxes, float32 (N, 4) x1, y1, x2, y2 in pixels of the original picture."""
        line = max(1, round(1.5 * self.unit))
        for (x1, y1, x2, y2), colour in zip(self._fit(boxes), colours, strict=True):
            cv2.rectangle(self.picture, (x1, y1), (x2, y2), colour, line, cv2.LINE_AA)

    def tags(self, boxes: Floats, texts: Sequence[str], colours: Sequence[Colour]) -> None:
        """Write a text on its colour just above each box's upper left corner, or inside where the picture ends."""
        for (left, top, _, _), text, colour in zip(self._fit(boxes), texts, colours, strict=True):
            self._tag((left, top), text, colour)

    def _fit(self, boxes: Floats) -> list[list[int]]:
        corners: list[list[int]] = self.letterbox.to_input(boxes).round().astype(int).tolist()
        return corners

    def _tag(self, corner: tuple[int, int], text: str, colour: Colour) -> None:
        scale = 0.42 * self.unit
        (width, height), below = cv2.getTextSize(text, FONT, scale, 1)
        pad = max(1, round(2 * self.unit))
        tall = height + below + 2 * pad
        left = max(0, min(corner[0], self.picture.shape[1] - width - 2 * pad))
        top = corner[1] - tall if corner[1] >= tall else corner[1]
        cv2.rectangle(self.picture, (left, top), (left + width + 2 * pad, top + tall), colour, cv2.FILLED)
        cv2.putText(self.picture, text, (left + pad, top + pad + height), FONT, scale, (0, 0, 0), 1, cv2.LINE_AA)
