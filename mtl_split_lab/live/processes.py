"""Nodes as plain processes, where the launch system is not installed, and a ROS domain of their own."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from mtl_split_ros.graph import Process

SECONDS_TO_STOP = 3.0

LOG_LINES = 15
"""Last lines of a dead process' log that are shown."""

LOOK_INTERVAL = 0.1
"""Seconds between two looks at whether what is waited for is there."""

DOMAINS = range(1, 101)
"""The ROS domains whose UDP ports are below those that Linux gives to clients."""

T = TypeVar("T")


class ProcessError(Exception):
    """A process has ended that should not have."""


class Processes:
    """The processes that were started, each with a file for everything it says."""

    def __init__(self, logs: Path) -> None:
        """Keep the files in the folder `logs`."""
        logs.mkdir(parents=True, exist_ok=True)
        self._logs = logs
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, node: Process, within: Sequence[str] = ()) -> None:
        """Start a node in a process of its own; `within` goes before its command."""
        self.run(node.name, [*within, sys.executable, "-m", node.module, *node.ros_arguments()])

    def run(self, name: str, command: Sequence[str]) -> None:
        """Start anything that ends well on SIGINT, and on SIGTERM, which it gets where this process is killed."""
        with self._log(name).open("wb") as log:
            # In a session of its own, so that Ctrl-C reaches only this process, which then stops the others.
            self._running[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *command],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def pid(self, name: str) -> int:
        """Return the process number of a node that runs."""
        return self._running[name].pid

    def kill(self, name: str) -> None:
        """End a process without asking it."""
        process = self._running.pop(name)
        process.kill()
        process.wait()

    def check(self) -> None:
        """Raise ProcessError if one has ended, with the last it said."""
        for name, process in self._running.items():
            if process.poll() is not None:
                log = self._log(name)
                last = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])
                raise ProcessError(f"the {name} ended with exit code {process.returncode}; its log {log} ends:\n{last}")

    def wait_for(self, condition: Callable[[], T], seconds: float) -> T:
        """Wait until a condition holds, but at most so many seconds, and return it. Raises ProcessError as `check`."""
        deadline = time.monotonic() + seconds
        while not (value := condition()) and time.monotonic() < deadline:
            self.check()
            time.sleep(LOOK_INTERVAL)
        return value

    def stop(self) -> list[str]:
        """Stop all with SIGINT, and with SIGKILL where that does not help.

        Returns a complaint about each that did not end well; those that had ended before are `check`'s business.
        """
        self._running = {name: process for name, process in self._running.items() if process.poll() is None}
        for process in self._running.values():
            process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + SECONDS_TO_STOP
        complaints = []
        for name, process in self._running.items():
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                complaints.append(f"the {name} did not stop within {SECONDS_TO_STOP:g} s and was killed")
            else:
                # Killed by the signal itself: it had not yet begun to listen to it.
                if process.returncode not in (0, -signal.SIGINT):
                    complaints.append(f"the {name} stopped with exit code {process.returncode}; see {self._log(name)}")
        self._running.clear()
        return complaints

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"


def claim_domain() -> socket.socket:
    """Set ROS_DOMAIN_ID to a domain that nobody on this machine uses, for this process and those it starts.

    The domain is taken until the returned socket is closed; see `free_domain`.
    """
    domain, claim = free_domain()
    os.environ["ROS_DOMAIN_ID"] = str(domain)
    return claim


def free_domain() -> tuple[int, socket.socket]:
    """Find a ROS domain that nobody on this machine uses.

    Also for other callers of this function it is taken until the returned socket is closed. Raises ProcessError if
    there is none.
    """
    for domain in random.sample(DOMAINS, len(DOMAINS)):
        # Of the ports that DDS derives from a domain: the first participant's, and the last one's as the claim.
        first, last = 7410 + 250 * domain, 7410 + 250 * domain + 238
        claim = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.bind(("", first))
            claim.bind(("", last))
        except OSError:
            claim.close()
            continue
        return domain, claim
    raise ProcessError(
        f"every ROS domain from {DOMAINS[0]} to {DOMAINS[-1]} is in use; set ROS_DOMAIN_ID to choose one"
    )
