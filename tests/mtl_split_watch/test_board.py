"""Every page gets everything once, however it asks."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_split_watch.board import HISTORY, Answered, Board, Complaint, Picture, Sample

from .pages import parse


@pytest.fixture
def board() -> Board:
    board = Board(lambda: None)
    board.set_vehicles({"/car1": "no server answers", "/car2": ""}, {"domain": 7})
    return board


def samples(text: dict[str, Any]) -> list[float]:
    return [sample[0] for vehicle in text["vehicles"] for sample in vehicle["samples"]]


@given(st.lists(st.sampled_from(["plot", "ask", "late"]), max_size=40))
def test_every_frame_is_in_every_pages_plots_once(steps: list[str]) -> None:
    board, number, plotted, heard = Board(lambda: None), 0, 0, []
    board.set_vehicles({"/car1": ""}, {})
    for step in steps:
        if step == "plot":
            board.plot("/car1", Sample(float(plotted), 900, 30.0))
            plotted += 1
        elif step == "ask":
            message, number = board.news(number)
            heard += samples(parse(message).text)
        else:
            assert samples(parse(board.news(0)[0]).text) == list(range(plotted)), "a page that has just been opened"
    assert heard + samples(parse(board.news(number)[0]).text) == list(range(plotted))


def test_a_page_gets_the_newest_picture_of_each_vehicle_and_none_twice(board: Board) -> None:
    for jpeg in (b"old", b"newer"):
        board.show("/car1", Picture(jpeg, None, {"weather": "rainy 0.93"}))
    board.show("/car2", Picture(b"other", 0, {}))
    message, number = board.news(0)
    news = parse(message)
    assert news.pictures == {"/car1": b"newer", "/car2": b"other"}
    assert news.vehicle("/car1")["picture"]["age"] is None and news.vehicle("/car2")["picture"]["age"] > 1e9
    assert news.vehicle("/car1")["picture"]["answers"] == {"weather": "rainy 0.93"}
    assert news.vehicle("/car1")["words"] == "no server answers" and news.text["domain"] == 7
    assert parse(board.news(number)[0]).pictures == {}


def test_complaints_are_sent_when_they_change(board: Board) -> None:
    complaints = [Complaint(2, "edge", "waiting for /image_raw")]
    _, number = board.news(0)
    assert "complaints" not in parse(board.news(number)[0]).text
    board.complain(complaints, 3)
    before, number = board.news(number)
    assert parse(before).text["complaints"] == [[2, "edge", "waiting for /image_raw"]]
    assert parse(before).text["well"] == 3
    board.complain(list(complaints), 3)
    assert board.news(number)[1] == number


def test_origins_of_answers_are_told_apart_from_frames(board: Board) -> None:
    board.plot("/car1", Sample(1.0, 900, 30.0))
    _, number = board.news(0)
    board.plot("/car1", Answered(2.0, "server", "coarse", late=True))
    after, all_ = (parse(board.news(since)[0]).vehicle("/car1") for since in (number, 0))
    assert after["samples"] == [] and after["answered"] == all_["answered"] == [[2.0, "server", "coarse", True]]
    assert all_["samples"] == [[1.0, 900, 30.0]]


def test_old_frames_leave_the_plots_and_vehicles_that_are_gone_the_page(board: Board) -> None:
    for time in (0.0, HISTORY / 2, HISTORY + 1):
        board.plot("/car1", Sample(time, None, None))
    assert samples(parse(board.news(0)[0]).text) == [HISTORY / 2, HISTORY + 1]
    board.set_vehicles({"/car2": ""}, {})
    board.show("/car1", Picture(b"late", None, {}))
    news = parse(board.news(0)[0])
    assert [vehicle["name"] for vehicle in news.text["vehicles"]] == ["/car2"] and not news.pictures


def test_whoever_waits_is_told_of_every_change() -> None:
    told: list[str] = []
    board = Board(lambda: told.append("changed"))
    board.set_vehicles({"/car1": ""}, {})
    board.show("/car1", Picture(b"", None, {}))
    board.complain([Complaint(1, "edge", "late")], 0)
    assert len(told) == 3
