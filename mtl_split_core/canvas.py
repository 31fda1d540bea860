"""A picture to draw into: boxes, tags on them, and areas."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import cv2
import numpy as np
import numpy.typing as npt

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

MOST_TAGS = 200
"""Texts in one picture, the first ones: more would not find a place."""

AREA_COLOURS: tuple[Colour, ...] = (
    (110, 210, 60),
    (230, 130, 40),
    (60, 190, 250),
    (190, 90, 220),
    (90, 90, 240),
    (220, 220, 90),
)
"""Of areas, which the picture shines through; those beyond the sixth begin again."""
AREA_SHARE = 0.35
"""How much of an area's colour is seen, 0 to 1."""

FONT = cv2.FONT_HERSHEY_SIMPLEX
PALE = (235, 235, 235)
BLACK = (0, 0, 0)


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

    def rectangles(self, boxes: Floats, colours: Sequence[Colour], edged: bool = False) -> None:
        """Draw boxes, float32 (N, 4) x1, y1, x2, y2 in pixels of the original picture.

        edged: with a black edge, by which a pale line is seen on a bright picture.
        """
        line = max(1, round(1.5 * self.unit))
        for (x1, y1, x2, y2), colour in zip(self._fit(boxes), colours, strict=True):
            if edged:
                cv2.rectangle(self.picture, (x1, y1), (x2, y2), BLACK, line + 2, cv2.LINE_AA)
            cv2.rectangle(self.picture, (x1, y1), (x2, y2), colour, line, cv2.LINE_AA)

    def tags(self, boxes: Floats, texts: Sequence[str], colours: Sequence[Colour]) -> None:
        """Write a text on its colour at each box, the first ones in the best places.

        That is just above the box's upper left corner, or else below or further above it; a text that would cover
        another one in all of these is left out.
        """
        taken = np.zeros((0, 4), np.int64)
        for box, text, colour in islice(zip(self._fit(boxes), texts, colours, strict=True), MOST_TAGS):
            for place in self._places(box, text):
                left, top, right, bottom = place
                if not np.any(
                    (taken[:, 0] < right) & (left < taken[:, 2]) & (taken[:, 1] < bottom) & (top < taken[:, 3])
                ):
                    taken = np.append(taken, [place], axis=0)
                    self._tag((left, top), (right, bottom), text, colour)
                    break

    def tint(self, places: npt.NDArray[np.bool_], colour: Colour) -> None:
        """Colour an area of the original picture, bool (rows, columns); the picture shines through."""
        here, inside = self._place(places)
        here[inside] = here[inside] * (1 - AREA_SHARE) + np.array(colour) * AREA_SHARE

    def outline(self, places: npt.NDArray[np.bool_]) -> None:
        """Draw a white line with a black edge around an area of the original picture, bool (rows, columns)."""
        here, inside = self._place(places)
        lines, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        line = max(1, round(self.unit))
        for colour, wide in ((BLACK, line + 2), (PALE, line)):
            cv2.drawContours(here, lines, -1, colour, wide, cv2.LINE_AA)

    def _place(self, places: npt.NDArray[np.bool_]) -> tuple[Image, npt.NDArray[np.bool_]]:
        """Return the part of the drawing that shows the original picture, and which of its pixels an area has."""
        (left, top), (columns, rows) = self.letterbox.offset, self.letterbox.fitted
        fitted = cv2.resize(places.astype(np.uint8), (columns, rows), interpolation=cv2.INTER_NEAREST_EXACT)
        return self.picture[top : top + rows, left : left + columns], fitted > 0

    def _fit(self, boxes: Floats) -> list[list[int]]:
        corners: list[list[int]] = self.letterbox.to_input(boxes).round().astype(int).tolist()
        return corners

    def _places(self, box: Sequence[int], text: str) -> Iterator[tuple[int, int, int, int]]:
        """Where a box's text may be: left, top, right and bottom, the best first, all inside the picture."""
        height, width = self.picture.shape[:2]
        (wide, tall), below = cv2.getTextSize(text, FONT, self._font_scale, 1)
        wide, tall = wide + 2 * self._pad, tall + below + 2 * self._pad
        left = max(0, min(box[0], width - wide))
        for top in (box[1] - tall, box[3], box[1], *(box[1] - number * tall for number in (2, 3, 4))):
            if 0 <= top <= height - tall or tall > height:
                yield left, top, left + wide, top + tall

    def _tag(self, corner: tuple[int, int], other: tuple[int, int], text: str, colour: Colour) -> None:
        cv2.rectangle(self.picture, corner, (other[0] - 1, other[1] - 1), colour, cv2.FILLED)
        _, below = cv2.getTextSize(text, FONT, self._font_scale, 1)
        place = (corner[0] + self._pad, other[1] - self._pad - below)
        cv2.putText(self.picture, text, place, FONT, self._font_scale, BLACK, 1, cv2.LINE_AA)

    @property
    def _font_scale(self) -> float:
        return 0.42 * self.unit

    @property
    def _pad(self) -> int:
        return max(1, round(2 * self.unit))
