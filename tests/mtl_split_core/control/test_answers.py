"""Every frame gets one answer, whoever is first, and the edge begins with its own while there is time."""

import threading

from hypothesis import given
from hypothesis import strategies as st

from mtl_split_core.control.answers import LONG, MOST_OPEN, Answers

TASKS = frozenset({"detection", "weather"})
NEEDED = 0.02


def expecting(*deadlines: float, sequences: bool = True) -> Answers[str]:
    """Frames a, b, c … whose bottlenecks have the numbers 0, 1, 2 …"""
    answers = Answers[str](TASKS)
    for number, deadline in enumerate(deadlines):
        key = chr(ord("a") + number)
        answers.expect(key, f"frame {key}", deadline, number if sequences else None)
    return answers


def hear(answers: Answers[str], key: str) -> object:
    assert answers.hear(key, "detection", 1) is None
    return answers.hear(key, "weather", 2)


def test_the_servers_answer_counts_once_it_is_complete_and_only_once() -> None:
    answers = expecting(1.0)
    assert answers.hear("a", "detection", 1) is None and answers.hear("x", "weather", 2) is None
    assert answers.hear("a", "weather", 2) == ("frame a", {"detection": 1, "weather": 2})
    assert hear(answers, "a") is None and not answers.finish("a")


def test_the_edge_begins_when_the_time_to_the_deadline_is_what_it_needs() -> None:
    answers = expecting(1.0, 2.0)
    assert answers.begin(0.5, NEEDED) == 1.0 - NEEDED - 0.5
    assert answers.begin(1.0 - NEEDED, NEEDED) == ("a", "frame a")
    assert answers.begin(1.0 - NEEDED, NEEDED) == 1.0
    assert hear(answers, "a") is not None and not answers.finish("a")
    assert answers.begin(1.99, NEEDED) == ("b", "frame b") and answers.finish("b") and not answers.finish("b")
    assert hear(answers, "b") is None and answers.begin(9.0, NEEDED) == LONG


def test_nothing_is_waited_for_where_no_answer_can_come() -> None:
    assert expecting(1.0, sequences=False).begin(0.0, NEEDED) == ("a", "frame a")
    overtaken = expecting(1.0, 1.1, 1.2)
    assert hear(overtaken, "b") is not None
    assert overtaken.begin(0.0, NEEDED) == ("a", "frame a") and isinstance(overtaken.begin(0.0, NEEDED), float)
    refused, answered = expecting(1.0, 1.1, 1.2), expecting(1.0, 1.1, 1.2)
    refused.settle(1, answered=False)
    answered.settle(1, answered=True)
    assert [refused.begin(0.0, NEEDED) for _ in range(2)] == [("a", "frame a"), ("b", "frame b")]
    assert answered.begin(0.0, NEEDED) == ("a", "frame a")
    assert isinstance(refused.begin(0.0, NEEDED), float) and isinstance(answered.begin(0.0, NEEDED), float)


def test_those_that_can_still_be_in_time_come_first_then_the_newest() -> None:
    answers = expecting(1.0, 2.0, 3.0, 4.0)
    order = [answers.begin(2.5, 10.0) for _ in range(4)]
    assert order == [("c", "frame c"), ("d", "frame d"), ("b", "frame b"), ("a", "frame a")]


def test_the_same_frame_again_does_not_put_off_its_answer() -> None:
    answers = expecting(1.0)
    answers.expect("a", "again", 5.0, 1)
    assert answers.begin(1.0, NEEDED) == ("a", "again") and answers.finish("a") and not answers.finish("a")


def test_frames_are_given_up_rather_than_kept_without_end() -> None:
    answers = Answers[int](TASKS)
    assert sum(answers.expect(number, number, 1.0, number) for number in range(MOST_OPEN + 3)) == 3
    assert not answers.finish(2) and answers.finish(3)


def test_who_waits_is_woken_by_a_frame_and_by_the_end() -> None:
    answers = Answers[str](TASKS)
    taken: list[object] = []

    def work() -> None:
        while (one := answers.take(lambda: 0.0, lambda: NEEDED)) is not None:
            taken.append(one)

    thread = threading.Thread(target=work)
    thread.start()
    answers.expect("a", "frame a", 60.0, None)
    while not taken:
        pass
    answers.close()
    thread.join(timeout=10)
    assert not thread.is_alive() and taken == [("a", "frame a")] and not answers.finish("a")


@given(
    st.lists(
        st.tuples(st.sampled_from(["expect", "hear", "settle", "begin", "finish"]), st.integers(0, 5)), max_size=60
    )
)
def test_whatever_happens_no_frame_is_answered_twice(events: list[tuple[str, int]]) -> None:
    answers, answered, now = Answers[int](TASKS), list[int](), 0.0
    begun: list[int] = []
    for what, number in events:
        now += 0.01
        if what == "expect" and number not in answered + begun:
            answers.expect(number, number, now + 0.1, number)
        elif what == "hear":
            answers.hear(number, "detection", 0)
            answered += [number] if answers.hear(number, "weather", 0) else []
        elif what == "settle":
            answers.settle(number, answered=False)
        elif what == "begin" and isinstance(found := answers.begin(now, NEEDED), tuple):
            begun.append(found[1])
        elif what == "finish" and number in begun:
            answered += [number] if answers.finish(number) else []
    assert len(answered) == len(set(answered))
