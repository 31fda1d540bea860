"""A vehicle and a server on one machine: two network namespaces whose only way to each other is a relay's link.

A roadside unit may be between them, in a namespace of its own, with a second relay between it and the server.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from mtl_split_lab.adaptation.direction import Counts
from mtl_split_ros.graph import DISCOVERY_RANGE

VEHICLE, SERVER, UNIT, BETWEEN = "vehicle", "server", "unit", "between"

DEVICE = "cable"
"""The name of the network device at either end."""

ROAD = "road"
"""The name of the bridge that joins the unit and both relays."""

SHARED_MEMORY = Path("/dev/shm")

REASSEMBLY_SECONDS = 3
"""After which a datagram is given up that misses a part; ROS 2's advice for networks that lose packets."""


class NoLinkError(Exception):
    """This machine or this user cannot have network namespaces; the message says why."""


@dataclass(frozen=True)
class Condition:
    """What a link is like: Mbit/s each way, and the part of the Ethernet frames that get lost, 0 to 1.

    trace: a file with what it carries each way once `Link.follow_trace` is called, see mtl_split_lab.adaptation.traces;
    begin: where in it, in seconds; delay: seconds each way.
    """

    rate: float
    loss: float = 0.0
    trace: Path | None = None
    begin: float = 0.0
    delay: float = 0.0


class Link:
    """A link that carries frames.

    within: by the name of an end, what goes before a command that is to run there.
    """

    def __init__(self, within: dict[str, list[str]], relay: "subprocess.Popen[str]", loss: float) -> None:
        """Hold a relay that runs."""
        self.within = within
        self._relay = relay
        self._loss = loss

    def follow_trace(self) -> None:
        """Carry from now on what the trace says."""
        assert self._relay.stdin is not None
        self._relay.stdin.write("\n")
        self._relay.stdin.flush()

    def cut(self) -> dict[str, Counts]:
        """End the relay; returns what it counted of what the vehicle and what the server sent.

        Raises RuntimeError where it did not work as it should.
        """
        counts, _ = self._relay.communicate()
        if self._relay.returncode:
            raise RuntimeError(f"the relay ended with exit code {self._relay.returncode}")
        up, down = (Counts(**direction) for direction in json.loads(counts))
        # So that a figure of a lossy link is never one of a link that lost nothing.
        if (up.lost + down.lost > 0) != (self._loss > 0):
            raise RuntimeError(f"with a loss of {self._loss:.0%} the relay lost {up.lost} and {down.lost} frames")
        return {VEHICLE: up, SERVER: down}


@contextmanager
def lay_link(condition: Condition, seed: int = 0, backhaul: Condition | None = None) -> Iterator[Link]:
    """Lay a link; it is gone, with both ends, when the context ends.

    backhaul: of the link from a roadside unit on to the server, which is a third end then (None: there is no unit); the
    counts are those of the vehicle's link. The ends share neither network nor shared memory, so what is found or
    carried passes a relay. Raises NoLinkError without the privilege.
    """
    if os.geteuid() != 0 or shutil.which("ip") is None:
        raise NoLinkError("network namespaces need root and iproute2")
    ends = VEHICLE, SERVER, *([UNIT] if backhaul else [])
    names = {end: f"mtl-{end}-{os.getpid()}" for end in (*ends, BETWEEN)}
    with contextlib.ExitStack() as stack:
        for name in names.values():
            _add_namespace(name)
            stack.callback(subprocess.run, ["ip", "netns", "delete", name], capture_output=True, check=False)
        within = {}
        for number, end in enumerate(ends, 1):
            name = names[end]
            _ip(
                *("link", "add", "name", DEVICE, "netns", name),
                *("type", "veth", "peer", end, "netns", names[BETWEEN]),
            )
            _ip("-n", names[BETWEEN], "link", "set", end, "up")
            _ip("-n", name, "address", "add", f"10.77.0.{number}/24", "dev", DEVICE)
            for device in ("lo", DEVICE):
                _ip("-n", name, "link", "set", device, "up")
            _ip("-n", name, "route", "add", "224.0.0.0/4", "dev", DEVICE)
            _ip("netns", "exec", name, "sh", "-c", f"echo {REASSEMBLY_SECONDS} > /proc/sys/net/ipv4/ipfrag_time")
            memory = stack.enter_context(TemporaryDirectory(prefix=f"{name}-", dir=SHARED_MEMORY))
            mount = f'mount --bind "$0" {SHARED_MEMORY} && exec "$@"'
            # The two ends are to find each other, whatever holds outside.
            discovery = ["env", f"{DISCOVERY_RANGE}=SUBNET"]
            within[end] = ["ip", "netns", "exec", name, *discovery, "sh", "-c", mount, memory]
        devices = (VEHICLE, SERVER)
        if backhaul:
            _build_road(names[BETWEEN])
            stack.enter_context(_relay(names[BETWEEN], backhaul, seed, (f"{ROAD}-{SERVER}", SERVER)))
            devices = (VEHICLE, f"{ROAD}-{VEHICLE}")
        yield Link(within, stack.enter_context(_relay(names[BETWEEN], condition, seed, devices)), condition.loss)


def _build_road(namespace: str) -> None:
    """Join the unit by a bridge with two cables, whose other ends are for the relays to the vehicle and the server."""
    # Without anybody who asks who listens, a bridge that looks at that would carry no multicast.
    _ip("-n", namespace, "link", "add", ROAD, "type", "bridge", "mcast_snooping", "0")
    _ip("-n", namespace, "link", "set", ROAD, "up")
    ports = [UNIT]
    for end in (VEHICLE, SERVER):
        _ip("-n", namespace, "link", "add", f"{ROAD}-{end}", "type", "veth", "peer", "name", f"port-{end}")
        _ip("-n", namespace, "link", "set", f"{ROAD}-{end}", "up")
        ports.append(f"port-{end}")
    for port in ports:
        _ip("-n", namespace, "link", "set", port, "master", ROAD)
        _ip("-n", namespace, "link", "set", port, "up")


def _add_namespace(name: str) -> None:
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode:
        raise NoLinkError(f"no network namespace {name}: {made.stderr.strip()}")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


@contextmanager
def _relay(
    namespace: str, condition: Condition, seed: int, devices: tuple[str, str]
) -> "Iterator[subprocess.Popen[str]]":
    command = ["ip", "netns", "exec", namespace, sys.executable, "-m", "mtl_split_lab.bench.relay"]
    options: dict[str, object] = {"rate": condition.rate, "loss": condition.loss, "delay": condition.delay}
    options["seed"] = seed
    if condition.trace:
        options |= {"trace": condition.trace, "begin": condition.begin}
    command += ["--devices", *devices, *(f"--{name}={value}" for name, value in options.items())]
    relay = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert relay.stdout is not None
        if relay.stdout.readline() != "relaying\n":
            raise RuntimeError(f"the relay ended with exit code {relay.wait()}")
        yield relay
    finally:
        relay.kill()
        relay.wait()
