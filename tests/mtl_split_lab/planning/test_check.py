"""A plan's route is run by the real nodes, and compared with what was predicted."""

from pathlib import Path

import pytest

from mtl_split_core.bundle import Bundle
from mtl_split_lab.bench.namespaces import NoLinkError
from mtl_split_lab.bench.slowing import CannotSlowError
from mtl_split_lab.planning import check
from mtl_split_lab.planning.check import Checked, format_checks
from mtl_split_lab.planning.fleet import load_fleet
from mtl_split_lab.planning.plan import make_plan
from mtl_split_lab.planning.routes import find_routes

from .fleets import write_fleet


def test_a_comparison_says_by_how_much_it_is_off(tmp_path: Path, bundle: Bundle) -> None:
    [route, *_] = find_routes(load_fleet(write_fleet(tmp_path, bundle)))["car"]
    assert Checked(route, 100.0, 114.0, 200.0, 190.0).close
    assert not Checked(route, 100.0, 116.0, 200.0, 200.0).close
    assert not Checked(route, 100.0, 100.0, 200.0, 150.0).close
    table = format_checks([Checked(route, 100.0, 110.0, 200.0, 176.0)])
    assert "| 100.0 | 110.0 | +10% | 200.0 | 176.0 | -12% | 2.00 / 1.60 |" in table


def test_a_route_is_run_by_the_real_nodes(tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "SETTLING", 0.5)
    loaded = load_fleet(write_fleet(tmp_path, bundle, {"machines.car.speed": 0.5, "vehicles.car.deadline": 5.0}))
    near = next(route for route in find_routes(loaded)["car"] if route.machine == "near")
    try:
        measured = check.measure_route(loaded, near, 2.0)
    except (NoLinkError, CannotSlowError) as error:
        pytest.skip(str(error))
    assert measured > 2.0  # the link's delay, both ways


def test_the_suffix_machine_is_slowed_for_the_second_run(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Machines that are exactly as fast as their profiles say are as predicted, at full and at half speed."""
    monkeypatch.setattr(check, "measure_route", lambda loaded, route, seconds: route.latency)
    plan = make_plan(write_fleet(tmp_path, bundle, {"vehicles.car.count": 1}), 10.0)
    [checked] = check.check_plan(plan, 1.0)
    assert checked.close and checked.half_predicted == pytest.approx(checked.predicted + 5.5)  # of the server's 5.5 ms
