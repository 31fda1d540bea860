"""Processes that run as on a slower machine: Linux gives them the processor for a part of every few milliseconds."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mtl_split_core.errors import InputError

CGROUPS = Path("/sys/fs/cgroup")
SLICE = 1000
"""Microseconds that a process runs or waits at a time, at least; Linux allows no shorter ones."""


class CannotSlowError(InputError):
    """This machine or this user cannot limit processes; the message says why."""


@contextmanager
def slowed(speed: float, name: str) -> Iterator[list[str]]:
    """Yield what goes before a command that is to run at a part of a core's speed, with all that it starts.

    speed: above 0 to 1, which limits nothing. name: of the control group, which is gone when the context ends, after
    the processes. Raises CannotSlowError without the privilege, and InputError for another speed.
    """
    if not 0 < speed <= 1:
        raise InputError(f"speed is {speed:g}, expected above 0 to 1: nothing runs faster than this machine here")
    if speed == 1:
        yield []
        return
    period = round(SLICE / min(speed, 1 - speed))
    quota = round(speed * period)
    unified = (CGROUPS / "cgroup.controllers").is_file()
    group = (CGROUPS if unified else CGROUPS / "cpu") / f"mtl-{name}-{os.getpid()}"
    limits = {"cpu.max": f"{quota} {period}"} if unified else {"cpu.cfs_period_us": period, "cpu.cfs_quota_us": quota}
    try:
        group.mkdir()
        for file, value in limits.items():
            (group / file).write_text(str(value))
    except OSError as error:
        raise CannotSlowError(f"limiting processes needs root and the cgroup controller cpu: {error}") from error
    try:
        yield ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"]
    finally:
        group.rmdir()
