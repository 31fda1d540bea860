"""What each cut costs where nothing else runs, measured on this machine before the first frame."""

import statistics
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from mtl_split_core.control.unit import WHOLE, Cost
from mtl_split_core.halves import MiddleHalf, ServerHalf
from mtl_split_core.stopwatch import measure_in_turn

CALLS = 5


def measure_costs(half: MiddleHalf, values: Mapping[str, Any]) -> dict[str, Cost]:
    """Return the cost of every division's cut and of WHOLE; values: the node's parameters.

    The server's part is measured here, too, for which it is in memory meanwhile. Raises BundleError where the bundle
    lacks it.
    """
    bundle = half.bundle
    server = ServerHalf(bundle, values["threads"], engine=values["engine"], divisions=bundle.divisions)
    noise = np.random.default_rng(0).standard_normal(bundle.payload_format.shape, np.float32)
    payload = bundle.payload_format.pack(noise, bundle.default_point)
    answer = partial(server.decode, size=bundle.input_size)
    costs = {WHOLE: Cost(0.0, _seconds(partial(answer, payload)), len(payload))}
    for division in bundle.divisions:
        features = half.forward(payload, division.cut)
        unit = _seconds(partial(half.forward, payload, division.cut))
        rest = _seconds(partial(answer, features, division=division.fingerprint))
        costs[division.cut] = Cost(unit, rest, len(features))
    return costs


def _seconds(call: Callable[[], object]) -> float:
    return statistics.median(measure_in_turn({"": call}, CALLS)[""]) / 1e3
