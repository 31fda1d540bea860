"""Outcomes count what they are said to."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_split_lab.bench.traffic import Outcome, plan


@given(st.lists(st.floats(0, 1e4), max_size=50), st.integers(1, 50), st.floats(0.5, 100))
def test_an_outcome_counts_the_answered_and_those_that_are_not(
    latencies: list[float], unanswered: int, seconds: float
) -> None:
    outcome = Outcome(seconds, len(latencies) + unanswered, tuple(latencies))
    assert outcome.share == len(latencies) / outcome.sent < 1
    assert outcome.rate * outcome.seconds == pytest.approx(outcome.share * outcome.sent)
    if latencies:
        assert outcome.percentile(0) == min(latencies) and outcome.percentile(100) == max(latencies)


@given(st.integers(1, 200), st.integers(1, 16), st.sampled_from([0.0, 0.01, 0.5]))
def test_with_jitter_messages_are_late_and_each_vehicles_in_order(count: int, vehicles: int, jitter: float) -> None:
    found = plan(count, vehicles, 0.01, jitter)
    assert sorted(number for _, number in found) == list(range(count))
    assert found == sorted(found) and all(at >= number * 0.01 for at, number in found)
    for vehicle in range(vehicles):
        own = [number for _, number in found if number % vehicles == vehicle]
        assert own == sorted(own)


def test_the_jitter_is_late_on_average_by_what_it_is_said_to() -> None:
    assert np.mean([at - number * 1.0 for at, number in plan(10_000, 1, 1.0, 0.01)]) == pytest.approx(0.01, rel=0.05)
    assert [at for at, _ in plan(3, 1, 1.0, 0.0)] == [0.0, 1.0, 2.0]
