"""A plan: the best assignment, what it promises, and what it writes."""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mtl_split_core.bundle import SUFFIX, Bundle
from mtl_split_core.errors import InputError
from mtl_split_lab.command import main
from mtl_split_lab.planning.assignment import assign, cost_of, waiting
from mtl_split_lab.planning.exact import brute_force
from mtl_split_lab.planning.fleet import Loaded, load_fleet
from mtl_split_lab.planning.frame import frame_tasks
from mtl_split_lab.planning.plan import LAUNCH, PICTURE, PLAN, launch_lines, make_plan
from mtl_split_lab.planning.prediction import predict
from mtl_split_lab.planning.routes import Route, capacity, find_routes

from .fleets import write_fleet

SLOW_EXAMPLES = settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_a_route_takes_the_sum_of_its_steps(tmp_path: Path, bundle: Bundle) -> None:
    routes = {route.machine: route for route in find_routes(load_fleet(write_fleet(tmp_path, bundle)))["car"]}
    # 3 ms at a quarter of the speed; 2,000 bytes at 10 Mbit/s and 1 ms each way; 11 ms.
    assert routes["near"].latency == pytest.approx(12 + 1.6 + 1 + 11 + 1)
    assert routes["far"].latency == pytest.approx(12 + 1.6 + 1 + 0.016 + 5.5 + 1)
    assert routes[""].latency == pytest.approx(12 + 44)


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
        own = {route: count for route, count in taken.items() if route.machine == machine and count}
        load = sum(
            count * step.milliseconds * fleet.vehicles[route.vehicles].rate / 1e3
            for route, count in own.items()
            for step in route.steps
            if step.resource == machine
        )
        memory = {route.bundle: loaded.profiles[machine][route.bundle].memory[SUFFIX] / 1e6 for route in own}
        need = sum(size + fleet.nodes.memory for size in memory.values())
        if load > fleet.busiest * capacity(fleet, machine) + 1e-9 or need > fleet.machines[machine].memory:
            return False
    return True


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


def test_who_keeps_all_on_board_launches_both_nodes_there(tmp_path: Path, bundle: Bundle) -> None:
    changes = {"links": [], "vehicles.car.count": 1, "machines.car.cores": 4}
    lines = launch_lines(make_plan(write_fleet(tmp_path, bundle, changes), 10.0))
    assert [line.split()[3] for line in lines if line.startswith("ros2")] == ["edge.launch.py", "server.launch.py"]
    assert all("namespace:=car " in line for line in lines if line.startswith("ros2"))
