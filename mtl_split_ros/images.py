"""Camera messages to pictures: checked first, then converted by cv_bridge, or rosbags-image where that is missing."""

from types import SimpleNamespace
from typing import Any, TypeAlias

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image as RawImage

from mtl_split_core.compressed import decode_picture
from mtl_split_core.errors import ImageError
from mtl_split_core.halves import LARGEST_SIDE
from mtl_split_core.scene import Image

try:
    from cv_bridge import CvBridge, CvBridgeError
except ImportError:  # it comes with ROS 2 distributions only
    from rosbags.image import ImageError as CvBridgeError
    from rosbags.image import image_to_cvimage

    def _to_bgr(message: Any) -> np.ndarray:
        return np.asarray(image_to_cvimage(message, "bgr8"))
else:

    def _to_bgr(message: Any) -> np.ndarray:
        return np.asarray(CvBridge().imgmsg_to_cv2(message, "bgr8"))


CameraMessage: TypeAlias = RawImage | CompressedImage

_BYTES_PER_PIXEL = {
    "bgr8": 3,
    "rgb8": 3,
    "bgra8": 4,
    "rgba8": 4,
    "mono8": 1,
    "bayer_rggb8": 1,
    "bayer_bggr8": 1,
    "bayer_gbrg8": 1,
    "bayer_grbg8": 1,
    "yuv422": 2,
    "yuv422_yuy2": 2,
}

ENCODINGS = tuple(_BYTES_PER_PIXEL)
"""The encodings of sensor_msgs/Image that can be converted."""


def to_picture(message: CameraMessage) -> Image:
    """Convert a message to a picture, uint8 (height, width, 3) blue-green-red, which may share the message's memory.

    Raises ImageError for an unknown encoding or format, no pixels, too many, or data that do not fit the rest.
    """
    return _decompress(message) if isinstance(message, CompressedImage) else _convert(message)


def _convert(message: RawImage) -> Image:
    if message.encoding not in _BYTES_PER_PIXEL:
        raise ImageError(f"encoding is {message.encoding[:80]!r}, expected one of {', '.join(ENCODINGS)}")
    pixel = _BYTES_PER_PIXEL[message.encoding]
    width, height, step = message.width, message.height, message.step
    _check_size(width, height)
    if pixel == 2 and width % 2:
        raise ImageError(f"width is {width}, expected an even number for encoding {message.encoding}")
    if step < width * pixel:
        raise ImageError(f"step is {step} bytes, expected at least {width} pixels * {pixel} for {message.encoding}")
    if len(message.data) != step * height:
        raise ImageError(f"data has {len(message.data)} bytes, expected {height} rows * {step} = {step * height}")
    rows = np.frombuffer(message.data, np.uint8).reshape(height, step)
    # Neither converter knows rows with padding between them, nor needs to know an order of bytes here.
    size = {"height": height, "width": width, "step": width * pixel}
    pixels = np.ascontiguousarray(rows[:, : width * pixel])
    bare = SimpleNamespace(**size, encoding=message.encoding, is_bigendian=0, data=pixels)
    try:
        return _to_bgr(bare).astype(np.uint8, copy=False)
    except (CvBridgeError, cv2.error) as error:
        raise ImageError(f"{width} * {height} pixels of {message.encoding} cannot be converted: {error}") from error


def _decompress(message: CompressedImage) -> Image:
    if "compressedDepth" in message.format:
        raise ImageError(f"format is {message.format[:80]!r}, expected a colour image")
    # Whatever a camera says of its orientation, results are in the pixels as they were sent.
    image = decode_picture(bytes(message.data))
    _check_size(image.shape[1], image.shape[0])
    return image


def _check_size(width: int, height: int) -> None:
    if not (1 <= width <= LARGEST_SIDE and 1 <= height <= LARGEST_SIDE):
        raise ImageError(f"width and height are {width} and {height}, expected 1 to {LARGEST_SIDE}")
