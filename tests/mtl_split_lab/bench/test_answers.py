"""The judgement of answers, as a pure function."""

from hypothesis import given
from hypothesis import strategies as st

from mtl_split_lab.bench.answers import DEADLINE, STALE, Answers, answered, first_in_time, judge

SECOND = 10**9
LATENCIES = st.lists(st.none() | st.integers(0, 3 * SECOND), min_size=1, max_size=40)
"""Of frames every 50 ms: how long the answer took in nanoseconds, None: none came."""

PERIOD = SECOND // 20


def judged(latencies: list[int | None], begin: int = 0) -> Answers:
    stamps = [begin + number * PERIOD for number in range(len(latencies))]
    answers = {stamp: stamp + latency for stamp, latency in zip(stamps, latencies, strict=True) if latency is not None}
    return judge(stamps, answers, begin, begin + len(latencies) * PERIOD)


@given(LATENCIES)
def test_frames_are_counted_by_how_long_their_answer_took(latencies: list[int | None]) -> None:
    came = [latency for latency in latencies if latency is not None]
    answers = judged(latencies)
    assert answers.frames == len(latencies)
    assert answers.answered == len(came)
    assert answers.in_time == sum(latency <= DEADLINE * SECOND for latency in came)
    assert answers.stale == sum(latency > STALE * SECOND for latency in came)
    assert answers.share == answers.in_time / len(latencies)
    if came:
        assert answers.p50 is not None and answers.p99 is not None
        assert min(came) <= answers.p50 * 1e6 + 1 and answers.p50 <= answers.p99 <= max(came) / 1e6 + 1
    else:
        assert answers.p50 is answers.p99 is None


@given(LATENCIES, st.integers(0, 2 * 10**18))
def test_only_differences_of_times_matter(latencies: list[int | None], begin: int) -> None:
    assert judged(latencies, begin) == judged(latencies)


@given(LATENCIES, st.data())
def test_a_lost_answer_makes_nothing_better(latencies: list[int | None], data: st.DataObject) -> None:
    lost = data.draw(st.integers(0, len(latencies) - 1))
    before, after = judged(latencies), judged([*latencies[:lost], None, *latencies[lost + 1 :]])
    assert after.frames == before.frames and after.in_time <= before.in_time
    assert before.gap <= after.gap <= len(latencies) * PERIOD / SECOND


def test_the_gap_is_the_longest_time_without_an_answer() -> None:
    quick = SECOND // 100
    assert judged([quick] * 3 + [None] * 4 + [quick] * 3).gap == 5 * PERIOD / SECOND
    assert judged([None] * 10).gap == 10 * PERIOD / SECOND


def test_frames_outside_are_not_judged() -> None:
    answers = judge([0, 10, 20, 30], {0: 1, 10: 11, 20: 21, 30: 31}, 10, 30)
    assert (answers.frames, answers.answered) == (2, 2)


def test_a_frame_is_answered_when_the_last_task_has_answered() -> None:
    assert answered([{1: 5, 2: 6}, {1: 9, 3: 7}]) == {1: 9}


def test_the_first_in_time_may_come_after_late_ones() -> None:
    assert first_in_time({0: SECOND, PERIOD: PERIOD + SECOND // 10, 2 * PERIOD: 2 * PERIOD}) == PERIOD
    assert first_in_time({0: SECOND}) is None
