"""A link between a vehicle and a server, and what passes on it."""

import json
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mtl_split_lab.bench.namespaces import DEVICE, Condition, Link, NoLinkError, lay_link


@contextmanager
def link_or_skip(condition: Condition) -> Iterator[Link]:
    """Lay a link; skips the test without the privilege."""
    try:
        with lay_link(condition) as link:
            yield link
    except NoLinkError as error:
        pytest.skip(str(error))


class Capture:
    """Notes every IP packet that arrives at the server's end."""

    def __init__(self, within: list[str], log: Path, fingerprint: str) -> None:
        """Begin, looking for bottlenecks with the fingerprint of a contract."""
        self._log = log
        command = [*within, sys.executable, "-m", "tests.wire", str(log), fingerprint]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None and self._process.stdout.readline() == b"listening\n"

    def end(self) -> list[tuple[int | None, int, bool]]:
        """Return each packet: its bottleneck's sequence number (None: something else), its bytes, is it a fragment."""
        self._process.kill()
        self._process.wait()
        return [tuple(json.loads(line)) for line in self._log.read_text().splitlines() if line.endswith("]")]


def listen(log: Path, fingerprint: bytes) -> None:
    """Write down what arrives until killed."""
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
    packets.bind((DEVICE, 0x0800))
    packets.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    print("listening", flush=True)
    with log.open("w") as out:
        while True:
            packet, (_, _, kind, *_) = packets.recvfrom(1 << 16)
            if kind == socket.PACKET_OUTGOING:
                continue
            length, _, fragment = struct.unpack("!HHH", packet[2:8])
            # In the message, the fingerprint's length is before it, and before that the sequence number.
            at = packet.find(fingerprint)
            sequence = struct.unpack("<Q", packet[at - 12 : at - 4])[0] if at > 0 else None
            out.write(json.dumps([sequence, length, bool(fragment & 0x3FFF)]) + "\n")
            out.flush()


if __name__ == "__main__":
    listen(Path(sys.argv[1]), sys.argv[2].encode())
