"""A payload comes back as it went out, or is refused."""

import json
import re
import zlib
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mtl_split_core.bundle import load_bundle
from mtl_split_core.contract import parse_entropy_tables
from mtl_split_core.errors import PayloadError
from mtl_split_core.payload import VERSION, OperatingPoint, PayloadFormat, Shape

from .. import documented
from .test_entropy import LARGEST, random_tables

SHAPE = (4, 3, 5)
COARSE = OperatingPoint("coarse", np.array([0.5, 1.0, 2.0, 0.3], np.float32))
FINE = OperatingPoint("fine", np.array([0.125, 0.25, 0.5, 0.06], np.float32))
FORMAT = PayloadFormat(SHAPE, (COARSE, FINE), random_tables(1, 4))

latents = arrays(np.float32, SHAPE, elements=st.floats(-20, 20, width=32))


@given(latents, st.sampled_from([0, 1]))
def test_latents_come_back_rounded_to_the_steps(sent: np.ndarray, operating_point: int) -> None:
    steps = FORMAT.operating_points[operating_point].steps[:, None, None]
    received = FORMAT.unpack(FORMAT.pack(sent, operating_point))
    assert received.shape == SHAPE and received.dtype == np.float32
    assert (np.abs(received - np.clip(sent, -LARGEST * steps, LARGEST * steps)) <= steps / 2 + 1e-5).all()


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
    names = ("version", "operating_point", "shape", "streams", "checksum")
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
        (_fields(streams=[]), "expected one of a multiple of 4 bytes"),
        (_fields(streams=[b"1234", b"1234"]), "expected one"),
        (_fields(streams=["1234"]), "expected one"),
        (_fields(streams=[b"123"]), "multiple of 4 bytes"),
        (_fields(streams=[b"1234"]), "checksum does not belong to its stream"),
        (_fields(checksum=0), "checksum"),
        (_fields(checksum=True), "checksum"),
        (_fields(checksum=1.5), "checksum"),
        (_fields()[:4], "expected an array of 5 fields"),
        ({"version": VERSION}, "expected an array of 5 fields"),
    ],
)
def test_a_wrong_field_is_named(fields: object, complaint: str) -> None:
    with pytest.raises(PayloadError, match=complaint):
        FORMAT.unpack(msgpack.packb(fields))


def test_a_stream_that_no_coder_writes_is_refused_in_words() -> None:
    """Found by `make fuzz`: the range coder itself can tell that a stream is impossible."""
    description = json.loads((GOLDEN / f"version_{VERSION}.json").read_text())
    form = read_format(description)
    stream = b"\xff" * 8
    checksum = zlib.crc32(stream, 1) << 32
    with pytest.raises(PayloadError, match="cannot be decoded: the stream"):
        form.unpack(msgpack.packb((VERSION, 1, form.shape, (stream,), checksum)))


def test_symbols_that_decode_otherwise_than_they_were_coded_are_refused() -> None:
    fields = _fields()
    assert isinstance(fields[-1], int)
    with pytest.raises(PayloadError, match="decodes to other symbols"):
        FORMAT.unpack(msgpack.packb([*fields[:-1], fields[-1] ^ 1]))


def test_a_second_spelling_of_the_same_fields_is_refused() -> None:
    payload = FORMAT.pack(np.zeros(SHAPE, np.float32), 0)
    assert payload[1] == VERSION
    with pytest.raises(PayloadError, match="spelled in another way"):
        FORMAT.unpack(payload[:1] + b"\xcc" + payload[1:])


def test_an_oversized_payload_is_refused_unread() -> None:
    with pytest.raises(PayloadError, match=r"200000000 bytes, expected at most"):
        FORMAT.unpack(bytes(200_000_000))


def read_format(description: dict[str, Any]) -> PayloadFormat:
    points = tuple(
        OperatingPoint(point["name"], np.array(point["steps"], np.float32)) for point in description["operating_points"]
    )
    return PayloadFormat(tuple(description["shape"]), points, parse_entropy_tables(description["entropy_tables"]))


GOLDEN = Path(__file__).parent / "golden"


