"""What was driven live is simulated over the same part of the same trace."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from mtl_split_core.errors import InputError
from mtl_split_lab.adaptation.cars import Car
from mtl_split_lab.adaptation.traces import Trace
from mtl_split_lab.bench import simulated
from mtl_split_lab.bench.drives import Row

from ..adaptation.cars import MENU, SIZES, TIMES

TRACE = Trace(np.array([0.0, 20.0, 24.0, 30.0]), np.array([1e6, 0.0, 1e6, 1e6]))
ROW = Row("city", 15.0, 10.0, 0.0, "fixed:fine", 100, 0, 1.0, 0.5, 0, None, 20.0, 90.0, 900.0, 1.0, {}, {}, {}, [0.1])


@pytest.fixture(autouse=True)
def car(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the place of one that is measured."""
    monkeypatch.setattr(simulated, "make_car", lambda *_: Car("", "", ("coarse", "default", "fine"), MENU, TIMES))
    monkeypatch.setattr(simulated, "payload_sizes", lambda *_: [SIZES])


def test_only_fixed_points_over_traces_are_compared() -> None:
    others = [replace(ROW, policy="predictive"), replace(ROW, loss=0.1), replace(ROW, trace="5 Mbit/s")]
    nothing = cast(Any, None)
    [one] = simulated.compare(nothing, nothing, {"city": TRACE}, [*others, ROW])
    # 4 of 10 seconds are an outage, after which the link first carries what waits for it.
    assert one.simulated.answered == 1.0 and 0.5 < one.simulated.served < 0.6
    assert one.apart == pytest.approx(one.simulated.served - 0.5)
    page = simulated.write_page(cast(Any, SimpleNamespace(name="street", fingerprint="0")), [one])
    assert "| city | 15 to 25 | fine | 100.0% | 100.0% | 50.0% |" in page
    with pytest.raises(InputError, match="no drives by fixed:POINT"):
        simulated.compare(nothing, nothing, {"city": TRACE}, others)
