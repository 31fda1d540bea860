"""What is started never outlives the one that started it, and is not waited for when it has ended."""

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from mtl_split_lab.live.processes import ProcessError, Processes

from ...processes import PATIENCE

PARENT = """
import signal, sys
from pathlib import Path
from mtl_split_lab.live.processes import Processes

processes = Processes(Path(sys.argv[1]))
processes.run("child", ["sh", "-c", f"echo $$ > {sys.argv[2]}; exec sleep 100"])
signal.pause()
"""


def test_whoever_is_killed_takes_its_processes_along(tmp_path: Path) -> None:
    started = tmp_path / "started"
    os.mkfifo(started)
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path / "logs"), str(started)])
    child = os.pidfd_open(int(started.read_text()))
    parent.kill()
    parent.wait()
    ended, _, _ = select.select([child], [], [], PATIENCE)
    os.close(child)
    assert ended


def test_what_is_waited_for_comes_or_not_or_a_process_ends(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    assert processes.wait_for(lambda: "found", 0.0) == "found"
    assert processes.wait_for(lambda: "", 0.0) == ""
    processes.run("child", ["false"])
    with pytest.raises(ProcessError, match="the child ended with exit code 1"):
        processes.wait_for(lambda: False, PATIENCE)
