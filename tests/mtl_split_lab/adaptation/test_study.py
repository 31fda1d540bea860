"""How late a policy meets an outage is told, and that it did not see the trace."""

from dataclasses import replace

import numpy as np
import pytest

from mtl_split_core.control.policy import PREDICTIVE, Action, Menu, Own, Policy, Situation
from mtl_split_lab.adaptation import study
from mtl_split_lab.adaptation.cars import Car
from mtl_split_lab.adaptation.study import CLAIRVOYANT, SHIFT, Job, Row, delays_of, recoveries_of, run_job
from mtl_split_lab.adaptation.traces import LONG, Trace

from .cars import MENU, SIZES, TIMES

CAR = Car("car", "", ("coarse", "default", "fine"), replace(MENU, second_price=5.0, byte_price=6e-6), TIMES)
TRACE = Trace(np.array([0.0, 20.0, 24.0, 35.0, 38.0, 50.0]), np.array([1e6, 0.0, 1e6, 0.0, 1e6, 1e6]))
ROW = Row(PREDICTIVE, PREDICTIVE)


def delays(shift: float) -> list[int]:
    job = Job(CAR, ROW, TRACE, shift)
    return delays_of(job, run_job(job, [SIZES]))


def test_an_outage_is_met_a_few_frames_late_wherever_it_is() -> None:
    plain, shifted = (delays(shift) for shift in (0.0, SHIFT))
    assert plain == shifted and len(plain) == len(TRACE.outages(LONG))
    assert all(1 <= frames <= 3 for frames in plain)


@pytest.mark.parametrize("shift", [0.0, SHIFT])
def test_the_server_answers_soon_after_an_outage_and_sooner_for_who_knows_its_end(shift: float) -> None:
    jobs = [Job(CAR, row, TRACE, shift) for row in (ROW, Row(CLAIRVOYANT, CLAIRVOYANT))]
    waited, known = (recoveries_of(job, run_job(job, [SIZES])) for job in jobs)
    assert len(waited) == len(known) == 2
    assert all(0 < end <= later <= 0.3 for end, later in zip(known, waited, strict=True))


def test_who_saw_the_trace_is_as_far_off_as_it_is_shifted(monkeypatch: pytest.MonkeyPatch) -> None:
    def cheat(row: Row, car: Car) -> Policy:
        frames = iter(range(1_000_000))

        def policy(menu: Menu, situation: Situation) -> Action:
            at = next(frames) / 10
            alone = any(begin + 0.2 <= at < end for begin, end in TRACE.outages(LONG))
            return Action(None, own=Own.WHOLE, at_once=True) if alone else Action(0, own=Own.WHOLE)

        return policy

    monkeypatch.setattr(study, "make_policy", cheat)
    assert delays(0.0) == [2, 2]
    assert delays(SHIFT) == []
