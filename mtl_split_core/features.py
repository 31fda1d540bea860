"""The features' bytes on the wire: float32 tensors by the planes of their bytes, as one zstd frame.

Of neighbouring numbers, sign and exponent are alike and the last bits are noise: side by side they compress better.
docs/wire-format.md tells every byte.
"""

import importlib
import math
import sys
from collections.abc import Mapping
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np

from mtl_split_core.division import FEATURE_BYTES, Division
from mtl_split_core.engine import Array, NotInstalledError
from mtl_split_core.errors import PayloadError
from mtl_split_core.scene import Floats

LEVEL = 1
"""Of zstd: higher ones take longer and save next to nothing."""

SPARE = 64
"""More bytes than zstd's header and checksum take, and what it adds to numbers that do not compress."""


class FeatureFormat:
    """What a division's features look like; whatever it would not have packed itself is refused."""

    def __init__(self, division: Division) -> None:
        """Pack the tensors of a division. Raises NotInstalledError where zstd is not there."""
        self._zstd = _load_zstd()
        self._tensors = division.tensors
        self._size = FEATURE_BYTES * division.numbers
        self._ends = [*accumulate(math.prod(tensor.shape) for tensor in division.tensors)]

    @property
    def largest(self) -> int:
        """The most bytes that features of this format can have, compressed."""
        return self._size + self._size // 128 + SPARE

    def check_length(self, length: int) -> None:
        """Raise PayloadError for more bytes than features of this format can have."""
        if length > self.largest:
            raise PayloadError(f"features have {length} bytes, expected at most {self.largest}")

    def pack(self, tensors: Mapping[str, Array]) -> bytes:
        """Compress the tensors, float32 of the division's shapes, by name."""
        flat = np.concatenate([tensors[each.name].reshape(-1) for each in self._tensors]).astype("<f4", copy=False)
        planes = flat.view(np.uint8).reshape(-1, FEATURE_BYTES).T.tobytes()
        packed: bytes = self._zstd.compress(planes, options=self._compression)
        return packed

    def parse(self, payload: bytes) -> None:
        """Check all that can be known of features without decompressing them.

        Raises PayloadError for what is not of this format.
        """
        self.check_length(len(payload))
        try:
            info = self._zstd.get_frame_info(payload)
        except self._zstd.ZstdError as error:
            raise PayloadError(f"features are no zstd frame: {error}") from error
        if info.decompressed_size != self._size or info.dictionary_id:
            raise PayloadError(f"features decompress to {info.decompressed_size} bytes, expected {self._size}")

    def unpack(self, payload: bytes) -> list[Floats]:
        """Return the tensors that features carry, in the division's order, with its shapes.

        Raises PayloadError for features that are not of this format, or damaged; no more memory is taken than the
        format needs, whatever the bytes say.
        """
        self.parse(payload)
        decompressor = self._zstd.ZstdDecompressor(options=self._decompression)
        try:
            # One byte more, so that features that go on are not taken for complete ones.
            planes = decompressor.decompress(payload, max_length=self._size + 1)
        except self._zstd.ZstdError as error:
            raise PayloadError(f"features are damaged: {error}") from error
        if len(planes) != self._size or not decompressor.eof or decompressor.unused_data:
            raise PayloadError(f"features are not one whole zstd frame of {self._size} bytes")
        columns = np.frombuffer(planes, np.uint8).reshape(FEATURE_BYTES, -1)
        flat = np.ascontiguousarray(columns.T).view("<f4").reshape(-1).astype(np.float32, copy=False)
        parts = np.split(flat, self._ends[:-1])
        return [part.reshape(each.shape) for part, each in zip(parts, self._tensors, strict=True)]

    @cached_property
    def _compression(self) -> Mapping[Any, int]:
        parameter = self._zstd.CompressionParameter
        return {parameter.compression_level: LEVEL, parameter.checksum_flag: 1}

    @cached_property
    def _decompression(self) -> Mapping[Any, int]:
        # A frame may ask for a window of 128 MiB by default.
        parameter = self._zstd.DecompressionParameter.window_log_max
        lowest, highest = parameter.bounds()
        return {parameter: min(max(self._size.bit_length(), lowest), highest)}


def _load_zstd() -> Any:
    name = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise NotInstalledError(
            f"a divided suffix needs {name}, which is not installed: pip install backports.zstd"
        ) from error
