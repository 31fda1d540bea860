"""What killed processes have left of Fast DDS in shared memory, and how to start beside it.

Fast DDS has in /dev/shm, for every participant, a segment with what it sends (`fastdds_<16 digits>`) and ports that
it receives by (`fastdds_port<number>`), which those who send to it map, too. While the owner lives, it holds the lock
of a file with `_el` behind the name. Up to ROS 2 Jazzy the names begin with `fastrtps`.

A participant takes the number of a killed one's port, which is free, and replaces the file. Those who sent to the dead
one still have the old file mapped, and usually notice within two seconds. But where it was killed in the midst of a
message they never do, and where they notice while the file is being replaced they may remove the new one: nothing that
they send arrives any more, though both sides have found each other.
"""

import fcntl
import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

FOLDER = Path("/dev/shm")

YOUNG = 1.0
"""Seconds before which the lock file of a segment may be one that its owner has yet to lock."""

_SEGMENT = re.compile(r"(fast(?:dds|rtps)_[0-9a-f]{16})_el")
_PORT = re.compile(r"(fast(?:dds|rtps)_port[0-9]+)(?:_el|_sl)?")


@contextmanager
def tidy_shared_memory(folder: Path = FOLDER) -> Iterator[int]:
    """Remove what dead participants have left; those that are created inside do not reuse what had to remain.

    What belongs to a living participant is never removed. A dead one's port remains while a process has it mapped, or
    where there are participants whose mappings cannot be read, such as another container's. Inside, the locks of mapped
    ones are held, so that Fast DDS takes other numbers. Yields how many bytes were freed.
    """
    names = [path.name for path in folder.glob("fast*")]
    mapped = _mapped(folder)
    freed, all_seen = 0, True
    for segment in _matches(_SEGMENT, names):
        removed = _remove_segment(folder, segment)
        freed += removed or 0
        all_seen &= removed is not None or segment in mapped
    with ExitStack() as locks:
        for port in _matches(_PORT, [*names, *mapped]):
            if port in mapped:
                # Shared with other processes that are starting; an owner's lock is exclusive.
                _lock(locks, folder / f"{port}_el", fcntl.LOCK_SH)
            elif all_seen:
                freed += _remove_port(folder, port)
        yield freed


def _matches(pattern: re.Pattern[str], names: Iterable[str]) -> set[str]:
    return {match[1] for match in map(pattern.fullmatch, names) if match}


def _mapped(folder: Path) -> set[str]:
    """Names of the files in the folder, some removed, that processes have mapped, as far as that may be read."""
    pattern = re.compile(rb" %b/(fast\w+)(?: \(deleted\))?\n" % re.escape(os.fsencode(folder)))
    names: set[str] = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with suppress(OSError):  # it has ended, or is somebody else's
            names.update(os.fsdecode(name) for name in pattern.findall(maps.read_bytes()))
    return names


def _remove_segment(folder: Path, segment: str) -> int | None:
    """Remove a segment whose owner is dead; returns the bytes freed, None where it lives."""
    lock = folder / f"{segment}_el"
    with ExitStack() as locks:
        if not _lock(locks, lock, fcntl.LOCK_EX):
            return None
        if time.time() - lock.stat().st_mtime < YOUNG:
            return 0
        return _remove(folder / segment) + _remove(lock)


def _remove_port(folder: Path, port: str) -> int:
    """Remove a port that nobody receives by; returns the bytes freed."""
    own, shared = folder / f"{port}_el", folder / f"{port}_sl"
    with ExitStack() as locks:
        if not _lock(locks, own, fcntl.LOCK_EX) or (shared.exists() and not _lock(locks, shared, fcntl.LOCK_EX)):
            return 0
        # The lock that keeps others from creating the port meanwhile is the last.
        return sum(map(_remove, (folder / port, folder / f"sem.{port}_mutex", shared, own)))


def _lock(locks: ExitStack, path: Path, kind: int) -> bool:
    """Hold a lock file's lock until `locks` are closed; returns whether that is possible."""
    flags = os.O_RDONLY | os.O_NOFOLLOW
    try:
        # In a folder that everybody may write, O_CREAT is refused for somebody else's file.
        file = os.open(path, flags if path.exists() else flags | os.O_CREAT, 0o666)
        locks.callback(os.close, file)
        fcntl.flock(file, kind | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(file), path.stat())  # or else it was replaced meanwhile
    except OSError:
        return False


def _remove(path: Path) -> int:
    with suppress(OSError):  # not there, or somebody else's
        size = path.stat().st_blocks * 512
        path.unlink()
        return size
    return 0
