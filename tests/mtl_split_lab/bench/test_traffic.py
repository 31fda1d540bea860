"""Stamps are read from messages as they travel, and outcomes count what they are said to."""

import pytest
from builtin_interfaces.msg import Time
from hypothesis import given
from hypothesis import strategies as st
from mtl_split.msg import Bottleneck
from rclpy.serialization import serialize_message
from std_msgs.msg import Header
from vision_msgs.msg import Classification, Detection2DArray

from mtl_split_lab.bench.traffic import Outcome, stamp_of


@given(st.integers(-(2**31), 2**31 - 1), st.integers(0, 10**9 - 1), st.text("a/_", max_size=20))
@pytest.mark.parametrize("kind", [Bottleneck, Classification, Detection2DArray])
def test_the_stamp_of_a_serialised_message(kind: type, seconds: int, nanoseconds: int, frame: str) -> None:
    message = kind(header=Header(stamp=Time(sec=seconds, nanosec=nanoseconds), frame_id=frame))
    assert stamp_of(serialize_message(message)) == seconds * 10**9 + nanoseconds


def test_the_stamp_of_a_machine_that_writes_the_high_byte_first() -> None:
    message = bytes([0, 0, 0, 0]) + (7).to_bytes(4, "big") + (9).to_bytes(4, "big")
    assert stamp_of(message) == 7 * 10**9 + 9


@given(st.lists(st.floats(0, 1e4), max_size=50), st.integers(1, 50), st.floats(0.5, 100))
def test_an_outcome_counts_the_answered_and_those_that_are_not(
    latencies: list[float], unanswered: int, seconds: float
) -> None:
    outcome = Outcome(seconds, len(latencies) + unanswered, tuple(latencies))
    assert outcome.share == len(latencies) / outcome.sent < 1
    assert outcome.rate * outcome.seconds == pytest.approx(outcome.share * outcome.sent)
    if latencies:
        assert outcome.percentile(0) == min(latencies) and outcome.percentile(100) == max(latencies)
