"""Signatures are as documented, cover every bit and need the key; key files are read, or refused in a line."""

import json
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mtl_split_core.errors import InputError, SignatureError, UnsignedError
from mtl_split_core.signing import (
    SIGNATURE_BYTES,
    UNSIGNED,
    AnswerStatement,
    BottleneckStatement,
    FeaturesStatement,
    Keys,
    ReportStatement,
    StateStatement,
    read_keys,
)

from .. import documented

PAGE = Path(__file__).parents[2] / "docs" / "wire-format.md"
KEY, OTHER = bytes(range(32)), bytes(range(64, 128))

uint32, uint64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
texts = st.text(st.characters(codec="utf-8"), max_size=20)
statements = st.builds(
    BottleneckStatement,
    vehicle=texts,
    stamp=st.tuples(st.integers(-(2**31), 2**31 - 1), uint32),
    frame_id=texts,
    session=uint64,
    sequence=uint64,
    contract=texts,
    size=st.tuples(uint32, uint32),
    payload=st.binary(max_size=40),
)

float32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
reports = st.builds(
    ReportStatement,
    vehicle=texts,
    session=uint64,
    sequence=uint64,
    received=uint64,
    queued=float32,
    service=float32,
    fate=st.integers(0, 255),
    copies=st.integers(0, 255),
)
answers = st.builds(AnswerStatement, vehicle=texts, session=uint64, sequence=uint64, results=st.binary(max_size=40))

states = st.lists(st.tuples(texts, st.booleans(), uint64, uint64), max_size=3).flatmap(
    lambda rows: st.builds(
        StateStatement,
        vehicle=texts,
        server=texts,
        session=uint64,
        number=uint64,
        ready=st.booleans(),
        **{
            name: st.just(tuple(row[column] for row in rows))
            for column, name in enumerate(("vehicles", "serves", "sessions", "sequences"))
        },
    )
)


def values(statement: BottleneckStatement | ReportStatement | AnswerStatement | StateStatement) -> dict[str, Any]:
    return {field.name: getattr(statement, field.name) for field in fields(statement)}


@given(statements, st.sampled_from([KEY, OTHER]))
def test_a_signature_is_as_documented_and_accepted_by_either_key(statement: BottleneckStatement, key: bytes) -> None:
    signature = Keys([key]).sign(statement)
    assert len(signature) == SIGNATURE_BYTES
    assert signature == documented.signature(key, **values(statement))
    Keys([KEY, OTHER]).check(statement, signature)
    Keys([OTHER, KEY]).check(statement, signature)


@given(statements, st.integers(0, 255), texts, st.sampled_from([KEY, OTHER]))
def test_features_are_signed_as_documented_and_pass_for_no_bottleneck(
    statement: BottleneckStatement, copies: int, division: str, key: bytes
) -> None:
    features = FeaturesStatement(**values(statement), copies=copies, division=division)
    keys = Keys([key])
    signature = keys.sign(features)
    assert signature == documented.features_signature(key, copies, division, **values(statement))
    keys.check(features, signature)
    for other in (
        statement,
        replace(features, division=f"{division}2"),
        replace(features, copies=copies ^ 1),
        replace(features, payload=b"other"),
    ):
        with pytest.raises(SignatureError):
            keys.check(other, signature)


