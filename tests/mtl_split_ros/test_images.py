"""Images: converted as a well-known library converts them, or refused with an ImageError, never silently wrong."""

import struct
from array import array
from typing import Any

import cv2
import numpy as np
import pytest
from rosbags.image import message_to_cvimage
from sensor_msgs.msg import CompressedImage, Image

from mtl_split_core.errors import ImageError
from mtl_split_ros import images
from mtl_split_ros.images import ENCODINGS, to_picture

BYTES_PER_PIXEL = {"bgr8": 3, "rgb8": 3, "bgra8": 4, "rgba8": 4}
TWO_BYTES = {"yuv422", "yuv422_yuy2"}


def raw(encoding: str, width: int, height: int, padding: int = 0) -> Image:
    step = width * (2 if encoding in TWO_BYTES else BYTES_PER_PIXEL.get(encoding, 1)) + padding
    data = array("B", np.random.default_rng(0).bytes(step * height))
    return Image(width=width, height=height, encoding=encoding, step=step, data=data)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("size", [(2, 2), (6, 4), (64, 33)])
def test_every_encoding_is_converted_as_elsewhere(encoding: str, size: tuple[int, int]) -> None:
    message = raw(encoding, *size)
    picture = to_picture(message)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, message_to_cvimage(message, "bgr8"))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_padding_between_rows_changes_nothing(encoding: str) -> None:
    message = raw(encoding, 6, 4)
    rows = np.frombuffer(message.data, np.uint8).reshape(4, -1)
    padded = raw(encoding, 6, 4, padding=5)
    padded.data = array("B", np.pad(rows, ((0, 0), (0, 5)), constant_values=77).tobytes())
    np.testing.assert_array_equal(to_picture(padded), to_picture(message))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("size", [(2, 1), (1, 1), (1, 3), (3, 1), (3, 2)])
def test_the_smallest_pictures_are_converted_or_refused(encoding: str, size: tuple[int, int]) -> None:
    message = raw(encoding, *size)
    if encoding in TWO_BYTES and size[0] % 2:
        with pytest.raises(ImageError, match="width"):
            to_picture(message)
    else:
        assert to_picture(message).shape == (size[1], size[0], 3)


def test_a_converter_that_divides_rows_into_pixels_gets_rows_of_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """As cv_bridge does: it takes the part of a pixel in the end of a padded row for the beginning of the next."""

    def convert(message: Any) -> np.ndarray:
        return np.ndarray((message.height, message.step // 3, 3), np.uint8, message.data)

    expected = to_picture(raw("bgr8", 6, 4))
    padded = raw("bgr8", 6, 4, padding=5)
    rows = np.frombuffer(raw("bgr8", 6, 4).data, np.uint8).reshape(4, -1)
    padded.data = array("B", np.pad(rows, ((0, 0), (0, 5))).tobytes())
    monkeypatch.setattr(images, "_to_bgr", convert)
    np.testing.assert_array_equal(to_picture(padded), expected)


def test_blue_green_red_is_not_copied() -> None:
    message = raw("bgr8", 4, 2)
    assert np.shares_memory(to_picture(message), np.frombuffer(message.data, np.uint8))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"encoding": "32FC1"}, "encoding is '32FC1', expected one of bgr8"),
        ({"encoding": ""}, "encoding is ''"),
        ({"width": 0}, "width and height are 0 and 4"),
        ({"height": 0}, "width and height are 4 and 0"),
        ({"width": 2**32 - 1}, "width and height are 4294967295"),
        ({"step": 11}, "step is 11 bytes, expected at least 4 pixels"),
        ({"height": 5}, "data has 48 bytes, expected 5 rows"),
        ({"data": array("B", bytes(47))}, "data has 47 bytes, expected 4 rows"),
        ({"data": array("B")}, "data has 0 bytes"),
    ],
)
def test_what_does_not_fit_together_is_refused(change: dict[str, object], words: str) -> None:
    message = raw("bgr8", 4, 4)
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(ImageError, match=words):
        to_picture(message)


def compressed(suffix: str) -> bytes:
    picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    return bytes(cv2.imencode(suffix, cv2.blur(picture, (5, 5)))[1])


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_compressed_images(suffix: str) -> None:
    data = compressed(suffix)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(to_picture(CompressedImage(format=suffix[1:], data=data)), expected)
    np.testing.assert_array_equal(to_picture(CompressedImage(format="bgr8; any", data=data + bytes(4096))), expected)


def test_a_camera_that_tells_its_orientation_changes_nothing() -> None:
    data = compressed(".jpg")
    # Exif with one entry: orientation (0x112), one short number, 6: to be turned by a quarter.
    exif = b"Exif\0\0MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x112, 3, 1, 6, 0, 0)
    turned = data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]
    as_viewed = cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR)
    assert as_viewed is not None and as_viewed.shape == (64, 48, 3)
    picture = to_picture(CompressedImage(format="jpeg", data=turned))
    np.testing.assert_array_equal(picture, to_picture(CompressedImage(format="jpeg", data=data)))


@pytest.mark.parametrize("data", [b"", b"no image", compressed(".jpg")[:-30], compressed(".png")[:40]])
def test_compressed_images_that_are_none(data: bytes) -> None:
    with pytest.raises(ImageError, match="bytes"):
        to_picture(CompressedImage(format="jpeg", data=data))


def test_depth_is_no_picture() -> None:
    with pytest.raises(ImageError, match="compressedDepth"):
        to_picture(CompressedImage(format="16UC1; compressedDepth", data=compressed(".png")))
