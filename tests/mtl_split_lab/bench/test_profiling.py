"""A bundle's profile: every part is measured, and its layers are those of its files."""

import shutil
from pathlib import Path

import onnx
import pytest

from mtl_split_core.bundle import EXIT, HALVES, SUFFIX, Bundle, write_manifest
from mtl_split_core.profile import load_profile
from mtl_split_core.stopwatch import Stopwatch
from mtl_split_lab.bench.profiling import format_profile, measure_profile, recording
from mtl_split_lab.command import main
from mtl_split_lab.learning.division import divide

from ...tiny_bundle import write_tiny_bundle


def test_a_profile_of_a_bundle(bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "profile.json"
    arguments = [
        "--bundle",
        str(bundle.folder),
        "--calls",
        "3",
        "--rate",
        "0",
        "--size",
        "160",
        "90",
        "--layers",
        "--out",
        str(path),
    ]
    main(["profile", *arguments])
    profile = load_profile(path)
    profile.check_fits(bundle.contract.fingerprint, path)
    assert set(profile.parts) == {"prepare", "prefix", "suffix", "post", "whole"}
    assert list(profile.points) == ["coarse", "fine"] and profile.picture == (160, 90)
    assert 0 < profile.points["coarse"].bytes.median <= profile.points["fine"].bytes.median
    assert profile.edge("fine") > 0 and profile.server("fine") > 0 and profile.whole > 0
    for role, layers in profile.layers.items():
        made = {output for node in onnx.load(bundle.path(role)).graph.node for output in node.output}
        assert {layer.output for layer in layers} <= made
        whole = sum(layer.milliseconds for layer in layers)
        assert whole == pytest.approx(profile.parts[role].median)
    assert set(profile.layers) == {"prefix", "suffix"}
    said = capsys.readouterr().out
    assert f"contract {bundle.contract.fingerprint}" in said and f"written: {path}" in said
    assert all(f"| {name} |" in said for name in ("prefix", "whole", "encode, fine", "decode, coarse"))


def test_an_exit_is_measured_where_there_is_one(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "tiny")
    shutil.copy(bundle.path(SUFFIX), bundle.folder / "exit.onnx")
    bundle = write_manifest(bundle.folder, bundle.manifest, {**HALVES, EXIT: "exit.onnx"})
    profile = measure_profile(bundle, calls=2, size=(160, 90), rate=0.0)
    assert profile.parts[EXIT].median > 0 and EXIT in profile.memory


def test_every_division_is_measured_on_both_machines(tmp_path: Path) -> None:
    bundle, division, _ = divide(write_tiny_bundle(tmp_path / "tiny"), "means")
    profile = measure_profile(bundle, calls=2, size=(160, 90), rate=0.0)
    cost = profile.divisions["means"]
    assert cost.middle.median > 0 and cost.rest.median > 0 and cost.bytes.median > 0
    assert cost.raw == 4 * division.numbers and {"middle", "rest"} <= profile.memory.keys()
    assert "| middle, means |" in format_profile(profile) and "| rest, means |" in format_profile(profile)


def test_a_call_is_recorded_by_its_stages() -> None:
    stopwatch = Stopwatch()
    stages: dict[str, list[float]] = {"a": []}

    def call() -> None:
        with stopwatch.stage("a"):
            pass

    recorded = recording(stopwatch, call, stages)
    recorded(), recorded()
    assert len(stages["a"]) == 2 and min(stages["a"]) >= 0


def test_an_engine_that_there_is_not_is_named(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="1"):
        main(["profile", "--bundle", str(bundle.folder), "--engine", "abacus", "--out", str(tmp_path / "p.json")])
    assert "engine is 'abacus', expected one of onnxruntime" in capsys.readouterr().err
