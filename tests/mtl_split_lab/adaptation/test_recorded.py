"""A trace of a bag is one over which simulated bottlenecks take as long as the recorded ones did."""

from pathlib import Path

import numpy as np
import pytest
from mtl_split.msg import Bottleneck, LinkReport

from mtl_split_core.control.link import OUTAGE
from mtl_split_core.errors import InputError
from mtl_split_lab.adaptation.direction import Direction
from mtl_split_lab.adaptation.recorded import Crossing, trace_of, trace_of_bag
from mtl_split_lab.adaptation.simulator import BOTTLENECK_OVERHEAD
from mtl_split_lab.adaptation.traces import Trace, read_trace, write_trace
from mtl_split_lab.command import main

from ...bags import write_bag
from .cars import steady


def cross(trace: Trace, frames: int) -> list[Crossing]:
    """Bottlenecks of 1000 bytes, 10 in a second, over a link of a trace that loses nothing."""
    wire, sent = Direction(1.0, 0.0, np.random.default_rng(0)), []  # type: ignore[arg-type]
    wire.follow(trace, 0.0)
    for number in range(frames):
        [arrived] = wire.foresee(number / 10, 1000)
        wire._idle_at = arrived  # what comes next waits for it
        sent.append(Crossing(number / 10, 1000, arrived))
    return sent


def test_bottlenecks_take_as_long_again() -> None:
    rates = np.array([1e6, 2e5, 4e4, 0.0, 1e6, 3e5])
    before = cross(Trace(np.arange(6) * 2.0, rates), 120)
    again = cross(trace_of(before), 115)
    took = [[one.arrived - one.sent for one in crossings[:115] if one.arrived] for crossings in (before, again)]
    assert took[1] == pytest.approx(took[0], abs=0.02)


def test_many_lost_ones_are_an_outage_and_few_are_none() -> None:
    sent = cross(steady(1e6), 100)
    for number in (*range(20, 20 + OUTAGE), 60):
        sent[number].arrived, sent[number].lost = None, True
    assert trace_of(sent).outages(0.0) == [(pytest.approx(2.0), pytest.approx(2.0 + OUTAGE / 10))]


def message(number: int, received: int | None = None) -> Bottleneck | LinkReport:
    if received is None:
        return Bottleneck(session=7, sequence=number, payload=bytes(1000 - BOTTLENECK_OVERHEAD))
    return LinkReport(session=7, sequence=number, received=received, queued=0.0001, service=0.0002)


def test_a_bag_makes_a_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # A message of the bag is a millisecond after the one before, of which 0.3 ms are in the server.
    messages: list[tuple[str, Bottleneck | LinkReport]] = []
    for number in range(30):
        messages += [("/car/bottleneck", message(number)), ("/car/link_report", message(number, 3))]
    bag = write_bag(tmp_path / "bag", messages)
    main(["trace", str(bag), "--out", str(tmp_path / "made" / "trace.csv")])
    assert "written" in capsys.readouterr().out
    trace = read_trace(tmp_path / "made" / "trace.csv")
    assert {round(rate) for _, rate in trace.rows} == {8_000_000}  # 1 ms is the least that is told apart
    assert trace.duration == pytest.approx(0.06)


def test_lost_ones_are_known_by_the_bitmaps_of_others(tmp_path: Path) -> None:
    lost = range(5, 5 + OUTAGE)
    messages: list[tuple[str, Bottleneck | LinkReport]] = []
    for number in range(20):
        messages.append(("/bottleneck", message(number)))
        if number not in lost:
            there = sum(1 << behind for behind in range(number + 1) if number - behind not in lost)
            messages.append(("/link_report", message(number, there)))
    [(begin, end)] = trace_of_bag(write_bag(tmp_path / "bag", messages)).outages(0.0)
    assert (begin, end) == (pytest.approx(0.01), pytest.approx(0.01 + OUTAGE * 1e-3))


def test_a_bag_that_makes_none_is_refused(tmp_path: Path) -> None:
    none = write_bag(tmp_path / "none", [("/bottleneck", message(0))])
    with pytest.raises(InputError, match="nothing as mtl_split/msg/LinkReport, expected link_report of one vehicle"):
        trace_of_bag(none)
    both = [("bottleneck", message(0)), ("link_report", message(0, 1))]
    two = write_bag(tmp_path / "two", [(f"/{car}/{name}", one) for car in "ab" for name, one in both])
    with pytest.raises(InputError, match="or a namespace to choose"):
        trace_of_bag(two)
    with pytest.raises(InputError, match="makes no trace: 1 bottlenecks have a report, expected two or more"):
        trace_of_bag(two, "a")
    with pytest.raises(InputError, match="expected bottleneck of c"):
        trace_of_bag(two, "c")


def test_a_trace_is_written_and_read(tmp_path: Path) -> None:
    trace = Trace(np.array([0.0, 0.5, 2.0]), np.array([1e6, 0.0, 123_456.0]))
    write_trace(trace, tmp_path / "trace.csv")
    assert read_trace(tmp_path / "trace.csv").rows == trace.rows
