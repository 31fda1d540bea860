"""Which label each place of a picture has, as a PNG of 8-bit grey, whose numbers are positions among the labels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from mtl_split_core.compressed import decode_numbers
from mtl_split_core.geometry import Letterbox
from mtl_split_core.scene import Indices, LabelMap, Size

UNKNOWN = 255
"""The number of a place whose label is not known."""

MOST_LABELS = UNKNOWN
"""So many labels have a number."""

MOST_PLACES = 3840 * 2160
"""Results have no more places, however large the camera's pictures are, or are said to be."""

_FAST = [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
"""Run lengths: of large areas the smallest, and as fast as any."""


_SMALL = [cv2.IMWRITE_PNG_COMPRESSION, 9]


@dataclass(frozen=True)
class Segmentation(LabelMap):
    """The labels of a picture's places, as a result and as a truth.

    png: as `pack` writes it, over the whole picture; a result has a place for each pixel, see fit_places.
    """

    png: bytes

    def indices(self) -> Indices:
        """Unpack the numbers, uint8 (rows, columns). Raises ImageError where `png` is none, or too large."""
        return decode_numbers(self.png, MOST_PLACES)


def pack(indices: Indices) -> bytes:
    """Write numbers, uint8 (rows, columns), as a PNG of 8-bit grey."""
    _, data = cv2.imencode(".png", indices, _FAST)
    return data.tobytes()


def pack_small(indices: Indices) -> bytes:
    """Write numbers as `pack` does, in fewer bytes and more time."""
    _, data = cv2.imencode(".png", indices, _SMALL)
    return data.tobytes()


def fit_places(size: Size) -> Size:
    """Return how many columns and rows a result has for a picture of a size: as many as pixels, up to MOST_PLACES."""
    width, height = size
    share = min(1.0, math.sqrt(MOST_PLACES / (width * height)))
    return max(1, int(width * share)), max(1, int(height * share))


def scale(indices: Indices, size: Size) -> Indices:
    """Return the numbers at so many columns and rows, each that of the nearest place."""
    return np.asarray(cv2.resize(indices, size, interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)


def to_input(indices: Indices, letterbox: Letterbox) -> Indices:
    """Scale numbers over a whole picture into the network's input, one for each of its pixels: UNKNOWN in the bars."""
    (left, top), (columns, rows) = letterbox.offset, letterbox.fitted
    found = np.full(letterbox.target[::-1], UNKNOWN, np.uint8)
    found[top : top + rows, left : left + columns] = scale(indices, (columns, rows))
    return found


def to_picture(indices: Indices, letterbox: Letterbox) -> Indices:
    """Scale numbers over the whole input to a picture's places, see fit_places."""
    (left, top), (columns, rows) = letterbox.offset, letterbox.fitted
    return scale(indices[top : top + rows, left : left + columns], fit_places(letterbox.source))


def renumber(found: LabelMap, labels: Sequence[str]) -> Indices:
    """Return a map's numbers as positions in `labels`: UNKNOWN for what is not one of them.

    Raises InputError for a map that cannot be read.
    """
    numbers = np.full(256, UNKNOWN, np.uint8)
    for number, label in enumerate(found.labels):
        if label in labels:
            numbers[number] = labels.index(label)
    return numbers[found.indices()]
