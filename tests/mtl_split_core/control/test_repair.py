"""A repaired division is nearly the best one and changes no more than it has to; the best is that of trying all."""

from dataclasses import replace
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_split_core.control.repair import TOLERANCE, Chain, latency, optimum, repair, repair_cut
from mtl_split_core.errors import InputError
from mtl_split_lab.adaptation.traces import read_trace

TRACES = Path(__file__).parents[4] / "shared" / "traces"


@st.composite
def chains(draw: st.DrawFn) -> Chain:
    tiers, layers = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    allowed = None
    if draw(st.booleans()):
        allowed = [sorted({*rng.integers(0, layers + 1, 2).tolist(), layers}) for _ in range(tiers - 1)]
    return Chain(
        seconds=rng.exponential(0.01, (tiers, layers)) * rng.integers(0, 2, (tiers, layers)),
        sizes=rng.exponential(1e5, layers + 1) * rng.integers(0, 2, layers + 1),
        rates=rng.exponential(1e6, tiers - 1) * rng.integers(0, 4, tiers - 1),
        delays=rng.exponential(0.01, tiers - 1),
        allowed=allowed,
    )


def every_division(chain: Chain) -> list[tuple[int, ...]]:
    return [*combinations_with_replacement(range(chain.layers + 1), len(chain.rates))]


@given(chains())
def test_the_optimum_is_the_best_of_all(chain: Chain) -> None:
    assert latency(chain, optimum(chain)) == pytest.approx(min(latency(chain, each) for each in every_division(chain)))


@given(chains(), st.data(), st.sampled_from([0.0, 0.03, 0.5]))
def test_a_repair_is_within_the_tolerance_and_changes_nothing_that_need_not_change(
    chain: Chain, data: st.DataObject, tolerance: float
) -> None:
    present = data.draw(st.sampled_from(every_division(chain)))
    repaired = repair(chain, present, tolerance)
    best = latency(chain, optimum(chain))
    assert [*repaired] == sorted(repaired)
    assert latency(chain, repaired) <= best * (1 + tolerance) * (1 + 1e-9)
    if latency(chain, present) <= best * (1 + tolerance):
        assert repaired == present
    assert repair(chain, repaired, tolerance) == repaired


@given(chains().filter(lambda chain: len(chain.rates) == 1), st.data(), st.sampled_from([0.0, 0.03, 0.5]))
def test_a_single_link_is_repaired_alike_where_only_the_whole_latencies_are_known(
    chain: Chain, data: st.DataObject, tolerance: float
) -> None:
    present = data.draw(st.integers(0, chain.layers))
    seconds = np.array([latency(chain, (cut,)) for cut in range(chain.layers + 1)])
    [cut] = repair(chain, (present,), tolerance)
    assert seconds[repair_cut(seconds, present, tolerance)] == pytest.approx(seconds[cut])


def test_in_an_outage_the_vehicle_goes_on_alone_and_where_it_may_not_nothing_changes() -> None:
    chain = Chain(np.array([[1.0, 4.0], [0.1, 0.1]]), np.array([9.0, 1.0, 0.0]), np.zeros(1), np.zeros(1))
    assert repair(chain, (1,)) == optimum(chain) == (2,)
    assert repair(replace(chain, rates=np.array([1e6])), (2,)) == (0,)
    assert repair(replace(chain, allowed=[[0, 1]]), (1,)) == (1,)


def test_a_cut_moves_no_further_than_it_has_to() -> None:
    seconds = np.array([[1.0, 1.0, 1.0, 1.0], [0.99, 0.99, 0.99, 0.99]])
    chain = Chain(seconds, np.array([5.0, 0.02, 0.01, 0.0, 0.0]), np.ones(1), np.zeros(1))
    assert optimum(chain) == (1,) and repair(chain, (3,)) == (3,) and repair(chain, (0,)) == (1,)


@pytest.mark.parametrize(
    "other",
    [
        {"sizes": np.zeros(3)},
        {"rates": np.array([np.inf])},
        {"delays": np.array([-1.0])},
        {"seconds": np.array([[np.nan], [0.0]])},
        {"allowed": [[0], [1]]},
    ],
)
def test_what_does_not_fit_together_is_refused(other: dict[str, Any]) -> None:
    good = Chain(np.zeros((2, 1)), np.zeros(2), np.ones(1), np.zeros(1))
    with pytest.raises(InputError):
        replace(good, **other)
    with pytest.raises(InputError, match=r"present cuts are \[2\], expected one of 0 to 1 per link"):
        repair(good, (2,))


@pytest.mark.skipif(not TRACES.is_dir(), reason=f"needs the traces in {TRACES}, which are not in this repository")
def test_on_every_trace_a_repair_is_nearly_the_best_and_changes_less_often() -> None:
    rng = np.random.default_rng(0)
    layers = 40
    work = rng.exponential(0.0005, layers)
    base = Chain(
        np.stack([4 * work, 2 * work, work]), rng.uniform(1e3, 4e5, layers + 1), np.ones(2), np.array([0.005, 0.002])
    )
    for path in sorted(TRACES.glob("*.csv")):
        trace = read_trace(path)
        present = best = optimum(base)
        changes = {"repair": 0, "optimum": 0}
        for second in np.arange(0.0, min(trace.duration, 300.0)):
            chain = replace(base, rates=np.array([trace.rate(second) / 8, 12.5e6]))
            found, newest = repair(chain, present), optimum(chain)
            assert latency(chain, found) <= (1 + TOLERANCE) * latency(chain, newest) * (1 + 1e-9), path.name
            changes["repair"] += found != present
            changes["optimum"] += newest != best
            present, best = found, newest
        assert changes["repair"] <= changes["optimum"], path.name
