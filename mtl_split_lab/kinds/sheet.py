"""Tables of figures, before anything is known of the page that they are for."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Sheet:
    """A table.

    title: empty for a table whose head says it all; head: the columns' names; rows: numbers are shares, 0 to 1, and
    None stands for an unknown one.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str | float | None]]
