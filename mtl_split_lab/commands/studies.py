"""Subcommands that compare: where networks can be cut, one network against several, rate against accuracy."""

import argparse
import os
from dataclasses import replace
from pathlib import Path

from mtl_split_core.bundle import load_bundle
from mtl_split_core.errors import InputError
from mtl_split_core.share import bundle_folder
from mtl_split_lab.commands.arguments import CLUSTER, Commands, positive, say_written

EXPERIMENTS = ("street", "shapes-8", "shapes-71")
PICTURES = ("sim:100000:200", "carla_towns/val.json", "road_mix/val.json")
DRIVES = ("sim:100000:16:60", "carla_towns/val.json")


def add(commands: Commands) -> None:
    """Add the subcommands."""
    for each in (_add_backbones, _add_cuts, _add_compare_mtl, _add_rate_accuracy):
        each(commands)


def _add_backbones(commands: Commands) -> None:
    command = commands.add_parser("backbones", help="list where the backbones can be cut, and what each cut costs")
    command.add_argument("backbone", nargs="*", help="only these (default: all)")
    command.add_argument(
        "--input", type=positive, nargs=2, default=(512, 288), metavar=("WIDTH", "HEIGHT"), help="size of the pictures"
    )
    command.set_defaults(function=_list_backbones, extra="train")


def _list_backbones(options: argparse.Namespace) -> None:
    from mtl_split_lab.studies.backbone_cuts import format_cuts
    from mtl_split_net.backbones import BACKBONES

    for backbone in options.backbone or BACKBONES:
        print(format_cuts(backbone, tuple(options.input)), end="\n\n")


def _add_cuts(commands: Commands) -> None:
    command = commands.add_parser("cuts", help="list where an ONNX network can be cut, and what each cut costs")
    command.add_argument("network", type=Path, help="ONNX file")
    command.add_argument("--cut", metavar="NAME", help="only the cut at this tensor (default: all)")
    command.add_argument(
        "--tensors", type=positive, default=1, metavar="N",
        help="also where up to N tensors cross, for `mtl-split cut` (default: %(default)s)",
    )  # fmt: skip
    command.add_argument("--plot", type=Path, metavar="FILE.png", help="draw bytes and milliseconds over the cuts")
    command.set_defaults(function=_list_cuts, extra="train")


def _list_cuts(options: argparse.Namespace) -> None:
    from mtl_split_lab.studies.cuts import format_cuts, measure_cuts, plot_cuts
    from mtl_split_net.onnx_graph import OnnxGraph

    graph = OnnxGraph(options.network)
    names = graph.cuts if options.tensors == 1 else graph.places(options.tensors)
    if options.cut and options.tensors == 1:
        graph.check_cut(options.cut)
    cuts = measure_cuts(graph, [options.cut] if options.cut else names)
    if not cuts:
        raise InputError(f"{options.network} has no cut: no tensor lies on all paths from {graph.inputs}")
    print(format_cuts(graph, cuts))
    if options.plot:
        plot_cuts(cuts, options.plot)
        say_written(options.plot)


def _add_compare_mtl(commands: Commands) -> None:
    command = commands.add_parser("compare-mtl", help="compare networks for one task each with one for all tasks")
    command.add_argument(
        "--backbones", nargs="+", default=["mobilenet_v3_small"], metavar="NAME", help="default: mobilenet_v3_small"
    )
    command.add_argument(
        "--experiments", nargs="+", choices=EXPERIMENTS, default=EXPERIMENTS, help="pictures and tasks (default: all)"
    )
    command.add_argument("--epochs", type=positive, help="how often all pictures are seen (default: the recipes')")
    command.add_argument("--seeds", type=positive, default=3, help="trainings of each kind (default: %(default)s)")
    command.add_argument(
        "--run", type=Path, default=Path("runs/compare"), help="folder of the trainings (default: %(default)s)"
    )
    command.add_argument("--shapes", type=Path, metavar="FILE", help="3D Shapes' own 3dshapes.h5 (default: drawn here)")
    command.add_argument(
        "--out", type=Path, default=Path("docs/results"), help="folder of page and plot (default: %(default)s)"
    )
    command.add_argument("--processes", type=positive, default=os.cpu_count(), help="trainings that run at once")
    command.set_defaults(function=_compare, extra="train")


def _compare(options: argparse.Namespace) -> None:
    from mtl_split_lab.studies.comparison import compare, paper_experiments
    from mtl_split_lab.studies.comparison_page import PAGE, PLOT

    experiments = [e for e in paper_experiments(options.shapes) if e.name in options.experiments]
    if options.epochs:
        experiments = [replace(e, recipe=replace(e.recipe, epochs=options.epochs)) for e in experiments]
    compare(experiments, options.backbones, options.seeds, options.run, options.out, options.processes)
    say_written(options.out / PAGE, options.out / PLOT)


def _add_rate_accuracy(commands: Commands) -> None:
    command = commands.add_parser(
        "rate-accuracy", help="compare what each byte on the link buys, by every way to send it"
    )
    command.add_argument("--bundle", default="street", help="as for replay (default: %(default)s)")
    command.add_argument(
        "--pictures", nargs="+", default=PICTURES, metavar="SOURCE",
        help=f"as a recipe names them, never trained on (default: {' '.join(PICTURES)})",
    )  # fmt: skip
    command.add_argument(
        "--drives", nargs="+", metavar="SOURCE",
        help="frames in their order in time, for video: sim:SEED:DRIVES:FRAMES, or a file of labels "
        f"(default: {DRIVES[0]}, and {DRIVES[1]} if that is among the pictures)",
    )  # fmt: skip
    command.add_argument("--data", type=Path, default=Path(), help="as for train (default: %(default)s)")
    command.add_argument(
        "--run", type=Path, default=Path("runs/rate-accuracy"), help="folder of drawn pictures (default: %(default)s)"
    )
    command.add_argument(
        "--out", type=Path, default=Path("docs/results"), help="folder of page and plot (default: %(default)s)"
    )
    command.add_argument("--processes", type=positive, default=os.cpu_count(), help="processes that run at once")
    command.add_argument("--cluster", default="", metavar="ADDRESS", help=CLUSTER)
    command.set_defaults(function=_compare_rates, extra="replay")


def _compare_rates(options: argparse.Namespace) -> None:
    from mtl_split_lab.studies.rate_accuracy_page import PAGE, compare_rates

    bundle = load_bundle(bundle_folder(options.bundle))
    drives = options.drives or [DRIVES[0], *(name for name in DRIVES[1:] if name in options.pictures)]
    compare_rates(
        bundle, options.pictures, drives, options.data, options.run, options.out, options.processes, options.cluster
    )
    say_written(options.out / PAGE)
