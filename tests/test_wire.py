"""What really goes over the cable between a vehicle and a server."""

from collections import Counter
from pathlib import Path

import pytest

from mtl_split_core.bundle import load_bundle
from mtl_split_core.share import bundle_folder
from mtl_split_lab.bench.namespaces import SERVER, VEHICLE, Condition

from .conftest import Start
from .wire import Capture, link_or_skip

FRAMES = 150


@pytest.mark.timeout(180)
def test_every_frame_is_one_packet(start: Start, tmp_path: Path) -> None:
    fingerprint = load_bundle(bundle_folder("street")).contract.fingerprint
    with link_or_skip(Condition(rate=1000)) as link:
        ends = link.within
        capture = Capture(ends[SERVER], tmp_path / "packets", fingerprint)
        server = start("server", within=ends[SERVER])
        edge = start("edge", within=ends[VEHICLE])
        camera = start(
            *("camera", "-p", "source:=sim", "-p", "width:=640", "-p", "height:=360", "-p", f"frames:={FRAMES}"),
            *("-p", "wait_for_subscribers:=1", "-p", "exit_at_end:=true"),
            within=ends[VEHICLE],
        )
        assert camera.end() == 0
        packets = capture.end()
        assert server.runs and edge.runs
    bottlenecks = Counter(sequence for sequence, _, _ in packets if sequence is not None)
    assert len(bottlenecks) > FRAMES / 2
    published = range(min(bottlenecks), max(bottlenecks) + 1)
    alone = sum(bottlenecks[sequence] == 1 for sequence in published)
    assert alone >= 0.99 * len(published)
    # A fragmented message's first fragment is marked as one; discovery has fragments of its own.
    assert not any(fragment for sequence, _, fragment in packets if sequence is not None)
    assert max(length for sequence, length, _ in packets if sequence is not None) <= 1500
