"""Fits the entropy coder's integer tables to the symbols of pictures that were trained on."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mtl_split_core.entropy import GRIDS, TERMS, TOTAL, EntropyTables, Integers, Symbols, make_grids, walk_grids

GROUPS = 2
TABLES = 20
LARGEST_SYMBOL = 255
"""Larger symbols than this are not sent as they are."""
UNIT = 1 << 16
"""Weighted sums are an expected magnitude in units of 1 / UNIT."""
COUNTED = 1 << 20
"""What is counted for a table, about: what is rarer than 1 / COUNTED is taken for as frequent as that."""
PRIOR = 20.0
"""How many imagined symbols of a geometric distribution each table begins with."""
ROUNDS = 40
MOST_ROWS = 8000
"""So many symbols are enough to fit four weights."""
LEAST_MAGNITUDE = 0.004

Floats64 = npt.NDArray[np.float64]


def fit_tables(symbols: Sequence[Sequence[Symbols]]) -> EntropyTables:
    """Fit tables to symbols (channels, height, width): for each operating point, those of the same pictures.

    Which table a symbol is coded by depends on its expected magnitude, a sum of its surroundings weighted per channel
    by least squares; what the table says is how often symbols with about this expectation have each magnitude.
    """
    shape: tuple[int, int, int] = symbols[0][0].shape  # type: ignore[assignment]
    strength = np.mean([np.abs(picture).mean(axis=(1, 2)) for point in symbols for picture in point], axis=0)
    groups = [np.sort(group) for group in np.array_split(np.argsort(-strength), GROUPS)]
    weights = np.zeros((len(symbols), GRIDS, TERMS, shape[0]), np.int64)
    expected: list[Integers] = []
    found: list[Integers] = []
    for point, pictures in enumerate(symbols):
        for (grid, channel), (terms, magnitudes) in _collect(pictures, shape, groups).items():
            fitted = np.rint(_fit(terms, magnitudes) * UNIT).astype(np.int64)
            weights[point, grid, :, channel] = fitted
            expected.append(terms @ fitted)
            found.append(magnitudes)
    sums, all_magnitudes = np.concatenate(expected), np.concatenate(found)
    positive = sums[sums > 0]
    ends = np.log(np.quantile(positive, [0.001, 0.9995])) if len(positive) else np.zeros(2)
    spread = np.linspace(float(ends[0]), float(ends[1]), TABLES - 1)
    thresholds = np.unique(np.rint(np.exp(spread)).astype(np.int64))
    table = np.searchsorted(thresholds, sums, side="right")
    largest = max(1, int(all_magnitudes.max()))
    rows = [_count(all_magnitudes[table == index], largest) for index in range(len(thresholds) + 1)]
    return EntropyTables(
        tuple(tuple(group.tolist()) for group in groups), weights, thresholds, normalise(np.array(rows))
    )


def _collect(
    pictures: Sequence[Symbols], shape: tuple[int, int, int], groups: list[Integers]
) -> dict[tuple[int, int], tuple[Integers, Integers]]:
    """Gather, by grid and channel, the terms (N, TERMS) and the magnitudes (N,) of all pictures."""
    terms: dict[tuple[int, int], list[Integers]] = {}
    values: dict[tuple[int, int], list[Integers]] = {}
    grids = make_grids(*shape[1:])
    for picture in pictures:
        flat = np.clip(picture.reshape(shape[0], -1).T, -LARGEST_SYMBOL, LARGEST_SYMBOL)
        for index, grid, own in walk_grids(flat, np.int32(0), shape, grids):
            here = np.abs(flat[grid.places]).astype(np.int64)
            every, earlier = own.sum(axis=1), np.zeros(len(here), np.int64)
            for channels in groups:
                for channel in channels.tolist():
                    known = np.stack([np.ones_like(every), every, own[:, channel], earlier], axis=1)
                    terms.setdefault((index, channel), []).append(known)
                    values.setdefault((index, channel), []).append(here[:, channel])
                earlier = earlier + here[:, channels].sum(axis=1)
    return {key: (np.concatenate(terms[key]), np.concatenate(values[key])) for key in terms}


def _fit(terms: Integers, magnitudes: Integers) -> Floats64:
    """Weights, none negative, with which the terms say how large the magnitudes are, relative to what they say."""
    every = -(-len(terms) // MOST_ROWS)
    floats, magnitudes = terms[::every].astype(np.float64), magnitudes[::every]
    weights = np.full(TERMS, 1e-3)
    known = floats.any(axis=0)
    for _ in range(ROUNDS):
        # Multiplicative steps to the most likely scales of Laplace distributions keep all weights positive.
        expected = np.maximum(floats @ weights, LEAST_MAGNITUDE)
        up = (floats * (magnitudes / expected**2)[:, None]).sum(axis=0)
        down = (floats / expected[:, None]).sum(axis=0)
        weights[known] *= np.sqrt(up[known] / np.maximum(down[known], 1e-12))
    return weights * known


def _count(magnitudes: Integers, largest: int) -> Integers:
    """How often each magnitude is met, each of a pair of signs half as often, smoothed."""
    mean = magnitudes.mean() if len(magnitudes) else 1.0
    ratio = mean / (1 + mean)
    imagined = ratio ** np.arange(largest + 1) * (1 - ratio)
    counted = np.bincount(magnitudes, minlength=largest + 1) + PRIOR * imagined
    counted[1:] /= 2
    return np.maximum(np.rint(COUNTED * counted / (counted[0] + 2 * counted[1:].sum())), 1).astype(np.int64)


def normalise(counts: Integers) -> Integers:
    """Turn how often each magnitude with one of its signs is met, (tables, magnitudes), into frequencies."""
    free = TOTAL - (2 * counts.shape[1] - 1)
    frequencies = counts * free // (2 * counts.sum(axis=1, keepdims=True) - counts[:, :1]) + 1
    frequencies[:, 0] += TOTAL - (2 * frequencies.sum(axis=1) - frequencies[:, 0])
    return frequencies
