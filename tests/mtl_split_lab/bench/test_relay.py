"""The relay: what it does to frames in simulated time, and to real ones between two network namespaces."""

import random
import subprocess
import sys
import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_split_lab.adaptation.direction import QUEUE_BYTES, Counts, Direction
from mtl_split_lab.adaptation.traces import Trace
from mtl_split_lab.bench.namespaces import SERVER, VEHICLE, Condition, NoLinkError, lay_link
from tests.wire import link_or_skip

SIZES = st.integers(60, 1514)
TRAFFIC = st.lists(st.tuples(st.floats(0, 0.05), SIZES), min_size=1, max_size=200)
"""Frames: the seconds since the one before, and the bytes."""

HEADERS = 14 + 20 + 8
"""Bytes of Ethernet, IP and UDP."""

SEND = """
import select, socket, sys, time
number, size = map(int, sys.argv[1:])
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.connect(("10.77.0.2", 9999))
# Until the ends know each other's hardware addresses, datagrams wait, and may be overtaken.
while not select.select([sys.stdin], [], [], 0.05)[0]:
    sender.send(b"hello")
for n in range(number):
    sender.send(n.to_bytes(4, "big") + bytes(size - 4))
while True:  # until killed, as an end may get lost too
    sender.send(b"end")
    time.sleep(0.01)
"""

RECEIVE = """
import socket
receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
receiver.bind(("", 9999))
print("ready", flush=True)
receiver.recv(1 << 16)
print("met", flush=True)
received = []
while (datagram := receiver.recv(1 << 16)) != b"end":
    if datagram != b"hello":
        received.append(int.from_bytes(datagram[:4], "big"))
print(*received)
"""


def carry(direction: Direction, traffic: list[tuple[float, int]]) -> list[tuple[float, int]]:
    """Send numbered frames, and return when which came out."""
    came: list[tuple[float, int]] = []
    now = 0.0

    def leave(until: float) -> None:
        while direction.next_exit <= until:
            at = direction.next_exit
            came.extend((at, int.from_bytes(frame, "big")) for frame in direction.leave(at))

    for number, (pause, size) in enumerate(traffic):
        now += pause
        leave(now)
        direction.enter(now, number.to_bytes(4, "big"), size)
    leave(1e9)
    return came


def exchange(condition: Condition, number: int, size: int) -> tuple[list[int], float, dict[str, Counts]]:
    """Send so many datagrams over a link at once; returns those that came, the seconds, and the counts."""
    with link_or_skip(condition) as link:
        receiver = subprocess.Popen(
            [*link.within[SERVER], sys.executable, "-c", RECEIVE], stdout=subprocess.PIPE, text=True
        )
        assert receiver.stdout is not None and receiver.stdout.readline() == "ready\n"
        sender = subprocess.Popen(
            [*link.within[VEHICLE], sys.executable, "-c", SEND, str(number), str(size)], stdin=subprocess.PIPE
        )
        try:
            assert receiver.stdout.readline() == "met\n" and sender.stdin is not None
            start = time.monotonic()
            sender.stdin.close()
            received, _ = receiver.communicate()
        finally:
            sender.kill()
            sender.wait()
        seconds = time.monotonic() - start
        return [int(word) for word in received.split()], seconds, link.cut()


@given(TRAFFIC, st.floats(0, 0.1))
def test_a_delay_is_added_to_every_frame(traffic: list[tuple[float, int]], delay: float) -> None:
    soon, late = (carry(Direction(1.0, 0.0, random.Random(0), each), traffic) for each in (0.0, delay))
    assert [number for _, number in late] == [number for _, number in soon]
    assert [moment for moment, _ in late] == pytest.approx([moment + delay for moment, _ in soon])


@given(TRAFFIC, st.sampled_from((0.25, 1.0, 50.0)), st.floats(0, 1), st.integers(0, 99))
def test_everything_that_enters_is_counted_and_comes_out_in_order_at_the_rate(
    traffic: list[tuple[float, int]], rate: float, loss: float, seed: int
) -> None:
    direction = Direction(rate, loss, random.Random(seed))
    came = carry(direction, traffic)
    counts = direction.counts
    assert counts.entered == len(traffic) == counts.forwarded + counts.lost + counts.overflowed
    assert [number for _, number in came] == sorted(number for _, number in came)
    assert counts.forwarded == len(came)
    assert counts.forwarded_bytes == sum(traffic[number][1] for _, number in came)
    for (before, _), (after, number) in pairwise(came):
        assert after - before >= 0.999 * traffic[number][1] * 8e-6 / rate


@given(TRAFFIC)
def test_a_link_that_is_fast_enough_only_delays(traffic: list[tuple[float, int]]) -> None:
    came = carry(Direction(1e6, 0.0, random.Random(0)), traffic)
    assert [number for _, number in came] == list(range(len(traffic)))


def test_what_a_trace_does_not_carry_waits_and_then_overflows() -> None:
    direction = Direction(1.0, 0.0, random.Random(0))
    direction.follow(Trace(np.array([0.0, 1.0, 11.0]), np.array([8e5, 0.0, 8e4])), now=5.0)
    direction.enter(5.5, b"in time", 1000)
    assert list(direction.leave(5.51)) == [b"in time"]
    for _ in range(QUEUE_BYTES // 1000 + 10):
        direction.enter(7.0, b"late", 1000)
    assert direction.next_exit == pytest.approx(16.1)
    assert direction.counts.overflowed == pytest.approx(10, abs=1) and direction.counts.lost == 0


def test_a_burst_overflows_the_queue_from_behind() -> None:
    direction = Direction(0.25, 0.0, random.Random(0))
    came = carry(direction, [(0.0, 1000)] * 100)
    assert [number for _, number in came] == list(range(len(came)))
    assert len(came) * 1000 == pytest.approx(QUEUE_BYTES, abs=2000)


@pytest.mark.parametrize("loss", (0.01, 0.05, 0.2))
def test_it_loses_as_many_as_it_is_asked_to(loss: float) -> None:
    number = 20_000
    direction = Direction(50.0, loss, random.Random(1))
    carry(direction, [(0.01, 1000)] * number)
    assert direction.counts.lost == pytest.approx(loss * number, abs=5 * (loss * number) ** 0.5)


def test_a_real_link_keeps_its_rate_and_the_order() -> None:
    rate, size = 0.25, 1000
    received, seconds, counts = exchange(Condition(rate), number=200, size=size)
    assert received == sorted(set(received))
    # As many as its queue holds come however fast they are sent, but only as fast as the rate allows.
    assert len(received) >= QUEUE_BYTES / (size + HEADERS) - 1
    assert len(received) * (size + HEADERS) <= counts[VEHICLE].forwarded_bytes
    # What the kernels tell each other as soon as there is a link comes on top.
    assert counts[VEHICLE].forwarded_bytes <= seconds * rate * 1e6 / 8 + 5000


def test_a_real_link_loses_packets() -> None:
    number = 2000
    received, _, counts = exchange(Condition(rate=50.0, loss=0.2), number=number, size=20)
    up = counts[VEHICLE]
    assert received == sorted(set(received))
    assert len(received) < number <= up.entered
    assert up.lost == pytest.approx(0.2 * (up.lost + up.forwarded), abs=5 * up.entered**0.5)
    assert counts[SERVER].overflowed == 0


def test_without_the_privilege_there_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(NoLinkError, match="need root"), lay_link(Condition(1.0)):
        pass
