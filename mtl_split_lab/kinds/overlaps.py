"""How far boxes lie over each other. All boxes are float32 (N, 4), x1, y1, x2, y2."""

import numpy as np

from mtl_split_core.scene import Floats


def overlaps(some: Floats, others: Floats) -> tuple[Floats, Floats]:
    """Return for each pair of N boxes and M others the intersection over union, and over the first box: both (N, M)."""
    corners = np.minimum(some[:, None, 2:], others[None, :, 2:]) - np.maximum(some[:, None, :2], others[None, :, :2])
    shared = np.clip(corners, 0, None).prod(-1)
    own, theirs = areas(some)[:, None], areas(others)[None]
    return shared / np.maximum(own + theirs - shared, 1e-9), shared / np.maximum(own, 1e-9)


def areas(boxes: Floats) -> Floats:
    """Return the areas of N boxes: (N,)."""
    found: Floats = (boxes[:, 2:] - boxes[:, :2]).prod(-1)
    return found
