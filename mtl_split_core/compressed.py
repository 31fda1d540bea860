"""Compressed pictures, JPEG and PNG, decoded whole or not at all."""

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg

from mtl_split_core.errors import ImageError, InputError
from mtl_split_core.geometry import MAX_PIXELS, check_size
from mtl_split_core.scene import Image, Indices, Size

MOST_SCANS = 64
"""JPEGs with more scans are refused: a kilobyte can hold a hundred, each of which goes through the whole picture."""

_JPEG_BEGINS, _JPEG_SCAN, _EXIF = b"\xff\xd8", b"\xff\xda", b"Exif\0\0"
_PNG_BEGINS = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_PNG_SIGNATURE_BYTES = 8
_PNG_NEEDED, _PNG_END = (b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"IEND"), b"IEND"
_PNG_GREY = (0, 4)
"""The colour types of PNG, without and with transparency, that have no colours."""


@dataclass(frozen=True)
class PictureHeader:
    """What the first bytes of a compressed picture say.

    grey: it has no colours; numbers: it is a PNG with a byte for each pixel, which is its level of grey.
    """

    jpeg: bool
    size: Size
    grey: bool
    numbers: bool


def read_header(data: bytes) -> PictureHeader:
    """Read what a JPEG or PNG says of itself, without decoding it. Raises ImageError for anything else."""
    if data.startswith(_JPEG_BEGINS):
        try:
            height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        except ValueError as error:
            raise ImageError(f"the JPEG of {len(data)} bytes has a damaged header: {error}") from error
        return PictureHeader(True, (width, height), colours == "Gray", False)
    if data.startswith(_PNG_BEGINS) and len(data) > 25:
        width, height, depth, colour_type = struct.unpack_from(">IIBB", data, len(_PNG_BEGINS))
        numbers = (depth, colour_type) == (8, _PNG_GREY[0])
        return PictureHeader(False, (width, height), colour_type in _PNG_GREY, numbers)
    raise ImageError(f"{len(data)} bytes that begin with {data[:8]!r} are no picture, expected JPEG or PNG")


def decode_picture(data: bytes, max_pixels: int = MAX_PIXELS, turn: bool = False) -> Image:
    """Decode a JPEG or PNG: uint8 (height, width, 3) blue-green-red.

    With `turn`, its orientation is what the camera says of it; otherwise its pixels are as they were stored. Raises
    ImageError for bytes that are neither, before anything is decoded for a picture of more than `max_pixels`, and for
    one that is truncated or damaged.
    """
    header = read_header(data)
    check_size(header.size, max_pixels)
    if header.jpeg:
        picture = _decode_jpeg(data)
        # That decoder takes no notice of the orientation.
        if not (turn and _EXIF in data):
            return picture
    else:
        data = _whole_png(data)
    return _decode(data, cv2.IMREAD_COLOR if turn else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)


def _decode(data: bytes, flags: int) -> npt.NDArray[np.uint8]:
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ImageError(f"the picture of {len(data)} bytes cannot be decoded: {error}") from error
    if decoded is None:
        raise ImageError(f"the picture of {len(data)} bytes is truncated or damaged")
    return decoded.astype(np.uint8, copy=False)


def decode_numbers(data: bytes, max_pixels: int = MAX_PIXELS) -> Indices:
    """Decode a PNG of 8-bit grey as the numbers that it holds: uint8 (rows, columns).

    Raises ImageError for anything else, before anything is decoded for more than `max_pixels`, and for one that is
    truncated or damaged.
    """
    header = read_header(data)
    if not header.numbers:
        raise ImageError(f"the picture of {len(data)} bytes is expected to be a PNG of 8-bit grey, without a palette")
    check_size(header.size, max_pixels)
    return _decode(_whole_png(data), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)


def read_picture(path: Path) -> Image:
    """Read a picture file, JPEG or PNG, turned as its camera says. Raises InputError for what cannot be decoded."""
    try:
        return decode_picture(path.read_bytes(), turn=True)
    except (OSError, ValueError) as error:
        raise InputError(f"{str(path)!r} is no readable picture: {error}") from error


def _whole_png(data: bytes) -> bytes:
    """Return a PNG without the chunks that no picture needs; raises ImageError for a truncated or damaged one.

    OpenCV allocates what a chunk claims to have, and keeps what compressed texts decompress to.
    """
    kept, at = [data[:_PNG_SIGNATURE_BYTES]], _PNG_SIGNATURE_BYTES
    name = b""
    while name != _PNG_END:
        length = int.from_bytes(data[at : at + 4])
        chunk = data[at : at + 12 + length]
        if len(chunk) < 12 + length:
            raise ImageError(f"the PNG of {len(data)} bytes is truncated, or damaged at byte {at}")
        name = chunk[4:8]
        if zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:]):
            raise ImageError(f"the PNG of {len(data)} bytes is damaged: the checksum of its {name!r} is wrong")
        if name in _PNG_NEEDED:
            kept.append(chunk)
        at += len(chunk)
    return b"".join(kept)


def _decode_jpeg(data: bytes) -> Image:
    scans = data.count(_JPEG_SCAN)
    if scans > MOST_SCANS:
        raise ImageError(f"the JPEG of {len(data)} bytes has {scans} scans, expected at most {MOST_SCANS}")
    try:
        # OpenCV would only print libjpeg's warnings, and fill what is missing with grey; here they are errors.
        return np.asarray(simplejpeg.decode_jpeg(data, colorspace="BGR", strict=True), np.uint8)
    except ValueError as error:
        raise ImageError(f"the JPEG of {len(data)} bytes is truncated or damaged: {error}") from error
