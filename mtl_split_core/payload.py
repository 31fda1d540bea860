"""The bottleneck's bytes on the wire: quantised latents as one msgpack array that proves its own integrity.

[version, operating point, [channels, height, width], symbols, CRC-32 of operating point and symbols]
"""

import zlib
from dataclasses import dataclass

import msgpack
import numpy as np
import numpy.typing as npt

from mtl_split_core.errors import PayloadError
from mtl_split_core.scene import Floats

VERSION = 1
LARGEST_SYMBOL = 127

Shape = tuple[int, int, int]
"""Channels, height and width of the latents."""


@dataclass(frozen=True)
class OperatingPoint:
    """One quality level: the latents are sent as multiples of `step`."""

    name: str
    step: float


@dataclass(frozen=True)
class PayloadFormat:
    """What a bundle's payloads can look like; every payload that it could not have packed itself is refused."""

    shape: Shape
    operating_points: tuple[OperatingPoint, ...]

    @property
    def largest(self) -> int:
        """The most bytes that a payload of this format can have."""
        return int(np.prod(self.shape)) + 64

    def pack(self, latents: Floats, operating_point: int) -> bytes:
        """Quantise latents, float32 of `shape`, to 8-bit symbols at an operating point, given by its index."""
        step = self.operating_points[operating_point].step
        symbols = np.clip(np.rint(latents / step), -LARGEST_SYMBOL, LARGEST_SYMBOL).astype(np.int8)
        return self._serialise(operating_point, symbols.tobytes())

    def unpack(self, payload: bytes) -> Floats:
        """Return the latents, float32 of `shape`, that a payload carries.

        Raises PayloadError for anything that `pack` could not have written with this format.
        """
        if len(payload) > self.largest:
            raise PayloadError(f"payload has {len(payload)} bytes, expected at most {self.largest}")
        try:
            fields = msgpack.unpackb(payload, use_list=False)
        except (ValueError, msgpack.UnpackException) as error:
            raise PayloadError(f"payload is no msgpack array: {error!r}") from error
        if not isinstance(fields, tuple) or len(fields) != 5:
            raise PayloadError(f"payload holds {_brief(fields)}, expected an array of 5 fields")
        version, operating_point, shape, symbols, _ = fields
        if type(version) is not int or version != VERSION:
            raise PayloadError(f"payload has version {_brief(version)}, expected {VERSION}")
        if type(operating_point) is not int or not 0 <= operating_point < len(self.operating_points):
            raise PayloadError(
                f"payload has operating point {_brief(operating_point)}, expected 0 to {len(self.operating_points) - 1}"
            )
        if shape != self.shape:
            raise PayloadError(f"payload has latents of shape {_brief(shape)}, expected {self.shape}")
        if type(symbols) is not bytes or len(symbols) != np.prod(self.shape):
            raise PayloadError(f"payload has symbols {_brief(symbols)}, expected {np.prod(self.shape)} bytes")
        # Comparing the whole also refuses a wrong checksum and a second spelling of the same fields.
        if payload != self._serialise(operating_point, symbols):
            raise PayloadError("payload is damaged: its checksum does not belong to its symbols")
        return _dequantise(symbols, self.shape, self.operating_points[operating_point].step)

    def _serialise(self, operating_point: int, symbols: bytes) -> bytes:
        checksum = zlib.crc32(symbols, operating_point)
        packed: bytes = msgpack.packb((VERSION, operating_point, self.shape, symbols, checksum))
        return packed


def _dequantise(symbols: bytes, shape: Shape, step: float) -> Floats:
    values: npt.NDArray[np.int8] = np.frombuffer(symbols, np.int8)
    return (values.astype(np.float32) * np.float32(step)).reshape(shape)


def _brief(value: object) -> str:
    """Name a hostile value without repeating all of it."""
    text = f"{type(value).__name__} of {len(value)}" if isinstance(value, bytes | str | tuple | dict) else repr(value)
    return text[:80]
