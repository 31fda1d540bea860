"""The halves' page, made as a user would make it."""

import re
import subprocess
import sys
from pathlib import Path


def test_the_page_has_every_stage_and_every_engine(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mtl_split_lab.bench.halves", "--calls", "2", "--out", str(tmp_path)]
    subprocess.run(command, check=True)
    page = (tmp_path / "halves.md").read_text()
    rows = re.findall(r"^\| (edge|server) \| ([^|]+) \|", page, re.MULTILINE)
    assert [name for half, name in rows if half == "edge"][:4] == ["all", "prepare", "prefix", "encode"]
    assert [name for half, name in rows if half == "server"][:4] == ["all", "decode", "suffix", "post"]
    assert {("edge", "onnxruntime"), ("server", "onnxruntime"), ("server", "onnxruntime, bare")} <= set(rows)
