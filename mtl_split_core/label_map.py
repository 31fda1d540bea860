"""Which label each place of a picture has, as a PNG of 8-bit grey, whose numbers are positions among the labels."""

import math
import struct
import zlib
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


@dataclass(frozen=True)
class Segmentation(LabelMap):
    """The labels of a picture's places, as a result and as a truth.

    png: as `pack` writes it, over the whole picture; places: columns and rows of the numbers, each that of the nearest
    pixel of the PNG, which may have fewer: a result has a place for each pixel, see fit_places. None: as the PNG has.
    """

    png: bytes
    places: Size | None = None

    def indices(self) -> Indices:
        """Unpack the numbers, uint8 (rows, columns). Raises ImageError where `png` is none, or too large."""
        numbers = decode_numbers(self.png, MOST_PLACES)
        return numbers if self.places is None else scale(numbers, self.places)

    def whole(self) -> bytes:
        """Return a PNG with a pixel for every place. Raises ImageError as `indices` does."""
        return self.png if self.places is None else pack(self.indices())


def pack(indices: Indices) -> bytes:
    """Write numbers, uint8 (rows, columns), as a PNG of 8-bit grey.

    Run lengths of the numbers as they are: of large areas as small as the best compression, in a tenth of its time.
    OpenCV does that from 4.12 on; before, it always codes differences, which are half as large again.
    """
    rows, columns = indices.shape
    lines = np.zeros((rows, 1 + columns), np.uint8)  # each line begins with the number of its filter, 0: none
    lines[:, 1:] = indices
    deflate = zlib.compressobj(strategy=zlib.Z_RLE)
    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", deflate.compress(lines.data) + deflate.flush()), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


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
    """Return the numbers over the whole input that are over the picture, scaled down where that has fewer places."""
    (left, top), (columns, rows) = letterbox.offset, letterbox.fitted
    places = fit_places(letterbox.source)
    return scale(indices[top : top + rows, left : left + columns], (min(columns, places[0]), min(rows, places[1])))


def renumber(found: LabelMap, labels: Sequence[str]) -> Indices:
    """Return a map's numbers as positions in `labels`: UNKNOWN for what is not one of them.

    Raises InputError for a map that cannot be read.
    """
    numbers = np.full(256, UNKNOWN, np.uint8)
    for number, label in enumerate(found.labels):
        if label in labels:
            numbers[number] = labels.index(label)
    return numbers[found.indices()]
