"""The table of an ONNX network's cuts says what the network is."""

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from mtl_split_lab.command import main

from ...onnx_graphs import CHAIN, SKIP, build, node

MACS = 4 * 6 * 8 * 4 * 9


def save(folder: Path, nodes: list[onnx.NodeProto]) -> str:
    path = folder / "network.onnx"
    onnx.save(build(nodes, "out"), path)
    return str(path)


def test_the_command_lists_every_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["cuts", save(tmp_path, CHAIN), "--plot", str(tmp_path / "plots" / "cuts.png")])
    printed = capsys.readouterr().out
    assert "network.onnx, image 4 x 6 x 8:" in printed
    *rows, written = [line.split() for line in printed.splitlines()[3:]]
    assert [row[0] for row in rows] == ["a", "b", "c"] and written == ["written:", f"{tmp_path}/plots/cuts.png"]
    for row, (before, behind) in zip(rows, ((1, 1), (1, 1), (2, 0)), strict=True):
        assert row[1:9] == [
            "4",
            "x",
            "6",
            "x",
            "8",
            f"{4 * 6 * 8 * 4}",
            *(f"{n * MACS / 1e6:.1f}" for n in (before, behind)),
        ]
        assert row[9:11] == ["144", "144" if behind else "0"] and float(row[11]) >= 0
    assert (tmp_path / "plots" / "cuts.png").stat().st_size > 5_000


def test_one_cut_alone_is_listed_or_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(tmp_path, SKIP)
    main(["cuts", path, "--cut", "d"])
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[3:]] == ["d"]
    with pytest.raises(SystemExit, match="1"):
        main(["cuts", path, "--cut", "b"])
    assert re.search(r"'b' of .* is no cut: 'a' crosses beside it; expected one of a, d", capsys.readouterr().err)


def test_the_milliseconds_are_those_of_the_prefix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A prefix without the heavy node takes less time than one with it."""
    model = build(
        [node("Relu", "image", "light"), node("MatMul", "light big", "heavy"), node("Relu", "heavy", "out")],
        "out",
        shape=("n", 4, 256, 512),
    )
    model.graph.initializer.append(numpy_helper.from_array(np.ones((512, 512), np.float32), "big"))
    path = tmp_path / "network.onnx"
    onnx.save(model, path)
    main(["cuts", str(path)])
    light, heavy = (float(line.split()[-1]) for line in capsys.readouterr().out.splitlines()[3:])
    assert 3 * light < heavy


@pytest.mark.parametrize(
    ("nodes", "arguments", "message"),
    [
        (CHAIN[3:], [], "no valid ONNX model"),
        ([*CHAIN[:3], node("Concat", "c image", "out", axis=1)], [], "has no cut: no tensor lies on all paths"),
        ([node("Relu", "image", "a"), node("Odd", "a", "out")], [], "No Op registered for Odd"),
        (CHAIN, ["--plot", "cuts.exe"], "plot is 'cuts.exe', expected a file .png"),
    ],
)  # fmt: skip
def test_what_cannot_be_listed_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], nodes: list[onnx.NodeProto], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit, match="1"):
        main(["cuts", save(tmp_path, nodes), *arguments])
    assert re.search(message, capsys.readouterr().err)
