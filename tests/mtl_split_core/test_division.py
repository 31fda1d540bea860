"""Divisions in a manifest: read as they were written, refused where they cannot be, named by their fingerprint."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_split_core.division import MOST_NUMBERS, Division, Tensor, format_divisions, parse_divisions

from ..documented import division_fingerprint

CONTRACT = "0123456789abcdef"
DIVISION = Division("b", (Tensor("b", (1, 3, 2, 4)), Tensor("a", (1, 3))), CONTRACT, "f" * 16, "middle", "rest")

tensors = st.builds(Tensor, st.text("abc_/.", min_size=1, max_size=8), st.tuples(st.integers(1, 9), st.integers(1, 9)))
divisions = st.builds(
    Division,
    cut=st.text("abc_", min_size=1, max_size=8),
    tensors=st.lists(tensors, min_size=1, max_size=4, unique_by=lambda tensor: tensor.name).map(tuple),
    contract=st.just(CONTRACT),
    feature_space=st.text("0123456789abcdef", min_size=16, max_size=16),
    middle=st.just("middle"),
    rest=st.just("rest"),
)


@given(st.lists(divisions, min_size=1, max_size=3, unique_by=lambda division: division.cut))
def test_what_is_written_is_read_and_named_as_documented(written: list[Division]) -> None:
    plain = format_divisions(written)
    assert parse_divisions(plain, CONTRACT) == tuple(written)
    assert [division_fingerprint(CONTRACT, entry) for entry in plain] == [each.fingerprint for each in written]


@pytest.mark.parametrize(
    "other",
    [
        {"contract": "1" * 16},
        {"feature_space": "1" * 16},
        {"tensors": DIVISION.tensors[::-1]},
        {"tensors": (Tensor("b", (1, 3, 4, 2)), DIVISION.tensors[1])},
        {"tensors": (Tensor("c", (1, 3, 2, 4)), DIVISION.tensors[1])},
    ],
)
def test_whatever_middle_and_rest_must_share_is_in_the_fingerprint(other: dict[str, Any]) -> None:
    assert replace(DIVISION, **other).fingerprint != DIVISION.fingerprint


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"cut": 3}, "cut: expected a printable text"),
        ({"tensors": []}, "tensors: expected a list that is not empty"),
        ({"tensors": [{"name": "a", "shape": [1]}] * 2}, "two tensors have the same name"),
        ({"tensors": [{"name": "a", "shape": [0]}]}, "shape: expected a size of 1 to"),
        ({"tensors": [{"name": "a", "shape": [True]}]}, "shape: expected a size of 1 to"),
        ({"tensors": [{"name": "a", "shape": [1] * 9}]}, "at most 8 axes"),
        ({"tensors": [{"name": str(n), "shape": [1]} for n in range(65)]}, "at most 64, got 65"),
        ({"tensors": [{"name": "a", "shape": [MOST_NUMBERS, 2]}]}, "numbers in all"),
        ({"feature_space": "G" * 16}, "feature_space: expected 16 hexadecimal digits"),
        ({"middle": "../middle"}, "middle: expected a role"),
    ],
)
def test_what_cannot_be_a_division_is_refused_by_its_entry(entry: dict[str, Any], words: str) -> None:
    plain = {**format_divisions([DIVISION])[0], **entry}
    with pytest.raises(ValueError, match=words):
        parse_divisions([plain], CONTRACT)


def test_every_cut_is_there_once() -> None:
    with pytest.raises(ValueError, match="two divisions have the same cut, expected each once: b, b"):
        parse_divisions(format_divisions([DIVISION, DIVISION]), CONTRACT)
