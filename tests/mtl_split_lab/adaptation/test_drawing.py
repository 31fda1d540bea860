"""Drawn traces are like those that their chain was fitted to."""

import numpy as np
import pytest

from mtl_split_lab.adaptation.drawing import DRAWN, STEP, draw, fit
from mtl_split_lab.adaptation.traces import Trace, carrier, read_traces


def real() -> Trace:
    """Rates that come back, with outages of 2 s and of 5 s."""
    chance = np.random.default_rng(0)
    rates = np.exp(chance.normal(np.log(1e6), 0.8, 2_000))
    for begin in range(50, 1_950, 100):
        rates[begin : begin + (4 if begin % 200 == 50 else 10)] = 0.0
    return Trace(STEP * np.arange(len(rates)), rates)


def test_outages_and_rates_are_those_of_the_real_one() -> None:
    drawn = draw(fit([real()]), 2_000.0, seed=1)
    outages = drawn.outages(STEP)
    assert {round(end - begin, 6) for begin, end in outages} == {2.0, 5.0}
    assert len(outages) == pytest.approx(2 * len(real().outages(STEP)), rel=0.5)
    rates = [[round(rate) for _, rate in trace.rows if rate] for trace in (real(), drawn)]
    assert set(rates[1]) <= set(rates[0])
    assert np.log(np.median(rates[1])) == pytest.approx(np.log(np.median(rates[0])), abs=0.2)


def test_a_seed_draws_the_same_again() -> None:
    chain = fit([real()])
    assert draw(chain, 50.0, 3).rows == draw(chain, 50.0, 3).rows != draw(chain, 50.0, 4).rows


def test_those_that_come_with_the_project_are_one_of_each_carrier() -> None:
    traces = read_traces(DRAWN)
    assert len(set(map(carrier, traces))) == len(traces) == 5
    assert all(trace.duration == pytest.approx(300.0, abs=60.0) for trace in traces.values())
    assert sum(bool(trace.outages(1.0)) for trace in traces.values()) >= 3
