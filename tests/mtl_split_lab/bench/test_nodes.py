"""The pair of real nodes at a small size, and what is concluded from rates."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_split_core.bundle import Bundle
from mtl_split_lab.bench.nodes import EDGE_HALF, ENOUGH, SERVER_HALF, Measured, measure, write_page
from mtl_split_lab.bench.traffic import Outcome


@given(st.dictionaries(st.floats(1, 100), st.integers(0, 100)))
def test_the_rate_sustained_is_one_that_was_tried_and_answered(answered: dict[float, int]) -> None:
    rates = {rate: Outcome(100 / rate, 100, (20.0,) * number) for rate, number in answered.items()}
    sustained = Measured((64, 32), Outcome(1.0, 1, ()), {}, 0.0, {}, rates).sustained
    assert sustained == 0 or rates[sustained].rate >= ENOUGH * sustained
    assert all(outcome.rate < ENOUGH * rate for rate, outcome in rates.items() if rate > sustained)


def test_a_rate_that_could_not_be_sent_is_not_sustained() -> None:
    slow = Outcome(2.0, 100, (20.0,) * 100)
    assert Measured((64, 32), slow, {}, 0.0, {}, {100.0: slow}).sustained == 0


def test_the_pair_is_measured(bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", "")  # and back again at the end
    [found] = measure(bundle, [(128, 64)], [10.0], seconds=2.0, warm_up=1.0)
    assert found.outcome.sent == 30 and found.outcome.latencies
    assert all(found.stages[stage] >= 0 for stage in ("image_transport", "convert", *EDGE_HALF, "link", *SERVER_HALF))
    assert found.rates.keys() == {10.0} and found.rates[10.0].sent == 10
    assert found.processor.keys() == {"edge", "server", "camera"}
    write_page(bundle, [found], tmp_path)
    assert (tmp_path / "nodes.md").read_text().count("| 128x64 |") == 4
