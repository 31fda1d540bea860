"""Killed nodes come back, lifecycles go round, and the page says how."""

from pathlib import Path

import numpy as np
import pytest

from mtl_split_core.bundle import Bundle
from mtl_split_lab.bench.torture import PAGE, PLOT, Killed, Memory, cycle, kill, write_page

pytestmark = pytest.mark.timeout(300)


def test_the_slope_is_of_what_comes_after_the_warm_up() -> None:
    at = list(np.arange(100.0))
    assert Memory(at, [0] * 10 + [1000 + 3 * number for number in range(90)]).slope == pytest.approx(3)


def test_one_step_is_no_slope() -> None:
    at = list(np.arange(100.0))
    assert Memory(at, [10**8 + 10**7 * (number > 50) for number in range(100)]).slope == 0


def test_killed_nodes_come_back(bundle: Bundle) -> None:
    killed = kill(bundle, 3)
    assert [len(seconds) for seconds in killed.seconds.values()] == [1, 1, 1] == [len(killed.shared) // 3] * 3
    assert all(0 < seconds[0] < np.inf for seconds in killed.seconds.values())


def test_lifecycles_go_round(bundle: Bundle) -> None:
    memory = cycle(bundle, 2)
    assert all(len(one.at) == len(one.bytes) == 2 and min(one.bytes) > 1e7 for one in memory.values())


def test_the_page_names_what_never_came_back(bundle: Bundle, tmp_path: Path) -> None:
    flat = Memory([float(number) for number in range(10)], [10**8] * 10)
    killed = Killed({"camera": [1.0], "edge": [2.0, float("inf")], "server": [1.5]}, [10**6] * 4)
    write_page(bundle, killed, {"edge": flat, "server": flat}, {"edge": flat, "server": flat}, 20.0, tmp_path)
    page = (tmp_path / PAGE).read_text()
    assert "| edge | 2 | 1 | 2.00 | inf | inf |" in page or "| edge | 2 | 1 | inf | inf | inf |" in page
    assert (tmp_path / PLOT).stat().st_size > 1000
