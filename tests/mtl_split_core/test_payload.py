"""A payload comes back as it went out, or is refused."""

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mtl_split_core.errors import PayloadError
from mtl_split_core.payload import LARGEST_SYMBOL, VERSION, OperatingPoint, PayloadFormat

SHAPE = (4, 3, 5)
FORMAT = PayloadFormat(SHAPE, (OperatingPoint("fine", 0.125), OperatingPoint("coarse", 0.5)))

latents = arrays(np.float32, SHAPE, elements=st.floats(-100, 100, width=32))


@given(latents, st.sampled_from([0, 1]))
def test_latents_come_back_rounded_to_the_step(sent: np.ndarray, operating_point: int) -> None:
    step = FORMAT.operating_points[operating_point].step
    received = FORMAT.unpack(FORMAT.pack(sent, operating_point))
    limit = LARGEST_SYMBOL * step
    assert received.shape == SHAPE and received.dtype == np.float32
    assert np.abs(received - np.clip(sent, -limit, limit)).max() <= step / 2 + 1e-5


@given(latents)
def test_what_was_received_can_be_sent_on_unchanged(sent: np.ndarray) -> None:
    payload = FORMAT.pack(sent, 0)
    assert FORMAT.pack(FORMAT.unpack(payload), 0) == payload
    assert len(payload) <= FORMAT.largest


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused(payload: bytes) -> None:
    with pytest.raises(PayloadError):
        FORMAT.unpack(payload)


nested = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.binary(max_size=80) | st.text(),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


@given(nested)
def test_arbitrary_msgpack_is_refused(fields: object) -> None:
    with pytest.raises(PayloadError):
        FORMAT.unpack(msgpack.packb(fields))


def _fields(**changes: object) -> list[object]:
    payload = FORMAT.pack(np.zeros(SHAPE, np.float32), 0)
    names = ("version", "operating_point", "shape", "symbols", "checksum")
    return list((dict(zip(names, msgpack.unpackb(payload), strict=True)) | changes).values())


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        (_fields(version=VERSION + 1), rf"version {VERSION + 1}, expected {VERSION}"),
        (_fields(version=True), "version True"),
        (_fields(operating_point=2), "operating point 2, expected 0 to 1"),
        (_fields(operating_point=-1), "operating point -1"),
        (_fields(operating_point=0.0), "operating point 0.0"),
        (_fields(shape=[3, 4, 5]), r"expected \(4, 3, 5\)"),
        (_fields(shape=[2**40, 2**40, 2**40]), r"expected \(4, 3, 5\)"),
        (_fields(symbols=b"\0" * 59), "bytes of 59, expected 60 bytes"),
        (_fields(symbols="\0" * 60), "expected 60 bytes"),
        (_fields(symbols=b"\1" * 60), "checksum"),
        (_fields(checksum=0), "checksum"),
        (_fields()[:4], "expected an array of 5 fields"),
        ({"version": 1}, "expected an array of 5 fields"),
    ],
)
def test_a_wrong_field_is_named(fields: object, complaint: str) -> None:
    with pytest.raises(PayloadError, match=complaint):
        FORMAT.unpack(msgpack.packb(fields))


def test_a_second_spelling_of_the_same_fields_is_refused() -> None:
    payload = FORMAT.pack(np.zeros(SHAPE, np.float32), 0)
    assert payload[1] == VERSION
    with pytest.raises(PayloadError):
        FORMAT.unpack(payload[:1] + b"\xcc" + payload[1:])


def test_an_oversized_payload_is_refused_unread() -> None:
    with pytest.raises(PayloadError, match=r"200000000 bytes, expected at most"):
        FORMAT.unpack(bytes(200_000_000))
