"""What a process takes of the machine, as Linux counts it."""

import os
from pathlib import Path


def processor_seconds(pid: int) -> float:
    """Seconds of processor time that a process has taken so far with all its threads, in steps of 10 ms."""
    # The name in the second field may hold spaces and brackets.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system = fields[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def shared_memory_bytes() -> int:
    """Bytes of shared memory that the processes of Fast DDS hold, or have left behind."""
    files = Path("/dev/shm").glob("fast*")
    return sum(file.stat().st_blocks * 512 for file in files)


def resident_bytes(pid: int) -> int:
    """Bytes of memory that a process really uses."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def own_bytes(pid: int) -> int:
    """Bytes of memory that a process has taken for itself: libraries, files and shared memory are not in it."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    [kilobytes] = [line.split()[1] for line in lines if line.startswith("Anonymous:")]
    return int(kilobytes) * 1024
