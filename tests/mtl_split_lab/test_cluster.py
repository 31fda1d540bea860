"""What a cluster answers is what one process answers, also where a worker is killed; items come back in order."""

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mtl_split_core.bundle import Bundle
from mtl_split_core.errors import InputError
from mtl_split_core.scene import Image
from mtl_split_lab.cluster import Cluster, ClusterError, in_order
from mtl_split_lab.recordings.inputs import Together
from mtl_split_lab.recordings.replay import replay
from mtl_split_lab.scoring.frames import NOTHING_KNOWN, Frame

from .recordings.test_bags import picture
from .recordings.test_replay import lines, without_times, without_times_of_ways

FRAMES = 8


def read(number: int, mortal: Path | None) -> Image:
    """Draw a picture; one of them cannot be read, and another one kills its process once where `mortal` is not None."""
    if number == 3:
        raise InputError("burnt")
    if number == 5 and mortal is not None and not mortal.exists():
        mortal.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return picture(number)


class Pictures:
    """An input of pictures that follow each other in time."""

    count = FRAMES

    def __init__(self, name: str, mortal: Path | None = None) -> None:
        self.name = name
        self.facts: dict[str, str] = {"kind": "plain"}
        self.skipped: Counter[str] = Counter()
        self._mortal = mortal

    def __iter__(self) -> Iterator[Frame]:
        self.skipped = Counter({"something": 1})
        for number in range(FRAMES):
            yield Frame(str(number), NOTHING_KNOWN, partial(read, number, self._mortal), number * 10**8)


@pytest.mark.timeout(180)
def test_a_cluster_says_what_one_process_says_also_after_a_worker_was_killed(tmp_path: Path, bundle: Bundle) -> None:
    def run(name: str, mortal: Path | None, **cluster: Any) -> dict[str, Any]:
        source = Together([Pictures("a", mortal), Pictures("b")])
        out = tmp_path / name
        summary: dict[str, Any] = without_times(
            replay(bundle, source, ["split", "whole"], out, 1200, 2, threading.Event(), **cluster).summary()
        )
        return summary

    alone = run("alone", None)
    mortal = tmp_path / "killed"
    assert run("cluster", mortal, cluster="local") == alone and mortal.exists()
    shown = [list(map(without_times_of_ways, lines(tmp_path / name))) for name in ("alone", "cluster")]
    assert shown[0] == shown[1] and [line["frame"] for line in shown[0]][FRAMES - 1 : FRAMES + 1] == ["a: 7", "b: 0"]
    assert alone["refused"] == {"count": 2, "first": ["a: 3: burnt", "b: 3: burnt"]}


def test_several_inputs_are_one_and_nothing_is_followed_from_one_to_the_next(tmp_path: Path, bundle: Bundle) -> None:
    source = Together([Pictures("a"), Pictures("b")])
    assert (source.name, source.count, source.facts["b: kind"]) == ("a, b", 2 * FRAMES, "plain")
    replay(bundle, source, ["split"], tmp_path, 1200, 1, threading.Event())
    assert source.skipped == {"something": 2}
    found = [line["ways"]["split"]["results"]["detection"]["ids"] for line in lines(tmp_path) if "ways" in line]
    first, second = ({one for ids in half for one in ids if one} for half in (found[: FRAMES - 1], found[FRAMES - 1 :]))
    assert first and second and not first & second
    with pytest.raises(InputError, match="the inputs are a, a, expected each of them once"):
        Together([Pictures("a"), Pictures("a")])


def test_no_more_items_are_read_than_are_worked_on() -> None:
    done: list[int] = []

    def items() -> Iterator[int]:
        for number in range(20):
            assert number - len(done) < 4
            yield number

    with ThreadPoolExecutor(2) as pool:
        for item, result in in_order(pool, lambda text: int(text) ** 2, items(), str, 4):
            assert result() == item**2
            done.append(item)
    assert done == list(range(20))


@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:1", "127.0.0.1:x"])
def test_a_cluster_that_is_not_there(address: str) -> None:
    with pytest.raises(ClusterError, match=rf"cluster is '{address}', expected local, or HOST:PORT"):
        Cluster(address, 1)


def test_another_bundle_on_another_machine_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    from mtl_split_lab.recordings.replay import _Job

    with pytest.raises(ClusterError, match="is another bundle: copy it to all machines"):
        _Job(bundle.folder, "0" * 16, ("split",), 1200, ()).load()
    with pytest.raises(ClusterError, match=rf"on .*{tmp_path}"):
        _Job(tmp_path, "0" * 16, ("split",), 1200, ()).load()
