"""The `mtl-split` command: train, export, replay, compare."""

import argparse
import sys
from collections.abc import Sequence

from mtl_split_core.errors import InputError
from mtl_split_lab.commands import adaptation, learning, planning, recordings, studies
from mtl_split_lab.quiet import quieten

ROS = ("ament_index_python", "builtin_interfaces", "mtl_split", "rclpy")
"""What commands import of ROS first, beside messages."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one of the subcommands; `mtl-split --help` lists them."""
    parser = argparse.ArgumentParser(
        prog="mtl-split", description="Split multi-task perception: train, export, replay, compare."
    )
    commands = parser.add_subparsers(required=True, dest="command", metavar="COMMAND")
    for group in (learning, studies, planning, recordings, adaptation):
        group.add(commands)

    options = parser.parse_args(arguments)
    quieten()
    try:
        _check_text(sys.argv[1:] if arguments is None else arguments)
        options.function(options)
    except InputError as error:
        parser.exit(1, f"mtl-split: {error}\n")
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        options.extra = "cluster" if missing == "ray" else options.extra
        if missing.startswith("mtl_split_"):
            raise
        parser.exit(1, f"mtl-split: {options.command} needs {_say_who_brings(missing, options.extra)}\n")
    except OSError as error:
        # What is full has no name.
        folder = next((getattr(options, name) for name in ("out", "run") if hasattr(options, name)), None)
        where = f", writing into {folder}" if folder and not error.filename else ""
        parser.exit(1, f"mtl-split: {error}{where}\n")


def _say_who_brings(module: str, extra: str) -> str:
    """Say what is to be installed where a module is not; `extra`: of pyproject.toml, with all that is not ROS."""
    if module in ROS or module.endswith("_msgs"):
        return (
            f"ROS 2 for this, but there is no Python package {module!r}: source ROS 2 and a workspace in which"
            " mtl_split is built, or use `ros2_ws/run mtl-split` in a checkout"
        )
    return (
        f"the Python package {module!r}, which is not installed: the extra {extra!r} brings it, as with "
        f"`pip install '.[{extra}]'` in a checkout"
    )


def _check_text(arguments: Sequence[str]) -> None:
    """Raise InputError for an argument that is no text, which could be written into no report and no recipe."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            raise InputError(f"{argument!r} is not UTF-8") from error


if __name__ == "__main__":
    main()
