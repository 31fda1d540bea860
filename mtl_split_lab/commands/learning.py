"""Subcommands that make bundles: from a recipe and its pictures, or from another bundle."""

import argparse
import json
import os
from pathlib import Path

from mtl_split_core.bundle import EXIT, load_bundle
from mtl_split_core.errors import InputError
from mtl_split_core.share import bundle_folder
from mtl_split_lab.commands.arguments import Commands, add_hardware, hardware_of, positive, say_written, wait_passively
from mtl_split_lab.quiet import quieten

RECIPE = Path(__file__).parents[1] / "recipes" / "street.yaml"
"""That of the shipped bundle."""


def add(commands: Commands) -> None:
    """Add the subcommands."""
    for each in (_add_train, _add_export, _add_exit, _add_int8, _add_cut):
        each(commands)


def _add_train(commands: Commands) -> None:
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
    begin.add_argument("--start", type=Path, help="another training's checkpoint or a bundle's folder to begin with")
    command.add_argument(
        "--processes", type=positive, default=os.cpu_count(), help="processes that draw and read pictures"
    )
    add_hardware(command)
    command.set_defaults(function=_train, extra="train")


def _train(options: argparse.Namespace) -> None:
    wait_passively()
    from mtl_split_lab.learning.curves import CURVES
    from mtl_split_lab.learning.training import BEST, train

    quieten()  # Lightning is imported
    train(
        options.recipe,
        options.run,
        options.data,
        options.processes,
        options.pretrained,
        options.start,
        hardware_of(options),
    )
    print(f"trained: {options.run / BEST}, the losses are drawn in {options.run / CURVES}")
    print(f"next: mtl-split export --run {options.run} --bundle FOLDER, with the same --data")


def _add_export(commands: Commands) -> None:
    command = commands.add_parser("export", help="write the bundle of a training")
    command.add_argument(
        "--run", type=Path, default=Path("runs/street"), help="folder of the training (default: %(default)s)"
    )
    command.add_argument("--bundle", type=Path, required=True, help="folder to write")
    command.add_argument(
        "--int8",
        action="store_true",
        help="let the prefix calculate with 8-bit integers, calibrated on training pictures, and measure what is lost",
    )
    command.add_argument(
        "--contract",
        type=Path,
        metavar="BUNDLE",
        help="keep the contract of this bundle, of the same training, or where the recipe has train_only, the one that "
        "it started from (default: calibrate the operating points)",
    )
    command.add_argument("--data", type=Path, default=Path(), help="as for train (default: %(default)s)")
    command.add_argument("--processes", type=positive, default=os.cpu_count(), help="as for train")
    command.set_defaults(function=_export, extra="train")


def _export(options: argparse.Namespace) -> None:
    from mtl_split_lab.learning.export import export

    deployed = load_bundle(options.contract) if options.contract else None
    bundle = export(options.run, options.bundle, options.data, options.processes, options.int8, deployed)
    print(json.dumps({key: bundle.manifest[key] for key in ("measured", "int8") if key in bundle.manifest}, indent=2))
    print(f"wrote bundle {bundle.name}, contract {bundle.contract.fingerprint}, to {options.bundle}")


def _add_exit(commands: Commands) -> None:
    command = commands.add_parser("exit", help="give a bundle an exit: a small network that answers on the edge itself")
    command.add_argument("--bundle", type=Path, required=True, help="folder of the bundle, where the exit is added")
    command.add_argument(
        "--pictures", nargs="+", default=[], metavar="SOURCE",
        help="to learn from, as many of each, labelled as a recipe names them, or images:FOLDER, video:FILE, bag:PATH "
        "(default: those that the bundle was trained on)",
    )  # fmt: skip
    command.add_argument("--count", type=positive, default=24000, help="pictures in all (default: %(default)s)")
    command.add_argument("--epochs", type=positive, default=8, help="how often all are seen (default: %(default)s)")
    command.add_argument(
        "--run", type=Path, default=Path("runs/exit"), help="folder of the training (default: %(default)s)"
    )
    command.add_argument("--data", type=Path, default=Path(), help="as for train (default: %(default)s)")
    command.add_argument("--processes", type=positive, default=os.cpu_count(), help="processes that draw pictures")
    add_hardware(command)
    command.set_defaults(function=_give_exit, extra="train")


