"""The entropy coder: symbols to as few bytes as the contract's tables allow, in integer arithmetic only.

Symbols are coded on grids that become finer, so that each but the first has four neighbours that the decoder knows
already, and channel group by channel group. From the magnitudes of these neighbours and of the earlier groups, integer
weights tell which of the tables says how likely each symbol is. A range coder (Martin 1979) does the rest.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise

import constriction
import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Symbols = npt.NDArray[np.int32]

DIAGONAL = ((-1, -1), (-1, 1), (1, -1), (1, 1))
STRAIGHT = ((-1, 0), (1, 0), (0, -1), (0, 1))
TERMS = 4
"""What a table is chosen by: a constant, the neighbours' magnitudes in all channels, in the symbol's own channel, and
the magnitudes of the earlier channel groups at the symbol's place."""


@dataclass(frozen=True)
class Grid:
    """Places that are coded at once.

    places: (N,) indices of the places, or the slice that they are; neighbours: (4, N), or (0, N), of the neighbours
    there; all those outside of the map have the index that follows its last place.
    """

    places: Integers | slice
    neighbours: Integers


def make_grids(height: int, width: int) -> list[Grid]:
    """Order the places of a map, which have their indices row by row, from coarse to fine."""
    row, column = np.divmod(np.arange(height * width), width)
    even = (row % 2 == 0) & (column % 2 == 0)
    fours = even & ((row + column) % 4 == 0)
    steps = (
        (fours & (row % 4 == 0), (), 0),
        (fours & (row % 4 == 2), DIAGONAL, 2),
        (even & ~fours, STRAIGHT, 2),
        ((row % 2 == 1) & (column % 2 == 1), DIAGONAL, 1),
        ((row + column) % 2 == 1, STRAIGHT, 1),
    )
    grids = []
    for chosen, directions, distance in steps:
        places = np.flatnonzero(chosen)
        down, right = np.array(directions, np.int64).reshape(-1, 2).T[:, :, None] * distance
        rows, columns = row[places] + down, column[places] + right
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        grids.append(Grid(places, np.where(inside, rows * width + columns, height * width)))
    return grids


GRIDS = 5
PRECISION = 24
TOTAL = 1 << PRECISION
"""The sum of a table's frequencies."""
MOST_TABLES = 256
LARGEST_SYMBOL = (1 << 15) - 1
LARGEST_WEIGHT = (1 << 31) - 1
"""With these limits, and at most 4096 channels, the weighted sums fit into 64 bits."""


@dataclass(frozen=True)
class EntropyTables:
    """The probability model of the symbols; integers only.

    groups: the channels, each in one group, in the order in which the groups are coded; weights: (operating points,
    GRIDS, TERMS, channels), 0 to LARGEST_WEIGHT; thresholds: (tables - 1,), ascending, not negative: a weighted sum
    below the first selects the first table; frequencies: (tables, largest symbol + 1), of a symbol of each magnitude
    and one of its signs, in units of 1 / TOTAL, at least 1; all symbols' together are TOTAL.
    """

    groups: tuple[tuple[int, ...], ...]
    weights: Integers
    thresholds: Integers
    frequencies: Integers

    def __post_init__(self) -> None:
        """Raise ValueError where the parts are out of range or do not fit together."""
        if self.thresholds.ndim != 1 or len(self.thresholds) >= MOST_TABLES:
            raise ValueError(f"thresholds have the shape {self.thresholds.shape}, expected less than {MOST_TABLES}")
        if (self.thresholds < 0).any() or (self.thresholds[1:] < self.thresholds[:-1]).any():
            raise ValueError("thresholds descend or are negative, expected ascending ones")
        channels = sorted(channel for group in self.groups for channel in group)
        if channels != list(range(len(channels))) or not all(self.groups):
            raise ValueError(f"groups are {str(self.groups)[:80]}, expected every channel once")
        if self.weights.ndim != 4 or self.weights.shape[1:] != (GRIDS, TERMS, len(channels)):
            raise ValueError(
                f"weights have the shape {self.weights.shape}, expected {('points', GRIDS, TERMS, len(channels))}"
            )
        if (self.weights < 0).any() or (self.weights > LARGEST_WEIGHT).any():
            raise ValueError(f"weights are outside of 0 to {LARGEST_WEIGHT}")
        frequencies, tables = self.frequencies, len(self.thresholds) + 1
        if frequencies.ndim != 2 or len(frequencies) != tables or not 2 <= frequencies.shape[1] <= LARGEST_SYMBOL + 1:
            raise ValueError(f"frequencies have the shape {frequencies.shape}, expected {tables} tables")
        inside = (frequencies >= 1).all() and (frequencies < TOTAL).all()
        if not inside or (2 * frequencies.sum(axis=1) - frequencies[:, 0] != TOTAL).any():
            raise ValueError(f"frequencies are not positive, or those of a table's symbols do not sum up to {TOTAL}")

    @property
    def largest(self) -> int:
        """The largest magnitude that a symbol can have."""
        return int(self.frequencies.shape[1]) - 1


Part = tuple[Symbols, Integers | slice, list[tuple[constriction.stream.model.Categorical, int]]]
"""Symbols that are coded at once (places, channels of a group), the indices that sort them by table, and the tables in
this order, each with how many of the symbols it has."""


