"""What is started never outlives the one that started it."""

import os
import select
import subprocess
import sys
from pathlib import Path

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
