"""Outcomes count what they are said to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_split_lab.bench.traffic import Outcome


@given(st.lists(st.floats(0, 1e4), max_size=50), st.integers(1, 50), st.floats(0.5, 100))
def test_an_outcome_counts_the_answered_and_those_that_are_not(
    latencies: list[float], unanswered: int, seconds: float
) -> None:
    outcome = Outcome(seconds, len(latencies) + unanswered, tuple(latencies))
    assert outcome.share == len(latencies) / outcome.sent < 1
    assert outcome.rate * outcome.seconds == pytest.approx(outcome.share * outcome.sent)
    if latencies:
        assert outcome.percentile(0) == min(latencies) and outcome.percentile(100) == max(latencies)
