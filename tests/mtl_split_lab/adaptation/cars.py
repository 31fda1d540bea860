"""A vehicle for tests, and what it drives through."""

import numpy as np

from mtl_split_core.control.policy import Menu, Own, Point
from mtl_split_lab.adaptation.simulator import Drive, Times
from mtl_split_lab.adaptation.traces import Trace

SIZES = (300, 600, 900)
MENU = Menu([Point(300, 0.80), Point(600, 0.85), Point(900, 0.86)], {Own.WHOLE: 0.87}, answer_by=0.1)
TIMES = Times(prefix=0.005, own={Own.WHOLE: 0.012}, service=0.014)


def steady(rate: float) -> Trace:
    """A link of so many bits per second."""
    return Trace(np.array([0.0, 1.0]), np.full(2, rate))


def drive(trace: Trace, frames: int, loss: float = 0.0, seed: int = 0) -> Drive:
    """So many frames at 10 per second."""
    return Drive([SIZES] * frames, 10.0, trace, loss=loss, seed=seed)
