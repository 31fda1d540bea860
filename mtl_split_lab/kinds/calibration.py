"""Calibration: a linear correction of logits, after which a score is the share of such answers that are right."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mtl_split_core.scene import Floats

FEWEST = 20
"""With fewer right or fewer wrong answers nothing can be said of them."""
_ROUNDS = 50
_PRIOR = 1.0
"""Strength of the belief, in answers, that scores are already true."""

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Calibration:
    """By label, what its logits are multiplied by, and then added to them: float32 (labels,) each."""

    scale: Floats
    offset: Floats


def logit(scores: Floats) -> npt.NDArray[np.float64]:
    """Logits of scores, 0 to 1."""
    sure = np.clip(scores.astype(np.float64), 1e-6, 1 - 1e-6)
    return np.log(sure) - np.log1p(-sure)


def fit_logistic(scores: Floats, right: Flags) -> tuple[float, float] | None:
    """Fit scale and offset of the logits of some answers' scores (N,) to whether these are right, bool (N,).

    By Newton's method (Platt scaling, Platt 1999). None where too few are right or wrong.
    """
    if min(right.sum(), (~right).sum()) < FEWEST:
        return None
    columns = np.stack([logit(scores), np.ones(len(scores))])
    believed = np.array([1.0, 0.0])
    weights = believed
    for _ in range(_ROUNDS):
        likely = 1 / (1 + np.exp(-weights @ columns))
        slope = columns @ (likely - right) + _PRIOR * (weights - believed)
        curvature = (columns * (likely * (1 - likely))) @ columns.T + _PRIOR * np.eye(2)
        weights = weights - np.linalg.solve(curvature, slope)
    # Of two detections the one with the higher score stays the better one.
    return max(float(weights[0]), 0.05), float(weights[1])


def fit_temperature(scores: Floats, right: npt.NDArray[np.int64]) -> float:
    """Find what to multiply log probabilities (N, labels) with, so that the right indices (N,) become most likely.

    The inverse of the temperature of Guo et al. (2017).
    """
    logs = np.log(np.clip(scores.astype(np.float64), 1e-9, 1))
    scales = np.exp(np.linspace(-2, 2, 201))

    def surprise(scale: float) -> float:
        scaled = scale * logs
        most = scaled.max(axis=1)
        total = most + np.log(np.exp(scaled - most[:, None]).sum(axis=1))
        return float((total - scaled[np.arange(len(right)), right]).mean())

    return float(min(scales, key=surprise))
