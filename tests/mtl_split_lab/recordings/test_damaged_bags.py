"""Whatever is changed in a bag, it is read or refused by name, in bounded memory. `make fuzz` tries many more."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mtl_split_lab.recordings.bags import BagFrames

from ...damaged_bags import TASKS, damages, is_refused, write_bags


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_bags(tmp_path_factory.mktemp("bags"))


@pytest.mark.timeout(0)
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_damaged_bag_is_read_or_refused(bags: list[Path], data: st.DataObject) -> None:
    is_refused(*data.draw(damages(bags)))


def test_the_bags_are_whole_before(bags: list[Path]) -> None:
    for bag in bags:
        frames = list(BagFrames(bag, TASKS))
        assert len(frames) == 3 and all(frame.known for frame in frames)
