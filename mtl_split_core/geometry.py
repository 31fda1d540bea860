"""Letterboxing: fitting a picture into the network's input with its aspect kept, and boxes back into the picture."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from mtl_split_core.errors import ImageError
from mtl_split_core.scene import Floats, Image, Size

PADDING_GREY = 114
"""Grey level of the bars beside a picture whose aspect is not the network's."""

LARGEST_SIDE = 1 << 15
"""Pictures wider or higher than this are taken for a damaged message."""

MAX_PIXELS = 50_000_000
"""Pictures with more pixels are refused, unless another limit is given: decoded, this many take 150 MB."""


def check_size(size: Size, max_pixels: int = MAX_PIXELS) -> None:
    """Raise ImageError for a picture without pixels, one wider or higher than LARGEST_SIDE, or above `max_pixels`."""
    width, height = size
    if not (1 <= width <= LARGEST_SIDE and 1 <= height <= LARGEST_SIDE):
        raise ImageError(f"width and height are {width} and {height}, expected 1 to {LARGEST_SIDE}")
    if width * height > max_pixels:
        raise ImageError(f"width and height are {width} and {height}, expected at most {max_pixels} pixels in all")


def check_image(image: Image) -> Size:
    """Return the size of a picture; raises ImageError if it is not uint8 (height, width, 3) with at least one pixel."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ImageError(f"expected a uint8 picture of shape (height, width, 3), got {image.dtype} {image.shape}")
    return image.shape[1], image.shape[0]


@dataclass(frozen=True)
class Letterbox:
    """The mapping between a picture of size `source` and the network's input of size `target`, both (width, height)."""

    source: Size
    target: Size

    @property
    def scale(self) -> float:
        """Input pixels per picture pixel."""
        return min(self.target[0] / self.source[0], self.target[1] / self.source[1])

    @property
    def fitted(self) -> Size:
        """Size of the scaled picture inside the input."""
        return max(1, round(self.source[0] * self.scale)), max(1, round(self.source[1] * self.scale))

    @property
    def offset(self) -> Size:
        """Where the scaled picture begins inside the input: left, top."""
        return (self.target[0] - self.fitted[0]) // 2, (self.target[1] - self.fitted[1]) // 2

    def apply(self, image: Image) -> Image:
        """Scale a picture of size `source` into an input, uint8 (target height, target width, 3), with grey bars."""
        # Averaging over 2, 4, 8, ... whole pixels is fast and avoids aliasing; the rest is interpolated.
        factor = 2 ** int(math.log2(max(1.0, 1 / self.scale)))
        if factor > 1:
            whole = (max(1, self.source[0] // factor), max(1, self.source[1] // factor))
            image = np.asarray(cv2.resize(image, whole, interpolation=cv2.INTER_AREA), np.uint8)
        fitted = cv2.resize(image, self.fitted, interpolation=cv2.INTER_LINEAR)
        if self.fitted == self.target:
            return np.ascontiguousarray(fitted, np.uint8)
        left, top = self.offset
        padded = np.full((self.target[1], self.target[0], 3), PADDING_GREY, np.uint8)
        padded[top : top + self.fitted[1], left : left + self.fitted[0]] = fitted
        return padded

    def to_input(self, boxes: Floats) -> Floats:
        """Map boxes, float32 (N, 4) x1, y1, x2, y2 in picture pixels, to input pixels."""
        return boxes * self._factors() + _twice(self.offset)

    def to_picture(self, boxes: Floats) -> Floats:
        """Map boxes, float32 (N, 4) x1, y1, x2, y2 in input pixels, to picture pixels, clipped to the picture."""
        with np.errstate(over="ignore"):  # what becomes infinite is clipped
            boxes = (boxes - _twice(self.offset)) / self._factors()
        return np.clip(boxes, 0, _twice(self.source))

    def _factors(self) -> Floats:
        # The fitted size is whole pixels, so the two axes' true factors differ a little from `scale`.
        return _twice(self.fitted) / _twice(self.source)


def _twice(pair: tuple[int, int]) -> Floats:
    return np.array((*pair, *pair), np.float32)
