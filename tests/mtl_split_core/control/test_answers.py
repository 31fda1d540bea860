"""Every frame gets one answer, whoever is first; the edge begins with its own, and asks again, while there is time."""

import math
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_split_core.control.answers import LONG, MOST_OPEN, REORDERED, Answers, Due
from mtl_split_core.control.policy import MOST_AGAIN, RESERVE, Own

NEEDED = 0.02


def needed(own: Own) -> float:
    return NEEDED if own is Own.WHOLE else NEEDED / 2


def expecting(
    *deadlines: float, sequences: bool = True, own: Own | None = Own.WHOLE, again_at: float = math.inf
) -> Answers[str]:
    """Frames a, b, c … whose bottlenecks have the numbers 0, 1, 2 …"""
    answers = Answers[str]()
    for number, deadline in enumerate(deadlines):
        key = chr(ord("a") + number)
        answers.expect(key, f"frame {key}", deadline, number if sequences else None, own, again_at=again_at)
    return answers


def begun(answers: Answers[str], now: float) -> tuple[str, Own | None] | float:
    found = answers.begin(now, needed)
    return (found.frame, found.own) if isinstance(found, Due) else found


def finished(answers: Answers[str], key: str, now: float = 2.0) -> bool | float:
    return answers.finish(key, now, needed)


def again(answers: Answers[str], now: float) -> str | float:
    found = answers.again(now)
    return found.frame if isinstance(found, Due) else found


A, B, C, D = ((f"frame {key}", Own.WHOLE) for key in "abcd")


def test_the_servers_answer_counts_only_once() -> None:
    answers = expecting(1.0)
    assert answers.frame_of(0) == "frame a" and answers.frame_of(1) is None
    assert not answers.hear(1) and answers.hear(0)
    assert answers.frame_of(0) is None and not answers.hear(0) and not finished(answers, "a")


def test_the_edge_begins_when_the_time_to_the_deadline_is_what_its_network_needs() -> None:
    answers = expecting(1.0, 2.0)
    assert begun(answers, 0.5) == 1.0 - NEEDED - 0.5
    assert begun(answers, 1.0 - NEEDED) == A
    assert begun(answers, 1.0 - NEEDED) == 1.0
    assert answers.hear(0) and not finished(answers, "a")
    assert begun(answers, 1.99) == B and finished(answers, "b") and not finished(answers, "b")
    assert not answers.hear(1) and begun(answers, 9.0) == LONG
    assert begun(expecting(1.0, own=Own.EXIT), 0.0) == 1.0 - NEEDED / 2
    assert begun(expecting(1.0, own=None), 5.0) == LONG


def test_nothing_is_waited_for_where_no_answer_can_come_or_none_is_to_be_waited_for() -> None:
    assert begun(expecting(1.0, sequences=False), 0.0) == A
    at_once = expecting()
    at_once.expect("a", "frame a", 1.0, 0, Own.EXIT, at_once=True)
    assert begun(at_once, 0.0) == ("frame a", Own.EXIT)
    overtaken = expecting(1.0, 1.1, 1.2)
    assert overtaken.hear(1)
    assert begun(overtaken, 0.0) == A and isinstance(begun(overtaken, 0.0), float)
    refused, answered = expecting(1.0, 1.1, 1.2), expecting(1.0, 1.1, 1.2)
    refused.settle(1, answered=False, now=0.0)
    answered.settle(1, answered=True, now=0.0)
    assert [begun(refused, 0.0) for _ in range(2)] == [A, B]
    assert begun(answered, 0.0) == A
    assert isinstance(begun(refused, 0.0), float) and isinstance(begun(answered, 0.0), float)


def test_those_that_can_still_be_in_time_come_first_then_the_newest() -> None:
    answers = expecting(1.0, 2.0, 3.0, 4.0)
    order = [answers.begin(2.5, lambda _: 10.0) for _ in range(4)]
    assert [due.key for due in order if isinstance(due, Due)] == ["c", "d", "b", "a"]


def test_the_newest_bottleneck_goes_out_again_when_its_answer_is_missing() -> None:
    answers = expecting(1.0, 1.1, again_at=0.2)
    assert again(answers, 0.1) == 0.2 - 0.1
    assert again(answers, 0.2) == "frame b"
    assert again(answers, 0.2) == LONG
    for number in range(1, MOST_AGAIN):
        answers.ask_again("b", 0.3)
        assert again(answers, 0.3 + number * 0.01) == "frame b"
    answers.ask_again("b", 0.4)
    assert again(answers, 0.5) == LONG


def test_it_goes_out_again_also_while_an_own_answer_is_computed_but_not_after_that() -> None:
    answers = expecting(1.0, again_at=2.0)
    assert begun(answers, 1.0 - NEEDED) == A
    answers.settle(0, answered=True, now=1.0 - NEEDED)
    assert again(answers, 1.0) == "frame a"
    answers.ask_again("a", 1.0)
    assert finished(answers, "a") and again(answers, 1.0) == LONG