class EntropyCoder:
    """Codes symbols, int32 (channels, height, width), of one shape. It keeps nothing between calls: threads share it.

    Inside, symbols are (places, channels), both in the order in which they are coded, so that whatever is coded at once
    is one slice, and they are shifted by the largest so that none is negative.
    """

    def __init__(self, shape: tuple[int, int, int], tables: EntropyTables) -> None:
        """Code with a contract's tables."""
        _, height, width = self._shape = shape
        places = height * width
        self._largest = np.int32(tables.largest)
        self._thresholds = tables.thresholds
        grids = make_grids(height, width)
        at_once = [np.arange(places)[grid.places] for grid in grids]
        place_order = np.concatenate(at_once)
        rank = np.append(place_order.argsort(), places)
        slices = [slice(*ends) for ends in _ends(map(len, at_once))]
        self._grids = [Grid(rows, rank[grid.neighbours]) for rows, grid in zip(slices, grids, strict=True)]
        channel_order = np.concatenate([np.array(group) for group in tables.groups])
        self._order = place_order[:, None] + channel_order * places
        self._order_back = self._order.ravel().argsort().reshape(shape)
        self._groups = _ends(map(len, tables.groups))
        self._weights = np.ascontiguousarray(tables.weights[..., channel_order])
        # At an operating point that leaves channels out, all their weights are 0: nothing to add up or to sort.
        used = [self._weights[..., start:end].any(axis=(2, 3)) for start, end in self._groups]
        self._used = np.stack(used, axis=2).tolist()
        both = np.concatenate([tables.frequencies[:, :0:-1], tables.frequencies], axis=1)
        # Of n symbols, constriction gives the i-th the interval that begins at floor(s * (sum of the weights before
        # it)) + i, where s is (TOTAL - n) / (sum of all weights): exactly 1 if each weight is the frequency less 1.
        self._models = [constriction.stream.model.Categorical(row - 1.0, perfect=False) for row in both]
        self._unused_model = self._models[int(tables.thresholds.searchsorted(0, side="right"))]

    def encode(self, symbols: Symbols, point: int) -> bytes:
        """Write symbols of an operating point, none larger than the tables know."""
        encoder = constriction.stream.queue.RangeEncoder()
        for part, order, runs in self._walk(symbols.take(self._order) + self._largest, point):
            values = part.ravel()[order]
            end = 0
            for model, length in runs:
                encoder.encode(values[end : end + length], model)
                end += length
        return bytes(encoder.get_compressed().astype("<u4").tobytes())

    def decode(self, stream: bytes, point: int) -> Symbols:
        """Read the symbols of an operating point; from a damaged stream, some others.

        Raises ValueError for a stream that no symbols could have become.
        """
        if len(stream) % 4:
            raise ValueError(f"the stream has {len(stream)} bytes, expected a multiple of 4")
        decoder = constriction.stream.queue.RangeDecoder(np.frombuffer(stream, "<u4").astype(np.uint32))
        shifted = np.empty(self._order.shape, np.int32)
        try:
            for part, order, runs in self._walk(shifted, point):
                values = np.empty(part.size, np.int32)
                values[order] = np.concatenate([decoder.decode(model, length) for model, length in runs])
                part[:] = values.reshape(part.shape)
        except AssertionError as error:  # constriction's way to say so
            raise ValueError(f"the stream cannot have been written with these tables: {error}") from error
        symbols: Symbols = shifted.take(self._order_back) - self._largest
        return symbols

    def _walk(self, shifted: Symbols, point: int) -> Iterator[Part]:
        """Go over all symbols in the order that encoder and decoder share.

        By the time the next part is asked for, the symbols of the last one have to be in their places.
        """
        for index, grid, own in walk_grids(shifted, self._largest, self._shape, self._grids):
            if not own.size:  # a small map has no places in some grids
                continue
            every = np.einsum("ij->i", own)[:, None]  # twice as fast as sum
            here = shifted[grid.places]
            for (start, end), used in zip(self._groups, self._used[point][index], strict=True):
                part = here[:, start:end]
                if not used:
                    yield part, slice(None), [(self._unused_model, part.size)]
                    continue
                constant, of_every, of_own, of_earlier = self._weights[point, index, :, start:end]
                sums = of_own * own[:, start:end]
                sums += of_every * every
                sums += constant
                if start:
                    sums += of_earlier * np.abs(here[:, :start] - self._largest).sum(axis=1, keepdims=True)
                table = self._thresholds.searchsorted(sums.ravel(), side="right")
                lengths = np.bincount(table, minlength=len(self._models)).tolist()
                runs = [run for run in zip(self._models, lengths, strict=True) if run[1]]
                yield part, table.astype(np.uint8).argsort(kind="stable"), runs  # 8 bits are sorted the fastest


def walk_grids(
    shifted: Symbols, largest: np.int32, shape: tuple[int, int, int], grids: list[Grid]
) -> Iterator[tuple[int, Grid, Integers]]:
    """Go over all symbols (places, channels), shifted by the largest, in the coder's order.

    Yields the index of a grid, the grid, and the sums of its neighbours' magnitudes, (N, channels). By the time the
    next is asked for, its own symbols have to be in their places.
    """
    channels, height, width = shape
    # The last row is for the neighbours outside of the map.
    magnitudes = np.zeros((height * width + 1, channels), np.int64)
    for index, grid in enumerate(grids):
        yield index, grid, magnitudes.take(grid.neighbours, axis=0).sum(axis=0)
        magnitudes[grid.places] = np.abs(shifted[grid.places] - largest)


def _ends(lengths: Iterable[int]) -> list[tuple[int, int]]:
    """Where parts of these lengths start and end that follow each other."""
    return list(pairwise(accumulate(lengths, initial=0)))
