"""The entropy coder: symbols to as few bytes as the bundle's tables allow, with nothing but integers to go by.

Symbols are coded on grids that become finer, so that each but the first has four neighbours that the decoder knows
already, and channel group by channel group. From the magnitudes of these neighbours and of the earlier groups, integer
weights tell which of the tables says how likely each symbol is. A range coder (Martin 1979) does the rest.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import constriction
import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Symbols = npt.NDArray[np.int32]

MARGIN = 2
"""How far away neighbours can be."""
DIAGONAL = ((-1, -1), (-1, 1), (1, -1), (1, 1))
STRAIGHT = ((-1, 0), (1, 0), (0, -1), (0, 1))
TERMS = 4
"""What a table is chosen by: a constant, the neighbours' magnitudes in all channels, in the symbol's own channel, and
the magnitudes of the earlier channel groups at the symbol's place."""


@dataclass(frozen=True)
class Grid:
    """Places that are coded at once.

    places: (N,) indices of the places, row by row; padded: the same where the map has MARGIN places around it;
    neighbours: (4, N), or (0, N), of the neighbours there.
    """

    places: Integers
    padded: Integers
    neighbours: Integers


def make_grids(height: int, width: int) -> list[Grid]:
    """Order the places of a map from coarse to fine."""
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
        padded = (row[places] + MARGIN) * (width + 2 * MARGIN) + column[places] + MARGIN
        away = np.array([y * (width + 2 * MARGIN) + x for y, x in directions], np.int64) * distance
        grids.append(Grid(places, padded, padded + away[:, None]))
    return grids


GRIDS = 5


@dataclass(frozen=True)
class EntropyTables:
    """What the coder knows about the symbols of a bundle; integers only.

    groups: the channels, each in one group, in the order in which the groups are coded; weights: (operating points,
    GRIDS, TERMS, channels); thresholds: (tables - 1,), ascending: the weighted sum below the first leads to the first
    table; counts: (tables, largest symbol + 1), how often a symbol of each magnitude is met, positive.
    """

    groups: tuple[tuple[int, ...], ...]
    weights: Integers
    thresholds: Integers
    counts: Integers

    def __post_init__(self) -> None:
        """Raise ValueError where the parts do not fit together."""
        channels = sorted(channel for group in self.groups for channel in group)
        tables = len(self.thresholds) + 1
        if channels != list(range(len(channels))) or not all(self.groups):
            raise ValueError(f"groups are {self.groups}, expected every channel once")
        if self.weights.ndim != 4 or self.weights.shape[1:] != (GRIDS, TERMS, len(channels)):
            raise ValueError(
                f"weights have the shape {self.weights.shape}, expected {('points', GRIDS, TERMS, len(channels))}"
            )
        if self.counts.ndim != 2 or len(self.counts) != tables or self.counts.shape[1] < 2 or self.counts.min() < 1:
            raise ValueError(f"counts have the shape {self.counts.shape}, expected positive numbers in {tables} tables")

    @property
    def largest(self) -> int:
        """The largest magnitude that a symbol can have."""
        return int(self.counts.shape[1]) - 1


Code = Callable[[Symbols, list[int]], Symbols]
"""Symbols sorted by table and how many there are of each table in, the same symbols, now known, out."""


