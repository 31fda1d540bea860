"""What a command cannot read or write is one line and exit code 1."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mtl_split_core.bundle import Bundle
from mtl_split_lab.command import main
from mtl_split_lab.recordings import replay

from ..bags import write_bag
from .recordings.test_bags import image


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit, match="1"):
        main(arguments)
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mtl-split: ")]
    return line


def test_a_folder_that_cannot_be_written_is_named(
    tmp_path: Path, bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = write_bag(tmp_path / "bag", [("/image_raw", image(0))])
    (tmp_path / "file").touch()
    arguments = ("replay", str(bag), "--bundle", str(bundle.folder), "--ways", "split", "--out")
    assert f"Not a directory: '{tmp_path}/file/out" in complaint(capsys, *arguments, f"{tmp_path}/file/out")
    (tmp_path / "out" / replay.FRAMES).mkdir(parents=True)
    assert f"Is a directory: '{tmp_path}/out/frames.jsonl'" in complaint(capsys, *arguments, f"{tmp_path}/out")


def test_a_full_disk_is_named_with_its_folder(
    tmp_path: Path, bundle: Bundle, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    bag = write_bag(tmp_path / "bag", [("/image_raw", image(0))])
    monkeypatch.setattr(replay, "results_to_json", fail)
    arguments = ("replay", str(bag), "--bundle", str(bundle.folder), "--ways", "split", "--out", str(tmp_path / "out"))
    assert f"No space left on device, writing into {tmp_path}/out" in complaint(capsys, *arguments)


@pytest.mark.parametrize("name", ["x" * 300, os.fsdecode(b"\xff"), "~nobody-of-this-name/bag"])
def test_a_name_that_cannot_be_is_one_line(name: str, bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert complaint(capsys, "replay", name, "--bundle", str(bundle.folder))


def test_a_command_loads_what_it_needs_when_it_runs() -> None:
    heavy = {"lightning", "matplotlib", "onnx", "onnxruntime", "ortools", "rclpy", "rosbags", "scipy", "torch"}
    script = f"import sys, mtl_split_lab.command; print(*{heavy} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
