"""A server leaves bottlenecks to a roadside unit that passes them on in time, and takes them itself where none does."""

from hypothesis import given
from hypothesis import strategies as st

from mtl_split_core.handover import PATIENCE, Handover

SHORT, LONG = 0.1 * PATIENCE, 1.1 * PATIENCE


def test_bottlenecks_are_the_units_while_it_passes_them_on_in_time() -> None:
    handover = Handover()
    for number in range(20):
        assert handover.leave((1, number), number * SHORT)
        handover.passed_on((1, number), (number + 0.5) * SHORT)


def test_a_unit_that_is_silent_loses_its_vehicle_and_one_that_is_back_gets_it_again() -> None:
    handover = Handover()
    assert handover.leave((1, 0), 0.0) and handover.leave((1, 1), SHORT)
    assert not handover.leave((1, 2), LONG)
    # What comes of it now is too late to count; the next one is in time.
    handover.passed_on((1, 0), LONG + SHORT)
    assert not handover.leave((1, 3), LONG + SHORT)
    handover.passed_on((1, 3), LONG + 2 * SHORT)
    assert handover.leave((1, 4), LONG + 3 * SHORT)


def test_a_vehicle_that_rarely_sends_is_left_to_its_unit() -> None:
    handover = Handover()
    for second in range(5):
        assert handover.leave((1, second), float(second))
        handover.passed_on((1, second), second + SHORT)


def test_features_that_belong_to_no_bottleneck_say_nothing_of_the_unit() -> None:
    handover = Handover()
    assert handover.leave((1, 0), 0.0)
    for number in range(5):
        handover.passed_on((2, number), SHORT)
    assert not handover.leave((1, 1), LONG)


@given(st.lists(st.tuples(st.sampled_from(["leave", "pass", "wait"]), st.integers(0, 5)), max_size=60))
def test_no_bottleneck_is_left_to_a_unit_that_owes_one_for_too_long(steps: list[tuple[str, int]]) -> None:
    handover, now = Handover(), 0.0
    owed: dict[tuple[int, int], float] = {}
    for what, number in steps:
        now += SHORT * (number + 1) if what == "wait" else 0.0
        if what == "leave":
            overdue = any(now - since > PATIENCE for since in owed.values())
            left = handover.leave((1, number), now)
            assert not (left and overdue)
            owed.setdefault((1, number), now)
        elif what == "pass" and (1, number) in owed and now - owed[1, number] <= PATIENCE:
            handover.passed_on((1, number), now)
            since = owed[1, number]
            owed = {place: at for place, at in owed.items() if at > since}
