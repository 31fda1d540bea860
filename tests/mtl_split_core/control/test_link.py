"""What the edge can know of a link: settled once, whatever the reports and in whatever order they come."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_split_core.control.link import (
    LEAST_LOSS,
    LEAST_SPREAD,
    MOST_IN_FLIGHT,
    RECENT,
    REPORTED,
    WINDOW,
    Fate,
    Link,
    LinkState,
    Report,
)

SESSION = 7
ALL = (1 << REPORTED) - 1


def report(
    sequence: int, received: int = (1 << REPORTED) - 1, fate: Fate = Fate.ANSWERED, session: int = SESSION
) -> Report:
    return Report(session, sequence, received, queued=0.01, service=0.02, fate=fate)


def sending(count: int, interval: float = 0.1) -> Link:
    """A link after so many bottlenecks of 100 bytes."""
    link = Link(SESSION)
    for sequence in range(count):
        link.sent(sequence, 100, sequence * interval)
    return link


def test_nothing_is_known_before_the_first_report() -> None:
    assert Link(SESSION).observe(5.0) == LinkState()
    assert sending(3).observe(1.0) == LinkState(in_flight=3, oldest=1.0, newest=0.8, idle=0.8)


def test_a_report_tells_the_time_on_the_way_without_that_in_the_server() -> None:
    link = sending(1)
    account = link.reported(report(0), now=0.07)
    assert account is not None and account.round_trip == pytest.approx(0.04)
    state = link.observe(0.17)
    assert (state.in_flight, state.oldest, state.loss, state.unanswered) == (0, 0.0, 0.0, 0.0)
    assert (state.silence, state.round_trip, state.server) == pytest.approx((0.1, 0.04, 0.03))
    assert state.rate == 100 / WINDOW and link.observe(0.08 + WINDOW).rate == 0.0


def test_a_time_on_the_way_is_told_with_the_bytes_that_took_it() -> None:
    link = Link(SESSION)
    seen = []
    for sequence, (size, copies, seconds) in enumerate([(400, 1, 0.02), (400, 2, 0.06), (100, 1, 0.01)]):
        link.sent(sequence, size, 1.0 * sequence, copies)
        link.reported(report(sequence), now=sequence + 0.03 + seconds)
        state = link.observe(sequence + 0.5)
        seen.append((state.round_trip, state.size, state.shortest))
    # A longer time is followed by a quarter, a shorter one at once.
    assert seen == [pytest.approx(each) for each in ((0.02, 400, 0.02), (0.03, 500, 0.02), (0.01, 100, 0.01))]


def test_the_shortest_time_on_the_way_is_that_of_the_last_minute() -> None:
    link, times = Link(SESSION), [0.05, 0.02, 0.03, *[0.04] * 20, 0.1, 0.035]
    for sequence, seconds in enumerate(times):
        at = 10.0 * sequence
        link.sent(sequence, 100, at)
        link.reported(report(sequence), now=at + 0.03 + seconds)
        assert link.observe(at + 1).shortest == pytest.approx(min(times[max(0, sequence - 5) : sequence + 1]))


def test_what_a_later_report_does_not_have_is_lost() -> None:
    link = sending(5)
    account = link.reported(report(3, received=0b1011), now=0.5)
    assert account is not None and (account.arrived, account.lost) == (3, 1)
    state = link.observe(0.5)
    assert (state.in_flight, state.loss, state.rate) == (1, 0.25, 300 / WINDOW)
    assert state.oldest == pytest.approx(0.1)


def test_a_report_of_old_bottlenecks_of_another_session_or_of_none_tells_nothing() -> None:
    link = sending(3)
    assert link.reported(report(1), now=0.3) is not None
    before = link.observe(0.4)
    for repeated in (report(1), report(0), report(3), report(2**64 - 1), report(2, session=SESSION + 1)):
        assert link.reported(repeated, now=0.4) is None
    assert link.observe(0.4) == before


def test_what_was_not_answered_is_told() -> None:
    link = sending(4)
    for sequence, fate in enumerate(Fate):
        link.reported(report(sequence, fate=fate), now=0.5)
    assert link.observe(0.5).unanswered == 0.75


def test_what_came_late_itself_says_nothing_of_how_busy_the_server_is() -> None:
    link = sending(3)
    for sequence, fate in enumerate((Fate.UNTIMELY, Fate.REPLACED, Fate.FAILED)):
        link.reported(replace(report(sequence, fate=fate), queued=0.001, service=0.0), now=0.5)
    assert link.observe(0.5).unanswered == pytest.approx(1 / 3)


def test_the_loss_is_that_of_each_copy() -> None:
    link = Link(SESSION)
    for sequence in range(4):
        link.sent(sequence, 100, sequence * 0.1, copies=2)
    assert link.reported(replace(report(0), copies=2), now=0.05)
    assert link.reported(replace(report(3, received=0b1101), copies=1), now=0.35)
    # 2 of 2, none of 2, an unknown number of 2, which says nothing, 1 of 2.
    assert link.observe(0.4).loss == pytest.approx(0.5)
    assert link.reported(replace(report(3), copies=2), now=0.45) is None
    assert link.observe(0.5).loss == pytest.approx(2 / 6)
    assert link.reported(replace(report(0), copies=2), now=0.45) is None
    assert link.reported(replace(report(3), copies=200), now=0.45) is None
    assert link.observe(0.5).loss == pytest.approx(2 / 6)


def test_what_was_sent_again_for_nothing_is_no_loss() -> None:
    link = sending(2)
    link.sent_again(1, now=0.2, copies=2)
    assert link.reported(report(1), now=0.21)
    assert link.observe(0.21).loss == pytest.approx(2 / 4)
    for copies in (2, 3):
        link.reported(replace(report(1), copies=copies), now=0.22)
    assert link.observe(0.22).loss == 0.0
    link.sent_again(1, now=0.23, copies=1)
    assert link.observe(0.23).loss == pytest.approx(1 / 5)
    link.reported(replace(report(1), copies=4), now=0.25)
    assert link.observe(0.25).loss == 0.0


@pytest.mark.parametrize(
    ("at", "copies", "round_trip"),
    [
        (0.31, 1, 0.08),  # of the first sending: what went out again cannot have been answered so soon
        (0.31, 2, None),  # of either: it may be a repeated report
        (0.38, 1, 0.05),  # of what went out again
        (0.38, 2, 0.05),
    ],
)
def test_only_what_was_surely_sent_then_tells_how_long_it_takes(at: float, copies: int, round_trip: float) -> None:
    """The last of three bottlenecks goes out at 0.2 and again at 0.3; reports take 0.04, and 0.03 in the server."""
    link = sending(3)
    assert link.reported(report(0), now=0.07)
    link.sent_again(2, now=0.3)
    account = link.reported(replace(report(2), copies=copies), now=at)
    state = link.observe(at)
    assert account and state.spread == pytest.approx((round_trip - 0.04) / 2 if round_trip else 0.0)
    assert state.idle == pytest.approx(at - 0.2)
    assert state.expected == pytest.approx((0.03 + round_trip if round_trip else 0.07) + LEAST_SPREAD)
    link.sent_again(7, now=0.5)
    assert link.observe(0.5).in_flight == 0


def test_a_report_is_expected_after_the_time_within_which_most_came() -> None:
    link = sending(RECENT)
    for sequence in range(RECENT):
        taken = 0.5 if sequence % 8 == 0 else 0.05
        assert link.reported(report(sequence), now=sequence * 0.1 + taken)
    assert link.observe(2.0).expected == pytest.approx(0.05 + LEAST_SPREAD)


def test_what_waited_for_the_end_of_an_outage_says_nothing_of_the_time_after_it() -> None:
    link = sending(20)
    link.reported(report(0), now=0.07)
    link.reported(report(18, received=0b1), now=60.0)
    after_outage = link.observe(60.0)
    assert after_outage.loss == 0.0 and after_outage.round_trip > 10
    link.reported(report(19), now=1.96)
    assert link.observe(1.97).round_trip == pytest.approx(0.03) and link.observe(1.97).overdue == 0


def test_it_is_known_whether_what_is_sent_in_an_outage_comes_out_at_its_end() -> None:
    lost, kept = sending(20), sending(20)
    assert lost.observe(2.0).kept == 0.5
    for link in (lost, kept):
        link.reported(report(0), now=0.07)
        assert link.observe(2.0).kept == 0.5
    lost.reported(report(19, received=0b1), now=1.97)
    for sequence in range(1, 20):
        kept.reported(report(sequence), now=3.0)
    assert (lost.observe(2.0).kept, kept.observe(4.0).kept) == (0.0, 1.0)
    for sequence in range(20, 26):
        kept.sent(sequence, 100, 3.0 + sequence * 0.1)
    kept.reported(report(25, received=0b1), now=5.6)
    assert kept.observe(6.0).kept == pytest.approx(19 / (19 + 5))


def test_a_report_is_missed_once_it_should_be_there() -> None:
    link = sending(3)
    link.reported(report(0), now=0.07)
    assert [link.observe(now).overdue for now in (0.12, 0.25, 0.35)] == [0, 1, 2]


def test_that_a_report_is_missing_is_the_less_probable_the_more_was_sent() -> None:
    """Of what has gone out so long ago that its report should be there."""
    link = sending(3)
    link.reported(replace(report(1, received=0b1)), now=0.17)  # the first is lost: one of two
    assert link.observe(0.2).missing == 1.0
    once = link.observe(0.3).missing
    assert once == pytest.approx(1 - (1 - 0.5) * (1 - 0.5**2))
    link.sent_again(2, now=0.4, copies=2)
    assert link.observe(0.41).missing == once
    assert link.observe(0.6).missing == pytest.approx(1 - (1 - 0.5**3) * (1 - 0.5**2))


def test_an_answer_tells_that_there_is_no_outage_though_its_report_is_lost() -> None:
    link = sending(4)
    link.reported(report(0), now=0.07)
    assert link.observe(0.6).overdue == 3 and link.observe(0.6).missing == pytest.approx(LEAST_LOSS**3, rel=2)
    link.answered(2, now=0.6)
    state = link.observe(0.65)
    assert (state.overdue, state.in_flight) == (1, 3) and state.silence == pytest.approx(0.05)
    for never_sent_or_settled in (0, 4, 2**64):
        link.answered(never_sent_or_settled, now=0.7)
    assert link.observe(0.65) == state


def test_an_outage_does_not_grow_without_end() -> None:
    link = sending(MOST_IN_FLIGHT + 100)
    assert link.observe(1e3).in_flight == MOST_IN_FLIGHT
    assert link.reported(report(99), now=1e3) is None
    account = link.reported(report(MOST_IN_FLIGHT + 99), now=1e3)
    assert account is not None and (account.arrived, account.lost) == (REPORTED, MOST_IN_FLIGHT - REPORTED)


@given(
    st.integers(1, 100),
    st.lists(st.tuples(st.integers(0, 120), st.integers(0, ALL), st.sampled_from(Fate)), max_size=30),
)
def test_every_bottleneck_is_settled_once(count: int, reports: list[tuple[int, int, Fate]]) -> None:
    link = sending(count)
    accounts = [
        link.reported(report(sequence, received, fate), now=20.0 + number)
        for number, (sequence, received, fate) in enumerate(reports)
    ]
    settled = sum(account.arrived + account.lost for account in accounts if account)
    state = link.observe(100.0)
    assert settled + state.in_flight == count
    for share in (state.loss, state.unanswered):
        assert 0 <= share <= 1
    assert state.rate >= 0 and state.oldest >= 0
    assert (state.round_trip < math.inf) == (state.silence < math.inf) == any(accounts)
