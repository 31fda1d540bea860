"""A plan's routes are run by the real nodes, and compared with what was predicted."""

from dataclasses import replace
from pathlib import Path

import pytest

from mtl_split_core.bundle import Bundle
from mtl_split_core.errors import InputError
from mtl_split_lab.bench.namespaces import NoLinkError
from mtl_split_lab.bench.slowing import CannotSlowError
from mtl_split_lab.learning.division import divide
from mtl_split_lab.planning import check
from mtl_split_lab.planning.check import (
    ANSWER,
    AT_EDGE,
    AT_UNIT,
    BOTTLENECK,
    FEATURES,
    REST,
    Checked,
    format_check,
    measured_parts,
    predict_parts,
    whole,
)
from mtl_split_lab.planning.fleet import load_fleet
from mtl_split_lab.planning.plan import make_plan
from mtl_split_lab.planning.routes import Route, find_routes

from ...tiny_bundle import write_tiny_bundle
from .fleets import write_fleet


@pytest.fixture
def routes(tmp_path: Path) -> list[Route]:
    """Of each way one, of a bundle that is divided."""
    divided, *_ = divide(write_tiny_bundle(tmp_path / "tiny"), "means")
    return find_routes(load_fleet(write_fleet(tmp_path, divided)))["car"]


def test_a_comparison_says_by_how_much_each_part_is_off(routes: list[Route]) -> None:
    def checked(predicted: float, measured: float, half_predicted: float, half_measured: float) -> Checked:
        times = (predicted, measured, half_predicted, half_measured)
        return Checked(routes[0], *({AT_EDGE: 10.0, ANSWER: each - 10.0} for each in times))

    assert checked(100.0, 114.0, 200.0, 190.0).close
    assert not checked(100.0, 116.0, 200.0, 200.0).close
    assert not checked(100.0, 100.0, 200.0, 150.0).close
    said = format_check(checked(100.0, 110.0, 200.0, 176.0))
    assert "| answer | 90.0 | 100.0 | +10.0 | 190.0 | 166.0 | -24.0 |" in said
    assert "| **p50** | 100.0 | 110.0 | +10% | 200.0 | 176.0 | -12% |" in said
    assert "2.00 times as long by the plan, 1.60 times as measured" in said


def test_the_parts_make_up_the_latency_whatever_the_route(routes: list[Route]) -> None:
    assert {route.way for route in routes} == {"server", "middle", "whole"}
    for route in routes:
        parts = predict_parts(route)
        assert whole(parts) == pytest.approx(route.latency)
        assert (AT_UNIT in parts, FEATURES in parts) == (route.way == "middle",) * 2
        assert (BOTTLENECK in parts) == bool(route.machine)


def test_what_the_nodes_do_not_tell_is_the_last_part(routes: list[Route]) -> None:
    stages = {
        "edge": {"prefix": 3.0, "encode": 1.0, "local": 8.0, "round_trip": 99.0},
        "middle": {"link": 2.0, "middle": 4.0},
        "server": {"link": 5.0, "suffix": 7.0},
    }
    expected = {
        "server": {AT_EDGE: 4.0, BOTTLENECK: 5.0, ANSWER: 7.0, REST: 14.0},
        "middle": {AT_EDGE: 4.0, BOTTLENECK: 2.0, AT_UNIT: 4.0, FEATURES: 5.0, ANSWER: 7.0, REST: 8.0},
        "whole": {AT_EDGE: 4.0, ANSWER: 8.0, REST: 18.0},
    }
    for route in routes:
        assert measured_parts(route, stages, 30.0) == expected[route.way]


def test_a_route_through_a_roadside_unit_is_run_by_the_real_nodes(
    routes: list[Route], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "SETTLING", 0.5)
    loaded = load_fleet(tmp_path / "fleet.yaml")
    speeds = {"car": 0.5, "near": 1.0, "far": 1.0}
    machines = {name: replace(machine, speed=speeds[name]) for name, machine in loaded.fleet.machines.items()}
    loaded = replace(loaded, fleet=replace(loaded.fleet, machines=machines))
    route = next(route for route in routes if (route.way, route.unit) == ("middle", "near"))
    try:
        measured = check.measure_route(loaded, route, 2.0)
    except (NoLinkError, CannotSlowError) as error:
        pytest.skip(str(error))
    assert whole(measured) > 2.0  # the link's delay, both ways
    assert all(measured[part] > 0 for part in (AT_EDGE, BOTTLENECK, AT_UNIT, FEATURES, ANSWER))


def test_the_suffix_machine_is_slowed_for_the_second_run(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Machines that are exactly as fast as their profiles say are as predicted, at full and at half speed."""
    monkeypatch.setattr(check, "measure_route", lambda loaded, route, seconds: predict_parts(route))
    plan = make_plan(write_fleet(tmp_path, bundle, {"vehicles.car.count": 1}), 10.0)
    [checked] = check.check_plan(plan, 1.0)
    assert checked.close
    assert whole(checked.half_predicted) == pytest.approx(whole(checked.predicted) + 5.5)  # of the server's 5.5 ms


def test_a_route_whose_results_come_back_another_way_is_refused(tmp_path: Path) -> None:
    divided, *_ = divide(write_tiny_bundle(tmp_path / "tiny"), "means")
    links = [
        {"between": ["car", "near"], "rate": 10, "delay": 1},
        {"between": ["near", "far"], "rate": 1000},
        {"between": ["car", "far"], "rate": 10},
    ]
    loaded = load_fleet(write_fleet(tmp_path, divided, {"links": links, "vehicles.car.ways": ["middle"]}))
    route = next(route for route in find_routes(loaded)["car"] if route.unit == "near")
    with pytest.raises(InputError, match="results come back on other links"):
        check.measure_route(loaded, route, 1.0)