def test_payloads_of_this_version_decode() -> None:
    description = json.loads((GOLDEN / f"version_{VERSION}.json").read_text())
    form = read_format(description)
    contract = {
        "version": VERSION,
        "latents": dict(zip(("channels", "height", "width"), form.shape, strict=True)),
        "entropy_tables": description["entropy_tables"],
    }
    for sample in description["payloads"]:
        payload = bytes.fromhex(sample["payload"])
        steps = form.operating_points[payload[2]].steps[:, None, None]
        expected = np.array(sample["symbols"], np.float32).reshape(form.shape) * steps
        assert (form.unpack(payload) == expected).all() and form.parse(payload)[0] == payload[2]
        assert form.pack(expected, payload[2]) == payload
        assert np.ravel(documented.unpack(payload, contract)).tolist() == sample["symbols"]


@pytest.mark.parametrize("version", range(2, VERSION))
def test_payloads_of_earlier_versions_are_refused_in_one_line(version: int) -> None:
    form = read_format(json.loads((GOLDEN / f"version_{VERSION}.json").read_text()))
    samples = json.loads((GOLDEN / f"version_{version}.json").read_text())["payloads"]
    assert samples
    for sample in samples:
        with pytest.raises(PayloadError, match=rf"^payload has version {version}, expected {VERSION}$"):
            form.unpack(bytes.fromhex(sample["payload"]))


def test_the_documentation_is_enough_to_decode_what_the_shipped_bundle_encodes() -> None:
    folder = Path(__file__).parents[2] / "models" / "street"
    form = load_bundle(folder).payload_format
    chance = np.random.default_rng(0)
    contract = json.loads((folder / "manifest.json").read_text())["contract"]
    for point, quality in enumerate(form.operating_points):
        steps = quality.steps[:, None, None]
        payload = form.pack((chance.laplace(0, 0.4, form.shape) * steps).astype(np.float32), point)
        symbols = np.array(documented.unpack(payload, contract), np.float32)
        assert np.abs(symbols).max() > 1
        assert (symbols * steps == form.unpack(payload)).all()


@pytest.mark.parametrize(
    ("shape", "points", "complaint"),
    [
        ((4, 3, 2**40), (COARSE, FINE), "expected 1 to 4096 on each axis"),
        ((4, 4096, 4096), (COARSE, FINE), "4194304 in all"),
        ((4, 0, 5), (COARSE, FINE), "expected 1 to 4096 on each axis"),
        (SHAPE, (COARSE, COARSE), "each name once"),
        (SHAPE, (), "at least one"),
        (SHAPE, (COARSE,), "operating points have"),
        ((3, 3, 5), (COARSE, FINE), "operating points have"),
        (SHAPE, (COARSE, OperatingPoint("fine", FINE.steps * 0)), "positive and finite"),
        (SHAPE, (OperatingPoint("coarse", COARSE.steps * np.float32(np.inf)), FINE), "positive and finite"),
        (SHAPE, (COARSE, OperatingPoint("fine", FINE.steps * np.float32(np.nan))), "positive and finite"),
    ],
)
def test_parts_that_are_out_of_range_or_do_not_fit_are_refused(
    shape: Shape, points: tuple[OperatingPoint, ...], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        PayloadFormat(shape, points, FORMAT.tables)


def test_the_documentation_s_example_is_as_it_says() -> None:
    text = (Path(__file__).parents[2] / "docs" / "wire-format.md").read_text().partition("\n## The signature")[0]
    tables, symbols, listing = re.findall(r"```(?:json)?\n(.*?)```", text, re.DOTALL)
    description = {"shape": [1, 3, 4], "operating_points": [{"name": "only", "steps": [0.5]}]}
    form = read_format({**description, "entropy_tables": json.loads(tables)})
    latents = np.array(symbols.split(), np.float32).reshape(1, 3, 4) * 0.5
    payload = bytes.fromhex("".join(line.split("   ")[0] for line in listing.splitlines()))
    assert form.pack(latents, 0) == payload
    assert (form.unpack(payload) == latents).all()
