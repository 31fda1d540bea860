"""Killed nodes come back, lifecycles go round, and the page says how."""

from pathlib import Path

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from rclpy.serialization import serialize_message
from std_msgs.msg import Header
from vision_msgs.msg import Classification, ObjectHypothesis

from mtl_split_core.bundle import Bundle
from mtl_split_lab.bench.attack import KINDS, Attacked, Said, attack, sort_results
from mtl_split_lab.bench.torture import PAGE, PLOT, Killed, Memory, cycle, kill, write_page
from mtl_split_lab.bench.traffic import Outcome


def classification(stamp: int, label: str) -> Classification:
    results = [ObjectHypothesis(class_id=label, score=0.5)]
    return Classification(header=Header(stamp=Time(nanosec=stamp)), results=results)


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


def test_an_attacker_without_a_key_gets_nothing_published(bundle: Bundle) -> None:
    attacked = attack(bundle, list(KINDS), keyed=True, seconds=2.0)
    assert attacked.false == 0 and attacked.attacked.share > 0


def test_results_that_should_not_be_there_are_counted() -> None:
    def heard(*results: tuple[int, str]) -> Said:
        messages = [serialize_message(classification(stamp, label)) for stamp, label in results]
        return sort_results({"weather": messages}, {"weather": Classification}, {1: 0, 2: 1, 3: 0})

    true = heard((1, "clear"), (2, "rainy"))
    assert true.false(true) == 0 == heard((3, "clear")).false(true)
    assert heard((1, "clear"), (1, "clear")).false(true) == 1
    assert heard((2, "clear"), (4, "clear")).false(true) == 2


def test_the_page_names_what_never_came_back(bundle: Bundle, tmp_path: Path) -> None:
    flat = Memory([float(number) for number in range(10)], [10**8] * 10)
    killed = Killed({"camera": [1.0], "edge": [2.0, float("inf")], "server": [1.5]}, [10**6] * 4)
    both = {"edge": flat, "server": flat}
    attacked = Attacked(Outcome(1.0, 4, (30.0,) * 4), Outcome(1.0, 4, (30.0,) * 3), 2)
    write_page(bundle, killed, both, {"junk": attacked}, both, 20.0, tmp_path)
    page = (tmp_path / PAGE).read_text()
    assert "| edge | 2 | 1 | 2.00 | inf | inf |" in page or "| edge | 2 | 1 | inf | inf | inf |" in page
    assert "| junk | 100.0% | 75.0% | 2 |" in page
    assert (tmp_path / PLOT).stat().st_size > 1000
