"""What is coded is decoded, whatever the tables, and in few bytes if the tables are right."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from mtl_split_core.entropy import GRIDS, MARGIN, TERMS, EntropyCoder, EntropyTables, make_grids

LARGEST = 9


def random_tables(seed: int, channels: int) -> EntropyTables:
    chance = np.random.default_rng(seed)
    order = chance.permutation(channels).tolist()
    cut = int(chance.integers(0, channels))
    groups = tuple(tuple(group) for group in (order[:cut], order[cut:]) if group)
    thresholds = np.sort(chance.integers(0, 3000, 5))
    weights = chance.integers(0, 100, (2, GRIDS, TERMS, channels))
    return EntropyTables(groups, weights, thresholds, chance.integers(1, 1000, (6, LARGEST + 1)))


@settings(deadline=None)
@given(st.data(), array_shapes(min_dims=3, max_dims=3, max_side=11), st.integers(0, 2**32), st.integers(0, 1))
def test_symbols_come_back(data: st.DataObject, shape: tuple[int, int, int], seed: int, point: int) -> None:
    symbols = data.draw(arrays(np.int32, shape, elements=st.integers(-LARGEST, LARGEST)))
    coder = EntropyCoder(shape, random_tables(seed, shape[0]))
    stream = coder.encode(symbols, point)
    assert (coder.decode(stream, point) == symbols).all()
    assert len(stream) <= 3 * symbols.size + 8


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_symbols_or_refused(stream: bytes) -> None:
    coder = EntropyCoder((3, 4, 5), random_tables(1, 3))
    if len(stream) % 4:
        with pytest.raises(ValueError, match="multiple of 4"):
            coder.decode(stream, 0)
    else:
        try:
            symbols = coder.decode(stream, 0)
        except ValueError as error:
            assert "cannot have been written" in str(error)
        else:
            assert symbols.shape == (3, 4, 5) and np.abs(symbols).max() <= LARGEST


def test_every_place_is_coded_once_after_its_neighbours() -> None:
    height, width = 7, 10
    known = np.zeros((height + 2 * MARGIN, width + 2 * MARGIN), bool)
    known[:MARGIN] = known[-MARGIN:] = known[:, :MARGIN] = known[:, -MARGIN:] = True
    for grid in make_grids(height, width):
        assert known.ravel()[grid.neighbours].all()
        assert not known.ravel()[grid.padded].any()
        known.ravel()[grid.padded] = True
    assert known.all()


def test_a_table_that_expects_a_symbol_makes_it_cheap() -> None:
    counts = np.array([[100_000, *[1] * LARGEST]])
    tables = EntropyTables(((0, 1),), np.zeros((1, GRIDS, TERMS, 2), np.int64), np.zeros(0, np.int64), counts)
    coder = EntropyCoder((2, 16, 16), tables)
    assert len(coder.encode(np.zeros((2, 16, 16), np.int32), 0)) <= 8
    assert len(coder.encode(np.full((2, 16, 16), 5, np.int32), 0)) > 1000


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"groups": ((0, 1), (1, 2))}, "every channel once"),
        ({"groups": ((0, 1, 2), ())}, "every channel once"),
        ({"weights": np.zeros((1, GRIDS, TERMS, 2), np.int64)}, "weights have the shape"),
        ({"thresholds": np.zeros(3, np.int64)}, "in 4 tables"),
        ({"counts": np.zeros((1, 5), np.int64)}, "positive numbers"),
    ],
)
def test_tables_that_do_not_fit_are_refused(change: dict[str, object], complaint: str) -> None:
    parts: dict[str, object] = {
        "groups": ((0, 1, 2),),
        "weights": np.zeros((1, GRIDS, TERMS, 3), np.int64),
        "thresholds": np.zeros(0, np.int64),
        "counts": np.ones((1, 5), np.int64),
    }
    with pytest.raises(ValueError, match=complaint):
        EntropyTables(**{**parts, **change})  # type: ignore[arg-type]