def test_the_signature_of_the_page_is_made() -> None:
    [example] = re.findall(r"^```json\n(\{\"key\".*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    told = json.loads(example)
    keys, signature, payload = Keys([bytes.fromhex(told.pop("key"))]), told.pop("signature"), told.pop("payload")
    told |= {name: tuple(told[name]) for name in ("stamp", "size")}
    assert keys.sign(BottleneckStatement(**told, payload=bytes.fromhex(payload))).hex() == signature


@given(statements, statements)
def test_no_two_statements_are_signed_as_the_same_bytes(one: BottleneckStatement, other: BottleneckStatement) -> None:
    assert (one.to_bytes() == other.to_bytes()) == (one == other)


@given(statements, texts, texts)
def test_what_moves_from_one_field_to_the_next_is_altered(
    statement: BottleneckStatement, left: str, right: str
) -> None:
    assume(right)
    one = replace(statement, vehicle=left, frame_id=right)
    assert one.to_bytes() != replace(statement, vehicle=left + right, frame_id="").to_bytes()


@given(statements, st.data())
def test_a_bit_of_the_signed_bytes_or_of_the_signature_is_enough_to_be_refused(
    statement: BottleneckStatement, data: st.DataObject
) -> None:
    keys = Keys([KEY])
    signature = keys.sign(statement)
    bit = data.draw(st.integers(0, 8 * SIGNATURE_BYTES - 1))
    altered = (int.from_bytes(signature) ^ 1 << bit).to_bytes(SIGNATURE_BYTES)
    with pytest.raises((SignatureError, UnsignedError)):
        keys.check(statement, altered)
    other = replace(statement, sequence=statement.sequence ^ 1 << data.draw(st.integers(0, 63)))
    with pytest.raises(SignatureError, match="altered"):
        keys.check(other, signature)
    with pytest.raises(SignatureError, match="another vehicle"):
        keys.check(replace(statement, vehicle=f"{statement.vehicle}2"), signature)
    with pytest.raises(SignatureError):
        Keys([OTHER]).check(statement, signature)
    with pytest.raises(UnsignedError):
        keys.check(statement, UNSIGNED)


@given(reports, st.sampled_from([KEY, OTHER]), st.integers(0, 63))
def test_a_link_report_is_signed_as_documented_and_every_bit_counts(
    report: ReportStatement, key: bytes, bit: int
) -> None:
    keys = Keys([key])
    signature = keys.sign(report)
    assert signature == documented.report_signature(key, **values(report))
    keys.check(report, signature)
    for altered in (
        replace(report, received=report.received ^ 1 << bit),
        replace(report, fate=report.fate ^ 1),
        replace(report, copies=report.copies ^ 1),
        replace(report, vehicle=f"{report.vehicle}2"),
    ):
        with pytest.raises(SignatureError, match="the link report is not signed with a key of ours"):
            keys.check(altered, signature)
    with pytest.raises(UnsignedError, match="the link report is not signed: give the other end"):
        keys.check(report, UNSIGNED)


@given(answers, st.sampled_from([KEY, OTHER]), st.integers(0, 63))
def test_an_answer_is_signed_as_documented_and_every_bit_counts(answer: AnswerStatement, key: bytes, bit: int) -> None:
    keys = Keys([key])
    signature = keys.sign(answer)
    assert signature == documented.answer_signature(key, **values(answer))
    keys.check(answer, signature)
    for altered in (
        replace(answer, sequence=answer.sequence ^ 1 << bit),
        replace(answer, results=answer.results + b"1"),
        replace(answer, vehicle=f"{answer.vehicle}2"),
    ):
        with pytest.raises(SignatureError, match="the answer is not signed with a key of ours"):
            keys.check(altered, signature)


@given(states, states, st.sampled_from([KEY, OTHER]))
def test_a_servers_state_is_signed_as_documented_and_no_two_as_the_same(
    state: StateStatement, other: StateStatement, key: bytes
) -> None:
    keys = Keys([key])
    signature = keys.sign(state)
    assert signature == documented.state_signature(key, **values(state))
    keys.check(state, signature)
    assert (state.to_bytes() == other.to_bytes()) == (state == other)
    with pytest.raises(SignatureError, match="the server's state is not signed with a key of ours"):
        keys.check(replace(state, ready=not state.ready), signature)


def key_file(folder: Path, text: str | bytes, mode: int = 0o600) -> Path:
    path = folder / "keys"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return path


def no_warning(text: str) -> None:
    raise AssertionError(text)


def test_the_edge_signs_with_the_first_key_and_the_server_accepts_each(tmp_path: Path) -> None:
    statement = BottleneckStatement("/bottleneck", (1, 2), "camera", 3, 4, "0123456789abcdef", (640, 480), b"payload")
    text = f"# the new one\n{OTHER.hex()}\r\n\n  {KEY.hex().upper()}  \n"
    keys = read_keys(key_file(tmp_path, text), no_warning)
    assert keys.sign(statement) == Keys([OTHER]).sign(statement) != Keys([KEY]).sign(statement)
    for key in (KEY, OTHER):
        keys.check(statement, Keys([key]).sign(statement))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has 0 keys"),
        ("# nothing but a comment", "has 0 keys"),
        (f"{KEY.hex()}\n{KEY.hex()}", "each of them once"),
        ("\n".join(bytes([byte] * 32).hex() for byte in range(3)), "has 3 keys, expected 1 to 2"),
        (f"{KEY.hex()}\n{'5ec4e7' * 10}", "line 2 of key_file .* is no key, expected 32 to 64 bytes in hexadecimal"),
        ("5ec4e7" * 22, "line 1"),
        ("5ec4e7" * 11 + "0", "line 1"),
        ("5ec4e7" * 10 + "secret", "line 1"),
        (b"\xff" * 64, "line 1"),
        (b"5ec4e7" * 1000, "more than 4096 bytes"),
    ],
)
def test_a_file_without_keys_is_refused_and_never_repeated(text: str | bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read_keys(key_file(tmp_path, text), no_warning)
    assert "5ec4e7" not in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("path", ["none", ".", "a\0b"])
def test_a_path_without_a_file_is_refused(path: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a file: `openssl rand -hex 32`"):
        read_keys(tmp_path / path, no_warning)


@pytest.mark.parametrize(("mode", "exposed"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True)])
def test_a_file_that_others_can_read_is_warned_of(mode: int, exposed: bool, tmp_path: Path) -> None:
    warnings: list[str] = []
    read_keys(key_file(tmp_path, KEY.hex(), mode), warnings.append)
    assert bool(warnings) == exposed
    assert all("chmod 600" in warning and KEY.hex() not in warning for warning in warnings)


def test_nothing_shows_a_key() -> None:
    keys = Keys([KEY])
    assert KEY.hex() not in f"{keys!r} {vars(keys)!r}" and repr(KEY) not in f"{keys!r} {vars(keys)!r}"


@pytest.mark.parametrize("keys", [[], [bytes(31)], [bytes(65)], [KEY, OTHER, bytes(32)]])
def test_keys_that_are_too_short_too_long_or_too_many_are_none(keys: list[bytes]) -> None:
    with pytest.raises(ValueError, match="expected 1 to 2 keys of 32 to 64 bytes"):
        Keys(keys)
