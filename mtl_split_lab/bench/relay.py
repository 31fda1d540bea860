"""A relay in the path between two network devices: it limits the rate both ways and loses frames at random.

It needs no support in the kernel but raw sockets, and every frame that enters it is counted:
`ip netns exec NAMESPACE python -m mtl_split_lab.bench.relay --devices A B --rate 1 --loss 0.05`. With `--trace FILE`,
the rate is that of a trace, or with `--begin` of a part of it, from the moment on at which a line comes on standard
input.
"""

import argparse
import json
import random
import select
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from mtl_split_lab.adaptation.direction import Counts, Direction
from mtl_split_lab.adaptation.traces import Trace, read_trace

LONGEST_FRAME = 1 << 17

# Of Linux's <linux/if_packet.h> and <linux/if_ether.h>; Python's socket module does not name them.
SOL_PACKET = 263
PACKET_VNET_HDR = 15
VNET_HEADER_BYTES = 10
ETH_P_ALL = 3


def relay(
    devices: tuple[str, str],
    rate: float,
    loss: float,
    seed: int,
    trace: Trace | None = None,
    first: float = 0.0,
    delay: float = 0.0,
) -> tuple[Counts, Counts]:
    """Join two devices until standard input is closed; returns the counts of what entered at the first and the second.

    rate: Mbit/s each way; loss: 0 to 1; trace: what both ways carry once a line comes on standard input, from its
    moment `first` on; delay: seconds each way. Says so in a line as soon as it relays.
    """
    sockets = [_open(device) for device in devices]
    directions = [Direction(rate, loss, random.Random(f"{seed} {device}"), delay) for device in devices]
    print("relaying", flush=True)
    while True:
        due = min(direction.next_exit for direction in directions)
        timeout = None if due == float("inf") else max(0.0, due - time.monotonic())
        readable, _, _ = select.select([*sockets, sys.stdin], [], [], timeout)
        for source, direction in zip(sockets, directions, strict=True):
            if source in readable:
                for frame in _receive(source):
                    direction.enter(time.monotonic(), frame, len(frame) - VNET_HEADER_BYTES)
        for target, direction in zip(reversed(sockets), directions, strict=True):
            for frame in direction.leave(time.monotonic()):
                target.send(frame)
        if sys.stdin in readable:
            if not sys.stdin.readline():
                return directions[0].counts, directions[1].counts
            if trace is not None:
                for direction in directions:
                    direction.follow(trace, time.monotonic() - first)


def _open(device: str) -> socket.socket:
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    # The kernel leaves checksums of virtual devices to whoever reads a frame: what it says of that travels along.
    packets.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    packets.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
    packets.bind((device, ETH_P_ALL))
    packets.setblocking(False)
    return packets


def _receive(packets: socket.socket) -> Iterator[bytes]:
    while True:
        try:
            frame, (_, _, kind, *_) = packets.recvfrom(LONGEST_FRAME)
        except BlockingIOError:
            return
        if kind != socket.PACKET_OUTGOING:
            yield frame


def main() -> None:
    """Relay, and print the counts as JSON at the end."""
    parser = argparse.ArgumentParser(prog="relay", description=__doc__)
    parser.add_argument("--devices", nargs=2, required=True, help="names of the devices to join")
    parser.add_argument("--rate", type=float, required=True, help="Mbit/s each way")
    parser.add_argument("--loss", type=float, default=0.0, help="part of the frames that get lost, 0 to 1")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds on the way, each way")
    parser.add_argument("--seed", type=int, default=0, help="of the losses")
    parser.add_argument("--trace", type=Path, help="CSV file with the columns seconds and kbit_s")
    parser.add_argument("--begin", type=float, default=0.0, help="where the trace begins, in seconds")
    options = parser.parse_args()
    trace = options.trace and read_trace(options.trace)
    devices = tuple(options.devices)
    counts = relay(devices, options.rate, options.loss, options.seed, trace, options.begin, options.delay)
    print(json.dumps([asdict(direction) for direction in counts]), flush=True)


if __name__ == "__main__":
    main()
