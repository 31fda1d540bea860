"""What became of the frames around a kill is read from their fates, and the page says it."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from mtl_split_core.bundle import Bundle
from mtl_split_lab.bench.standing_in import PAGE, PLOT, Blow, recover, write_page
from mtl_split_lab.bench.traffic import Fate

SECOND = 10**9


def fates(unanswered: dict[tuple[str, int], bool], twice: tuple[str, int] | None = None) -> list[Fate]:
    """Two vehicles' frames, one a second, from 1 s to 9 s, each answered after 20 ms but for those that are not."""
    return [
        Fate(
            vehicle,
            second * SECOND,
            np.inf if (vehicle, second) in unanswered else 20.0,
            twice=(vehicle, second) == twice,
        )
        for second, vehicle in itertools.product(range(1, 10), ("a", "b"))
    ]


def test_a_recovery_is_the_first_answer_to_a_frame_that_was_sent_after_the_kill() -> None:
    blow = Blow(at=round(2.5 * SECOND), back=round(5.5 * SECOND), vehicles=frozenset({"a"}))
    missing = {("a", 3): True, ("a", 4): True, ("b", 4): True, ("a", 6): True, ("b", 1): True, ("b", 8): True}
    found = recover(blow, 8 * SECOND, fates(missing))
    assert found.seconds == pytest.approx([2.52])  # of the frame at 5 s
    assert (found.lost, found.elsewhere, found.back) == (2, 1, 1)
    never = recover(blow, 4 * SECOND, fates(missing))
    assert never.seconds == (np.inf,)


def test_the_page(bundle: Bundle, tmp_path: Path) -> None:
    blows = [Blow(second * SECOND + 1, (second + 1) * SECOND, frozenset({"a"})) for second in (2, 5)]
    write_page(bundle, blows, fates({("a", 3): True}, twice=("b", 7)), 1.0, tmp_path)
    page = (tmp_path / PAGE).read_text()
    for row in (
        "| kills | 2 |",
        "| answered twice | 1 |",
        "p50, p99, longest | 2.02, 2.02, 2.02 |",
        "| unanswered, of the dead server's vehicles | 0 |",
        "| unanswered after it was started again | 1 |",
    ):
        assert row in page
    assert (tmp_path / PLOT).stat().st_size > 1000
