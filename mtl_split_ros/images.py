"""Camera messages to pictures: checked first, then converted with as little copying as the encoding allows."""

from typing import TypeAlias

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image as RawImage

from mtl_split_core.errors import ImageError
from mtl_split_core.halves import LARGEST_SIDE
from mtl_split_core.scene import Image

CameraMessage: TypeAlias = RawImage | CompressedImage

# Bytes per pixel, and OpenCV's conversion to blue-green-red (None: it already is).
# OpenCV names a Bayer pattern by its second row, from the second column.
_ENCODINGS: dict[str, tuple[int, int | None]] = {
    "bgr8": (3, None),
    "8UC3": (3, None),
    "rgb8": (3, cv2.COLOR_RGB2BGR),
    "bgra8": (4, cv2.COLOR_BGRA2BGR),
    "rgba8": (4, cv2.COLOR_RGBA2BGR),
    "mono8": (1, cv2.COLOR_GRAY2BGR),
    "bayer_rggb8": (1, cv2.COLOR_BayerBG2BGR),
    "bayer_bggr8": (1, cv2.COLOR_BayerRG2BGR),
    "bayer_gbrg8": (1, cv2.COLOR_BayerGR2BGR),
    "bayer_grbg8": (1, cv2.COLOR_BayerGB2BGR),
    "uyvy": (2, cv2.COLOR_YUV2BGR_UYVY),
    "yuv422": (2, cv2.COLOR_YUV2BGR_UYVY),
    "yuyv": (2, cv2.COLOR_YUV2BGR_YUY2),
    "yuv422_yuy2": (2, cv2.COLOR_YUV2BGR_YUY2),
}

ENCODINGS = tuple(_ENCODINGS)
"""The encodings of sensor_msgs/Image that can be converted."""


def to_picture(message: CameraMessage) -> Image:
    """Convert a message to a picture, uint8 (height, width, 3) blue-green-red, which may share the message's memory.

    Raises ImageError for an unknown encoding or format, no pixels, too many, or data that do not fit the rest.
    """
    return _decompress(message) if isinstance(message, CompressedImage) else _convert(message)


def _convert(message: RawImage) -> Image:
    if message.encoding not in _ENCODINGS:
        raise ImageError(f"encoding is {message.encoding[:80]!r}, expected one of {', '.join(ENCODINGS)}")
    channels, conversion = _ENCODINGS[message.encoding]
    width, height, step = message.width, message.height, message.step
    _check_size(width, height)
    if channels == 2 and width % 2:
        raise ImageError(f"width is {width}, expected an even number for encoding {message.encoding}")
    if step < width * channels:
        raise ImageError(f"step is {step} bytes, expected at least {width} pixels * {channels} for {message.encoding}")
    if len(message.data) != step * height:
        raise ImageError(f"data has {len(message.data)} bytes, expected {height} rows * {step} = {step * height}")
    shape, strides = (height, width, channels), (step, channels, 1)
    pixels: Image = np.ndarray(shape, np.uint8, message.data, strides=strides)
    return pixels if conversion is None else _picture(cv2.cvtColor(pixels, conversion))


def _decompress(message: CompressedImage) -> Image:
    if "compressedDepth" in message.format:
        raise ImageError(f"format is {message.format[:80]!r}, expected a colour image")
    data: np.ndarray = np.frombuffer(message.data, np.uint8)
    # OpenCV would fill the missing part of a truncated JPEG with grey; some cameras pad theirs with zeros.
    if data[:2].tobytes() == b"\xff\xd8" and not data[-64:].tobytes().rstrip(b"\0").endswith(b"\xff\xd9"):
        raise ImageError(f"the JPEG of {len(data)} bytes is truncated, expected an end-of-image marker")
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ImageError(f"data of {len(data)} bytes is no image: {error}") from error
    if image is None:
        raise ImageError(f"data of {len(data)} bytes is no image, expected JPEG or PNG")
    _check_size(image.shape[1], image.shape[0])
    return _picture(image)


def _check_size(width: int, height: int) -> None:
    if not (1 <= width <= LARGEST_SIDE and 1 <= height <= LARGEST_SIDE):
        raise ImageError(f"width and height are {width} and {height}, expected 1 to {LARGEST_SIDE}")


def _picture(image: np.ndarray) -> Image:
    return image.astype(np.uint8, copy=False)
