"""Features arrive as they were sent, bit for bit, and hostile bytes are refused before they take memory."""

import resource
from typing import Any

import numpy as np
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from mtl_split_core.division import Division, Tensor
from mtl_split_core.errors import PayloadError
from mtl_split_core.features import FeatureFormat

from ..documented import unpack_features

DIVISION = Division("b", (Tensor("b", (1, 3, 4, 5)), Tensor("a", (2, 7))), "0" * 16, "1" * 16, "middle", "rest")
FORM = FeatureFormat(DIVISION)
SIZE = 4 * (60 + 14)


def features(seed: int, scale: float = 1.0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {each.name: (rng.standard_normal(each.shape) * scale).astype(np.float32) for each in DIVISION.tensors}


@given(st.integers(0, 2**32), st.sampled_from([0.0, 1e-40, 1.0, 1e37]))
def test_features_arrive_bit_for_bit(seed: int, scale: float) -> None:
    sent = features(seed, scale)
    packed = FORM.pack(sent)
    assert len(packed) <= FORM.largest
    for found in (FORM.unpack(packed), unpack_features(packed, [each.shape for each in DIVISION.tensors])):
        for array, tensor in zip(found, DIVISION.tensors, strict=True):
            assert array.shape == tensor.shape and array.tobytes() == sent[tensor.name].tobytes()


def test_numbers_that_do_not_compress_still_fit() -> None:
    wide = Division("a", (Tensor("a", (1 << 18,)),), "", "", "middle", "rest")
    form = FeatureFormat(wide)
    noise = np.random.default_rng(0).integers(0, 256, 1 << 20, np.uint8).view(np.float32)
    packed = form.pack({"a": noise})
    assert (1 << 20) < len(packed) <= form.largest and form.unpack(packed)[0].tobytes() == noise.tobytes()


@given(st.binary(max_size=400))
def test_junk_is_refused(junk: bytes) -> None:
    with pytest.raises(PayloadError):
        FORM.unpack(junk)


@given(st.integers(0, 2**32), st.data())
def test_one_bit_is_noticed(seed: int, data: st.DataObject) -> None:
    """Either it is refused, or it was one that says nothing of the numbers."""
    sent = features(seed)
    damaged = bytearray(FORM.pack(sent))
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = FORM.unpack(bytes(damaged))
    except PayloadError:
        return
    assert [array.tobytes() for array in found] == [sent[each.name].tobytes() for each in DIVISION.tensors]


HONEST = zstd.compress(bytes(SIZE))
HEADER = 7
"""Bytes of its header: 4 of all frames, 1 of flags, 2 of the size less 256."""


def without_size() -> bytes:
    compressor = zstd.ZstdCompressor()
    return compressor.compress(bytes(SIZE), compressor.FLUSH_BLOCK) + compressor.flush()


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (zstd.compress(bytes(SIZE + 4)), f"decompress to {SIZE + 4} bytes, expected {SIZE}"),
        (zstd.compress(bytes(1 << 24)), "bytes, expected at most"),
        (HONEST + b"more", "not one whole zstd frame"),
        (HONEST[:-1], "not one whole zstd frame"),
        (without_size(), "decompress to None bytes"),
        (b"", "no zstd frame"),
    ],
    ids=["larger", "bomb", "appended", "truncated", "without its size", "empty"],
)
def test_what_is_no_frame_of_that_size_is_refused(payload: bytes, words: str) -> None:
    with pytest.raises(PayloadError, match=words):
        FORM.unpack(payload)


@pytest.mark.parametrize(
    "lying",
    [HONEST[:HEADER] + zstd.compress(bytes(1 << 20))[10:], HONEST[:4] + b"\x40\xa0\x28\x00" + HONEST[HEADER:-1]],
    ids=["a megabyte behind the right size", "a window of a gigabyte"],
)
def test_a_frame_whose_header_lies_takes_no_more_memory_than_it_may(lying: bytes) -> None:
    FORM.parse(lying)  # no look at the header alone finds it
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(PayloadError, match="features are"):
        FORM.unpack(lying)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 14  # kilobytes
