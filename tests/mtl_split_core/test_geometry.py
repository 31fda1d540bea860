"""Letterboxing loses no box and no aspect."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_split_core.errors import ImageError
from mtl_split_core.geometry import PADDING_GREY, Letterbox, check_image

sides = st.integers(1, 3000)


@given(source=st.tuples(sides, sides), corners=st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_boxes_return_to_where_they_were(source: tuple[int, int], corners: list[float]) -> None:
    letterbox = Letterbox(source, (512, 288))
    x1, x2 = sorted(corners[:2])
    y1, y2 = sorted(corners[2:])
    boxes = np.array([[x1 * source[0], y1 * source[1], x2 * source[0], y2 * source[1]]], np.float32)
    np.testing.assert_allclose(letterbox.to_picture(letterbox.to_input(boxes)), boxes, atol=0.05 * max(source) / 100)


@given(source=st.tuples(sides, sides))
def test_the_picture_fills_one_axis_and_stays_inside(source: tuple[int, int]) -> None:
    letterbox = Letterbox(source, (512, 288))
    (width, height), (left, top) = letterbox.fitted, letterbox.offset
    assert width == 512 or height == 288
    assert left >= 0 and top >= 0 and left + width <= 512 and top + height <= 288


@pytest.mark.parametrize("size", [(1280, 720), (640, 480), (320, 568), (512, 288), (100, 20), (1, 1)])
def test_a_mark_is_found_where_its_box_is(size: tuple[int, int]) -> None:
    image = np.zeros((size[1], size[0], 3), np.uint8)
    box = np.array([[size[0] * 0.25, size[1] * 0.5, size[0] * 0.75, size[1]]], np.float32)
    x1, y1, x2, y2 = box[0].round().astype(int)
    image[y1:y2, x1:x2] = 255
    letterbox = Letterbox(size, (512, 288))
    prepared = letterbox.apply(image)
    assert prepared.shape == (288, 512, 3) and prepared.dtype == np.uint8
    if min(size) >= 20:
        rows, columns = np.nonzero(prepared[:, :, 0] > 200)
        found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(found, letterbox.to_input(box)[0], atol=3 * max(1, letterbox.scale))


def test_bars_are_grey() -> None:
    prepared = Letterbox((100, 100), (512, 288)).apply(np.zeros((100, 100, 3), np.uint8))
    assert (prepared[:, :100] == PADDING_GREY).all() and (prepared[:, -100:] == PADDING_GREY).all()


@pytest.mark.parametrize(
    "image",
    [np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3))],
)
def test_what_is_no_picture_is_named(image: np.ndarray) -> None:
    with pytest.raises(ImageError, match=r"expected a uint8 picture .* got .*4"):
        check_image(image)
