"""A profile comes back as it was written, and whatever else is in its file is refused in one line."""

import json
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_split_core.errors import InputError
from mtl_split_core.profile import SCHEMA, DivisionCost, Layer, PointCost, Profile, Spread, load_profile, write_profile

milliseconds = st.floats(0, 1e6)
spreads = st.tuples(milliseconds, milliseconds).map(lambda two: Spread(*sorted(two)))
costs = st.builds(PointCost, spreads, spreads, spreads)
NEEDED = {part: Spread(1.0, 2.0) for part in ("prepare", "prefix", "suffix", "post")}
PROFILE = Profile(
    bundle="tiny",
    fingerprint="0123456789abcdef",
    contract="fedcba9876543210",
    engine="onnxruntime, CPUExecutionProvider",
    threads=1,
    machine={"processor": "any", "cores": 2},
    picture=(1280, 720),
    calls=200,
    parts={**NEEDED, "suffix": Spread(8.0, 9.0), "whole": Spread(12.5, 13.0)},
    points={"fine": PointCost(Spread(0.5, 0.6), Spread(0.25, 0.3), Spread(900.0, 1200.0))},
    memory={"prefix": 1, "suffix": 2},
    layers={"suffix": (Layer("a", 1.5), Layer("b", 6.5))},
    divisions={"b": DivisionCost(Spread(3.0, 4.0), Spread(6.0, 7.0), Spread(500.0, 600.0), 700)},
)
WRITTEN = {"schema": SCHEMA, **json.loads(json.dumps(asdict(PROFILE)))}


@given(st.dictionaries(st.text("abc", min_size=1), costs, min_size=1), spreads, milliseconds)
def test_what_was_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, points: dict[str, PointCost], part: Spread, layer: float
) -> None:
    profile = replace(PROFILE, points=points, parts={**NEEDED, "exit": part}, layers={"prefix": (Layer("x", layer),)})
    path = tmp_path_factory.mktemp("profiles") / "new" / "profile.json"
    write_profile(profile, path)
    assert load_profile(path) == profile


def test_each_end_takes_the_sum_of_its_stages() -> None:
    assert PROFILE.edge("fine") == 1.0 + 1.0 + 0.5
    assert PROFILE.server("fine") == 0.25 + 8.0 + 1.0
    assert PROFILE.whole == 12.5
    # Without coding.
    assert PROFILE.latents + (PROFILE.own("whole") or 0.0) == 2.0 + 9.0
    assert PROFILE.own("exit") is None
    assert replace(PROFILE, parts={**NEEDED, "exit": Spread(0.5, 0.6)}).own("exit") == 0.5
    assert replace(PROFILE, parts=NEEDED).whole == 4.0


def change(key: str, value: Any) -> dict[str, Any]:
    """The written profile with another value at a place such as parts.prefix.median; None: without it."""
    changed = deepcopy(WRITTEN)
    *way, last = key.split(".")
    inner: Any = changed
    for step in way:
        inner = inner[step]
    inner[last] = value
    if value is None:
        del inner[last]
    return changed


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("schema", 2, "schema is 2, expected 1: run `mtl-split profile` again"),
        ("contract", "x", "contract: expected 16 hexadecimal digits, got 'x'"),
        ("threads", 0, "threads: expected a whole number above 0, got 0"),
        ("threads", True, "threads: expected a whole number above 0, got True"),
        ("parts.prefix", None, "parts: prefix is missing"),
        ("parts.prefix.median", -1, "parts: prefix: median: expected a number of 0 to 1e+09, got -1"),
        ("parts.prefix.median", 1e300, "parts: prefix: median: expected a number of 0 to 1e+09, got 1e+300"),
        ("parts.prefix.p95", 0.5, "parts: prefix: expected a p95 of at least the median, got 0.5"),
        ("parts.other", {"median": 1, "p95": 1}, "parts: expected one of prepare, prefix"),
        ("divisions.b.raw", 0, "divisions: b: raw: expected a whole number above 0, got 0"),
        ("divisions", [], "divisions: expected an object, got a list of 0"),
        ("divisions", {str(number): {} for number in range(101)}, "divisions: expected at most 100 divisions, got 101"),
        ("points", {}, "points: expected at least one operating point, got an object of 0"),
        ("points.fine.bytes", [], "points: fine: bytes: median is missing"),
        ("machine", [1], "machine: expected an object, got a list of 1"),
        ("memory.prefix", 1 << 70, "memory: prefix: expected a whole number of bytes, got an integer of 71 bits"),
        ("picture", [1280], "picture: expected a width and a height, got a list of 1"),
        ("layers.suffix", [{"output": "a", "milliseconds": 1}] * 2, "layers: suffix: expected 2 different outputs"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, key: str, value: Any, complaint: str) -> None:
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(change(key, value)))
    with pytest.raises(InputError) as refused:
        load_profile(path)
    assert str(refused.value).startswith(f"{path}: {complaint}")


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"NaN", b"[" * 100_000, b" " * (1 << 23)])
def test_what_is_no_profile_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "profile.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"profile\.json"):
        load_profile(path)


def test_a_profile_of_another_contract_is_refused() -> None:
    PROFILE.check_fits("fedcba9876543210", Path("profile.json"))
    with pytest.raises(InputError, match=r"profile\.json is a profile of contract fedcba9876543210, the bundle has 0"):
        PROFILE.check_fits("0" * 16, Path("profile.json"))
