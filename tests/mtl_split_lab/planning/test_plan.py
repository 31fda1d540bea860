"""A plan: the best assignment, what it promises, and what it writes."""

import itertools
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mtl_split_core.bundle import Bundle
from mtl_split_core.errors import InputError
from mtl_split_lab.command import main
from mtl_split_lab.learning.division import divide
from mtl_split_lab.planning.assignment import assign, cost_of, waiting
from mtl_split_lab.planning.exact import brute_force
from mtl_split_lab.planning.fleet import Loaded, load_fleet
from mtl_split_lab.planning.frame import frame_tasks
from mtl_split_lab.planning.plan import LAUNCH, PICTURE, PLAN, launch_lines, make_plan
from mtl_split_lab.planning.prediction import predict
from mtl_split_lab.planning.routes import Route, capacity, find_routes

from ...tiny_bundle import add_exit, write_tiny_bundle
from .fleets import write_fleet

SLOW_EXAMPLES = settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_a_route_takes_the_sum_of_its_steps(tmp_path: Path, bundle: Bundle) -> None:
    routes = {route.machine: route for route in find_routes(load_fleet(write_fleet(tmp_path, bundle)))["car"]}
    # 3 ms at a quarter of the speed; 2,000 bytes at 10 Mbit/s and 1 ms each way; 11 ms.
    assert routes["near"].latency == pytest.approx(12 + 1.6 + 1 + 11 + 1)
    assert routes["far"].latency == pytest.approx(12 + 1.6 + 1 + 0.016 + 5.5 + 1)
    # Nothing is coded where nothing is sent.
    assert routes[""].latency == pytest.approx(8 + 40)


