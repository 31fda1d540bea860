"""What is coded is decoded, whatever the tables, and in few bytes if the tables are right."""

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from mtl_split_core.entropy import GRIDS, MOST_TABLES, TERMS, TOTAL, EntropyCoder, EntropyTables, Integers, make_grids
from mtl_split_lab.learning.entropy_tables import normalise

from .. import documented

LARGEST = 9


def random_tables(seed: int, channels: int) -> EntropyTables:
    chance = np.random.default_rng(seed)
    order = chance.permutation(channels).tolist()
    cut = int(chance.integers(0, channels))
    groups = tuple(tuple(group) for group in (order[:cut], order[cut:]) if group)
    thresholds = np.sort(chance.integers(0, 3000, 5))
    weights = chance.integers(0, 100, (2, GRIDS, TERMS, channels))
    return EntropyTables(groups, weights, thresholds, random_frequencies(chance, 6, LARGEST))


def random_frequencies(chance: np.random.Generator, tables: int, largest: int) -> Integers:
    """From nearly flat ones to those where one magnitude has nearly everything, and many have 1."""
    likely = chance.random((tables, largest + 1)) ** chance.choice([0.1, 1, 10, 100], (tables, 1))
    return normalise(np.rint(likely * 2**20).astype(np.int64) + np.eye(tables, largest + 1, dtype=np.int64))


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


@settings(deadline=None, max_examples=30)
@given(st.data(), st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32), st.booleans())
def test_the_stream_is_as_documented(data: st.DataObject, height: int, width: int, seed: int, unused: bool) -> None:
    symbols = data.draw(arrays(np.int32, (4, height, width), elements=st.integers(-LARGEST, LARGEST)))
    tables = random_tables(seed, 4)
    if unused:  # the last group at the finer operating point
        tables.weights[1][:, :, list(tables.groups[-1])] = 0
    coder = EntropyCoder(symbols.shape, tables)
    for point in (0, 1):
        stream = documented.encode(symbols.tolist(), plain(tables), point)
        assert coder.encode(symbols, point) == stream
        assert (coder.decode(stream, point) == symbols).all()
        assert documented.decode(stream, symbols.shape, plain(tables), point) == symbols.tolist()


def plain(tables: EntropyTables) -> dict[str, Any]:
    """Tables as a manifest has them."""
    arrays = {name: getattr(tables, name).tolist() for name in ("weights", "thresholds", "frequencies")}
    return {"groups": tables.groups, **arrays}


@settings(max_examples=300)
@given(st.integers(0, 2**32), st.integers(1, 300))
def test_constriction_s_intervals_are_exactly_the_frequencies(seed: int, largest: int) -> None:
    """At both ends of each symbol's interval, a stream whose first quantile is there decodes to this symbol."""
    frequencies = random_frequencies(np.random.default_rng(seed), 1, largest)
    tables = EntropyTables(((0,),), np.zeros((1, GRIDS, TERMS, 1), np.int64), np.zeros(0, np.int64), frequencies)
    coder = EntropyCoder((1, 1, 1), tables)
    both = np.concatenate([frequencies[0, :0:-1], frequencies[0]])
    ends = np.cumsum(both)
    assert ends[-1] == TOTAL
    for symbol, begin, end in zip(range(-largest, largest + 1), ends - both, ends, strict=True):
        for quantile in {int(begin), int(end) - 1}:
            point = quantile * ((2**64 - 1) // TOTAL)
            assert coder.decode(struct.pack("<2I", point >> 32, point & 0xFFFFFFFF), 0) == symbol


def test_the_encoder_carries_as_documented() -> None:
    """Symbols that keep a number like w00000000 00000000 within the interval leave open what the words before are."""
    shape, channels = (64, 1, 1), tuple(range(64))
    tables = EntropyTables(
        (channels,),
        np.zeros((1, GRIDS, TERMS, 64), np.int64),
        np.zeros(0, np.int64),
        random_frequencies(np.random.default_rng(0), 1, LARGEST),
    )
    coder = EntropyCoder(shape, tables)
    seen = set()
    for seed in range(40):
        chance = np.random.default_rng(seed)
        stream = struct.pack("<6I", int(chance.integers(1, 2**32)), *[0] * 5)
        symbols = np.array(documented.decode(stream, shape, plain(tables), 0), np.int32)
        symbols[seed + 10 :] = chance.integers(-LARGEST, LARGEST + 1, (54 - seed, 1, 1))
        encoded = coder.encode(symbols, 0)
        assert encoded == documented.encode(symbols.tolist(), plain(tables), 0)
        assert (coder.decode(encoded, 0) == symbols).all()
        seen.add(encoded[4:12])
    assert {bytes(8), b"\xff" * 8} <= seen  # with and without a carry through two words


def test_a_table_that_expects_a_symbol_makes_it_cheap() -> None:
    frequencies = normalise(np.array([[100_000, *[1] * LARGEST]]))
    tables = EntropyTables(((0, 1),), np.zeros((1, GRIDS, TERMS, 2), np.int64), np.zeros(0, np.int64), frequencies)
    coder = EntropyCoder((2, 16, 16), tables)
    assert len(coder.encode(np.zeros((2, 16, 16), np.int32), 0)) <= 8
    assert len(coder.encode(np.full((2, 16, 16), 5, np.int32), 0)) > 1000


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"groups": ((0, 1), (1, 2))}, "every channel once"),
        ({"groups": ((0, 1, 2), ())}, "every channel once"),
        ({"weights": np.zeros((1, GRIDS, TERMS, 2), np.int64)}, "weights have the shape"),
        ({"weights": np.full((1, GRIDS, TERMS, 3), -1)}, "weights are outside"),
        ({"weights": np.full((1, GRIDS, TERMS, 3), 2**31)}, "weights are outside"),
        ({"thresholds": np.zeros(3, np.int64)}, "expected 4 tables"),
        ({"thresholds": np.zeros(MOST_TABLES, np.int64)}, "256,.* expected less than 256"),
        ({"thresholds": np.zeros((1, 1), np.int64)}, "thresholds have the shape"),
        ({"thresholds": np.array([2, 1])}, "thresholds descend"),
        ({"thresholds": np.array([-1])}, "negative"),
        ({"frequencies": np.zeros((1, 5), np.int64)}, "not positive"),
        ({"frequencies": np.array([[TOTAL - 1, 1]])}, "do not sum up to"),
        ({"frequencies": np.array([[-(2**62), (TOTAL + 2**62) // 2]])}, "not positive"),
        ({"frequencies": np.array([[TOTAL]])}, "frequencies have the shape"),
        ({"frequencies": np.array([TOTAL - 2, 1])}, "frequencies have the shape"),
    ],
)
def test_tables_that_do_not_fit_are_refused(change: dict[str, object], complaint: str) -> None:
    parts: dict[str, object] = {
        "groups": ((0, 1, 2),),
        "weights": np.zeros((1, GRIDS, TERMS, 3), np.int64),
        "thresholds": np.zeros(0, np.int64),
        "frequencies": np.array([[TOTAL - 2, 1]]),
    }
    EntropyTables(**parts)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=complaint):
        EntropyTables(**{**parts, **change})  # type: ignore[arg-type]
