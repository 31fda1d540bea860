"""The maps that an exit calculates, and which grids of cells its heads can answer for."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from mtl_split_core.scene import Size

LEVELS = range(-2, 4)
"""Grids that a head can answer for: level n has cells 2^n times as wide as the fine map's."""


@dataclass(frozen=True)
class ExitMaps:
    """A fine map, and a coarse one with half as many rows and columns, rounded up.

    width: their channels; rows, columns: of the fine one; size: of the network's input.
    """

    width: int
    rows: int
    columns: int
    size: Size

    @cached_property
    def grids(self) -> dict[int, tuple[int, int]]:
        """Rows and columns of the grid of every level."""
        return {level: (_at(self.rows, level), _at(self.columns, level)) for level in LEVELS}

    def stride(self, level: int) -> float:
        """Return how many pixels of the input a cell of a level is wide."""
        return float(self.size[0] / self.columns * 2.0**level)

    def find_levels(self, points: int) -> Sequence[int] | None:
        """Return at least two levels in a row whose grids have so many cells together, if there are such."""
        for first in LEVELS:
            cells = 0
            for level in range(first, LEVELS.stop):
                cells += self.grids[level][0] * self.grids[level][1]
                if cells == points and level > first:
                    return range(first, level + 1)
        return None


OWN_LEVELS = range(-1, 2)
"""Those of an exit whose suffix answers for no grid."""


def _at(cells: int, level: int) -> int:
    return cells << -level if level < 0 else -(-cells >> level)
