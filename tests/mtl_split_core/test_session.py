"""A vehicle's memory: one publisher, nothing twice, nothing backwards, and what was lost on the way."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_split_core.control.link import REPORTED
from mtl_split_core.errors import ReplayError, SecondPublisherError
from mtl_split_core.session import MOST_ANSWERED, MOST_LOST, Arrival, Session
from mtl_split_core.tracks import NONE, Tracks

FIRST = Arrival("edge", session=10, sequence=0, stamp=1000)
uint64 = st.integers(0, 2**64 - 1)
arrivals = st.builds(
    Arrival, publisher=st.sampled_from(["edge", "other"]), session=uint64, sequence=uint64, stamp=st.integers()
)


@dataclass
class Publishers:
    """Those that have left."""

    gone: set[str] = field(default_factory=set)

    def may_follow(self, publisher: str, other: str) -> bool:
        return publisher in self.gone

    def name(self, publisher: str) -> str:
        return f"/{publisher}"


def begun(publishers: Publishers, signed: bool = False, any_stamp: bool = False) -> Session:
    """A session after its first bottleneck."""
    session = Session(publishers, signed, any_stamp, Tracks((), NONE, 0.0))
    session.admit(FIRST)
    assert session.take(FIRST) == 0
    return session


def later(sequence: int, stamp: int, publisher: str = "edge", session: int = 10) -> Arrival:
    return Arrival(publisher, session, sequence, stamp)


def test_the_first_publisher_keeps_the_vehicle_until_it_is_gone() -> None:
    publishers = Publishers()
    session = begun(publishers)
    second = later(5, 5000, "other", 11)
    with pytest.raises(SecondPublisherError, match="/other publishes too, but /edge was first"):
        session.admit(second)
    session.admit(later(1, 2000))
    publishers.gone.add("edge")
    session.admit(second)
    assert session.take(second) == 0
    with pytest.raises(SecondPublisherError, match="/edge publishes too, but /other was first"):
        session.admit(later(6, 6000))


def test_whoever_is_admitted_but_not_taken_has_nothing() -> None:
    session = Session(Publishers(), signed=False, any_stamp=False, tracks=Tracks((), NONE, 0.0))
    session.admit(later(5, 5000, "other", 11))
    session.admit(FIRST)
    assert session.take(FIRST) == 0
    with pytest.raises(SecondPublisherError):
        session.admit(later(6, 6000, "other", 11))


@pytest.mark.parametrize(("sequence", "lost"), [
    (1, 0), (4, 3), (0, 0), (MOST_LOST + 1, MOST_LOST), (MOST_LOST + 2, 0), (2**64 - 1, 0),
])  # fmt: skip
def test_a_gap_is_lost_and_a_jump_a_new_beginning(sequence: int, lost: int) -> None:
    session = begun(Publishers())
    assert session.take(later(sequence, 2000)) == lost
    assert session.take(later(0, 3000)) == 0
    assert session.take(later(2, 4000)) == 1


def test_a_new_session_of_the_same_publisher_begins_anew_whatever_its_numbers() -> None:
    session = begun(Publishers())
    assert session.take(later(7, 500, session=11)) == 0
    assert session.take(later(8, 501, session=11)) == 0


def test_old_and_repeated_stamps_are_left_out_unless_the_clock_jumped_back() -> None:
    session = begun(Publishers())
    assert session.take(later(1, 1000)) is None
    assert session.take(later(2, 999)) is None
    assert session.take(later(3, 1001)) == 2
    session.forget_stamps()
    assert session.take(later(4, 10)) == 0
    assert session.take(later(5, 9)) is None


def test_in_a_loop_stamps_do_not_count() -> None:
    session = begun(Publishers(), any_stamp=True)
    assert [session.take(later(sequence, stamp)) for sequence, stamp in [(1, 10), (2, 10), (0, 9)]] == [0, 0, 0]


@pytest.mark.parametrize("signed", [False, True])
def test_the_newest_once_more_is_a_repeat_and_nothing_else_is(signed: bool) -> None:
    session = begun(Publishers(), signed)
    assert session.repeats(FIRST) and not session.repeats(replace(FIRST, sequence=1))
    assert not session.repeats(replace(FIRST, session=11))
    assert session.repeats(replace(FIRST, publisher="relay")) == signed
    assert session.take(later(1, 2000)) == 0 and not session.repeats(FIRST)
    assert begun(Publishers(), signed, any_stamp=True).repeats(FIRST) == signed


def test_a_bottleneck_is_answered_twice_where_the_one_before_came_more_than_once() -> None:
    session = begun(Publishers())
    answers = []
    for sequence, further in enumerate((0, 1, 0, 3, 0, 0), 1):
        session.take(later(sequence, 1000 + sequence))
        at_first = session.answers(FIRST.session, sequence)
        for _ in range(further):
            session.count_copy()
        answers.append((at_first, session.answers(FIRST.session, sequence)))
    assert answers == [(1, 1), (1, 2), (2, 2), (1, 4), (2, 2), (1, 1)]


def test_copies_are_counted_of_the_newest_up_to_a_limit() -> None:
    session = begun(Publishers(), signed=True)
    assert session.copies(FIRST.session, FIRST.sequence) == 1
    assert [session.count_copy() for _ in range(MOST_ANSWERED)] == [True] * (MOST_ANSWERED - 1) + [False]
    assert session.copies(FIRST.session, FIRST.sequence) == MOST_ANSWERED + 1
    assert session.copies(FIRST.session, FIRST.sequence + 1) == 1
    assert session.take(later(1, 2000)) == 0 and session.copies(FIRST.session, FIRST.sequence + 1) == 1
    assert session.copies(FIRST.session, FIRST.sequence) == 1


@pytest.mark.parametrize("again", [FIRST, replace(FIRST, publisher="other"), later(9, 9000, session=9)])
def test_with_signatures_nothing_is_taken_twice_and_no_earlier_session_comes_back(again: Arrival) -> None:
    session = begun(Publishers({"edge", "other"}), signed=True)
    with pytest.raises(ReplayError, match="sent again"):
        session.admit(again)


def test_with_signatures_whoever_delivers_may_and_a_new_session_waits_for_the_end_of_the_last() -> None:
    publishers = Publishers()
    session = begun(publishers, signed=True)
    session.admit(later(1, 2000, "relay"))
    assert session.take(later(1, 2000, "relay")) == 0
    restarted = later(0, 3000, "restarted", 11)
    with pytest.raises(SecondPublisherError):
        session.admit(restarted)
    publishers.gone.add("relay")
    session.admit(restarted)
    assert session.take(restarted) == 0


@given(st.lists(arrivals), st.booleans(), st.booleans())
def test_nothing_overflows_and_with_signatures_the_numbers_only_grow(
    stream: list[Arrival], signed: bool, any_stamp: bool
) -> None:
    session = Session(Publishers({"edge", "other"}), signed, any_stamp, Tracks((), NONE, 0.0))
    taken = []
    for arrival in stream:
        try:
            session.admit(arrival)
        except ReplayError:
            continue
        lost = session.take(arrival)
        if lost is not None:
            assert 0 <= lost <= MOST_LOST
            taken.append((arrival.session, arrival.sequence))
    if signed:
        assert taken == sorted(set(taken))


def test_whoever_begins_anew_knows_no_object() -> None:
    session = begun(Publishers(gone={"edge"}))
    tracks = session.tracks
    for arrival in (later(1, 2000), later(3, 3000)):
        assert session.take(arrival) is not None
        assert session.tracks is tracks
    session.take(later(0, 4000, session=11))
    again = session.tracks
    assert again is not tracks
    session.take(later(0, 5000, "other", 12))
    assert session.tracks not in (tracks, again)
    other = session.tracks
    session.forget_stamps()
    assert session.tracks is not other


@given(st.lists(st.integers(0, 3 * REPORTED), min_size=1, max_size=60))
def test_what_has_arrived_is_told_by_bits(sequences: list[int]) -> None:
    session = Session(Publishers(), signed=False, any_stamp=False, tracks=Tracks((), NONE, 0.0))
    arrived: set[int] = set()
    for sequence in sequences:
        if abs(sequence - max(arrived, default=sequence)) >= REPORTED:
            arrived.clear()  # a new beginning
        arrived.add(sequence)
        bits = session.receive(later(sequence, 0))
        told = {sequence - behind for behind in range(REPORTED) if bits >> behind & 1}
        assert told == {
            other for other in arrived if sequence - REPORTED < other <= sequence and other > max(arrived) - REPORTED
        }
        assert bits < 1 << REPORTED
    assert session.receive(later(5, 0, session=11)) == 1