def _give_exit(options: argparse.Namespace) -> None:
    wait_passively()
    from mtl_split_lab.learning.curves import CURVES
    from mtl_split_lab.learning.exits import give_exit
    from mtl_split_lab.learning.values import format_values

    quieten()  # Lightning is imported
    bundle = give_exit(
        options.bundle, options.pictures, options.run, options.data, options.processes, options.count, options.epochs,
        hardware_of(options),
    )  # fmt: skip
    print(format_values(bundle))
    say_written(bundle.path(EXIT), options.run / CURVES)


def _add_int8(commands: Commands) -> None:
    command = commands.add_parser(
        "int8",
        help="write a bundle once more, with an 8-bit suffix for OpenVINO, and measure what that loses and saves",
    )
    command.add_argument("--bundle", default="street", help="shipped bundle, or a folder (default: %(default)s)")
    command.add_argument("--out", type=Path, required=True, help="folder to write")
    command.add_argument(
        "--calibrate",
        nargs="+",
        default=["sim:1000000:64"],
        metavar="SOURCE",
        help="pictures that were trained on, as in a recipe (default: %(default)s)",
    )
    command.add_argument(
        "--pictures",
        nargs="+",
        default=["sim:100000:400"],
        metavar="SOURCE",
        help="pictures to measure both on, as in a recipe (default: %(default)s)",
    )
    command.add_argument("--data", type=Path, default=Path(), help="as for train (default: %(default)s)")
    command.add_argument(
        "--run", type=Path, default=Path("runs/int8"), help="folder of drawn pictures (default: %(default)s)"
    )
    command.add_argument("--processes", type=positive, default=os.cpu_count(), help="as for train")
    command.set_defaults(function=_quantise, extra="train")


def _quantise(options: argparse.Namespace) -> None:
    from mtl_split_lab.data.simulated import CAMERA_SIZE
    from mtl_split_lab.learning.eight_bit_suffix import write_eight_bit_suffix

    bundle = write_eight_bit_suffix(
        load_bundle(bundle_folder(options.bundle)),
        options.out,
        options.calibrate,
        options.pictures,
        options.data,
        options.run,
        options.processes,
        CAMERA_SIZE,
        print,
    )
    print(f"wrote bundle {bundle.name}, contract {bundle.contract.fingerprint}, to {options.out}")
    print(f"next: give it to the server alone, with the engine openvino: bundle:={options.out} engine:=openvino")


def _add_cut(commands: Commands) -> None:
    command = commands.add_parser(
        "cut", help="divide a bundle's suffix once more, for a roadside unit; see docs/middle.md"
    )
    command.add_argument("--bundle", required=True, help="as for replay")
    command.add_argument(
        "--at", required=True, metavar="TENSOR", help="as `mtl-split cuts SUFFIX.onnx --tensors N` lists them"
    )
    command.add_argument("--out", type=Path, help="folder to write (default: into the bundle's own)")
    command.set_defaults(function=_cut, extra="train")


def _cut(options: argparse.Namespace) -> None:
    from mtl_split_core.division import FEATURE_BYTES
    from mtl_split_lab.learning.division import divide

    if options.out is None and "/" not in options.bundle:
        raise InputError(f"the shipped bundle {options.bundle} stays as it is: add --out FOLDER")
    bundle, division, difference = divide(load_bundle(bundle_folder(options.bundle)), options.at, options.out)
    kilobytes = FEATURE_BYTES * division.numbers / 1e3
    print(
        f"divided {bundle.name} at {division.cut}: {len(division.tensors)} tensors, {kilobytes:,.0f} kB before they are"
        f" compressed; in series the parts differ from the suffix by {difference:.0e}"
    )
    say_written(*(bundle.path(role) for role in (division.middle, division.rest)))
