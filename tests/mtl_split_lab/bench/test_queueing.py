"""The simulated queue does what the node's mailbox does, and no order beats the bound."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_split_core.serving import ORDERS, dysta, edf, turn
from mtl_split_lab.bench.queueing import Client, Job, Link, optimum, simulate, trace

TIMES = st.floats(0.001, 0.05)


@st.composite
def job_lists(draw: st.DrawFn, most: int = 30) -> list[Job]:
    found = []
    for _ in range(draw(st.integers(1, most))):
        arrived = draw(st.floats(0, 0.5))
        deadline = arrived + draw(st.floats(0, 0.2))
        found.append(Job(draw(st.integers(0, 3)), draw(st.sampled_from("ab")), arrived, deadline, draw(TIMES)))
    return sorted(found, key=lambda job: job.arrived)


@given(job_lists(), st.sampled_from([*ORDERS]), st.integers(1, 3), st.booleans(), st.sampled_from([0.0, 0.5]))
def test_no_more_at_once_than_workers_and_one_of_a_vehicle_in_order(
    jobs: list[Job], order: str, workers: int, drop: bool, least: float
) -> None:
    found = simulate(jobs, ORDERS[order], workers, least, drop)
    answered = [(job, at) for job, at in zip(jobs, found.finished, strict=True) if at < math.inf]
    for job, at in answered:
        begun = at - job.seconds
        assert begun >= job.arrived - 1e-9
        assert (
            sum(other_at - other.seconds <= begun + 1e-9 < other_at - 1e-9 for other, other_at in answered) <= workers
        )
    for vehicle in range(4):
        own = [at for job, at in answered if job.vehicle == vehicle]
        assert own == sorted(own)


def test_the_newest_frame_replaces_the_one_that_waits_and_what_is_hopeless_is_not_begun() -> None:
    first = Job(0, "a", 0.0, 1.0, 0.1)
    jobs = [
        first,
        *(replace(first, vehicle=1, arrived=at) for at in (0.01, 0.02)),
        replace(first, vehicle=2, arrived=0.03),
    ]
    assert simulate(jobs, turn, 1).finished == pytest.approx([0.1, math.inf, 0.2, 0.3])
    jobs[2] = replace(jobs[2], deadline=0.15)
    assert simulate(jobs, turn, 1).finished == pytest.approx([0.1, math.inf, math.inf, 0.2])
    late = simulate(jobs, edf, 1, drop=False)
    assert late.finished == pytest.approx([0.1, math.inf, 0.2, 0.3])
    assert late.in_time == [True, False, False, True] and late.share == 0.5
    assert late.shares() == {0: 1.0, 1: 0.0, 2: 1.0} and late.antt == pytest.approx((1 + 1.8 + 2.7) / 3)


@settings(max_examples=15)
@given(job_lists(12), st.integers(1, 2))
def test_no_order_answers_more_than_the_optimum(jobs: list[Job], workers: int) -> None:
    most = optimum(jobs, workers, 5.0)
    assert most <= sum(job.arrived + job.seconds <= job.deadline + 1e-3 for job in jobs)
    for order in ORDERS.values():
        assert sum(simulate(jobs, order, workers).in_time) <= most


def test_the_optimum_lets_the_urgent_go_first() -> None:
    jobs = [Job(0, "a", 0.0, 0.1, 0.06), Job(1, "a", 0.001, 0.05, 0.04), Job(2, "a", 0.001, 0.11, 0.06)]
    assert optimum(jobs, 1, 5.0) == 2 and optimum(jobs, 2, 5.0) == 3
    assert sum(simulate(jobs, dysta, 1).in_time) == 1


def test_a_trace_is_in_order_and_slows_down_where_it_is_told_to() -> None:
    clients = [Client("a", 0.01, 0.1), Client("b", 0.01, 0.2)]
    jobs = trace(clients, 10.0, 4.0, 0, Link(), {"b": 2.0})
    assert len(jobs) == 80 and all(one.arrived <= other.arrived for one, other in pairwise(jobs))
    assert jobs == trace(clients, 10.0, 4.0, 0, Link(), {"b": 2.0})
    slow = [job for job in jobs if job.contract == "b" and job.deadline >= 2.2]
    assert len(slow) == 20 and min(job.seconds for job in slow) > max(job.seconds for job in jobs if job not in slow)


def test_after_a_service_time_doubles_the_others_are_as_well_served_within_2_seconds() -> None:
    """Frames of 40 ms that then take 80 ms, and have 60 ms: a server that did not notice would lose the others."""
    clients = [Client("slows down", 0.04, 0.06), Client("same", 0.05, 0.1)]
    jobs = trace(clients, 10.0, 12.0, 0, Link(0.0, 0.0), {"slows down": 4.0})
    served = [(job, in_time) for job, in_time in zip(jobs, simulate(jobs, dysta, 1).in_time, strict=True)]
    before = [in_time for job, in_time in served if job.contract == "slows down" and job.arrived < 4.0]
    after = [in_time for job, in_time in served if job.contract == "same" and job.arrived >= 6.0]
    assert sum(before) > 0.9 * len(before) and sum(after) > 0.8 * len(after)
