"""Drawing: boxes where they belong at any size of picture, and nothing below the score that is shown."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_split_core.canvas import COLOURS, Canvas
from mtl_split_core.drawing import annotate, contact_sheet, fit
from mtl_split_core.geometry import Letterbox
from mtl_split_core.scene import Classification, Detections, Results, Task, Truth

TASKS = (Task("detection", "detection", ("car", "bus")), Task("weather", "classification", ("clear", "rainy")))


def found(score: float, box: tuple[float, ...] = (40, 30, 120, 80)) -> Results:
    return {"detection": Detections(np.array([box], np.float32), ("bus",), np.array([score], np.float32))}


@pytest.mark.parametrize("size", [(160, 90), (320, 180), (640, 360)])
def test_a_box_is_drawn_in_its_labels_colour_where_it_is_in_the_picture(size: tuple[int, int]) -> None:
    image = np.zeros((90, 160, 3), np.uint8)
    scale = size[0] / 160
    picture = annotate(image, found(0.9), TASKS, "", size)
    colour = np.array(COLOURS[1])
    edge = picture[round(79.5 * scale) - 2 : round(80.5 * scale) + 2, round(80 * scale)]
    assert (np.abs(edge.astype(int) - colour).max(axis=1) < 40).any()
    assert not picture[round(70 * scale), round(80 * scale)].any(), "inside a box the picture stays as it is"


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_a_true_box_is_seen_on_every_picture(grey: int) -> None:
    image, box = np.full((90, 160, 3), grey, np.uint8), np.array([(40, 30, 120, 80)], np.float32)
    truth = Truth(box, ("bus",), ignore=np.zeros(1, np.bool_))
    bare, picture = (annotate(image, {}, TASKS, "", (160, 90), known)[:90].astype(int) for known in (None, truth))
    assert np.abs(picture - bare).max() > 100


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 150)), min_size=1, max_size=30))
def test_no_text_covers_another(corners: list[tuple[int, int]]) -> None:
    def colour(number: int) -> tuple[int, int, int]:
        return 255, 8 * number, 100  # where the black of a text begins, there is less than 255

    size, free = (320, 180), (0, 0, 0)
    letterbox = Letterbox(size, size)
    boxes = np.array([(x, y, x + 10, y + 10) for x, y in corners], np.float32)
    together = Canvas(np.zeros((180, 320, 3), np.uint8), letterbox, 1)
    together.tags(boxes, ["car"] * len(boxes), [colour(number) for number in range(len(boxes))])
    alone = Canvas(np.zeros((180, 320, 3), np.uint8), letterbox, 1)
    alone.tags(boxes[:1], ["car"], [colour(0)])
    whole = (alone.picture != free).any(axis=2).sum()
    assert (together.picture == alone.picture)[(alone.picture != free).any(axis=2)].all(), "the first has its place"
    for number in range(len(boxes)):
        seen = (together.picture == colour(number)).all(axis=2).sum()
        assert seen == 0 or seen > whole / 3, "each is wholly there, or not at all"


def test_a_doubtful_box_is_not_drawn() -> None:
    image = np.zeros((90, 160, 3), np.uint8)
    picture = annotate(image, found(0.29), TASKS, "", (160, 90))
    assert not picture[:90].any()


@given(
    width=st.integers(2, 4000),
    height=st.integers(2, 4000),
    box=st.tuples(*[st.floats(-50, 5000, width=32)] * 4),
    label=st.text(max_size=40),
)
def test_every_picture_can_be_annotated(width: int, height: int, box: tuple[float, ...], label: str) -> None:
    size = fit((width, height), 64 * 36)
    assert size[0] % 2 == size[1] % 2 == 0
    results: Results = {**found(0.9, box), "weather": Classification((label,), np.ones(1, np.float32))}
    picture = annotate(np.zeros((height, width, 3), np.uint8), results, TASKS, "1 byte", size)
    assert picture.dtype == np.uint8
    assert picture.shape[1] == size[0]
    assert picture.shape[0] > size[1]
    assert picture.shape[0] % 2 == 0


def test_a_contact_sheet_shows_every_picture_once() -> None:
    pictures = [np.full((20, 30, 3), value, np.uint8) for value in (10, 20, 30, 40)]
    sheet = contact_sheet(pictures, columns=3, gap=2)
    assert sheet.shape == (2 + 2 * 22, 2 + 3 * 32, 3)
    assert [int((sheet == value).all(axis=2).sum()) for value in (10, 20, 30, 40)] == [600] * 4