class EntropyCoder:
    """Codes symbols, int32 (channels, height, width), of one shape."""

    def __init__(self, shape: tuple[int, int, int], tables: EntropyTables) -> None:
        """Code with a bundle's tables."""
        self._shape = shape
        self._largest = np.int32(tables.largest)
        self._thresholds = tables.thresholds
        self._grids = make_grids(*shape[1:])
        self._order = np.concatenate([np.array(group) for group in tables.groups])
        self._groups = list(pairwise([0, *np.cumsum([len(group) for group in tables.groups]).tolist()]))
        self._weights = np.ascontiguousarray(tables.weights[..., self._order])
        both = np.concatenate([tables.counts[:, :0:-1], tables.counts], axis=1)
        # The counts are exact in floating point, and constriction's arithmetic on them is IEEE 754's alone.
        self._models = [constriction.stream.model.Categorical(row.astype(np.float64), perfect=False) for row in both]

    def encode(self, symbols: Symbols, point: int) -> bytes:
        """Write symbols of an operating point, none larger than the tables know."""
        encoder = constriction.stream.queue.RangeEncoder()

        def write(values: Symbols, lengths: list[int]) -> Symbols:
            end = 0
            for model, length in zip(self._models, lengths, strict=True):
                if length:
                    encoder.encode(values[end : end + length], model)
                    end += length
            return values

        shifted = symbols.reshape(self._shape[0], -1)[self._order].T + self._largest
        self._code(shifted, point, write)
        return bytes(encoder.get_compressed().astype("<u4").tobytes())

    def decode(self, stream: bytes, point: int) -> Symbols:
        """Read the symbols of an operating point; from a damaged stream, some others.

        Raises ValueError for a stream that no symbols could have become.
        """
        if len(stream) % 4:
            raise ValueError(f"the stream has {len(stream)} bytes, expected a multiple of 4")
        decoder = constriction.stream.queue.RangeDecoder(np.frombuffer(stream, "<u4").astype(np.uint32))

        def read(values: Symbols, lengths: list[int]) -> Symbols:
            end = 0
            for model, length in zip(self._models, lengths, strict=True):
                if length:
                    values[end : end + length] = decoder.decode(model, length)
                    end += length
            return values

        channels, height, width = self._shape
        shifted = np.zeros((height * width, channels), np.int32)
        try:
            self._code(shifted, point, read)
        except AssertionError as error:  # constriction's way to say so
            raise ValueError(f"the stream cannot have been written with these tables: {error}") from error
        symbols = np.empty((channels, height * width), np.int32)
        symbols[self._order] = shifted.T - self._largest
        return symbols.reshape(self._shape)

    def _code(self, shifted: Symbols, point: int, code: Code) -> None:
        """Code all symbols (places, channels) in the order that encoder and decoder share.

        They are shifted by the largest so that none is negative, and the channels are in the order of their groups.
        """
        for index, grid, own in walk_grids(shifted, self._largest, self._shape, self._grids):
            constant, of_every, of_own, of_earlier = self._weights[point, index]
            sums = constant + of_every * own.sum(axis=1, keepdims=True) + of_own * own
            here = shifted[grid.places]
            earlier: Integers | int = 0
            for start, end in self._groups:
                group = sums[:, start:end] + of_earlier[start:end] * earlier
                table = self._thresholds.searchsorted(group.ravel(), side="right").astype(np.uint8)
                order = table.argsort(kind="stable")
                values = here[:, start:end].ravel()
                values[order] = code(values[order], np.bincount(table, minlength=len(self._models)).tolist())
                here[:, start:end] = values.reshape(-1, end - start)
                earlier = np.abs(here[:, :end] - self._largest).sum(axis=1, keepdims=True)
            shifted[grid.places] = here


def walk_grids(
    shifted: Symbols, largest: np.int32, shape: tuple[int, int, int], grids: list[Grid]
) -> Iterator[tuple[int, Grid, Integers]]:
    """Go over all symbols (places, channels), shifted by the largest, in the coder's order.

    Yields the index of a grid, the grid, and the sums of its neighbours' magnitudes, (N, channels). By the time the
    next is asked for, its own symbols have to be in their places.
    """
    _, height, width = shape
    magnitudes = np.zeros((height + 2 * MARGIN, width + 2 * MARGIN, shape[0]), np.int32)
    flat = magnitudes.reshape(-1, shape[0])
    for index, grid in enumerate(grids):
        yield index, grid, flat[grid.neighbours].sum(axis=0)
        flat[grid.padded] = np.abs(shifted[grid.places] - largest)
