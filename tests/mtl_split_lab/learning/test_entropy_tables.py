"""Fitted tables code what is predictable in fewer bytes than any coder that does not look around."""

import numpy as np
import pytest

from mtl_split_core.entropy import EntropyCoder, Symbols
from mtl_split_lab.learning.entropy_tables import fit_tables


def busy_and_quiet(seed: int, scale: float) -> Symbols:
    """Symbols of 6 channels, the even ones stronger, in busy and quiet parts."""
    chance = np.random.default_rng(seed)
    busy = np.kron(chance.random((3, 4)) < 0.4, np.ones((4, 4)))
    strength = np.array([2.0, 0.3, 2.0, 0.3, 2.0, 0.3])[:, None, None]
    return np.rint(chance.laplace(0, 1, (6, 12, 16)) * busy * strength * scale).astype(np.int32)


def entropy_of_channels(pictures: list[Symbols]) -> float:
    """Bytes per picture of the best coder that knows each channel's distribution and nothing else."""
    total = 0.0
    for channel in np.stack(pictures).swapaxes(0, 1):
        _, counts = np.unique(channel, return_counts=True)
        total -= float((counts * np.log2(counts / counts.sum())).sum())
    return total / 8 / len(pictures)


def test_surroundings_save_bytes() -> None:
    seen = [[busy_and_quiet(seed, scale) for seed in range(40)] for scale in (1.0, 4.0)]
    coder = EntropyCoder((6, 12, 16), fit_tables(seen))
    for point, scale in enumerate((1.0, 4.0)):
        fresh = [np.clip(busy_and_quiet(seed, scale), -30, 30) for seed in range(100, 120)]
        size = float(np.mean([len(coder.encode(symbols, point)) for symbols in fresh]))
        assert size < 0.9 * entropy_of_channels(fresh)


@pytest.mark.parametrize("largest", [0, 7])
def test_symbols_that_were_never_seen_are_coded_too(largest: int) -> None:
    rare = np.zeros((2, 8, 8), np.int32)
    rare[0, 0, 0] = largest
    tables = fit_tables([[rare, np.zeros((2, 8, 8), np.int32)]])
    coder = EntropyCoder((2, 8, 8), tables)
    loud = np.full((2, 8, 8), -tables.largest, np.int32)
    assert (coder.decode(coder.encode(loud, 0), 0) == loud).all()
