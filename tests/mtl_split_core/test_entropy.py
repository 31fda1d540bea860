"""What is coded is decoded, whatever the tables, and in few bytes if the tables are right."""

import constriction
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from mtl_split_core.entropy import GRIDS, MOST_TABLES, TERMS, EntropyCoder, EntropyTables, make_grids

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
    known = np.zeros(height * width + 1, bool)
    known[-1] = True  # outside of the map
    for grid in make_grids(height, width):
        assert known[grid.neighbours].all()
        assert not known[grid.places].any()
        known[grid.places] = True
    assert known.all()


def grid_of(row: int, column: int) -> int:
    if row % 2 == column % 2 == 0:
        return 0 if row % 4 == column % 4 == 0 else 1 if row % 4 == column % 4 == 2 else 2
    return 3 if row % 2 == column % 2 == 1 else 4


NEIGHBOURS: tuple[list[tuple[int, int]], ...] = (
    [],
    [(-2, -2), (-2, 2), (2, -2), (2, 2)],
    [(-2, 0), (2, 0), (0, -2), (0, 2)],
    [(-1, -1), (-1, 1), (1, -1), (1, 1)],
    [(-1, 0), (1, 0), (0, -1), (0, 1)],
)


def documented_stream(symbols: np.ndarray, tables: EntropyTables, point: int) -> bytes:
    """Write symbols one after the other, as docs/wire-format.md tells."""
    magnitudes = np.pad(np.abs(symbols), ((0, 0), (2, 2), (2, 2)))
    rows = np.concatenate([tables.counts[:, :0:-1], tables.counts], axis=1).astype(np.float64)
    models = [constriction.stream.model.Categorical(row, perfect=False) for row in rows]
    encoder = constriction.stream.queue.RangeEncoder()
    for grid in range(GRIDS):
        places = [place for place in np.ndindex(symbols.shape[1:]) if grid_of(*place) == grid]
        earlier: list[int] = []
        for group in tables.groups:
            coded = []
            for row, column in places:
                around = [magnitudes[:, row + 2 + down, column + 2 + right] for down, right in NEIGHBOURS[grid]]
                known = magnitudes[earlier, row + 2, column + 2].sum()
                for channel in group:
                    terms = 1, sum(here.sum() for here in around), sum(here[channel] for here in around), known
                    total = np.dot(terms, tables.weights[point, grid, :, channel])
                    coded.append((int((tables.thresholds <= total).sum()), int(symbols[channel, row, column])))
            for table, symbol in sorted(coded, key=lambda pair: pair[0]):
                encoder.encode(tables.largest + symbol, models[table])
            earlier += group
    return bytes(encoder.get_compressed().astype("<u4").tobytes())


@settings(deadline=None, max_examples=30)
@given(st.data(), st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32), st.booleans())
def test_the_stream_is_as_documented(data: st.DataObject, height: int, width: int, seed: int, unused: bool) -> None:
    symbols = data.draw(arrays(np.int32, (4, height, width), elements=st.integers(-LARGEST, LARGEST)))
    tables = random_tables(seed, 4)
    if unused:  # the last group at the finer operating point
        tables.weights[1][:, :, list(tables.groups[-1])] = 0
    coder = EntropyCoder(symbols.shape, tables)
    for point in (0, 1):
        stream = documented_stream(symbols, tables, point)
        assert coder.encode(symbols, point) == stream
        assert (coder.decode(stream, point) == symbols).all()


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
        ({"thresholds": np.zeros(MOST_TABLES, np.int64)}, "256 thresholds, expected less than 256"),
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
