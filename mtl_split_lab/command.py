"""The `mtl-split` command: train, export."""

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

from mtl_split_core.errors import InputError

RECIPE = Path(__file__).parent / "recipes" / "street.yaml"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one of the subcommands; `mtl-split --help` lists them."""
    parser = argparse.ArgumentParser(prog="mtl-split", description="Split multi-task perception: train and export.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("train", help="train a recipe's network, or go on with an interrupted training")
    command.add_argument(
        "recipe", type=Path, nargs="?", default=RECIPE, help="YAML file (default: the shipped bundle's)"
    )
    command.add_argument(
        "--run", type=Path, default=Path("runs/street"), help="folder of the training (default: %(default)s)"
    )
    command.add_argument(
        "--data", type=Path, default=Path(), help="folder where the recipe's paths begin (default: the present one)"
    )
    begin = command.add_mutually_exclusive_group()
    begin.add_argument("--pretrained", type=Path, help="torchvision's checkpoint of the backbone to begin with")
    begin.add_argument("--start", type=Path, help="another training's checkpoint to begin with")
    command.add_argument(
        "--processes", type=_positive, default=os.cpu_count(), help="processes that draw and read pictures"
    )
    command.add_argument("--accelerator", default="auto", help="as Lightning names them (default: %(default)s)")
    command.add_argument("--devices", type=_positive, default=1, help="accelerators to use (default: %(default)s)")
    command.add_argument("--nodes", type=_positive, default=1, help="machines to train on (default: %(default)s)")
    command.add_argument("--precision", default="32-true", help="as Lightning names them (default: %(default)s)")
    command.set_defaults(function=_train)

    command = commands.add_parser("export", help="write the bundle of a training")
    command.add_argument(
        "--run", type=Path, default=Path("runs/street"), help="folder of the training (default: %(default)s)"
    )
    command.add_argument(
        "--bundle", type=Path, default=Path("models/street"), help="folder to write (default: %(default)s)"
    )
    command.add_argument(
        "--streets", type=_positive, default=60, help="streets to measure it on (default: %(default)s)"
    )
    command.add_argument(
        "--int8",
        action="store_true",
        help="let the prefix calculate with 8-bit integers, calibrated on training pictures, and measure what is lost",
    )
    command.add_argument(
        "--data", type=Path, default=Path(), help="as for train, where --int8 looks for pictures (default: %(default)s)"
    )
    command.add_argument("--processes", type=_positive, default=os.cpu_count(), help="as for train")
    command.set_defaults(function=_export)

    options = parser.parse_args(arguments)
    try:
        options.function(options)
    except InputError as error:
        parser.exit(1, f"mtl-split: {error}\n")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


# Each subcommand imports what it needs: torch takes seconds to load, and not every machine has it.


def _train(options: argparse.Namespace) -> None:
    from mtl_split_lab.training import train

    train(
        options.recipe,
        options.run,
        options.data,
        options.processes,
        options.pretrained,
        options.start,
        {
            "accelerator": options.accelerator,
            "devices": options.devices,
            "num_nodes": options.nodes,
            "precision": options.precision,
        },
    )


def _export(options: argparse.Namespace) -> None:
    from mtl_split_lab.export import calibration_pictures, export

    calibration = calibration_pictures(options.run, options.data, options.processes) if options.int8 else ()
    bundle = export(options.run, options.bundle, options.streets, calibration)
    print(json.dumps({key: bundle.manifest[key] for key in ("measured", "int8") if key in bundle.manifest}, indent=2))
    print(f"wrote bundle {bundle.name} ({bundle.fingerprint}) to {options.bundle}")


if __name__ == "__main__":
    main()
