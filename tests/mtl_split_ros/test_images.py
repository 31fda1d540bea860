"""Images: converted as a well-known library converts them, or refused with an ImageError, never silently wrong."""

import struct
from array import array

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rosbags.image import message_to_cvimage
from sensor_msgs.msg import CompressedImage, Image

from mtl_split_core.errors import ImageError
from mtl_split_core.scene import Image as Picture
from mtl_split_ros.images import ENCODINGS, to_picture

CHANNELS = {"bgr": 3, "rgb": 3, "bgra": 4, "rgba": 4}
TWO_BYTES = {"yuv422", "yuv422_yuy2", "uyvy", "yuyv"}
ROWS = {"nv12": 1.5, "nv21": 1.5, "nv24": 3}
"""Of data per row of the picture."""
BAYER = {"bayer_rggb": "RGGB", "bayer_bggr": "BGGR", "bayer_gbrg": "GBRG", "bayer_grbg": "GRBG"}
WIDE = {encoding for encoding in ENCODINGS if encoding.endswith("16")}


def bytes_per_pixel(encoding: str) -> int:
    return 2 if encoding in TWO_BYTES else CHANNELS.get(encoding.rstrip("168"), 1) * (2 if encoding in WIDE else 1)


def raw(encoding: str, width: int, height: int, padding: int = 0) -> Image:
    step = width * bytes_per_pixel(encoding) + padding
    rows = int(height * ROWS.get(encoding, 1))
    data = array("B", np.random.default_rng(0).bytes(step * rows))
    return Image(width=width, height=height, encoding=encoding, step=step, data=data)


def of(encoding: str, pixels: np.ndarray) -> Image:
    """A message whose values are `pixels`, (height, width) or (height, width, channels)."""
    height, width = pixels.shape[:2]
    return Image(
        width=width, height=height, encoding=encoding, step=pixels[0].nbytes, data=array("B", pixels.tobytes())
    )