@pytest.fixture(scope="module")
def divided(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """With two divisions, and an exit."""
    bundle = add_exit(write_tiny_bundle(tmp_path_factory.mktemp("divided") / "tiny"))
    bundle, *_ = divide(bundle, "means")
    return divide(bundle, "brightness")[0]


def test_a_route_through_a_roadside_unit_and_one_by_the_exit_take_the_sum_of_their_steps(
    tmp_path: Path, divided: Bundle
) -> None:
    path = write_fleet(tmp_path, divided, {"vehicles.car.ways": ["middle", "exit"], "nodes.middle": 3})
    routes = {(route.way, route.unit, route.division): route for route in find_routes(load_fleet(path))["car"]}
    assert {key for key in routes if key[0] == "middle"} == {
        ("middle", unit, cut) for unit in ("near", "far") for cut in ("means", "brightness")
    }
    # As to the server nearby; 6 and 3 ms there, 50 kB at a gigabit, 1 ms at twice the speed, and 1 ms back.
    assert routes["middle", "near", "means"].latency == pytest.approx(12 + 1.6 + 1 + 9 + 0.4 + 1 + 1)
    assert routes["exit", "", ""].latency == pytest.approx(8 + 4)
    assert routes["exit", "", ""].point == ""


def test_an_exit_is_taken_for_what_its_answers_are_worth(tmp_path: Path, divided: Bundle) -> None:
    chosen = [
        next(iter(assign(load_fleet(write_fleet(tmp_path, divided, {"point_worth": worth})), 10.0).taken)).way
        for worth in (0.0, 5.0)
    ]
    assert chosen == ["exit", "server"]


def test_a_vehicle_whose_way_there_is_not_is_refused(tmp_path: Path, bundle: Bundle) -> None:
    for way in ("exit", "middle"):
        with pytest.raises(InputError, match=f"vehicles.car: no machine within reach .* by way of {way}"):
            find_routes(load_fleet(write_fleet(tmp_path, bundle, {"vehicles.car.ways": [way]})))


def check_assignment(loaded: Loaded, every: list[dict[Route, int]], count: int) -> None:
    """Compare what is assigned to `count` vehicles with every way to do so."""
    costs = [cost_of(loaded, taken) for taken in every if fits(loaded, taken)]
    if not costs:
        with pytest.raises(InputError, match="does not fit"):
            assign(loaded, 10.0)
        return
    found = assign(loaded, 10.0)
    assert fits(loaded, dict(found.taken)) and sum(found.taken.values()) == count
    assert found.bound <= min(costs) + 1e-6 <= found.cost + 2e-6
    # The tangents lie close to the waiting itself.
    assert found.cost == pytest.approx(min(costs), rel=0.02)


@SLOW_EXAMPLES
@given(count=st.integers(1, 3), rate=st.sampled_from([10.0, 40.0]), memory=st.sampled_from([5.5, 11.5, 17.5, 1000.0]),
       ways=st.sampled_from([["middle"], ["middle", "server"], ["middle", "server", "whole", "exit"]]))  # fmt: skip
def test_with_roadside_units_too_no_assignment_beats_the_bound(
    tmp_path: Path, divided: Bundle, count: int, rate: float, memory: float, ways: list[str]
) -> None:
    changes: dict[str, Any] = {"vehicles.car.count": count, "vehicles.car.rate": rate, "vehicles.car.ways": ways}
    changes |= {"machines.near.memory": memory, "machines.far.speed": 0.5, "machines.car.cores": 8}
    loaded = load_fleet(write_fleet(tmp_path, divided, changes))
    routes = find_routes(loaded)["car"]
    every = [dict(Counter(taken)) for taken in itertools.combinations_with_replacement(routes, count)]
    check_assignment(loaded, every, count)


def test_waiting_is_half_of_what_theory_says_for_chance_and_grows_faster_and_faster() -> None:
    assert waiting(0.5, 1) == pytest.approx(0.25)  # M/M/1: 0.5
    assert waiting(1.0, 2) == pytest.approx(1 / 6)  # M/M/2: 1/3
    assert waiting(0.0, 3) == 0.0 and waiting(2.0, 2) == math.inf
    values = [waiting(load / 10, 2) for load in range(20)]
    growth = [after - before for before, after in itertools.pairwise(values)]
    assert growth == sorted(growth)


def fits(loaded: Loaded, taken: dict[Route, int]) -> bool:
    """Whether an assignment keeps every limit, reckoned anew."""
    fleet = loaded.fleet
    for machine in fleet.servers:
        own = {route: count for route, count in taken.items() if machine in (route.machine, route.unit) and count}
        load = sum(
            count * step.milliseconds * fleet.vehicles[route.vehicles].rate / 1e3
            for route, count in own.items()
            for step in route.steps
            if step.resource == machine
        )
        # As in tests/…/fleets.py: 10 MB for a suffix, 5 MB for the middles.
        servers, units = (any(getattr(route, kind) == machine for route in own) for kind in ("machine", "unit"))
        need = (10 + fleet.nodes.memory) * servers + (5 + fleet.nodes.memory) * units
        cuts = {route.division for route in own if route.unit == machine}
        if load > fleet.busiest * capacity(fleet, machine) + 1e-9 or need > fleet.machines[machine].memory:
            return False
        if len(cuts) > 1:
            return False
    backhaul = sum(
        count * step.milliseconds * fleet.vehicles[route.vehicles].rate / 1e3
        for route, count in taken.items()
        for step in route.steps
        if step.resource == "near-far up"
    )
    return backhaul <= fleet.busiest + 1e-9


@SLOW_EXAMPLES
@given(
    count=st.integers(1, 5), rate=st.sampled_from([10.0, 25.0, 60.0]), memory=st.sampled_from([5.0, 11.5, 1000.0]),
    busiest=st.sampled_from([0.3, 0.8]),
)  # fmt: skip
def test_no_assignment_beats_the_bound_and_none_is_better(
    tmp_path: Path, bundle: Bundle, count: int, rate: float, memory: float, busiest: float
) -> None:
    changes: dict[str, Any] = {"vehicles.car.count": count, "vehicles.car.rate": rate, "busiest": busiest}
    changes |= {"machines.near.memory": memory, "machines.car.cores": 8}
    loaded = load_fleet(write_fleet(tmp_path, bundle, changes))
    routes = find_routes(loaded)["car"]
    splits = itertools.product(range(count + 1), repeat=len(routes))
    every = [dict(zip(routes, split, strict=True)) for split in splits if sum(split) == count]
    check_assignment(loaded, every, count)


def test_a_prediction_is_the_route_alone_where_nobody_waits(tmp_path: Path, bundle: Bundle) -> None:
    loaded = load_fleet(write_fleet(tmp_path, bundle, {"vehicles.car.count": 1}))
    for route in find_routes(loaded)["car"]:
        expected = predict(loaded.fleet, {route: 1})[route]
        assert expected.p50 == pytest.approx(route.latency) == expected.p95
        assert (expected.in_time, expected.rate) == (1.0, 10.0)


def test_more_vehicles_wait_longer(tmp_path: Path, bundle: Bundle) -> None:
    loaded = load_fleet(write_fleet(tmp_path, bundle, {"vehicles.car.count": 100}))
    near = next(route for route in find_routes(loaded)["car"] if route.machine == "near")
    few, many = (predict(loaded.fleet, {near: count})[near] for count in (4, 17))
    assert few.p95 <= many.p95 and few.p50 < many.p50 < 2 * few.p50


def test_a_finer_point_is_taken_where_its_accuracy_is_worth_it(tmp_path: Path, bundle: Bundle) -> None:
    values = {"server": {"coarse": 0.5, "fine": 0.6}}
    manifest = bundle.folder / "manifest.json"
    before = manifest.read_text()
    try:
        manifest.write_text(json.dumps({**json.loads(before), "values": values}))
        chosen = []
        for worth in (0.0, 5.0):
            loaded = load_fleet(write_fleet(tmp_path, bundle, {"point_worth": worth}))
            chosen.append({route.point for route in assign(loaded, 10.0).taken})
    finally:
        manifest.write_text(before)
    assert chosen == [{"coarse"}, {"fine"}]


def test_a_frames_layers_are_placed_as_the_nodes_do_or_better(tmp_path: Path, bundle: Bundle) -> None:
    loaded = load_fleet(write_fleet(tmp_path, bundle))
    frame = frame_tasks(loaded, "car", str(bundle.folder), "fine", ["near"])
    assert frame.tasks[0] == "prepare" and frame.tasks[-1] == "results"
    near = next(route for route in find_routes(loaded)["car"] if route.machine == "near")
    assert frame.problem.lower_bound <= brute_force(frame.problem).end <= round(1e3 * near.latency)


def test_the_command_writes_plan_launch_arguments_and_picture(
    tmp_path: Path, bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["plan", str(write_fleet(tmp_path, bundle)), "--out", str(tmp_path / "out")])
    said = capsys.readouterr().out
    assert "| 3 x car |" in said and "gap" in said and "optimal" in said and f"written: {tmp_path}/out/{PLAN}" in said
    plan = json.loads((tmp_path / "out" / PLAN).read_text())
    assert plan["bound_ms"] <= plan["cost_ms"]
    assert [name for route in plan["routes"] for name in route["vehicles"]] == ["car1", "car2", "car3"]
    assert plan["routes"][0]["contract"] == bundle.contract.fingerprint
    assert (tmp_path / "out" / PICTURE).read_bytes().startswith(b"\x89PNG")
    lines = (tmp_path / "out" / LAUNCH).read_text().splitlines()
    assert "# on the vehicle car2" in lines and "# on far" in lines
    [server] = [line for line in lines if "server.launch.py" in line]
    assert "vehicles:=car1,car2,car3" in server and "engine:=onnxruntime" in server
    assert sum("edge.launch.py namespace:=car" in line and "max_payload_bytes:=4000" in line for line in lines) == 3


def test_who_keeps_all_on_board_launches_an_edge_that_answers_alone(tmp_path: Path, bundle: Bundle) -> None:
    changes = {"links": [], "vehicles.car.count": 1, "machines.car.cores": 4}
    [line] = [
        line
        for line in launch_lines(make_plan(write_fleet(tmp_path, bundle, changes), 10.0))
        if line.startswith("ros2")
    ]
    assert "edge.launch.py namespace:=car answer_by:=0.1 policy:=whole" in line and "operating_point" not in line


def test_who_goes_through_a_roadside_unit_launches_it(
    tmp_path: Path, divided: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_fleet(tmp_path, divided, {"vehicles.car.ways": ["middle"], "machines.near.memory": 6.5})
    main(["plan", str(path), "--out", str(tmp_path / "out")])
    assert "middle up to means on near, rest on far" in capsys.readouterr().out
    lines = (tmp_path / "out" / LAUNCH).read_text().splitlines()
    [unit], [server] = ([line for line in lines if f"{node}.launch.py" in line] for node in ("middle", "server"))
    assert "vehicles:=car1,car2,car3 cut:=means repair:=true" in unit and "middle:=true" in server
    assert lines[lines.index(unit) - 1] == "# on near" and lines[lines.index(server) - 1] == "# on far"
