"""The page about orders of serving, from a small measurement, and what is concluded from a change."""

from pathlib import Path

import pytest

from mtl_split_lab.bench import serving
from mtl_split_lab.bench.serving import BIN, CHANGE_AT, FULL, SAME, measure, settled_after, write_page


def test_a_change_is_over_after_the_last_bin_that_differs() -> None:
    bins = int(2 * CHANGE_AT / BIN)
    known = {"a": [0.5] * bins}
    learned = [0.9] * (bins // 2) + [0.5 + 2 * SAME, 0.5, 0.5 - 2 * SAME] + [0.5] * (bins // 2 - 3)
    assert settled_after({"learned": {"a": learned}, "known": known}) == 3 * BIN
    assert settled_after({"learned": known, "known": known}) == BIN


def test_the_page_has_every_way_and_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "TESTED_ON": range(1),
        "CHOSEN_ON": range(1),
        "CHANGE_SEEDS": range(1),
        "BOUND_JOBS": 12,
        "RANDOM_FLEETS": range(3),
    }.items():
        monkeypatch.setattr(serving, name, value)
    results = measure(2.0, 1.0)
    assert all(found <= results.bounds["optimum"][0] for own in results.bounds.values() for found in own)
    assert results.fleet[FULL][8].share > 0.9
    write_page(results, tmp_path)
    page = (tmp_path / "serving.md").read_text()
    assert all(page.count(f"| {way.name} |") == 4 for way in serving.WAYS)
    assert (tmp_path / "serving.png").stat().st_size > 1000