def test_an_own_answer_waits_for_the_servers_while_that_may_come_and_nothing_else_is_to_begin() -> None:
    answers = expecting(1.0, 1.1)
    assert begun(answers, 0.98) == A
    assert finished(answers, "a", 0.984) == pytest.approx(0.016 - RESERVE)
    assert answers.hear(0) and finished(answers, "a", 0.984) is False
    assert begun(answers, 1.08) == B
    assert isinstance(finished(answers, "b", 1.085), float) and finished(answers, "b", 1.1 - RESERVE) is True

    refused = expecting(1.0)
    assert begun(refused, 0.98) == A
    refused.settle(0, answered=False, now=0.982)
    assert finished(refused, "a", 0.984) is True

    busy = expecting(1.0, 1.0045)
    assert begun(busy, 0.98) == A
    assert finished(busy, "a", 0.984) == pytest.approx(1.0045 - NEEDED - 0.984)
    assert finished(busy, "a", 1.0045 - NEEDED) is True


def test_an_answer_that_the_server_has_reported_is_asked_for_as_soon_as_it_should_be_there() -> None:
    answers = expecting(1.0, again_at=0.2)
    answers.settle(0, answered=True, now=0.1)
    assert again(answers, 0.1) == REORDERED + 0.1 - 0.1
    assert again(answers, 0.1 + REORDERED) == "frame a"
    at_once = Answers[str]()
    at_once.expect("a", "frame a", 1.0, 0, Own.WHOLE, at_once=True)
    at_once.settle(0, answered=True, now=0.1)
    assert begun(at_once, 0.2) == A and again(at_once, 0.2) == LONG
    refused = expecting(1.0, again_at=0.2)
    refused.settle(0, answered=False, now=0.1)
    assert begun(refused, 0.3) == A and again(refused, 0.3) == LONG


def test_the_same_frame_again_does_not_put_off_its_answer() -> None:
    answers = expecting(1.0)
    answers.expect("a", "again", 5.0, 1, Own.WHOLE)
    assert begun(answers, 1.0) == ("again", Own.WHOLE) and finished(answers, "a") and not finished(answers, "a")


def test_frames_are_given_up_rather_than_kept_without_end() -> None:
    answers = Answers[int]()
    assert sum(answers.expect(number, number, 1.0, number, Own.EXIT) for number in range(MOST_OPEN + 3)) == 3
    assert not answers.finish(2, 1.0, needed) and answers.finish(3, 1.0, needed)


def test_all_who_wait_are_woken_by_a_frame_and_by_the_end() -> None:
    answers = Answers[str]()
    taken: dict[str, list[object]] = {"begin": [], "again": []}
    finds = {"begin": lambda: answers.begin(0.0, needed), "again": lambda: answers.again(0.0)}

    def work(what: str) -> None:
        while (due := answers.take(finds[what])) is not None:
            taken[what].append(due)

    threads = [threading.Thread(target=work, args=(what,)) for what in finds]
    for thread in threads:
        thread.start()
    for number in range(6):
        begun = time.monotonic()
        what = "begin" if number < 3 else "again"
        if what == "begin":
            answers.expect(number, "alone", 60.0, None, Own.WHOLE)
        else:
            answers.expect(number, "asked", 60.0, number, None, again_at=0.0)
        while len(taken[what]) <= number % 3:
            assert time.monotonic() < begun + 0.9 * LONG, "it was not woken"
            time.sleep(0.001)
    answers.close()
    for thread in threads:
        thread.join(timeout=10)
    assert not any(thread.is_alive() for thread in threads) and not finished(answers, "a")
    assert taken["begin"][0] == Due(0, "alone", 60.0, None, Own.WHOLE)


@given(
    st.lists(
        st.tuples(st.sampled_from(["expect", "hear", "settle", "begin", "finish", "again"]), st.integers(0, 5)),
        max_size=60,
    )
)
def test_whatever_happens_no_frame_is_answered_twice(events: list[tuple[str, int]]) -> None:
    answers, answered, now = Answers[int](), list[int](), 0.0
    begun: list[int] = []
    for what, number in events:
        now += 0.01
        if what == "expect" and number not in answered + begun:
            answers.expect(number, number, now + 0.1, number, Own.WHOLE, again_at=now + 0.02)
        elif what == "hear":
            answered += [number] if answers.hear(number) else []
        elif what == "settle":
            answers.settle(number, answered=False, now=now)
        elif what == "again":
            answers.ask_again(number, now)
            answers.again(now)
        elif what == "begin" and isinstance(due := answers.begin(now, needed), Due) and due.own:
            begun.append(due.frame)
        elif what == "finish" and number in begun:
            answered += [number] if answers.finish(number, now, needed) is True else []
    assert len(answered) == len(set(answered))
