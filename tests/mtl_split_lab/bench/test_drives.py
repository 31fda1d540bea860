"""Drives over traces: what was written down is judged, and later rows replace earlier ones of the same drive."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mtl_split.msg import AnswerInfo

from mtl_split_core.bundle import Bundle, Values
from mtl_split_lab.bench import drives
from mtl_split_lab.bench.answers import Answers
from mtl_split_lab.bench.drive_listener import Drive, Told, read_drive
from mtl_split_lab.bench.link_runs import BY_DEADLINE, Run
from mtl_split_lab.bench.namespaces import Condition
from mtl_split_lab.bench.relay import Counts

SERVER, WHOLE = AnswerInfo.SERVER, AnswerInfo.WHOLE
LINK = Condition(50.0, 0.05, Path("drives/city.csv"), begin=10.0)
DRIVE = Drive(
    begin=0,
    told={1: Told(SERVER, "fine", 0.03, False), 2: Told(WHOLE, "fine", 0.08, False), 3: Told(WHOLE, "", 0.12, True)},
    sent={1: 100, 2: 220, 4: 80},
    before={"own_seconds": "1.0", "chosen/fine": "3", "sent_again": "0"},
    after={"own_seconds": "1.5", "chosen/fine": "5", "chosen/whole": "1", "sent_again": "1"},
)
ANSWERS = Answers(frames=5, answered=3, in_time=2, p50=50.0, p99=120.0, gap=0.5, stale=0)
RUN = Run(BY_DEADLINE, None, LINK, 0.1, ANSWERS, Counts(), DRIVE)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Without any rate from 11 to 12.5 seconds and at the end."""
    path = tmp_path / "city.csv"
    path.write_text("seconds,kbit_s\n0,100\n11,0\n12.5,100\n14,0\n16,0\n")
    return path


def test_a_drive_is_judged_by_what_the_edge_received(bundle: Bundle, trace: Path) -> None:
    link = replace(LINK, trace=trace)
    measured = replace(bundle, values=Values({"coarse": 0.3, "fine": 0.4}, {"whole": 0.5}))
    row = drives.row_of(measured, RUN, "predictive", link, seconds=10.0)
    assert (row.trace, row.begin, row.loss, row.frames, row.lost) == ("city", 10.0, 0.05, 5, 1)
    assert (row.answered, row.server, row.late) == (0.5, 0.25, 1)
    assert row.value == pytest.approx((0.4 + 0.5) / 4) and row.bytes == 80 and row.milliseconds == pytest.approx(50.0)
    assert row.sources == {"server": 1, "whole": 2} and row.points == {"fine": 2, "none": 1}
    assert row.chosen == {"fine": 2, "whole": 1}
    assert drives.row_of(bundle, RUN, "predictive", link, 10.0).value is None
    assert "| city | 10 to 20 | 5% | predictive | 5 | 50.0% | 1 | 25.0% | 0.225 |" in drives.markdown([row])


def test_how_long_the_server_was_missed_after_an_outage_is_told(bundle: Bundle, trace: Path) -> None:
    link = replace(LINK, trace=trace)
    told = {second * 10**9: Told(SERVER, "fine", 0.1, False) for second in (1, 3)}
    late = replace(RUN, drive=replace(DRIVE, told={**DRIVE.told, **told}))
    assert drives.row_of(bundle, late, "fixed", link, 4.0).recovered == [0.6]
    assert drives.row_of(bundle, RUN, "fixed", link, 4.0).recovered == []
    assert drives.row_of(bundle, late, "fixed", link, 1.0).recovered == []
    assert drives.row_of(bundle, late, "fixed", Condition(5.0), 4.0).recovered == []


def test_a_fixed_policy_may_name_its_point_and_copies() -> None:
    everything = {"policy": "fixed", "max_payload_bytes": 100_000}
    assert drives.parameters_of("fixed") == {**everything, "operating_point": "", "copies": 1}
    assert drives.parameters_of("fixed:coarse") == {**everything, "operating_point": "coarse", "copies": 1}
    assert drives.parameters_of("fixed:coarse:2") == {**everything, "operating_point": "coarse", "copies": 2}
    assert drives.parameters_of("learned:/a:b.onnx") == {"policy": "learned:/a:b.onnx"}


def test_rows_of_the_same_drive_are_replaced(bundle: Bundle, trace: Path, tmp_path: Path) -> None:
    path = tmp_path / "out" / "drives.json"
    first = drives.row_of(bundle, RUN, "ladder", replace(LINK, trace=trace), 10.0)
    drives.write([first, replace(first, policy="fixed")], path)
    drives.write([replace(first, frames=7)], path)
    written = json.loads(path.read_text())
    assert [(row["policy"], row["frames"]) for row in written["rows"]] == [("fixed", 5), ("ladder", 7)]
    assert written["machine"]


def test_a_drive_that_is_done_is_left_out(
    bundle: Bundle, trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, driven = tmp_path / "drives.json", []

    def measure(_: Bundle, way: str, link: Condition, seconds: float, **parameters: Any) -> Run:
        driven.append((link.begin, seconds, parameters["policy"]))
        return RUN

    monkeypatch.setattr(drives, "measure", measure)
    command = ["drives", "--traces", str(trace), "--worst", "5", "--bundle", str(bundle.folder), "--out", str(path)]
    for policies in (["fixed"], ["fixed", "ladder"], ["ladder", "--again"]):
        monkeypatch.setattr(sys, "argv", [*command, "--policies", *policies])
        assert drives.main() == 0
    assert driven == [(0.0, 18.0, "fixed"), (0.0, 18.0, "ladder"), (0.0, 18.0, "ladder")]
    assert [row.policy for row in drives.read_rows(path)] == ["fixed", "ladder"]


def test_what_a_listener_wrote_is_read_for_the_time_that_counts(tmp_path: Path) -> None:
    told: dict[str, Any] = {"source": 0, "operating_point": "fine", "age": 0.03, "late": False}
    lines = [
        *({"stamp": 5, "told": told}, {"stamp": 10, "told": told}, {"stamp": 20, "told": told}),
        *({"stamp": 10, "bytes": 100}, {"stamp": 10, "bytes": 100}, {"stamp": 9, "bytes": 100}),
        *({"stamp": number, "status": {"own_seconds": str(number)}} for number in (1, 11, 15, 30)),
    ]
    path = tmp_path / "drive"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    drive = read_drive(path, 10, 20)
    assert drive.told == {10: Told(**told)} and drive.sent == {10: 200}
    assert drive.more("own_seconds") == 4.0 and drive.more("unknown") == 0.0
    nothing = read_drive(path, 100, 200)
    assert (nothing.told, nothing.sent, nothing.more("own_seconds")) == ({}, {}, 0.0)


def test_without_the_privilege_it_is_skipped_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(sys, "argv", ["drives", "--out", str(tmp_path / "rows"), "--policies", "fixed"])
    assert drives.main() == 0
    assert "drives: skipped: network namespaces need root" in capsys.readouterr().err
