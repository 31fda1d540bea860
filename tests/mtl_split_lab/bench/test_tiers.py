"""The page on three tiers: parts compared bit by bit, traces followed, and a verdict that is that of the cases."""

from dataclasses import replace
from pathlib import Path

import pytest

from mtl_split_core.bundle import Bundle, load_bundle
from mtl_split_core.choice import REFERENCE
from mtl_split_core.control.repair import TOLERANCE, Chain
from mtl_split_core.share import bundle_folder
from mtl_split_lab.bench import tiers
from mtl_split_lab.bench.tier_simulation import Outcome, Scene
from mtl_split_lab.bench.tiers import (
    BACKHAULS,
    Compared,
    Cost,
    Times,
    arrangements,
    compare,
    compare_tiers,
    divide_all,
    encode_pictures,
    follow,
    make_chain,
    measure,
    write_page,
)
from mtl_split_lab.bench.traffic import Outcome as Exchange


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return divide_all(load_bundle(bundle_folder("street")), ["add_664"], tmp_path_factory.mktemp("bundles"))


@pytest.fixture(scope="module")
def measured(bundle: Bundle) -> tuple[Times, list[Cost]]:
    return measure(bundle, encode_pictures(bundle, 1))


@pytest.fixture(scope="module")
def chain(bundle: Bundle, measured: tuple[Times, list[Cost]]) -> Chain:
    return make_chain(bundle, *measured)


def test_the_parts_are_compared_in_an_engine_bit_by_bit(bundle: Bundle) -> None:
    [parity] = compare(bundle, encode_pictures(bundle, 2), REFERENCE)
    assert (parity.cut, parity.pictures, parity.same, parity.largest) == ("add_664", 2, 2, 0.0)


def test_a_chain_has_the_time_of_all_layers_on_each_machine(chain: Chain, measured: tuple[Times, list[Cost]]) -> None:
    times, _ = measured
    whole = (times.edge + times.server) / 1e3
    assert chain.seconds.sum(1) == pytest.approx([4 * whole, 2 * whole, whole])
    assert chain.sizes[1] == times.bytes and chain.sizes[-1] == 0 and chain.sizes[2:-1].min() > 1e5


def test_a_trace_is_followed_by_repairs_within_the_tolerance(chain: Chain, tmp_path: Path) -> None:
    rows = [f"{second},{rate}" for second, rate in enumerate([5000, 5000, 0, 0, 4000, 4100, 0, 3900])]
    path = tmp_path / "outages.csv"
    path.write_text("\n".join(["seconds,kbit_s", *rows]) + "\n")
    found = follow(chain, path, "radio")
    assert found.steps == 8 and 1 <= found.worst <= 1 + TOLERANCE
    assert found.changes == found.best_changes == 4


def test_the_vehicles_are_shared_out_in_every_way() -> None:
    found = arrangements(Scene(3, 10.0), Times(4.0, 14.0, 1e3), [])["two"]
    assert [sum(bool(costs.roadside) for costs in each.costs) for each in found] == [0, 0, 3, 1, 2]


def test_the_page_says_whether_two_tiers_suffice(
    bundle: Bundle, measured: tuple[Times, list[Cost]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiers, "SCENES", (Scene(2, 10.0),))
    monkeypatch.setattr(tiers, "BUSY", (0.0, 0.9))
    compared = compare_tiers(*measured, seconds=1.0)
    assert len(compared) == 2 * len(BACKHAULS)
    lived = {"whole": Exchange(1.0, 10, (20.0,) * 10)}
    write_page(bundle, compare(bundle, encode_pictures(bundle, 1), REFERENCE), *measured, lived, [], compared, tmp_path)
    page = (tmp_path / "tiers.md").read_text()
    assert "| whole | 100.0% | 20.0 | 20.0 |" in page and (tmp_path / "tiers.png").is_file()
    slow, fast = Outcome((30.0,) * 4), Outcome((10.0,) * 4)
    case = Compared(Scene(1, 10.0), 100.0, 0.9, {"two": slow, "three": fast}, "two", "three")
    assert case.gain == pytest.approx(3.0)
    assert "at least 1.2 times as fast as the best two in 1 of 2 cases" in tiers._verdict(
        [case, replace(case, three="two"), replace(case, busy=0.0)]
    )
    assert "at most 0.33 times" in tiers._verdict([replace(case, two="three", three="two")])
