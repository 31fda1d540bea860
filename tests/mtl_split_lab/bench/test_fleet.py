"""A small fleet on a real server, and what is concluded from loads."""

from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_split_core.bundle import Bundle, load_bundle
from mtl_split_lab.bench.fleet import (
    BATCHES,
    ENOUGH,
    PARTS,
    RATE,
    Load,
    Run,
    Setting,
    batch_times,
    bottlenecks,
    measure,
    runs_of,
    served,
    stage_times,
    write_page,
)
from mtl_split_lab.bench.traffic import Outcome

STREET = Path(__file__).parents[3] / "models" / "street"


STAGES = {("onnxruntime", False): {"decode": 1.0, "suffix": 10.0, "post": 0.5, "track": 0.2, "messages": 0.8}}


def load(vehicles: int, answered: int, workers: int = 2) -> Load:
    """A load of which so many of 100 frames were answered."""
    return Load(Run(vehicles, Setting(workers)), Outcome(1.0, 100, (20.0,) * answered), 10**8, 1.5, 0.2)


@given(st.dictionaries(st.integers(1, 64), st.integers(0, 100)))
def test_a_fleet_is_served_only_if_every_smaller_one_is(answered: dict[int, int]) -> None:
    most = served([load(*one) for one in answered.items()])
    enough = {vehicles for vehicles, share in answered.items() if share >= 100 * ENOUGH}
    assert most == 0 or {vehicles for vehicles in answered if vehicles <= most} <= enough
    larger = [vehicles for vehicles in answered if vehicles > most]
    assert not larger or min(larger) not in enough


def test_a_server_that_answers_nothing_has_no_cost_and_still_a_page(bundle: Bundle, tmp_path: Path) -> None:
    late = Outcome(1.0, 4, (20.0, 120.0, 99.0), (Outcome(1.0, 2, (20.0, 99.0)), Outcome(1.0, 2, (120.0,))))
    timely = Load(Run(2, Setting(2, deadline=0.1, order="edf", engine="openvino"), True, 0.01), late, 10**8, 1.5, 0.2)
    write_page(bundle, [load(1, 100), load(8, 0), load(8, 50, 1), timely], Setting(2), {1: 12.0}, STAGES, tmp_path)
    page = (tmp_path / "fleet.md").read_text()
    assert "**1 vehicles are served" in page
    assert "| 8 | 0.0% | 0.0 | nan | nan |" in page
    assert "| `workers: 1`, `threads: 1` | 50.0% |" in page
    assert "| onnxruntime | 1.0 | 10.0 | 0.5 | 0.2 | 0.8 | 2.5 | 15.0 |" in page
    assert "| 2 | 10 ms | openvino, 8-bit suffix | `edf`, `least_share: 0.3` | 50.0% | 0.0% | 75.0% |" in page


def test_vehicles_have_bottlenecks_of_their_own() -> None:
    bundle = load_bundle(STREET)
    messages = bottlenecks(bundle, 2)
    payloads = {message.payload.tobytes() for own in messages.values() for message in own}
    assert len(payloads) == sum(map(len, messages.values()))
    assert batch_times(bundle, {str(n): own for n, own in enumerate([*messages.values()] * 4)}, 1).keys() == set(
        BATCHES
    )
    stages = stage_times(bundle, "onnxruntime", [*payloads], 1)
    assert stages.keys() == {"decode", "suffix", "post", "track", "messages"} and min(stages.values()) > 0


def test_runs_of_one_server_follow_each_other_and_none_is_twice() -> None:
    parts = runs_of(Setting(2), [1, 8])
    assert [*parts] == [*PARTS]
    for runs in parts.values():
        servers = [run.server for run in runs]
        assert len([*groupby(servers)]) == len(set(servers))
    everything = [run for runs in parts.values() for run in runs]
    assert len(set(everything)) == len(everything)


def test_fleets_of_several_sizes_are_answered_by_one_server(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", "")  # and back again at the end
    messages = bottlenecks(bundle, 3)
    runs = [Run(vehicles, Setting(2)) for vehicles in (1, 2)]
    loads = [*measure(bundle, messages, runs, seconds=1.0)]
    for load, vehicles in zip(loads, (1, 2), strict=True):
        assert load.run.vehicles == vehicles and load.outcome.sent == vehicles * RATE
        assert 0 < len(load.outcome.latencies) <= load.outcome.sent
        assert min(load.outcome.latencies) > 0 and load.memory > 10**7
        assert [vehicle.sent for vehicle in load.outcome.vehicles] == vehicles * [RATE]
    write_page(bundle, loads, runs[0].setting, {1: 1.0}, STAGES, tmp_path)
    assert (tmp_path / "fleet.png").stat().st_size > 1000
