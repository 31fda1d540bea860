"""What several subcommands share: arguments and what is said in the end."""

import argparse
import os
from pathlib import Path
from typing import Any, TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""Where subcommands are added."""

CLUSTER = (
    "spread the work over a Ray cluster that this machine has joined, HOST:PORT, or local for one that is started on"
    " this machine alone; see docs/several-machines.md (default: none)"
)


def positive(text: str) -> int:
    """Read a whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def pair(text: str) -> tuple[str, str]:
    """Read NAME=VALUE."""
    name, _, value = text.partition("=")
    if not name or not value:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def add_hardware(command: argparse.ArgumentParser) -> None:
    """Add what all commands take that train with Lightning."""
    command.add_argument("--accelerator", default="auto", help="as Lightning names them (default: %(default)s)")
    command.add_argument("--devices", type=positive, default=1, help="accelerators to use (default: %(default)s)")
    command.add_argument("--nodes", type=positive, default=1, help="machines to train on (default: %(default)s)")
    command.add_argument("--precision", default="32-true", help="as Lightning names them (default: %(default)s)")


def hardware_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return what Lightning's Trainer is told of the hardware."""
    return {
        "accelerator": options.accelerator,
        "devices": options.devices,
        "num_nodes": options.nodes,
        "precision": options.precision,
    }


def say_written(*paths: Path) -> None:
    """Tell where the results are."""
    print(f"written: {', '.join(map(str, paths))}")


def wait_passively() -> None:
    """Let the threads of torch, which is not yet imported, sleep while they wait."""
    # Threads that wait by spinning slow each other down many times on a busy processor. torch reads this once.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
