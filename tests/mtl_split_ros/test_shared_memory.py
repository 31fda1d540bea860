"""What killed participants leave in shared memory goes; what anybody alive owns or uses stays, and is not reused."""

import fcntl
import mmap
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from mtl_split_ros.shared_memory import FOLDER, YOUNG, tidy_shared_memory

from ..conftest import Start
from ..processes import NodeProcess, Probe

SIZE = 3 * mmap.PAGESIZE
SEGMENT, OTHER = "fastdds_0123456789abcdef", "fastdds_fedcba9876543210"
PORT = "fastdds_port7411"
OF_A_PORT = (PORT, f"{PORT}_el", f"{PORT}_sl", f"sem.{PORT}_mutex")


@pytest.fixture
def living() -> Iterator[ExitStack]:
    """Locks and mappings of a participant that lives as long as the test."""
    with ExitStack() as stack:
        yield stack


def write(folder: Path, *names: str, age: float = 2 * YOUNG) -> None:
    for name in names:
        (folder / name).write_bytes(b"" if name.endswith(("_el", "_sl")) else bytes(SIZE))
        os.utime(folder / name, times=(time.time() - age,) * 2)


def lock(living: ExitStack, path: Path, kind: int = fcntl.LOCK_EX) -> None:
    fcntl.flock(living.enter_context(path.open()), kind | fcntl.LOCK_NB)


def map_file(living: ExitStack, path: Path) -> None:
    with path.open("r+b") as file:
        living.enter_context(mmap.mmap(file.fileno(), 0))


def is_locked(path: Path) -> bool:
    with ExitStack() as stack:
        try:
            lock(stack, path)
        except BlockingIOError:
            return True
    return False


def tidy(folder: Path) -> tuple[int, set[str]]:
    """Return the bytes freed and the names of the files that are left."""
    with tidy_shared_memory(folder) as freed:
        pass
    return freed, {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("prefix", ["fastdds", "fastrtps"])
def test_the_segment_and_the_ports_of_a_dead_one_go(prefix: str, tmp_path: Path) -> None:
    names = [SEGMENT, f"{SEGMENT}_el", *OF_A_PORT, "fastdds_port7413"]
    write(tmp_path, *(name.replace("fastdds", prefix) for name in names))
    assert tidy(tmp_path) == (4 * SIZE, set())


def test_those_of_a_living_one_stay(tmp_path: Path, living: ExitStack) -> None:
    names = {SEGMENT, f"{SEGMENT}_el", *OF_A_PORT, "fastdds_port7400", "fastdds_port7400_sl"}
    write(tmp_path, *names)
    map_file(living, tmp_path / SEGMENT)
    lock(living, tmp_path / f"{SEGMENT}_el")
    lock(living, tmp_path / f"{PORT}_el")
    lock(living, tmp_path / "fastdds_port7400_sl", fcntl.LOCK_SH)
    freed, left = tidy(tmp_path)
    assert not freed and left >= names


def test_what_is_not_of_fast_dds_stays(tmp_path: Path) -> None:
    names = {"sem.mine", "fastdds_notes", "fast_car", "xfastdds_port7411", "fastdds_0123456789abcdef.bak"}
    write(tmp_path, *names)
    assert tidy(tmp_path) == (0, names)


def test_a_lock_that_may_be_about_to_be_taken_stays(tmp_path: Path) -> None:
    write(tmp_path, f"{SEGMENT}_el", age=0)
    assert tidy(tmp_path) == (0, {f"{SEGMENT}_el"})


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    write(tmp_path, "precious", SEGMENT)
    (tmp_path / f"{SEGMENT}_el").symlink_to(tmp_path / "precious")
    assert tidy(tmp_path) == (0, {"precious", SEGMENT, f"{SEGMENT}_el"})


@pytest.mark.parametrize("removed", [False, True])
def test_a_dead_port_that_is_still_in_use_is_kept_from_a_new_participant(
    removed: bool, tmp_path: Path, living: ExitStack
) -> None:
    write(tmp_path, PORT, f"{PORT}_el")
    map_file(living, tmp_path / PORT)
    if removed:
        (tmp_path / PORT).unlink()
        (tmp_path / f"{PORT}_el").unlink()
    own = tmp_path / f"{PORT}_el"
    with tidy_shared_memory(tmp_path) as freed, tidy_shared_memory(tmp_path):  # two nodes that start together
        assert not freed and is_locked(own)
    assert not is_locked(own) and (tmp_path / PORT).exists() == (not removed)
    living.close()
    assert tidy(tmp_path)[1] == set()


def test_ports_stay_where_somebody_lives_whose_mappings_cannot_be_read(tmp_path: Path, living: ExitStack) -> None:
    write(tmp_path, SEGMENT, f"{SEGMENT}_el", OTHER, f"{OTHER}_el", *OF_A_PORT)
    lock(living, tmp_path / f"{OTHER}_el")
    assert tidy(tmp_path) == (SIZE, {OTHER, f"{OTHER}_el", *OF_A_PORT})


def test_a_port_that_another_one_is_about_to_create_stays(tmp_path: Path, living: ExitStack) -> None:
    write(tmp_path, f"{PORT}_el")
    lock(living, tmp_path / f"{PORT}_el")
    assert tidy(tmp_path) == (0, {f"{PORT}_el"})


def owned(node: NodeProcess) -> set[str]:
    """Names of the segment and the ports that a node owns: it holds their locks open."""
    files = [os.readlink(file) for file in Path(f"/proc/{node.pid}/fd").iterdir()]
    pattern = re.compile(rf"{FOLDER}/(fast\w+)_el")
    return {match[1] for file in files if (match := pattern.fullmatch(file))}


def test_a_node_removes_what_a_killed_one_left_and_nothing_of_a_living_one(probe: Probe, start: Start) -> None:
    def status(vehicle: str) -> None:
        probe.status(f"/{vehicle}/camera: /{vehicle}/image_raw", lambda *_: True)

    nodes = {vehicle: start("camera", "-r", f"__ns:=/{vehicle}", "-p", "diagnostics_period:=0.1") for vehicle in "ab"}
    for vehicle in nodes:
        status(vehicle)
    dead, living = owned(nodes["a"]), owned(nodes["b"])
    assert len(dead) >= 3 and not dead & living
    segments = [FOLDER / name for name in dead if "port" not in name]
    for segment in segments:
        os.utime(f"{segment}_el", times=(time.time() - 2 * YOUNG,) * 2)
    nodes["a"].end(signal.SIGKILL)
    start("camera", "-r", "__ns:=/c", "-p", "diagnostics_period:=0.1")
    status("c")
    assert not any(segment.exists() for segment in segments)
    assert owned(nodes["b"]) == living and all((FOLDER / name).exists() for name in living)
