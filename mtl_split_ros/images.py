"""Camera messages to pictures: checked first, then converted by OpenCV, or refused with an ImageError."""

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image as RawImage

from mtl_split_core.compressed import decode_picture, read_header
from mtl_split_core.errors import ImageError
from mtl_split_core.geometry import MAX_PIXELS, check_size
from mtl_split_core.scene import Image

CameraMessage: TypeAlias = RawImage | CompressedImage

Bytes: TypeAlias = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class _Encoding:
    """How pixels lie in memory.

    channels: values per pixel in a row; bits: of each value; code: what makes cv2.cvtColor convert them to
    blue-green-red, None where they are; rows: of data per two rows of the picture, more where planes follow one
    another; least: the smallest width and height that can be converted; multiple: what width and height are multiples
    of.
    """

    channels: int
    code: int | None
    bits: int = 8
    rows: int = 2
    least: int = 1
    multiple: tuple[int, int] = (1, 1)


_COLOURS = {
    "bgr": (3, None),
    "rgb": (3, cv2.COLOR_RGB2BGR),
    "bgra": (4, cv2.COLOR_BGRA2BGR),
    "rgba": (4, cv2.COLOR_RGBA2BGR),
    "mono": (1, cv2.COLOR_GRAY2BGR),
}
_BAYER = {
    "bayer_rggb": cv2.COLOR_BayerRGGB2BGR,
    "bayer_bggr": cv2.COLOR_BayerBGGR2BGR,
    "bayer_gbrg": cv2.COLOR_BayerGBRG2BGR,
    "bayer_grbg": cv2.COLOR_BayerGRBG2BGR,
}
_LEAST_MOSAIC = 3
"""OpenCV leaves smaller mosaics black."""

_NV24 = "nv24"
_UYVY = _Encoding(2, cv2.COLOR_YUV2BGR_UYVY, multiple=(2, 1))
_YUYV = _Encoding(2, cv2.COLOR_YUV2BGR_YUYV, multiple=(2, 1))
_ENCODINGS = {
    **{f"{name}{bits}": _Encoding(*how, bits) for bits in (8, 16) for name, how in _COLOURS.items()},
    **{
        f"{name}{bits}": _Encoding(1, code, bits, least=_LEAST_MOSAIC)
        for bits in (8, 16)
        for name, code in _BAYER.items()
    },
    "uyvy": _UYVY,
    "yuv422": _UYVY,
    "yuyv": _YUYV,
    "yuv422_yuy2": _YUYV,
    "nv12": _Encoding(1, cv2.COLOR_YUV2BGR_NV12, rows=3, multiple=(2, 2)),
    "nv21": _Encoding(1, cv2.COLOR_YUV2BGR_NV21, rows=3, multiple=(2, 2)),
    _NV24: _Encoding(1, None, rows=6),
}

ENCODINGS = tuple(_ENCODINGS)
"""The encodings of sensor_msgs/Image that can be converted."""

_BGR_OF_YUV = np.array(
    [[1.164, 2.018, 0, -276.9], [1.164, -0.391, -0.813, 135.5], [1.164, 0, 1.596, -222.9]], np.float64
)
"""BT.601 of limited range, as in OpenCV's conversions of the other YUV encodings; the last column is added."""

_GREY = ("mono8", "mono16")
_DEPTH = ("16UC1", "32FC1")
_NO_DEPTH = "; depth images are no pictures, choose the topic of the camera's colour images"


def to_picture(message: CameraMessage, max_pixels: int = MAX_PIXELS) -> Image:
    """Convert a message to a picture, uint8 (height, width, 3) blue-green-red, which may share the message's memory.

    Values of 16 bits are scaled to 8. A compressed image's colours are those that its JPEG or PNG says, unless that is
    a mosaic, as the format says. Raises ImageError for an unknown encoding or format, a depth image, no pixels, more
    than `max_pixels`, and data that are damaged or do not fit the rest.
    """
    return _decompress(message, max_pixels) if isinstance(message, CompressedImage) else _convert(message, max_pixels)


def _convert(message: RawImage, max_pixels: int) -> Image:
    encoding = _ENCODINGS.get(message.encoding)
    if encoding is None:
        depth = _NO_DEPTH if message.encoding in _DEPTH else ""
        raise ImageError(f"encoding is {message.encoding[:80]!r}, expected one of {', '.join(ENCODINGS)}{depth}")
    width, height, step = message.width, message.height, message.step
    check_size((width, height), max_pixels)
    _check_sides(message.encoding, encoding, width, height)
    pixel = encoding.channels * encoding.bits // 8
    if step < width * pixel:
        raise ImageError(f"step is {step} bytes, expected at least {width} pixels * {pixel} for {message.encoding}")
    rows = height * encoding.rows // 2
    if len(message.data) != step * rows:
        raise ImageError(f"data has {len(message.data)} bytes, expected {rows} rows * {step} = {step * rows}")
    values = np.frombuffer(message.data, np.uint8).reshape(rows, step)
    if message.encoding == _NV24:
        return _convert_nv24(values[:height], values[height:], width)
    values = np.ascontiguousarray(values[:, : width * pixel])
    if encoding.bits == 16:
        wide = values.view(">u2" if message.is_bigendian else "<u2").astype(np.uint16, copy=False)
        values = np.asarray(cv2.convertScaleAbs(wide, alpha=1 / 257), np.uint8)
    return _to_bgr(values.reshape(rows, width, encoding.channels), encoding)


def _check_sides(name: str, encoding: _Encoding, width: int, height: int) -> None:
    if min(width, height) < encoding.least:
        raise ImageError(f"width and height are {width} and {height}, expected at least {encoding.least} for {name}")
    for side, size, multiple in zip(("width", "height"), (width, height), encoding.multiple, strict=True):
        if size % multiple:
            raise ImageError(f"{side} is {size}, expected an even number for encoding {name}")


def _convert_nv24(luma: Bytes, chroma: Bytes, width: int) -> Image:
    """Convert a plane with rows of Y and one with rows, twice as long, of U and V in turn."""
    height = len(luma)
    pairs = chroma.reshape(height, -1)[:, : 2 * width].reshape(height, width, 2)
    return np.asarray(cv2.transform(np.dstack([luma[:, :width], pairs]), _BGR_OF_YUV), np.uint8)


def _to_bgr(pixels: Bytes, encoding: _Encoding) -> Image:
    if encoding.code is None:
        return pixels
    return np.asarray(cv2.cvtColor(pixels, encoding.code), np.uint8)


def _decompress(message: CompressedImage, max_pixels: int) -> Image:
    # As compressed_image_transport writes it: "bayer_rggb8; jpeg compressed mono8", but often just "jpeg".
    name, _, compression = (part.strip() for part in message.format.partition(";"))
    if name in _DEPTH or "compressedDepth" in message.format:
        raise ImageError(f"format is {message.format[:80]!r}, expected a colour or grey image{_NO_DEPTH}")
    data = bytes(message.data)
    # Whatever a camera says of its orientation, results are in the pixels as they were sent.
    picture = decode_picture(data, max_pixels)
    # Some publishers compress the mosaic, others what they have made of it, in colours or in grey ("mono8").
    code = _BAYER.get(name.rstrip("0123456789"))
    if code is None or compression.endswith(_GREY) or not read_header(data).grey:
        return picture
    mosaic = _Encoding(1, code, least=_LEAST_MOSAIC)
    _check_sides(name, mosaic, picture.shape[1], picture.shape[0])
    return _to_bgr(np.ascontiguousarray(picture[..., 0]), mosaic)
