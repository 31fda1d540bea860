"""A trace carries what its rates add up to, whenever one begins, and a file that is none is refused in a line."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mtl_split_core.errors import InputError
from mtl_split_lab.adaptation.traces import Trace, carrier, read_trace, read_traces, write_trace

STEPS = st.lists(
    st.tuples(st.floats(0.01, 5.0), st.one_of(st.just(0.0), st.floats(10.0, 1e6))), min_size=2, max_size=20
).filter(lambda steps: any(rate for _, rate in steps[:-1]))


def made(steps: list[tuple[float, float]]) -> Trace:
    """A trace of lengths and rates; the last one's length is that of the one before."""
    seconds = np.concatenate([[0.0], np.cumsum([length for length, _ in steps[:-1]])])
    return Trace(seconds, np.array([rate for _, rate in steps]))


def bits_between(trace: Trace, begin: float, end: float) -> float:
    """Slowly: in small steps."""
    times = np.linspace(begin, end, 2_001)
    middles = (times[1:] + times[:-1]) / 2
    return float(sum(trace.rate(at) for at in middles) * (times[1] - times[0]))


def test_a_bit_takes_its_time_and_waits_while_nothing_passes() -> None:
    trace = made([(1.0, 100.0), (2.0, 0.0), (1.0, 50.0), (1.0, 50.0)])
    assert trace.duration == 5.0 and trace.rate(0.5) == trace.rate(5.5) == 100.0 and trace.rate(1.0) == 0.0
    assert trace.carried(0.0, 50.0) == 0.5
    assert trace.carried(0.5, 50.0) == 1.0
    assert trace.carried(0.5, 100.0) == 4.0
    assert trace.carried(1.5, 25.0) == 3.5
    assert trace.carried(0.0, 200.0) == 5.0 and trace.carried(0.0, 250.0) == 5.5
    assert trace.outages(1.0) == [(1.0, 3.0)] and trace.outages(2.5) == []


def test_how_long_after_outages_something_was_first_there() -> None:
    trace = made([(1.0, 100.0), (2.0, 0.0), (3.0, 50.0), (2.0, 0.0), (4.0, 50.0), (2.0, 0.0), (1.0, 50.0)])
    moments = [0.5, 3.25, 3.5, 9.5, 11.0]
    assert trace.recoveries(moments, 0.0, trace.duration) == [0.25, 1.5]
    assert trace.recoveries(moments, 0.0, 8.0) == [0.25]
    assert trace.recoveries([moment - 4 for moment in moments], 4.0, 11.0) == [1.5]


@pytest.mark.parametrize(
    ("steps", "part"),
    [
        ([(50.0, 1.0), (50.0, 2.0)], (0.0, 100.0)),  # it is short enough for all of it
        ([(100.0, 1.0), (80.0, 0.0), (120.0, 1.0), (5.0, 0.0), (50.0, 1.0), (1.0, 1.0)], (85.0, 110.0)),
        ([(200.0, 1.0), (20.0, 0.0), (5.0, 1.0), (1.0, 1.0)], (170.0, 60.0)),  # at its end
        ([(200.0, 5.0), (50.0, 1.0), (150.0, 5.0), (1.0, 5.0)], (185.0, 60.0)),  # none: where the rate is lowest
    ],
)
def test_the_worst_part_has_the_longest_outage_and_the_time_around_it(
    steps: list[tuple[float, float]], part: tuple[float, float]
) -> None:
    assert made(steps).worst_part(60.0, whole=100.0) == pytest.approx(part)


@given(STEPS, st.floats(0, 50), st.floats(1.0, 1e6))
def test_as_many_bits_pass_as_were_sent(steps: list[tuple[float, float]], begin: float, bits: float) -> None:
    trace = made(steps)
    end = trace.carried(begin, bits)
    assert end >= begin
    if end - begin < 3 * trace.duration:
        highest = max(rate for _, rate in steps)
        assert bits_between(trace, begin, end) == pytest.approx(bits, rel=0.05, abs=0.03 * highest)


# All that a trace carries before an outage at its end, some times over.
@example([(0.01, 10.0), (1.0, 0.0)], 0.0, 1.0, 1.0)
@given(STEPS, st.floats(0, 50), st.floats(1.0, 1e5), st.floats(1.0, 1e5))
def test_it_makes_no_difference_whether_bits_are_sent_together(
    steps: list[tuple[float, float]], begin: float, first: float, second: float
) -> None:
    trace = made(steps)
    apart = trace.carried(trace.carried(begin, first), second)
    assert apart == pytest.approx(trace.carried(begin, first + second), abs=1e-3 * trace.duration)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "does not begin with the line seconds,kbit_s"),
        ("seconds,kbit_s\n0,5\n", "two moments or more"),
        ("seconds,kbit_s\n0,5\n1,x\n", "line 3 of .* is '1,x', expected two numbers"),
        ("seconds,kbit_s\n0,5\n1\n", "line 3"),
        ("seconds,kbit_s\n0,5\n1,-1\n", "rates that are finite, not negative"),
        ("seconds,kbit_s\n0,5\n1,nan\n", "rates that are finite"),
        ("seconds,kbit_s\n0,0\n1,0\n", "not all 0"),
        ("seconds,kbit_s\n0,5\n0,6\n", "each later than the one before"),
        ("seconds,kbit_s\n1,5\n2,6\n", "from 0 on"),
        ("seconds,kbit_s\n0,5\ninf,6\n", "two moments"),
    ],
)
def test_what_is_no_trace_is_refused(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        read_trace(path)


def test_a_trace_is_read(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("seconds,kbit_s\n0.0,1\n0.1,2\n")
    assert read_trace(path).carried(0.0, 300.0) == pytest.approx(0.2)
    with pytest.raises(InputError, match="cannot be read"):
        read_trace(tmp_path / "none.csv")


def test_a_folder_of_traces_is_read_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no traces, expected files"):
        read_traces(tmp_path)
    for name in ("one_up", "two_up"):
        write_trace(made([(1.0, 8.0), (1.0, 0.0)]), tmp_path / f"{name}.csv")
    traces = read_traces(tmp_path)
    assert [carrier(name) for name in traces] == ["one", "two"]
    assert traces["one_up"].outages(1.0) == [(1.0, 2.0)]
