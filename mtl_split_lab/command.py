"""The `mtl-split` command: train, export, compare."""

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mtl_split_core.errors import InputError

EXPERIMENTS = ("street", "shapes-8", "shapes-71")
PICTURES = ("sim:100000:200", "carla_towns/val.json", "road_mix/val.json")
RECIPE = Path(__file__).parent / "recipes" / "street.yaml"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one of the subcommands; `mtl-split --help` lists them."""
    parser = argparse.ArgumentParser(
        prog="mtl-split", description="Split multi-task perception: train, export, compare."
    )
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
        "--int8",
        action="store_true",
        help="let the prefix calculate with 8-bit integers, calibrated on training pictures, and measure what is lost",
    )
    command.add_argument("--data", type=Path, default=Path(), help="as for train (default: %(default)s)")
    command.add_argument("--processes", type=_positive, default=os.cpu_count(), help="as for train")
    command.set_defaults(function=_export)

    command = commands.add_parser("backbones", help="list where the backbones can be cut, and what each cut costs")
    command.add_argument("backbone", nargs="*", help="only these (default: all)")
    command.add_argument(
        "--input", type=_positive, nargs=2, default=(512, 288), metavar=("WIDTH", "HEIGHT"), help="size of the pictures"
    )
    command.set_defaults(function=_list_backbones)

    command = commands.add_parser("compare-mtl", help="compare networks for one task each with one for all tasks")
    command.add_argument(
        "--backbones", nargs="+", default=["mobilenet_v3_small"], metavar="NAME", help="default: mobilenet_v3_small"
    )
    command.add_argument(
        "--experiments", nargs="+", choices=EXPERIMENTS, default=EXPERIMENTS, help="pictures and tasks (default: all)"
    )
    command.add_argument("--epochs", type=_positive, help="how often all pictures are seen (default: the recipes')")
    command.add_argument("--seeds", type=_positive, default=3, help="trainings of each kind (default: %(default)s)")
    command.add_argument(
        "--run", type=Path, default=Path("runs/compare"), help="folder of the trainings (default: %(default)s)"
    )
    command.add_argument("--shapes", type=Path, metavar="FILE", help="3D Shapes' own 3dshapes.h5 (default: drawn here)")
    command.add_argument(
        "--out", type=Path, default=Path("docs/results"), help="folder of page and plot (default: %(default)s)"
    )
    command.add_argument("--processes", type=_positive, default=os.cpu_count(), help="trainings that run at once")
    command.set_defaults(function=_compare)

    command = commands.add_parser(
        "rate-accuracy", help="compare what each byte on the link buys, by every way to send it"
    )
    command.add_argument(
        "--bundle", type=Path, default=Path("models/street"), help="folder of the bundle (default: %(default)s)"
    )
    command.add_argument(
        "--pictures", nargs="+", default=PICTURES, metavar="SOURCE",
        help=f"as a recipe names them, never trained on (default: {' '.join(PICTURES)})",
    )  # fmt: skip
    command.add_argument("--data", type=Path, default=Path(), help="as for train (default: %(default)s)")
    command.add_argument(
        "--run", type=Path, default=Path("runs/rate-accuracy"), help="folder of drawn pictures (default: %(default)s)"
    )
    command.add_argument(
        "--out", type=Path, default=Path("docs/results"), help="folder of page and plot (default: %(default)s)"
    )
    command.add_argument("--processes", type=_positive, default=os.cpu_count(), help="processes that run at once")
    command.set_defaults(function=_compare_rates)

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
    from mtl_split_lab.export import export

    bundle = export(options.run, options.bundle, options.data, options.processes, options.int8)
    print(json.dumps({key: bundle.manifest[key] for key in ("measured", "int8") if key in bundle.manifest}, indent=2))
    print(f"wrote bundle {bundle.name} ({bundle.fingerprint}) to {options.bundle}")


def _list_backbones(options: argparse.Namespace) -> None:
    from mtl_split_lab.split_points import format_split_points
    from mtl_split_net.backbones import BACKBONES

    for backbone in options.backbone or BACKBONES:
        print(format_split_points(backbone, tuple(options.input)), end="\n\n")


def _compare(options: argparse.Namespace) -> None:
    from mtl_split_lab.comparison import compare, paper_experiments

    experiments = [e for e in paper_experiments(options.shapes) if e.name in options.experiments]
    if options.epochs:
        experiments = [replace(e, recipe=replace(e.recipe, epochs=options.epochs)) for e in experiments]
    compare(experiments, options.backbones, options.seeds, options.run, options.out, options.processes)


def _compare_rates(options: argparse.Namespace) -> None:
    from mtl_split_core.bundle import load_bundle
    from mtl_split_lab.rate_accuracy_page import compare_rates

    bundle = load_bundle(options.bundle)
    compare_rates(bundle, options.pictures, options.data, options.run, options.out, options.processes)


if __name__ == "__main__":
    main()
