"""Processes that run as on a slower machine: stopped for a part of every few milliseconds.

`python -m mtl_split_lab.bench.slowing SPEED COMMAND...` runs a command so. Linux's own limit, a control group's quota,
looks at the time that was used only at every tick, up to 10 ms, so that work of a few milliseconds would pass at full
speed.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType

from mtl_split_core.errors import InputError

SLICE = 0.001
"""Seconds that a process runs or is stopped at a time, at least."""

PRIORITY = 10
"""Of the real-time ones, so that a process stops when it has to, however busy the machine is."""


class CannotSlowError(InputError):
    """This user cannot slow processes; the message says why."""


def slowed(speed: float) -> list[str]:
    """Return what goes before a command that is to run at a part of this machine's speed.

    speed: above 0 to 1, which changes nothing. Raises CannotSlowError without the privilege, and InputError for another
    speed.
    """
    if not 0 < speed <= 1:
        raise InputError(f"speed is {speed:g}, expected above 0 to 1: nothing runs faster than this machine here")
    if speed == 1:
        return []
    if os.geteuid() != 0:
        raise CannotSlowError("slowing processes in time needs a real-time priority, and that root")
    return [sys.executable, "-m", "mtl_split_lab.bench.slowing", f"{speed:g}"]


def run_slowly(speed: float, command: Sequence[str]) -> int:
    """Run a command at a part of this machine's speed, and return its exit code; it gets SIGINT and SIGTERM, too."""
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    # Killed with this process: nobody else would let it go on.
    child = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "chrt", "--other", "0", *command])

    def forward(number: int, _: FrameType | None) -> None:
        child.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, forward)
    runs = SLICE * max(1.0, speed / (1 - speed))
    begun, ran = time.monotonic(), 0.0
    while child.poll() is None:
        since = time.monotonic()
        time.sleep(runs)
        child.send_signal(signal.SIGSTOP)
        ran += (now := time.monotonic()) - since
        # Whatever is late in one round is made up for in the next.
        time.sleep(max(0.0, begun + ran / speed - now))
        child.send_signal(signal.SIGCONT)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


if __name__ == "__main__":
    raise SystemExit(run_slowly(float(sys.argv[1]), sys.argv[2:]))
