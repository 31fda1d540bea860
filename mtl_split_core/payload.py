"""The bottleneck's bytes on the wire: entropy-coded symbols as one msgpack array with checksums.

[version, operating point, [channels, height, width], [stream], checksum]; docs/wire-format.md tells every byte.
"""

import math
import zlib
from dataclasses import dataclass

import msgpack
import numpy as np

from mtl_split_core.entropy import EntropyCoder, EntropyTables, Symbols
from mtl_split_core.errors import PayloadError
from mtl_split_core.scene import Floats

VERSION = 3
MOST_BYTES_PER_SYMBOL = 3
"""The range coder's precision is 24 bits: no symbol takes more."""
FRAME = 64
"""No payload has more bytes than that beside its stream."""

MOST_PER_AXIS = 4096
MOST_SYMBOLS = 1 << 22
"""Latents with more channels, rows or columns than MOST_PER_AXIS, or more values in all, are refused."""

Shape = tuple[int, int, int]
"""Channels, height and width of the latents."""


@dataclass(frozen=True)
class OperatingPoint:
    """One quality level: each channel of the latents is sent as multiples of its step.

    steps: (channels,), positive and finite.
    """

    name: str
    steps: Floats


class PayloadFormat:
    """What a contract's payloads look like; whatever it would not have packed itself is refused."""

    def __init__(self, shape: Shape, operating_points: tuple[OperatingPoint, ...], tables: EntropyTables) -> None:
        """Pack latents of one shape at one of the operating points.

        Raises ValueError where a part is out of range, or the parts do not fit together.
        """
        if not all(1 <= side <= MOST_PER_AXIS for side in shape) or math.prod(shape) > MOST_SYMBOLS:
            raise ValueError(
                f"latents have the shape {shape}, expected 1 to {MOST_PER_AXIS} on each axis, {MOST_SYMBOLS} in all"
            )
        names = [point.name for point in operating_points]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"operating points are named {str(names)[:80]}, expected at least one, each name once")
        points = [point.steps.shape for point in operating_points]
        if points != [shape[:1]] * len(tables.weights) or tables.weights.shape[-1] != shape[0]:
            raise ValueError(
                f"operating points have {str(points)[:80]} steps, tables {tables.weights.shape}, latents {shape}"
            )
        if not all(np.isfinite(point.steps).all() and (point.steps > 0).all() for point in operating_points):
            raise ValueError("an operating point has steps that are not positive and finite")
        self.shape = shape
        self.operating_points = operating_points
        self.tables = tables
        self._coder = EntropyCoder(shape, tables)

    @property
    def largest(self) -> int:
        """The most bytes that a payload of this format can have."""
        return MOST_BYTES_PER_SYMBOL * math.prod(self.shape) + FRAME

    def check_length(self, length: int) -> None:
        """Raise PayloadError for more bytes than a payload of this format can have."""
        if length > self.largest:
            raise PayloadError(f"payload has {length} bytes, expected at most {self.largest}")

    def pack(self, latents: Floats, operating_point: int) -> bytes:
        """Quantise latents, float32 of `shape`, at an operating point, given by its index, and code them."""
        steps = self.operating_points[operating_point].steps[:, None, None]
        limit = self.tables.largest
        symbols = np.clip(np.rint(latents / steps), -limit, limit).astype(np.int32)
        stream = self._coder.encode(symbols, operating_point)
        return self._serialise(operating_point, stream, _checksum(operating_point, stream, symbols))

    def unpack(self, payload: bytes) -> Floats:
        """Return the latents, float32 of `shape`, that a payload carries.

        Raises PayloadError for a payload that is not of this format, or damaged, or decodes to other symbols here than
        where it was coded.
        """
        point, stream, checksum = self.parse(payload)
        try:
            symbols = self._coder.decode(stream, point)
        except ValueError as error:
            raise PayloadError(f"payload cannot be decoded: {error}") from error
        if checksum != _checksum(point, stream, symbols):
            raise PayloadError("payload decodes to other symbols than were coded: its checksum does not belong to them")
        return symbols.astype(np.float32) * self.operating_points[point].steps[:, None, None]

    def parse(self, payload: bytes) -> tuple[int, bytes, int]:
        """Return a payload's operating point, stream and checksum, without decoding the stream, which takes long.

        Raises PayloadError for a payload that is not of this format, or damaged.
        """
        self.check_length(len(payload))
        try:
            fields = msgpack.unpackb(payload, use_list=False)
        except (ValueError, msgpack.UnpackException) as error:
            raise PayloadError(f"payload is no msgpack array: {error!r}") from error
        if not isinstance(fields, tuple) or len(fields) != 5:
            raise PayloadError(f"payload holds {_brief(fields)}, expected an array of 5 fields")
        version, point, shape, streams, checksum = fields
        if type(version) is not int or version != VERSION:
            raise PayloadError(f"payload has version {_brief(version)}, expected {VERSION}")
        if type(point) is not int or not 0 <= point < len(self.operating_points):
            most = len(self.operating_points) - 1
            raise PayloadError(f"payload has operating point {_brief(point)}, expected 0 to {most}")
        if shape != self.shape:
            raise PayloadError(f"payload has latents of shape {_brief(shape)}, expected {self.shape}")
        if type(streams) is not tuple or len(streams) != 1 or type(streams[0]) is not bytes or len(streams[0]) % 4:
            raise PayloadError(f"payload has streams {_brief(streams)}, expected one of a multiple of 4 bytes")
        stream = streams[0]
        # Cheap, and it also refuses a second spelling of the same fields.
        if (
            type(checksum) is not int
            or checksum >> 32 != _stream_checksum(point, stream)
            or not 0 <= checksum < 1 << 64
        ):
            raise PayloadError("payload is damaged: its checksum does not belong to its stream")
        if payload != self._serialise(point, stream, checksum):
            raise PayloadError("payload is spelled in another way than it is packed")
        return point, stream, checksum

    def _serialise(self, operating_point: int, stream: bytes, checksum: int) -> bytes:
        packed: bytes = msgpack.packb((VERSION, operating_point, self.shape, (stream,), checksum))
        return packed


def _stream_checksum(operating_point: int, stream: bytes) -> int:
    return zlib.crc32(stream, operating_point)


def _checksum(operating_point: int, stream: bytes, symbols: Symbols) -> int:
    return _stream_checksum(operating_point, stream) << 32 | zlib.crc32(symbols.astype("<i2").tobytes())


def _brief(value: object) -> str:
    """Name a hostile value without repeating all of it."""
    text = f"{type(value).__name__} of {len(value)}" if isinstance(value, bytes | str | tuple | dict) else repr(value)
    return text[:80]
