"""A vehicle and a server as two network namespaces joined by a cable, and what passes on it."""

import json
import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

VEHICLE, SERVER = "vehicle", "server"


@contextmanager
def cable() -> Iterator[dict[str, list[str]]]:
    """Lay it; yields the commands that run another command at either end. Skips the test without the privilege."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2")
    names = {end: f"mtl-{end}-{os.getpid()}" for end in (VEHICLE, SERVER)}
    try:
        for end, name in names.items():
            made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
            if made.returncode:
                pytest.skip(f"no network namespace for the {end}: {made.stderr.strip()}")
        ip(
            "link",
            "add",
            "name",
            "cable",
            "netns",
            names[VEHICLE],
            "type",
            "veth",
            "peer",
            "cable",
            "netns",
            names[SERVER],
        )
        for number, name in enumerate(names.values(), 1):
            ip("-n", name, "address", "add", f"10.77.0.{number}/24", "dev", "cable")
            for device in ("lo", "cable"):
                ip("-n", name, "link", "set", device, "up")
            ip("-n", name, "route", "add", "224.0.0.0/4", "dev", "cable")
        yield {end: ["ip", "netns", "exec", name] for end, name in names.items()}
    finally:
        for name in names.values():
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


class Capture:
    """Notes every IP packet that arrives at the server's end."""

    def __init__(self, within: list[str], log: Path, fingerprint: str) -> None:
        """Begin, looking for bottlenecks of a bundle."""
        self._log = log
        command = [*within, sys.executable, __file__, str(log), fingerprint]
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
    packets.bind(("cable", 0x0800))
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
