"""What Linux counts of a process: more after work, more after memory was filled, whatever the process is called."""

import mmap
import os
import time
from pathlib import Path

from mtl_split_lab.bench.usage import own_bytes, processor_seconds, resident_bytes


def test_processor_time_is_that_of_the_process() -> None:
    comm = Path("/proc/self/comm")
    name = comm.read_text()
    comm.write_text("a) R 1 (b")
    try:
        before, own_before = processor_seconds(os.getpid()), time.process_time()
        while time.process_time() < own_before + 0.1:
            pass
        taken, own = processor_seconds(os.getpid()) - before, time.process_time() - own_before
    finally:
        comm.write_text(name)
    assert abs(taken - own) <= 0.04


def test_filled_memory_is_resident() -> None:
    before = resident_bytes(os.getpid())
    filled = b"x" * 50_000_000
    assert resident_bytes(os.getpid()) - before > 0.9 * len(filled)


def test_own_memory_is_not_that_of_files(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 50_000_000)
    with (tmp_path / "file").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        before = own_bytes(os.getpid())
        assert mapped.find(b"y") == -1
        assert own_bytes(os.getpid()) - before < 5_000_000
    filled = b"x" * 50_000_000
    assert own_bytes(os.getpid()) - before > 0.9 * len(filled)
