"""Compressed pictures: whole or an ImageError, and nothing large is decoded that is refused afterwards."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_split_core.compressed import MOST_SCANS, decode_picture, read_header, read_picture
from mtl_split_core.errors import ImageError, InputError
from mtl_split_core.scene import Image

END_OF_JPEG = b"\xff\xd9"


def picture(seed: int = 0) -> Image:
    noise = np.random.default_rng(seed).integers(0, 256, (96, 128, 3), np.uint8)
    return np.asarray(cv2.blur(noise, (5, 5)), np.uint8)


def encode(suffix: str, *options: int) -> bytes:
    return bytes(cv2.imencode(suffix, picture(), options)[1])


JPEG = encode(".jpg")
PROGRESSIVE = encode(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
RESTARTING = encode(".jpg", cv2.IMWRITE_JPEG_RST_INTERVAL, 2)
PNG = encode(".png")
JPEGS = st.sampled_from([JPEG, PROGRESSIVE, RESTARTING])


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_header(width: int, height: int) -> bytes:
    return PNG[:8] + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


def resized_jpeg(width: int, height: int) -> bytes:
    """A JPEG that claims another size."""
    at = JPEG.index(b"\xff\xc0")
    return JPEG[: at + 5] + struct.pack(">HH", height, width) + JPEG[at + 9 :]


@pytest.mark.parametrize("data", [JPEG, PROGRESSIVE, RESTARTING, PNG])
def test_whole_pictures_are_what_opencv_makes_of_them(data: bytes) -> None:
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(decode_picture(data), expected)
    np.testing.assert_array_equal(decode_picture(data + bytes(100)), expected)
    assert read_header(data).size == (128, 96) and not read_header(data).grey


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_grey_pictures_have_three_equal_channels(suffix: str) -> None:
    data = bytes(cv2.imencode(suffix, picture()[..., 0])[1])
    decoded = decode_picture(data)
    assert read_header(data).grey
    assert (decoded == decoded[..., :1]).all() and decoded.shape == (96, 128, 3)


@pytest.mark.parametrize("data", [png_header(30000, 30000), resized_jpeg(30000, 30000), png_header(7072, 7072)])
def test_what_claims_too_many_pixels_is_refused_for_its_size(data: bytes) -> None:
    with pytest.raises(ImageError, match="expected at most 50000000 pixels"):
        decode_picture(data)


@pytest.mark.parametrize("data", [png_header(0, 5), png_header(2**32 - 1, 1), resized_jpeg(128, 0)])
def test_sides_that_cannot_be_are_refused(data: bytes) -> None:
    with pytest.raises(ImageError, match=r"height|header"):
        decode_picture(data)


@given(JPEGS, st.floats(0, 1, exclude_max=True), st.sampled_from([b"", END_OF_JPEG, bytes(64) + END_OF_JPEG]))
def test_a_truncated_jpeg_is_refused(data: bytes, part: float, end: bytes) -> None:
    # Of the last bytes before the end, a few may be padding, and zeros are codes that can stand for a few others.
    most = len(data) - 20 if len(end) <= len(END_OF_JPEG) else 0.9 * len(data)
    with pytest.raises(ImageError, match="bytes"):
        decode_picture(data[: int(part * most)] + end)


@given(JPEGS, st.floats(0.3, 0.9), st.sampled_from([END_OF_JPEG, b"\xff\xc0", b"\xff\xd8", b"\xff\xd3\xff\xd3"]))
def test_a_jpeg_with_a_marker_in_its_midst_is_refused(data: bytes, part: float, marker: bytes) -> None:
    at = int(part * len(data))
    with pytest.raises(ImageError, match="bytes"):
        decode_picture(data[:at] + marker + data[at + len(marker) :])


@given(st.integers(0, len(PNG) - 1))
def test_a_truncated_png_is_refused(length: int) -> None:
    with pytest.raises(ImageError, match="bytes"):
        decode_picture(PNG[:length])


@given(st.integers(33, len(PNG) - 1), st.integers(1, 255))
def test_a_damaged_png_is_refused(place: int, change: int) -> None:
    damaged = bytearray(PNG)
    damaged[place] ^= change
    with pytest.raises(ImageError, match="bytes"):
        decode_picture(bytes(damaged))


@pytest.mark.parametrize("length", [2**31 - 1, 2**32 - 1])
def test_a_chunk_that_claims_gigabytes_is_refused(length: int) -> None:
    with pytest.raises(ImageError, match="truncated"):
        decode_picture(PNG[:33] + struct.pack(">I", length) + PNG[37:])


def test_what_no_picture_needs_changes_nothing() -> None:
    text = png_chunk(b"zTXt", b"text\0\0" + zlib.compress(bytes(1_000_000)))
    animation = png_chunk(b"acTL", struct.pack(">II", 1000, 0)) + png_chunk(b"fcTL", bytes(26))
    np.testing.assert_array_equal(decode_picture(PNG[:33] + 3 * text + animation + PNG[33:]), decode_picture(PNG))


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    at = PROGRESSIVE.rindex(b"\xff\xda")
    last = PROGRESSIVE[at:-2]
    with pytest.raises(ImageError, match=f"scans, expected at most {MOST_SCANS}"):
        decode_picture(PROGRESSIVE[:-2] + last * 5000 + END_OF_JPEG)


@pytest.mark.parametrize("suffix", [".bmp", ".webp", ".tiff", ".ppm"])
def test_other_formats_are_refused_by_name(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / "picture.jpg"
    path.write_bytes(encode(suffix))
    with pytest.raises(InputError, match=r"picture\.jpg.* expected JPEG or PNG"):
        read_picture(path)


@pytest.mark.parametrize("data", [JPEG, PROGRESSIVE])
def test_files_are_turned_as_the_camera_says(data: bytes, tmp_path: Path) -> None:
    # Exif with one entry: orientation (0x112), one short number, 6: to be turned by a quarter.
    exif = b"Exif\0\0MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x112, 3, 1, 6, 0, 0)
    turned = data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]
    path = tmp_path / "picture.jpg"
    path.write_bytes(turned)
    np.testing.assert_array_equal(read_picture(path), np.rot90(decode_picture(data), -1))
    path.write_bytes(turned[: len(turned) // 2] + END_OF_JPEG)
    with pytest.raises(InputError, match="truncated or damaged"):
        read_picture(path)
