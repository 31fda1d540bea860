"""Processes are slowed by a control group that is gone afterwards."""

import subprocess

import pytest

from mtl_split_core.errors import InputError
from mtl_split_lab.bench.slowing import CGROUPS, SLICE, CannotSlowError, slowed

LIMITS = ("cpu/mtl-test-*/cpu.cfs_quota_us", "cpu/mtl-test-*/cpu.cfs_period_us", "mtl-test-*/cpu.max")
"""Of the first and of the second version of control groups."""


@pytest.mark.parametrize(("speed", "quota", "period"), [(0.5, SLICE, 2 * SLICE), (0.8, 4 * SLICE, 5 * SLICE)])
def test_a_part_of_the_processor_is_given(speed: float, quota: int, period: int) -> None:
    try:
        with slowed(speed, "test") as within:
            command = [*within, "grep", "-c", "mtl-test", "/proc/self/cgroup"]
            inside = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            limits = " ".join(file.read_text() for pattern in LIMITS for file in CGROUPS.glob(pattern)).split()
    except CannotSlowError as error:
        pytest.skip(str(error))
    assert inside == "1\n" and limits == [str(quota), str(period)]
    assert not [*CGROUPS.glob("mtl-test-*"), *CGROUPS.glob("cpu/mtl-test-*")]


def test_full_speed_needs_nothing_and_more_is_refused() -> None:
    with slowed(1.0, "test") as within:
        assert within == []
    with pytest.raises(InputError, match=r"speed is 1\.5, expected above 0 to 1"), slowed(1.5, "test"):
        pass
