"""How far boxes lie over each other. All boxes are float32 (N, 4), x1, y1, x2, y2."""

import numpy as np

from mtl_split_core.scene import Floats


def overlaps(some: Floats, others: Floats) -> Floats:
    """Return the intersections over union of N and M boxes: (N, M)."""
    shared = _intersections(some, others)
    own, theirs = areas(some), areas(others)
    found: Floats = (shared / np.maximum(own[:, None] + theirs[None] - shared, 1e-9)).astype(np.float32)
    return found


def shares_inside(some: Floats, others: Floats) -> Floats:
    """Return which share of each of N boxes lies inside each of M others: (N, M)."""
    found: Floats = (_intersections(some, others) / np.maximum(areas(some)[:, None], 1e-9)).astype(np.float32)
    return found


def areas(boxes: Floats) -> Floats:
    """Return the areas of N boxes: (N,)."""
    found: Floats = (boxes[:, 2:] - boxes[:, :2]).prod(-1)
    return found


def _intersections(some: Floats, others: Floats) -> Floats:
    corners = np.minimum(some[:, None, 2:], others[None, :, 2:]) - np.maximum(some[:, None, :2], others[None, :, :2])
    shared: Floats = np.clip(corners, 0, None).prod(-1)
    return shared
