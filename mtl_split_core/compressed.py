"""Compressed pictures, JPEG and PNG, decoded whole or not at all."""

from pathlib import Path

import cv2
import numpy as np

from mtl_split_core.errors import ImageError, InputError
from mtl_split_core.scene import Image

_JPEG_BEGINS, _JPEG_SCAN, _JPEG_ENDS = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"


def decode_picture(data: bytes, turn: bool = False) -> Image:
    """Decode a picture: uint8 (height, width, 3) blue-green-red.

    With `turn`, its orientation is what the camera says of it; otherwise its pixels are as they were stored. Raises
    ImageError for bytes that are no picture, and for a JPEG that was cut off.
    """
    # OpenCV fills the missing part of a JPEG with grey. A thumbnail before the scan ends as well; what follows is free.
    if data.startswith(_JPEG_BEGINS) and data.rfind(_JPEG_ENDS) < data.rfind(_JPEG_SCAN):
        raise ImageError(f"the JPEG of {len(data)} bytes is truncated, expected an end-of-image marker")
    flags = cv2.IMREAD_COLOR if turn else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ImageError(f"{len(data)} bytes are no picture: {error}") from error
    if picture is None:
        raise ImageError(f"{len(data)} bytes are no picture, expected JPEG or PNG")
    return picture.astype(np.uint8, copy=False)


def read_picture(path: Path) -> Image:
    """Read a picture file, turned as its camera says. Raises InputError for what cannot be read or decoded."""
    try:
        return decode_picture(path.read_bytes(), turn=True)
    except (OSError, ValueError) as error:
        raise InputError(f"{str(path)!r} is no readable picture: {error}") from error
