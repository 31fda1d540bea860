"""10,000 damaged files of each kind that others write, and bags: `make fuzz`."""

import itertools
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from .damaged_bags import damages, is_refused, write_bags
from .damaged_files import KINDS, prepare
from .fuzzing import Tally

RUNS = 10_000
ROUND = 500
"""Hypothesis remembers all that it has tried in a round."""


def fuzz(kind: str, damaged: st.SearchStrategy[Any], is_refused: Callable[[Any], bool]) -> None:
    """Try so many; anything but a refusal in one line or something sensible ends the run."""
    tally = Tally(kind, RUNS)

    def one(content: Any) -> None:
        if tally.left:
            tally.add("refused" if is_refused(content) else "read")

    rounds = settings(max_examples=ROUND, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    for number in itertools.takewhile(lambda _: tally.left, itertools.count()):
        seed(number)(rounds(given(damaged)(one)))()
    tally.tell()


def main() -> None:
    """Fuzz each kind."""
    logging.disable()
    with TemporaryDirectory() as name:
        folder = prepare(Path(name))
        for kind, files in KINDS.items():
            fuzz(kind, files.damaged(folder), partial(files.is_refused, folder))
        bags = write_bags(Path(name) / "bags")
        fuzz("bags", damages(bags), lambda damage: is_refused(*damage))


if __name__ == "__main__":
    main()
