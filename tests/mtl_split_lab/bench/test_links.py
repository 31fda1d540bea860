"""The measurement of links: its choices, its page, and one short run of the real nodes."""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_split_core.bundle import Bundle
from mtl_split_lab.adaptation.direction import Counts
from mtl_split_lab.bench import links
from mtl_split_lab.bench.answers import Answers
from mtl_split_lab.bench.link_runs import (
    BY_DEADLINE,
    OFFLOADING,
    QUALITIES,
    SPLIT,
    WHOLE,
    Run,
    choose_quality,
    jpeg_bytes,
    measure,
)
from mtl_split_lab.bench.namespaces import Condition, NoLinkError

ANSWERS = Answers(frames=100, answered=95, in_time=90, p50=50.0, p99=120.0, gap=0.5, stale=0)


@given(st.floats(0.01, 100), st.floats(0.01, 100))
def test_a_faster_link_carries_no_worse_pictures(rate: float, more: float) -> None:
    sizes = {quality: 1000.0 * quality for quality in QUALITIES}
    assert choose_quality(sizes, rate) <= choose_quality(sizes, rate + more)


def test_the_quality_is_the_best_that_fits() -> None:
    # 15 pictures a second of 10 kB are 1.2 Mbit/s.
    sizes = {10: 10_000.0, 50: 20_000.0, 90: 100_000.0}
    assert [choose_quality(sizes, rate) for rate in (0.1, 2.0, 4.0, 20.0)] == [10, 10, 50, 90]


def test_better_pictures_take_more_bytes() -> None:
    sizes = jpeg_bytes((320, 180), streets=2)
    assert list(sizes) == sorted(sizes) and list(sizes.values()) == sorted(sizes.values())


def test_the_page_has_every_run(bundle: Bundle, tmp_path: Path) -> None:
    sent = Counts(entered=200, forwarded=190, lost=10)
    nothing = Answers(frames=100, answered=0, in_time=0, p50=None, p99=None, gap=20.0, stale=0)
    runs = [
        Run(WHOLE, None, None, 0.1, ANSWERS, sent),
        Run(SPLIT, None, Condition(10.0), 1.0, ANSWERS, sent),
        Run(OFFLOADING, 60, Condition(0.25), None, nothing, sent),
        Run(SPLIT, None, Condition(10.0, 0.05), 1.0, ANSWERS, sent),
    ]
    links.write_page(bundle, runs, tmp_path)
    page = (tmp_path / links.PAGE).read_text()
    assert "| any | whole on the edge | 100 | 90.0% | 50 | 120 | 0.50 | 0 | 0.1 | - | - |" in page
    assert (
        "| 0.25 Mbit/s | JPEG offloading, quality 60 | 100 | 0.0% | never | never | 20.00 | 0 | - | 5.0% | 0.0% |"
        in page
    )
    # Without loss the link is in both tables.
    assert page.count("| split |") == 3 and "| 5% | split |" in page and "| 0% | split |" in page
    assert (tmp_path / links.PLOT).stat().st_size > 0


def test_without_the_privilege_it_is_skipped_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(sys, "argv", ["links", "--out", str(tmp_path)])
    assert links.main() == 0
    assert "links: skipped: network namespaces need root" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_real_nodes_over_a_lossy_link(bundle: Bundle) -> None:
    try:
        run = measure(bundle, SPLIT, Condition(rate=10.0, loss=0.2), 2.0, size=(640, 360))
    except NoLinkError as error:
        pytest.skip(str(error))
    assert 0 < run.answers.answered <= run.answers.frames
    assert run.sent.lost > 0 and run.sent.overflowed == 0


def test_an_edge_with_a_deadline_answers_every_frame_through_an_outage(bundle: Bundle, tmp_path: Path) -> None:
    """Nothing passes for the first two of three seconds; what the server answers after that is too late for those."""
    trace = tmp_path / "outage.csv"
    trace.write_text("seconds,kbit_s\n0,0\n2,10000\n4,10000\n")
    try:
        run = measure(bundle, BY_DEADLINE, Condition(rate=10.0, trace=trace), 3.0, size=(640, 360))
    except NoLinkError as error:
        pytest.skip(str(error))
    assert run.answers.answered == run.answers.frames > 0
    assert run.answers.gap < 2.0
    assert run.drive is not None and len(run.drive.told) == run.answers.frames
    assert run.drive.sent.keys() <= run.drive.told.keys() and run.drive.more("chosen/fine") > 0
