"""Label maps: what is packed is unpacked, numbers follow the picture, and what is no label map is refused."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from mtl_split_core.compressed import decode_numbers
from mtl_split_core.errors import ImageError
from mtl_split_core.geometry import Letterbox
from mtl_split_core.label_map import (
    MOST_PLACES,
    UNKNOWN,
    Segmentation,
    fit_places,
    pack,
    renumber,
    scale,
    to_input,
    to_picture,
)
from mtl_split_core.scene import Indices

SIDES = st.integers(1, 1 << 15)


def png(values: np.ndarray) -> bytes:
    return cv2.imencode(".png", values)[1].tobytes()


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=20)))
def test_what_is_packed_is_unpacked(numbers: Indices) -> None:
    assert np.array_equal(Segmentation(("a",), pack(numbers)).indices(), numbers)
    decoded = cv2.imdecode(np.frombuffer(pack(numbers), np.uint8), cv2.IMREAD_UNCHANGED)
    assert decoded is not None and np.array_equal(decoded, numbers)


def test_a_street_takes_little_more_than_with_the_best_compression() -> None:
    rows, columns = np.mgrid[:288, :512]
    numbers = ((rows > 150) & (abs(columns - 256) < rows - 100)).astype(np.uint8)
    best = cv2.imencode(".png", numbers, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1]
    assert len(pack(numbers)) < 1.1 * len(best)


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=20)), st.integers(1, 4))
def test_it_has_more_places_than_the_png_where_it_says_so(numbers: Indices, times: int) -> None:
    places = numbers.shape[1] * times, numbers.shape[0] * times
    found = Segmentation(("a",), pack(numbers), places)
    assert np.array_equal(found.indices(), numbers.repeat(times, axis=0).repeat(times, axis=1))
    assert np.array_equal(Segmentation(("a",), found.whole()).indices(), found.indices())


@given(width=SIDES, height=SIDES)
def test_a_result_has_a_place_for_each_pixel_as_far_as_there_is_room(width: int, height: int) -> None:
    columns, rows = fit_places((width, height))
    assert columns >= 1 and rows >= 1 and columns * rows <= MOST_PLACES
    if width * height <= MOST_PLACES:
        assert (columns, rows) == (width, height)
    elif min(columns, rows) > 100:
        assert columns / rows == pytest.approx(width / height, rel=0.01)


def test_numbers_keep_their_place_in_the_picture() -> None:
    letterbox = Letterbox((128, 32), (64, 32))
    numbers = np.zeros((32, 128), np.uint8)
    numbers[:, 96:] = 3
    fitted = to_input(numbers, letterbox)
    assert fitted.shape == (32, 64)
    assert (fitted[:8] == UNKNOWN).all() and (fitted[24:] == UNKNOWN).all()
    assert (fitted[8:24, :48] == 0).all() and (fitted[8:24, 48:] == 3).all()
    assert np.array_equal(scale(to_picture(fitted, letterbox), (128, 32)), numbers)
    small = Letterbox((16, 8), (64, 32))
    assert to_picture(to_input(numbers[:8, :16], small), small).shape == (8, 16)


def test_labels_are_found_by_name() -> None:
    found = Segmentation(("direct", "tram", "direct"), pack(np.array([[0, 1, 2, 3, UNKNOWN]], np.uint8)))
    assert renumber(found, ("background", "direct")).tolist() == [[1, UNKNOWN, 1, UNKNOWN, UNKNOWN]]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no picture",
        cv2.imencode(".jpg", np.zeros((8, 8), np.uint8))[1].tobytes(),
        png(np.zeros((8, 8, 3), np.uint8)),
        png(np.zeros((8, 8), np.uint16)),
    ],
)
def test_what_is_no_png_of_8_bit_grey_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError, match="expected"):
        decode_numbers(data)


def test_a_large_or_damaged_one_is_refused() -> None:
    whole = png(np.zeros((50, 50), np.uint8))
    with pytest.raises(ImageError, match="at most 2000 pixels"):
        decode_numbers(whole, max_pixels=2000)
    for damaged in (whole[:-20], whole[:50] + b"\xff" + whole[51:]):
        with pytest.raises(ImageError, match=r"truncated|damaged"):
            decode_numbers(damaged)


@given(st.data())
def test_no_byte_may_be_another(data: st.DataObject) -> None:
    whole = png(np.arange(100, dtype=np.uint8).reshape(10, 10))
    at = data.draw(st.integers(0, len(whole) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda value: value != whole[at]))
    with pytest.raises(ImageError):
        decode_numbers(whole[:at] + bytes([other]) + whole[at + 1 :])
