"""Who is next, who is given up, and what is learned of it: claims on the pure functions and on a schedule over time."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_split_core.serving import (
    KNOWN,
    LOAD_SECONDS,
    ORDERS,
    Choice,
    Load,
    Schedule,
    Service,
    ServiceTimes,
    Waiting,
    choose,
    dysta,
    edf,
    turn,
)

TIMES = {"short": 0.01, "long": 0.04}
SERVICE = {contract: Service(seconds) for contract, seconds in TIMES.items()}
NAMES = st.integers(0, 9)
FRAMES = st.dictionaries(NAMES, st.tuples(st.sampled_from([*TIMES]), st.floats(0, 1) | st.just(math.inf)))


def waiting(frames: dict[int, tuple[str, float]]) -> list[Waiting[int]]:
    return [Waiting(vehicle, contract, 0.0, deadline) for vehicle, (contract, deadline) in frames.items()]


@given(FRAMES, st.floats(0, 1), st.dictionaries(NAMES, st.floats(0, 3)), st.sampled_from([*ORDERS]))
def test_what_is_given_up_is_late_and_what_is_chosen_is_not(
    frames: dict[int, tuple[str, float]], now: float, owed: dict[int, float], order: str
) -> None:
    found = choose(waiting(frames), ORDERS[order], now, SERVICE.__getitem__, lambda vehicle: owed.get(vehicle, 0.0))
    late = {vehicle for vehicle, (contract, deadline) in frames.items() if now + TIMES[contract] > deadline}
    assert set(found.hopeless) == late
    if found.next is None:
        assert late == frames.keys()
    else:
        assert found.next not in late
        assert int(owed.get(found.next, 0)) == max(int(owed.get(vehicle, 0)) for vehicle in frames.keys() - late)


@given(FRAMES, st.sampled_from([*ORDERS]))
def test_without_deadlines_every_order_is_by_turns(frames: dict[int, tuple[str, float]], order: str) -> None:
    endless = {vehicle: (contract, math.inf) for vehicle, (contract, _) in frames.items()}
    found = choose(waiting(endless), ORDERS[order], 0.0, SERVICE.__getitem__, lambda vehicle: 0.0)
    assert found == Choice(next(iter(frames), None))


def test_each_order_has_its_own_first() -> None:
    frames = waiting({1: ("long", 0.5), 2: ("long", 0.1), 3: ("short", 0.12)})

    def first(order: str) -> int | None:
        return choose(frames, ORDERS[order], 0.0, SERVICE.__getitem__, lambda vehicle: 0.0, load=2.0).next

    assert {order: first(order) for order in ORDERS} == {"turn": 1, "edf": 2, "dysta": 3}


@given(
    st.dictionaries(NAMES, st.tuples(st.sampled_from([*TIMES]), st.integers(0, 100).map(lambda n: n / 100))),
    st.floats(0, 1),
)
def test_dysta_is_edf_up_to_a_load_of_1(frames: dict[int, tuple[str, float]], load: float) -> None:
    apart = {deadline: (vehicle, contract) for vehicle, (contract, deadline) in frames.items()}
    some = waiting({vehicle: (contract, deadline) for deadline, (vehicle, contract) in apart.items()})
    chosen = [choose(some, order, 0.0, SERVICE.__getitem__, lambda vehicle: 0.0, load) for order in (dysta, edf)]
    assert chosen[0] == chosen[1]


def test_the_load_is_the_work_that_comes_and_is_forgotten() -> None:
    load = Load(workers=2)
    assert load.at(5.0) == 0
    for number in range(1000):
        load.add(0.03, number / 100)
    assert load.at(9.99) == pytest.approx(1.5, rel=0.02)
    assert load.at(9.99 + LOAD_SECONDS) == pytest.approx(1.5 / math.e, rel=0.02)


@pytest.mark.parametrize(("workers", "late", "expected"), [(1, 0.0, "short"), (2, 0.0, "urgent"), (1, 1.0, "urgent")])
def test_a_schedule_knows_its_load_by_the_frames_that_can_be_answered(workers: int, late: float, expected: str) -> None:
    """Fifty frames of 30 ms a second are too many for one worker, but not for two, nor where they come too late."""
    schedule: Schedule[str] = Schedule(dysta, workers=workers)
    for number in range(200):
        now = number / 50
        schedule.arrive(Waiting("any", "long", now, now + 0.1 - late))
        schedule.answered(Waiting("any", "long", now, math.inf), now, now + 0.03)
        schedule.answered(Waiting("any", "brief", now, math.inf), now, now + 0.005)
    frames = [Waiting("urgent", "long", 4.0, 4.08), Waiting("short", "brief", 4.0, 4.1)]
    assert schedule.choose(frames, 4.0).next == expected


def test_service_times_follow_a_change_and_are_tried_again_after_a_while() -> None:
    times = ServiceTimes()
    assert times.expect("a", 0.0) == Service() and times.alone("a") == math.inf
    for number in range(10):
        times.learn("a", 0.01, number / 10)
    for number in range(10, 18):
        times.learn("a", 0.02, number / 10)
    assert times.expect("a", 1.7).seconds == pytest.approx(0.02, rel=0.1)
    assert times.expect("b", 1.7) == Service() and times.alone("a") == 0.01
    assert times.expect("a", 1.7 + KNOWN).seconds > 0 and times.expect("a", 1.8 + KNOWN) == Service()


def test_a_frame_in_doubt_waits_for_those_that_are_not_but_not_for_those_owed_less() -> None:
    frames = waiting({1: ("long", 0.05), 2: ("long", 0.1)})

    def first(**owed: float) -> Choice[int]:
        return choose(frames, edf, 0.0, lambda _: Service(0.04, 0.02), lambda vehicle: owed.get(f"v{vehicle}", 0.0))

    assert first() == first(v1=0.9) == Choice(2) and first(v1=1.0) == Choice(1)


def test_the_deviation_is_learned() -> None:
    times = ServiceTimes()
    for number in range(50):
        times.learn("even", 0.01, 0.0)
        times.learn("uneven", 0.01 + 0.005 * (number % 2), 0.0)
    assert tuple(times.expect("even", 0.0)) == pytest.approx((0.01, 0.0))
    assert 0.001 < times.expect("uneven", 0.0).deviation < 0.005


def test_one_long_frame_does_not_lock_a_contract_out_for_ever() -> None:
    schedule: Schedule[str] = Schedule(edf)
    schedule.answered(Waiting("car", "a", 0.0, 0.1), 0.0, 5.0)
    assert schedule.choose([Waiting("car", "a", 5.5, 5.6)], 5.5) == Choice(None, ("car",))
    assert schedule.choose([Waiting("car", "a", 6.5, 6.6)], 6.5) == Choice("car")


@pytest.mark.parametrize(("least", "order"), [(0.0, dysta), (0.3, dysta), (0.3, edf), (0.3, turn)])
def test_no_vehicle_falls_below_the_least_share(least: float, order: object) -> None:
    """Ten vehicles ask for 1.3 times what there is; the shortest job first would hardly ever answer the long one."""
    schedule: Schedule[int] = Schedule(order, least)  # type: ignore[arg-type]
    contracts = ["long", *["short"] * 9]
    in_time: Counter[int] = Counter()
    now, rounds = 0.0, 200
    for number in range(rounds):
        frames = [
            Waiting(vehicle, contract, number / 10, number / 10 + 0.1) for vehicle, contract in enumerate(contracts)
        ]
        for frame in frames:
            schedule.arrive(frame)
        now = max(now, number / 10)
        while frames and now < (number + 1) / 10:
            choice = schedule.choose(frames, now)
            frames = [frame for frame in frames if frame.vehicle not in choice.hopeless]
            if choice.next is not None:
                [frame] = [frame for frame in frames if frame.vehicle == choice.next]
                frames.remove(frame)
                begun, now = now, now + TIMES[frame.contract]
                schedule.answered(frame, begun, now)
                in_time[frame.vehicle] += now <= frame.deadline
    shares = [in_time[vehicle] / rounds for vehicle in range(10)]
    assert min(shares) >= least - 0.05
    assert least or shares[0] < 0.25


def test_all_frames_are_counted_once_and_turnarounds_as_multiples() -> None:
    schedule: Schedule[str] = Schedule(turn)
    assert schedule.facts("car") == {"in_time": "0", "missed": "0", "hopeless": "0", "antt": "n/a"}
    schedule.answered(Waiting("car", "a", 0.0, 1.0), 0.0, 0.125)
    schedule.answered(Waiting("car", "a", 1.0, 1.25), 1.25, 1.375)
    schedule.missed("car")
    schedule.choose([Waiting("bus", "a", 2.0, 1.9)], 2.0)
    assert schedule.facts("car") == {"in_time": "1", "missed": "2", "hopeless": "0", "antt": "2.00"}
    assert schedule.facts("bus")["hopeless"] == "1"
    assert schedule.facts() == {"in_time": "1", "missed": "2", "hopeless": "1", "antt": "2.00"}
