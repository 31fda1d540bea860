"""What a link carries from moment to moment: traces of real ones, and how long they take for what is sent."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mtl_split_core.errors import InputError

WHOLE = 180.0
"""Seconds up to which the worst part of a trace is all of it."""

AROUND = 15.0
"""Seconds of a trace before and after its longest outage that belong to its worst part."""

LONG = 1.0
"""Seconds of a long outage, at least: how soon policies notice it is measured, and how soon the server is back."""

ROUNDING = 1e-12
"""The part of all that a trace carries by which sums of it may be off."""

MOST_ROWS = 1_000_000
COLUMNS = ["seconds", "kbit_s"]


class Trace:
    """The rate of a link over time, constant from one moment to the next; at its end it begins again."""

    def __init__(self, seconds: npt.NDArray[np.floating[Any]], rates: npt.NDArray[np.floating[Any]]) -> None:
        """Hold rates in bits per second, each from its moment on; the last lasts as long as the one before.

        Raises InputError unless there are two moments at least, ascending from 0 on, with finite rates from 0 on that
        are not all 0.
        """
        if len(seconds) < 2 or seconds[0] != 0 or not (np.diff(seconds) > 0).all() or not np.isfinite(seconds).all():
            raise InputError("expected two moments or more, from 0 on, each later than the one before")
        if not (np.isfinite(rates).all() and (rates >= 0).all() and rates.any()):
            raise InputError("expected rates that are finite, not negative, and not all 0")
        self._moments = np.append(seconds, 2 * seconds[-1] - seconds[-2])
        self._rates = rates
        self._bits = np.concatenate([[0.0], np.cumsum(rates * np.diff(self._moments))])

    @property
    def duration(self) -> float:
        """Seconds until it begins again."""
        return float(self._moments[-1])

    @property
    def rows(self) -> list[tuple[float, float]]:
        """The moments, in seconds, and the rates from them on, in bits per second."""
        return list(zip(self._moments[:-1].tolist(), self._rates.tolist(), strict=True))

    def rate(self, at: float) -> float:
        """Return the rate at a time in seconds, in bits per second."""
        place = int(np.searchsorted(self._moments, at % self.duration, side="right")) - 1
        return float(self._rates[min(place, len(self._rates) - 1)])

    def carried(self, begin: float, bits: float) -> float:
        """Return when so many bits have passed whose first one enters at `begin`, in seconds."""
        rounds, at = divmod(begin, self.duration)
        whole, rest = divmod(float(np.interp(at, self._moments, self._bits)) + bits, float(self._bits[-1]))
        if whole and rest < ROUNDING * self._bits[-1]:
            whole, rest = whole - 1, float(self._bits[-1])
        # The earliest moment, as nothing passes while the rate is 0.
        place = max(1, int(np.searchsorted(self._bits, rest, side="left")))
        inside = (rest - self._bits[place - 1]) / self._rates[place - 1] if self._rates[place - 1] else 0.0
        ended = (rounds + whole) * self.duration + float(self._moments[place - 1]) + float(inside)
        return max(begin, ended)

    def outages(self, least: float) -> list[tuple[float, float]]:
        """Return begin and end, in seconds, of the times without any rate that last `least` seconds or longer."""
        found, begin = [], math.nan
        for moment, rate in zip(self._moments, [*self._rates, 1.0], strict=True):
            if rate:
                found += [(begin, float(moment))] if moment - begin >= least else []
                begin = math.nan
            elif math.isnan(begin):
                begin = float(moment)
        return found

    def recoveries(self, moments: Sequence[float], begin: float, seconds: float) -> list[float]:
        """Return how long after each LONG outage the first of some moments was, in seconds.

        moments: seconds since `begin`, which is one of the trace, or before it; of the outages that end within the next
        `seconds`.
        """
        ends = [end - begin for _, end in self.outages(LONG) if 0 < end - begin < seconds]
        firsts = [(end, min((moment for moment in moments if moment >= end), default=None)) for end in ends]
        return [first - end for end, first in firsts if first is not None]

    def worst_part(self, least: float, whole: float = WHOLE) -> tuple[float, float]:
        """Return begin and length, in seconds, of the part with the longest outage, or else with the lowest rate.

        It is `least` seconds long or longer, as the outage needs; all of a trace that lasts at most `whole` seconds.
        """
        if self.duration <= max(least, whole):
            return 0.0, self.duration
        lowest = float(self._moments[np.argmin(self._rates)])
        begin, end = max(self.outages(0.0), key=lambda outage: outage[1] - outage[0], default=(lowest, lowest))
        first = max(0.0, min(begin - AROUND, self.duration - least))
        return first, min(max(least, end + AROUND - first), self.duration - first)


def read_trace(path: Path) -> Trace:
    """Read a CSV file with the columns `seconds` and `kbit_s`. Raises InputError for one that is no such trace."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.reader(file)
            if next(rows, None) != COLUMNS:
                raise InputError(f"{path} does not begin with the line {','.join(COLUMNS)}")
            table = []
            for number, row in enumerate(rows, 2):
                if number > MOST_ROWS:
                    raise InputError(f"{path} has more than {MOST_ROWS:,} lines")
                table.append(_numbers(path, number, row))
    except (OSError, UnicodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    columns = np.array(table, np.float64).reshape(-1, len(COLUMNS)).T
    try:
        return Trace(columns[0], columns[1] * 1e3)
    except InputError as error:
        raise InputError(f"{path} is no trace: {error}") from error


def write_trace(trace: Trace, path: Path) -> None:
    """Write a trace as `read_trace` reads it, its moments to the millisecond and its rates to the bit per second."""
    rows = "".join(f"{moment:.3f},{rate / 1e3:.3f}\n" for moment, rate in trace.rows)
    path.write_text(",".join(COLUMNS) + "\n" + rows, encoding="utf-8")


def read_traces(folder: Path) -> dict[str, Trace]:
    """Read all traces of a folder, its CSV files, by the files' names without ending.

    Raises InputError where there is none, and for a file that is no trace.
    """
    paths = sorted(folder.glob("*.csv"))
    if not paths:
        raise InputError(f"{folder} has no traces, expected files .csv with the columns {','.join(COLUMNS)}")
    return {path.stem: read_trace(path) for path in paths}


def carrier(name: str) -> str:
    """Return the carrier whose link a trace is of: what its name has before the first underscore."""
    return name.partition("_")[0]


def _numbers(path: Path, line: int, row: list[str]) -> tuple[float, float]:
    try:
        seconds, rate = map(float, row)
    except ValueError as error:
        raise InputError(f"line {line} of {path} is {','.join(row)[:80]!r}, expected two numbers") from error
    return seconds, rate
