"""The comparison of ways to plan: it goes on where it was, finds contradictions, and makes its page."""

from dataclasses import replace
from pathlib import Path

from mtl_split_core.bundle import Bundle
from mtl_split_lab.planning.plan import make_plan
from mtl_split_lab.planning.study import (
    EXACT,
    GREEDY,
    HEFT,
    MODULES,
    PAGE,
    PLACEMENT,
    PLOT,
    compare,
    compare_one,
    is_wrong,
    write_page,
)

from .fleets import write_fleet


def test_an_interrupted_comparison_goes_on_and_makes_its_page(tmp_path: Path, bundle: Bundle) -> None:
    file = tmp_path / "run" / "graphs.jsonl"
    first = compare(2, 5.0, file, seed=16)
    rows = compare(5, 5.0, file, seed=16)
    assert rows[:2] == first and [row.seed for row in rows] == list(range(16, 21))
    assert len(file.read_text().splitlines()) == 5
    assert not any(map(is_wrong, rows)) and all(row.optimum == row.ends[EXACT] for row in rows if row.tasks <= 8)
    write_page(rows, make_plan(write_fleet(tmp_path, bundle), 10.0), 5.0, tmp_path / "out")
    page = (tmp_path / "out" / PAGE).read_text()
    assert "5 randomly wired networks of 5 to 10 tasks" in " ".join(page.split()) and "3 x car" in page
    assert {path.name for path in (tmp_path / "out").iterdir()} == {PAGE, PLOT, PLACEMENT}


def test_a_contradiction_is_seen() -> None:
    row = compare_one(0, 5, 5.0)
    assert not is_wrong(row)
    assert row.optimum is not None
    assert is_wrong(replace(row, lower_bound=row.optimum + 1))
    assert is_wrong(replace(row, optimum=row.optimum - 1))
    for way in (MODULES, HEFT, GREEDY):
        assert is_wrong(replace(row, ends={**row.ends, way: row.optimum - 1}))
