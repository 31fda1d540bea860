"""Traces that are drawn: a Markov chain of the rates of real links, with outages as long as theirs.

ros2_ws/run python -m mtl_split_lab.adaptation.drawing --traces FOLDER --out mtl_split_lab/adaptation/drawn
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mtl_split_lab.adaptation.traces import Trace, carrier, read_traces, write_trace

STEP = 0.5
"""Seconds of a step of the chain."""

LEVELS = 8
"""States of the chain beside the outage: so many classes of rates, each as frequent as the others."""

DRAWN = Path(__file__).parent / "drawn"
"""The folder of those that come with the project, one for each carrier of the real ones."""


@dataclass(frozen=True)
class Chain:
    """What is drawn from.

    rates: of each state, those that were seen, in bits per second; following: of each state, those that came next, the
    outage being LEVELS; lengths: of outages, in steps.
    """

    rates: Sequence[npt.NDArray[np.float64]]
    following: Sequence[npt.NDArray[np.int64]]
    lengths: npt.NDArray[np.int64]


def fit(traces: Sequence[Trace]) -> Chain:
    """Fit a chain to traces of one carrier."""
    steps = [_step(trace) for trace in traces]
    rates = np.concatenate(steps)
    edges = np.quantile(rates[rates > 0], np.linspace(0, 1, LEVELS + 1)[1:-1])
    seen: dict[int, list[float]] = defaultdict(list)
    following: dict[int, list[int]] = defaultdict(list)
    lengths = []
    for own in steps:
        states = np.where(own > 0, np.searchsorted(edges, own), LEVELS).tolist()
        for state, rate in zip(states, own.tolist(), strict=True):
            seen[state].append(rate)
        runs = [(state, len(list(run))) for state, run in groupby(states)]
        lengths += [length for state, length in runs if state == LEVELS]
        # An outage is drawn with its length, so that it does not follow itself.
        for state, after in pairwise(states):
            if (state, after) != (LEVELS, LEVELS):
                following[state].append(after)
    anything = [state for state in seen if state != LEVELS]
    return Chain(
        [np.array(seen[state] or [0.0]) for state in range(LEVELS + 1)],
        [np.array(following[state] or anything) for state in range(LEVELS + 1)],
        np.array(lengths, np.int64),
    )


def draw(chain: Chain, seconds: float, seed: int) -> Trace:
    """Draw a trace of at least so many seconds. It begins with a rate above 0, and ends with one."""
    chance = np.random.default_rng(seed)
    state, rates = 0, list[float]()
    while len(rates) * STEP < seconds or state == LEVELS:
        if state == LEVELS:
            rates += [0.0] * int(chance.choice(chain.lengths))
        else:
            rates.append(float(chance.choice(chain.rates[state])))
        state = int(chance.choice(chain.following[state]))
    return Trace(STEP * np.arange(len(rates)), np.array(rates))


def _step(trace: Trace) -> npt.NDArray[np.float64]:
    """Return the mean rate of each step."""
    moments, rates = map(np.array, zip(*trace.rows, strict=True))
    carried = np.concatenate([[0.0], np.cumsum(rates[:-1] * np.diff(moments))])
    return np.diff(np.interp(np.arange(0, moments[-1], STEP), moments, carried)) / STEP


def main() -> None:
    """Fit a chain to the traces of each carrier in a folder, and draw one trace from each."""
    parser = argparse.ArgumentParser(prog="drawing", description=main.__doc__)
    parser.add_argument("--traces", type=Path, required=True, help="folder of traces, named CARRIER_ANYTHING.csv")
    parser.add_argument("--out", type=Path, default=DRAWN, help="folder to write (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=300.0, help="of each (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    real = read_traces(options.traces)
    for name in sorted(set(map(carrier, real))):
        chain = fit([trace for other, trace in real.items() if carrier(other) == name])
        write_trace(draw(chain, options.seconds, options.seed), options.out / f"{name}_drawn.csv")


if __name__ == "__main__":
    main()
