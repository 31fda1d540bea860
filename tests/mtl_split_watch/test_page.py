"""The page in a browser: what is sent is seen, on a phone and on a desk, and a stranger's words stay words."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest

from mtl_split_watch.board import Answered, Complaint, Picture, Sample
from mtl_split_watch.site import Site

from .pages import PATIENCE

NAME = '/<img src=x onerror="document.title=1">'
Wait = Callable[[Any, str, str], None]
SIZES = {"phone": (390, 844), "desk": (1300, 900)}


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site("127.0.0.1", 0)
    yield site
    site.close()


@pytest.fixture(params=SIZES)
def page(browser: Any, site: Site, request: pytest.FixtureRequest) -> Iterator[Any]:
    width, height = SIZES[request.param]
    page = browser.new_page(viewport={"width": width, "height": height})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(site.url)
    yield page
    assert errors == []
    page.close()


def show(site: Site, vehicle: str, grey: int) -> None:
    _, jpeg = cv2.imencode(".jpg", np.full((90, 160, 3), grey, np.uint8))
    site.board.show(vehicle, Picture(jpeg.tobytes(), None, {"detection": "2 car", "weather": "<b>rainy</b>"}))


def grey_of(page: Any) -> int:
    """The brightness of the picture that is seen."""
    data = page.locator("article figure").first.screenshot()
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    return int(picture[picture.shape[0] // 2, picture.shape[1] // 2])


def test_pictures_answers_plots_and_complaints_are_seen(page: Any, site: Site, wait: Wait) -> None:
    site.board.set_vehicles({NAME: "no server <i>answers</i>", "/car2": ""}, {"domain": 7, "namespace": "/"})
    for number in range(30):
        site.board.plot(NAME, Sample(time.time() - 30 + number, 900 + number, 42.0))
    site.board.complain([Complaint(2, "/edge", "waiting for " + "/a_topic_with_a_very_long_name" * 5)], 3)
    for grey in (60, 200):
        show(site, NAME, grey)
        wait(page, "the picture", "shown.pictures >= 1")
    wait(page, "the second picture", "shown.pictures >= 2")
    assert abs(grey_of(page) - 200) < 5
    seen = page.inner_text("body")
    texts = ("no server <i>answers</i>", "2 car", "<b>rainy</b>", "waiting for /a_topic", "3 statuses are well", "live")
    for words in (NAME, *texts):
        assert words in seen
    assert page.title() == "mtl_split", "a stranger's words are words"
    wait(page, "the plot", "document.querySelector('output').textContent === '929'")
    colours = page.evaluate(
        "[...new Uint32Array(document.querySelector('canvas').getContext('2d').getImageData(0, 0, 90, 90).data.buffer)]"
    )
    assert len(set(colours)) > 2
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is wider than the screen"


def test_who_answered_and_what_was_chosen_are_coloured_strips(page: Any, site: Site, wait: Wait) -> None:
    site.board.set_vehicles({"/car1": "", "/car2": ""}, {"sources": ["server", "exit", "whole"]})
    site.board.plot("/car2", Sample(time.time(), 900, 42.0))
    for number in range(40):
        source, point = ("whole", "nothing") if number < 10 else ("server", "<b>fine</b>")
        site.board.plot("/car1", Answered(time.time() - 40 + number, source, point, late=number < 2))
    wait(page, "the strips", "document.querySelectorAll('.strip:not([hidden])').length === 2")
    items = page.locator(".strip:not([hidden]) li").all_inner_texts()
    assert items == ["server 75.0 %", "whole 25.0 %", "late 5.0 %", "<b>fine</b> 75.0 %", "nothing 25.0 %"]
    at = "[...document.querySelector('.strip canvas').getContext('2d').getImageData(X, 2, 1, 1).data]"
    width = page.evaluate("document.querySelector('.strip canvas').width")
    whole, server = (page.evaluate(at.replace("X", str(round(width * share)))) for share in (0.4, 0.8))
    assert whole[3] == server[3] == 255 and whole != server
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_an_empty_page_says_what_to_do_and_a_lost_node_is_told(page: Any, site: Site, wait: Wait) -> None:
    site.board.set_vehicles({}, {"domain": 7, "namespace": "/"})
    wait(page, "what to do", "document.body.innerText.includes('ROS domain 7')")
    site.close()
    wait(page, "the loss", "document.querySelector('#state').className === 'lost'")


def test_a_hidden_page_does_not_look(page: Any, site: Site, wait: Wait, monkeypatch: pytest.MonkeyPatch) -> None:
    wait(page, "the connection", "document.querySelector('#state').className === 'live'")
    assert site.is_watched
    page.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    monkeypatch.setattr("mtl_split_watch.site.LOOKING", 0.1)
    asks = iter(range(round(PATIENCE * 20)))
    while site.is_watched:
        assert next(asks, None) is not None, "somebody looks for ever"
        page.wait_for_timeout(50)
    page.evaluate("Object.defineProperty(document, 'hidden', {value: false})")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    site.board.set_vehicles({"/car1": ""}, {})
    show(site, "/car1", 100)
    wait(page, "a picture", "shown.pictures >= 1")