def mosaic(picture: Picture, pattern: str) -> Picture:
    """What a sensor with a pattern of colour filters sees of a picture."""
    seen = np.empty(picture.shape[:2], np.uint8)
    for number, colour in enumerate(pattern):
        seen[number // 2 :: 2, number % 2 :: 2] = picture[number // 2 :: 2, number % 2 :: 2, "BGR".index(colour)]
    return seen


def plain(blue: int, green: int, red: int) -> Picture:
    return np.full((16, 24, 3), (blue, green, red), np.uint8)


@pytest.mark.parametrize("encoding", sorted(set(ENCODINGS) - {"nv12", "nv21", "nv24"}))
@pytest.mark.parametrize("size", [(4, 3), (6, 4), (64, 33)])
def test_every_encoding_is_converted_as_elsewhere(encoding: str, size: tuple[int, int]) -> None:
    message = raw(encoding, *size)
    picture = to_picture(message)
    assert picture.dtype == np.uint8
    # That one rounds 16 bits down, and only after all else.
    np.testing.assert_allclose(
        picture, message_to_cvimage(message, "bgr8").astype(int), atol=2 if encoding in WIDE else 0
    )


@pytest.mark.parametrize("encoding", sorted(WIDE))
def test_bytes_may_come_in_either_order(encoding: str) -> None:
    message = raw(encoding, 6, 4)
    swapped = raw(encoding, 6, 4)
    swapped.data = array("B", np.frombuffer(message.data, np.uint16).byteswap().tobytes())
    swapped.is_bigendian = 1
    np.testing.assert_array_equal(to_picture(swapped), to_picture(message))


@pytest.mark.parametrize(("value", "grey"), [(0, 0), (257, 1), (0x8080, 128), (0xFFFF, 255)])
def test_16_bits_are_scaled_to_8(value: int, grey: int) -> None:
    assert (to_picture(of("mono16", np.full((4, 4), value, np.uint16))) == grey).all()


@pytest.mark.parametrize("colour", [(0, 0, 255), (0, 255, 0), (255, 0, 0), (200, 120, 30), (0, 0, 0), (255, 255, 255)])
def test_a_plain_colour_keeps_its_colour_in_every_encoding(colour: tuple[int, int, int]) -> None:
    picture = plain(*colour)
    y, u, v = (int(plane[0, 0]) for plane in np.split(cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420), [16, 20]))
    height, width = picture.shape[:2]
    luma = np.full((height, width), y, np.uint8)
    rgb = picture[..., ::-1]
    alpha = np.full((height, width, 1), 7, np.uint8)
    messages = {
        "bgr8": of("bgr8", picture),
        "rgb8": of("rgb8", rgb),
        "bgra8": of("bgra8", np.dstack([picture, alpha])),
        "rgba8": of("rgba8", np.dstack([rgb, alpha])),
        "bgr16": of("bgr16", picture.astype(np.uint16) * 257),
        "rgb16": of("rgb16", rgb.astype(np.uint16) * 257),
        "bgra16": of("bgra16", np.dstack([picture, alpha]).astype(np.uint16) * 257),
        "rgba16": of("rgba16", np.dstack([rgb, alpha]).astype(np.uint16) * 257),
        **{f"{name}8": of(f"{name}8", mosaic(picture, pattern)) for name, pattern in BAYER.items()},
        **{
            f"{name}16": of(f"{name}16", mosaic(picture, pattern).astype(np.uint16) * 257)
            for name, pattern in BAYER.items()
        },
    }
    yuyv, uyvy = (np.tile(np.array(pixel, np.uint8), (height, width // 2)) for pixel in ((y, u, y, v), (u, y, v, y)))
    for encoding in ("yuyv", "yuv422_yuy2", "uyvy", "yuv422"):
        message = of(encoding, yuyv if "yuy" in encoding else uyvy)
        message.width = width
        messages[encoding] = message
    for encoding, pair, rows in (
        ("nv12", (u, v), height // 2),
        ("nv21", (v, u), height // 2),
        ("nv24", (u, v), height * 2),
    ):
        chroma = np.tile(np.array(pair, np.uint8), (rows, width // 2))
        messages[encoding] = of(encoding, np.concatenate([luma, chroma]))
        messages[encoding].height = height
    assert set(messages) == {encoding for encoding in ENCODINGS if not encoding.startswith("mono")}
    for encoding, message in messages.items():
        np.testing.assert_allclose(to_picture(message), picture.astype(int), atol=4, err_msg=encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_padding_between_rows_changes_nothing(encoding: str) -> None:
    message = raw(encoding, 6, 4)
    rows = np.frombuffer(message.data, np.uint8).reshape(-1, message.step)
    if encoding == "nv24":  # whose rows of colours are twice as long
        luma, chroma = rows[:4], rows[4:].reshape(4, -1)
        padded_rows = np.concatenate(
            [np.pad(luma, ((0, 0), (0, 5))).ravel(), np.pad(chroma, ((0, 0), (0, 10))).ravel()]
        )
    else:
        padded_rows = np.pad(rows, ((0, 0), (0, 5)), constant_values=77)
    padded = raw(encoding, 6, 4, padding=5)
    padded.data = array("B", padded_rows.tobytes())
    np.testing.assert_array_equal(to_picture(padded), to_picture(message))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("size", [(2, 1), (1, 1), (1, 3), (3, 1), (3, 2), (2, 2), (3, 3)])
def test_the_smallest_pictures_are_converted_or_refused(encoding: str, size: tuple[int, int]) -> None:
    message = raw(encoding, *size)
    planes = encoding in ("nv12", "nv21") and (size[0] % 2 or size[1] % 2)
    if planes or (encoding in TWO_BYTES and size[0] % 2) or (encoding.startswith("bayer") and min(size) < 3):
        with pytest.raises(ImageError, match=r"width|height"):
            to_picture(message)
    else:
        assert to_picture(message).shape == (size[1], size[0], 3)


def test_blue_green_red_is_not_copied() -> None:
    message = raw("bgr8", 4, 2)
    assert np.shares_memory(to_picture(message), np.frombuffer(message.data, np.uint8))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"encoding": "32FC1"}, "encoding is '32FC1', expected one of bgr8.* depth images are no pictures"),
        ({"encoding": "16UC1"}, "encoding is '16UC1', expected one of bgr8.* depth images are no pictures"),
        ({"encoding": "8UC3"}, "encoding is '8UC3', expected one of bgr8"),
        ({"encoding": ""}, "encoding is ''"),
        ({"encoding": "x" * 1_000_000}, "encoding is 'xxx"),
        ({"width": 0}, "width and height are 0 and 4"),
        ({"height": 0}, "width and height are 4 and 0"),
        ({"width": 2**32 - 1}, "width and height are 4294967295"),
        ({"height": 2**32 - 1}, "width and height are 4 and 4294967295"),
        ({"width": 32768, "height": 32768}, "expected at most 50000000 pixels"),
        ({"step": 11}, "step is 11 bytes, expected at least 4 pixels"),
        ({"step": 0}, "step is 0 bytes"),
        ({"step": 2**32 - 1}, "data has 48 bytes, expected 4 rows"),
        ({"height": 5}, "data has 48 bytes, expected 5 rows"),
        ({"data": array("B", bytes(47))}, "data has 47 bytes, expected 4 rows"),
        ({"data": array("B")}, "data has 0 bytes"),
        ({"encoding": "nv12", "step": 4}, "data has 48 bytes, expected 6 rows"),
    ],
)
def test_what_does_not_fit_together_is_refused(change: dict[str, object], words: str) -> None:
    message = raw("bgr8", 4, 4)
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(ImageError, match=words) as error:
        to_picture(message)
    assert len(str(error.value)) < 600


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


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("target", ["", "bayer_rggb8", "bgr8"])
@pytest.mark.parametrize(("name", "pattern"), BAYER.items())
def test_a_compressed_mosaic_gets_its_colours_back(name: str, pattern: str, target: str, suffix: str) -> None:
    orange = plain(20, 120, 220)
    data = cv2.imencode(suffix, mosaic(orange, pattern), [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    picture = to_picture(CompressedImage(format=f"{name}8; {suffix[1:]} compressed {target}", data=data))
    # JPEG spreads the mosaic's grain.
    assert np.abs(picture.astype(int) - orange).mean() < 3


@pytest.mark.parametrize("target", ["", "bgr8"])
def test_what_is_made_of_a_mosaic_before_it_is_compressed_stays_as_it_is(target: str) -> None:
    orange = plain(20, 120, 220)
    data = cv2.imencode(".png", orange)[1].tobytes()
    picture = to_picture(CompressedImage(format=f"bayer_rggb8; png compressed {target}", data=data))
    np.testing.assert_array_equal(picture, orange)
    grey = np.random.default_rng(0).integers(0, 256, (16, 24), np.uint8)
    data = cv2.imencode(".png", grey)[1].tobytes()
    picture = to_picture(CompressedImage(format="bayer_rggb8; png compressed mono8", data=data))
    np.testing.assert_array_equal(picture, cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR))


@pytest.mark.parametrize("encoding", ["mono16", "rgb16", "bayer_rggb16"])
def test_compressed_images_of_16_bits(encoding: str) -> None:
    colours = plain(20, 120, 220)
    pixels = {"mono16": colours[..., 1], "rgb16": colours, "bayer_rggb16": mosaic(colours, "RGGB")}[encoding]
    data = cv2.imencode(".png", pixels.astype(np.uint16) * 257)[1].tobytes()
    picture = to_picture(CompressedImage(format=f"{encoding}; png compressed ", data=data))
    expected = colours if encoding != "mono16" else np.full_like(colours, 120)
    np.testing.assert_allclose(picture, expected.astype(int), atol=1)


@pytest.mark.parametrize(
    "form",
    [
        "16UC1; compressedDepth",
        "16UC1; compressedDepth png",
        "32FC1; compressedDepth rvl",
        "mono16; compressedDepth png",
        "16UC1; png compressed ",
        "16UC1; jpeg compressed mono8",
        "32FC1; png compressed mono16",
        "16UC1",
    ],
)
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_depth_is_no_picture(form: str, suffix: str) -> None:
    with pytest.raises(ImageError, match=f"format is '{form}'.* depth images are no pictures"):
        to_picture(CompressedImage(format=form, data=compressed(suffix)))


def test_a_picture_with_too_many_pixels_is_refused_whatever_its_form() -> None:
    messages = [raw("mono8", 64, 48), *(CompressedImage(data=compressed(suffix)) for suffix in (".jpg", ".png"))]
    for message in messages:
        assert to_picture(message, max_pixels=64 * 48).shape == (48, 64, 3)
        with pytest.raises(ImageError, match=f"64 and 48, expected at most {64 * 48 - 1} pixels"):
            to_picture(message, max_pixels=64 * 48 - 1)


UINT32 = st.integers(0, 40) | st.integers(0, 2**32 - 1)
NAMES = st.sampled_from([*ENCODINGS, "16UC1", "8UC3", "32FC1", ""]) | st.text(max_size=20)


@given(NAMES, UINT32, UINT32, UINT32, st.integers(0, 255), st.binary(max_size=4000), st.booleans())
def test_any_image_becomes_a_picture_or_an_error(
    encoding: str, width: int, height: int, step: int, big: int, data: bytes, fit: bool
) -> None:
    message = Image(encoding=encoding, width=width, height=height, step=step, is_bigendian=big, data=array("B", data))
    if fit and width <= 40 and height <= 40:
        message.step = width * bytes_per_pixel(encoding) + step % 5
        size = message.step * int(height * ROWS.get(encoding, 1))
        message.data = array("B", (data * (size // len(data) + 1) if data else bytes(size))[:size])
    try:
        picture = to_picture(message)
    except ImageError:
        return
    assert picture.dtype == np.uint8 and picture.shape == (height, width, 3)


@given(
    st.builds("{}; {} compressed {}".format, NAMES, st.sampled_from(["jpeg", "png", "tiff"]), NAMES)
    | st.text(max_size=40),
    st.binary(max_size=60) | st.sampled_from([compressed(".jpg"), compressed(".png")]),
    st.lists(st.tuples(st.integers(0, 10_000), st.binary(min_size=1, max_size=4)), max_size=3),
    st.integers(0, 10_000),
)
def test_any_compressed_image_becomes_a_picture_or_an_error(
    form: str, data: bytes, changes: list[tuple[int, bytes]], length: int
) -> None:
    damaged = bytearray(data)
    for place, change in changes:
        damaged[place : place + len(change)] = change
    try:
        picture = to_picture(CompressedImage(format=form, data=array("B", bytes(damaged[:length]))), max_pixels=10**6)
    except ImageError:
        return
    assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
