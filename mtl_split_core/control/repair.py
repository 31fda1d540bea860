"""Where a network is divided over machines in a row, chosen anew with the least change when times or rates change.

The network is a chain of layers, the machines (vehicle, roadside unit, server) are tiers; each link between two tiers
has a cut, the number of layers before it. After D3 (Zhang et al., *Dynamic DNN Decomposition for Lossless Synergistic
Inference*, 2021), which repairs a decomposition locally instead of making a new one. There, a change of a layer's time
or of a rate makes that layer and its neighbours be placed anew; here a chain is short enough for the exact optimum, by
dynamic programming in one pass over the layers per tier, so that what is local is the answer: each link keeps its cut,
or takes the nearest one with which the whole is not slower than the optimum by more than a tolerance.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mtl_split_core.errors import InputError

TOLERANCE = 0.03
"""The part by which a repaired division may be slower than the optimum, rather than change more."""

Reals = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Chain:
    """What was measured of layers, tiers and links. Raises InputError where the sizes do not fit together.

    seconds: (tiers, layers), of each layer on each tier, not negative; sizes: (layers + 1,), the bytes that cross a
    link whose cut is there; where all layers are before it, nothing does; rates: (tiers - 1,), bytes per second of each
    link, 0 in an outage; delays: (tiers - 1,), seconds of a link beside; allowed: of each link the cuts that it may
    have (None: all), such as the one with a learned bottleneck, or those whose parts are loaded.
    """

    seconds: Reals
    sizes: Reals
    rates: Reals
    delays: Reals
    allowed: Sequence[Sequence[int]] | None = None

    def __post_init__(self) -> None:
        tiers, layers = self.seconds.shape
        shapes = self.sizes.shape, self.rates.shape, self.delays.shape
        if shapes != ((layers + 1,), (tiers - 1,), (tiers - 1,)) or len(self.allowed or self.rates) != tiers - 1:
            raise InputError(
                f"{tiers} tiers and {layers} layers have sizes, rates and delays of shapes {shapes}, expected"
                f" {((layers + 1,), (tiers - 1,), (tiers - 1,))}, and allowed cuts for each link"
            )
        for name in ("seconds", "sizes", "rates", "delays"):
            values = getattr(self, name)
            if not (np.isfinite(values).all() and (values >= 0).all()):
                raise InputError(f"{name} has {values.min()} to {values.max()}, expected finite numbers from 0 on")

    @property
    def layers(self) -> int:
        """How many layers there are."""
        return len(self.sizes) - 1

    def crossing(self, link: int) -> Reals:
        """Return the seconds that a link takes, by its cut, (layers + 1,): infinity where it may not be."""
        with np.errstate(divide="ignore", invalid="ignore"):
            seconds: Reals = np.where(self.sizes > 0, self.sizes / self.rates[link], 0.0) + self.delays[link]
        seconds[-1] = 0.0
        if self.allowed is not None:
            possible = np.full(self.layers + 1, np.inf)
            possible[[*self.allowed[link]]] = 0.0
            seconds = seconds + possible
        return seconds

    def computing(self, tier: int) -> Reals:
        """Return the seconds that a tier takes for the layers before each cut, (layers + 1,)."""
        return np.concatenate([[0.0], np.cumsum(self.seconds[tier])])


def latency(chain: Chain, cuts: Sequence[int]) -> float:
    """Return the seconds of one frame through the tiers, with one cut per link, not descending."""
    total, begin = 0.0, 0
    for tier, end in enumerate([*cuts, chain.layers]):
        seconds = chain.computing(tier)
        total += float(seconds[end] - seconds[begin])
        total += float(chain.crossing(tier)[end]) if tier < len(cuts) else 0.0
        begin = end
    return total


def optimum(chain: Chain) -> tuple[int, ...]:
    """Return the cuts with the least latency, by dynamic programming."""
    return _nearest(chain, None, 0.0)


def repair(chain: Chain, present: Sequence[int], tolerance: float = TOLERANCE) -> tuple[int, ...]:
    """Return cuts whose latency is at most 1 + `tolerance` times the optimum's, as near to the present ones as that.

    The links are gone through from the vehicle on: the first keeps its cut, or takes the nearest that allows it, and so
    on. Where nothing passes at all, the present cuts stay.
    """
    if len(present) != len(chain.rates) or not all(0 <= cut <= chain.layers for cut in present):
        raise InputError(f"the present cuts are {[*present]}, expected one of 0 to {chain.layers} per link")
    return _nearest(chain, present, tolerance)


def repair_cut(seconds: Reals, present: int, tolerance: float = TOLERANCE) -> int:
    """Return the cut of a single link, as `repair` does, where the latency with each is known as a whole.

    seconds: (cuts,), of a frame through both tiers, by the cut's index in the order of the layers.
    """
    return _choose(seconds, present, float(seconds.min()) * (1 + tolerance))


def _choose(seconds: Reals, present: int, most: float) -> int:
    """Return the index nearest to the present one of those with at most so many seconds; of two, the quicker one."""
    good = np.flatnonzero(seconds <= most)
    return int(min(good, key=lambda at: (abs(at - present), seconds[at])))


def _nearest(chain: Chain, present: Sequence[int] | None, tolerance: float) -> tuple[int, ...]:
    links = len(chain.rates)
    computing = [chain.computing(tier) for tier in range(links + 1)]
    crossing = [chain.crossing(link) for link in range(links)]
    # behind[link][cut]: the least seconds from that link on, where its cut is there.
    behind: list[Reals] = [np.empty(0)] * links
    after = computing[-1][-1] - computing[-1]
    for link in reversed(range(links)):
        behind[link] = crossing[link] + after
        # The tier before it begins at some layer, and ends at the best cut from there on.
        ends = computing[link] + behind[link]
        after = np.minimum.accumulate(ends[::-1])[::-1] - computing[link]
    best = float(after[0])
    if not np.isfinite(best):
        return tuple(present) if present is not None else (chain.layers,) * links
    cuts: list[int] = []
    spent, begin = 0.0, 0
    for link in range(links):
        total = spent + computing[link] - computing[link][begin] + behind[link]
        total[:begin] = np.inf
        wanted = int(np.argmin(total)) if present is None else present[link]
        # A part of 1e-12 is rounding.
        cut = _choose(total, wanted, max(best * (1 + tolerance), float(total.min()) * (1 + 1e-12)))
        spent += float(computing[link][cut] - computing[link][begin] + crossing[link][cut])
        cuts.append(cut)
        begin = cut
    return tuple(cuts)
