"""The `mtl-split` command: train, export, replay, compare."""

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from mtl_split_core.bundle import EXIT
from mtl_split_core.errors import InputError
from mtl_split_core.tracks import TRACKING
from mtl_split_lab.quiet import quieten

EXPERIMENTS = ("street", "shapes-8", "shapes-71")
PICTURES = ("sim:100000:200", "carla_towns/val.json", "road_mix/val.json")
DRIVES = ("sim:100000:16:60", "carla_towns/val.json")
CLUSTER = (
    "spread the work over a Ray cluster that this machine has joined, HOST:PORT, or local for one that is started on"
    " this machine alone; see docs/several-machines.md (default: none)"
)
ROS = ("ament_index_python", "builtin_interfaces", "mtl_split", "rclpy")
"""What commands import of ROS first, beside messages."""
RECIPE = Path(__file__).parent / "recipes" / "street.yaml"
FLEET = Path(__file__).parent / "fleets" / "example.yaml"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one of the subcommands; `mtl-split --help` lists them."""
    parser = argparse.ArgumentParser(
        prog="mtl-split", description="Split multi-task perception: train, export, replay, compare."
    )
    commands = parser.add_subparsers(required=True, dest="command", metavar="COMMAND")

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
        "--processes", type=_positive, default=os.cpu_count(), help="processes that draw and read pictures"
    )
    _add_hardware(command)
    command.set_defaults(function=_train, extra="train")

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
    command.add_argument("--processes", type=_positive, default=os.cpu_count(), help="as for train")
    command.set_defaults(function=_export, extra="train")

    command = commands.add_parser("exit", help="give a bundle an exit: a small network that answers on the edge itself")
    command.add_argument("--bundle", type=Path, required=True, help="folder of the bundle, where the exit is added")
    command.add_argument(
        "--pictures", nargs="+", default=[], metavar="SOURCE",
        help="to learn from, as many of each, labelled as a recipe names them, or images:FOLDER, video:FILE, bag:PATH "
        "(default: those that the bundle was trained on)",
    )  # fmt: skip
    command.add_argument("--count", type=_positive, default=8000, help="pictures in all (default: %(default)s)")
    command.add_argument("--epochs", type=_positive, default=10, help="how often all are seen (default: %(default)s)")
    command.add_argument(
        "--run", type=Path, default=Path("runs/exit"), help="folder of the training (default: %(default)s)"
    )
    command.add_argument("--data", type=Path, default=Path(), help="as for train (default: %(default)s)")
    command.add_argument("--processes", type=_positive, default=os.cpu_count(), help="processes that draw pictures")
    _add_hardware(command)
    command.set_defaults(function=_give_exit, extra="train")

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
    command.add_argument("--processes", type=_positive, default=os.cpu_count(), help="as for train")
    command.set_defaults(function=_quantise, extra="train")

    command = commands.add_parser("backbones", help="list where the backbones can be cut, and what each cut costs")
    command.add_argument("backbone", nargs="*", help="only these (default: all)")
    command.add_argument(
        "--input", type=_positive, nargs=2, default=(512, 288), metavar=("WIDTH", "HEIGHT"), help="size of the pictures"
    )
    command.set_defaults(function=_list_backbones, extra="train")

    command = commands.add_parser("cuts", help="list where an ONNX network can be cut, and what each cut costs")
    command.add_argument("network", type=Path, help="ONNX file")
    command.add_argument("--cut", metavar="NAME", help="only the cut at this tensor (default: all)")
    command.add_argument(
        "--tensors", type=_positive, default=1, metavar="N",
        help="also where up to N tensors cross, for `mtl-split cut` (default: %(default)s)",
    )  # fmt: skip
    command.add_argument("--plot", type=Path, metavar="FILE.png", help="draw bytes and milliseconds over the cuts")
    command.set_defaults(function=_list_cuts, extra="train")

    command = commands.add_parser("profile", help="measure what every part of a bundle takes on this machine")
    command.add_argument("--bundle", default="street", help="as for replay (default: %(default)s)")
    command.add_argument("--engine", default="onnxruntime", help="as the nodes' parameter (default: %(default)s)")
    command.add_argument("--threads", type=_positive, default=1, help="threads of one call (default: %(default)s)")
    command.add_argument("--calls", type=_positive, default=200, help="calls of each part (default: %(default)s)")
    command.add_argument(
        "--size", type=_positive, nargs=2, default=(1280, 720), metavar=("WIDTH", "HEIGHT"),
        help="of the camera's pictures (default: 1280 720)",
    )  # fmt: skip
    command.add_argument(
        "--layers", action="store_true", help="also measure every layer of both networks, for `plan`; needs onnx"
    )
    command.add_argument(
        "--out", type=Path, default=Path("out/profile.json"), metavar="FILE.json",
        help="file to write (default: %(default)s)",
    )  # fmt: skip
    command.set_defaults(function=_profile, extra="plan")

    command = commands.add_parser(
        "cut", help="divide a bundle's suffix once more, for a roadside unit; see docs/middle.md"
    )
    command.add_argument("--bundle", required=True, help="as for replay")
    command.add_argument(
        "--at", required=True, metavar="TENSOR", help="as `mtl-split cuts SUFFIX.onnx --tensors N` lists them"
    )
    command.add_argument("--out", type=Path, help="folder to write (default: into the bundle's own)")
    command.set_defaults(function=_cut, extra="train")

    command = commands.add_parser("plan", help="decide what runs where for a fleet, with a bound on how good it can be")
    command.add_argument("fleet", type=Path, nargs="?", default=FLEET, help="YAML file (default: the shipped example)")
    command.add_argument(
        "--seconds", type=_positive, default=60, help="at most, for the exact solver (default: %(default)s)"
    )
    command.add_argument(
        "--out", type=Path, default=Path("out/plan"), help="folder for what comes out (default: %(default)s)"
    )
    command.add_argument(
        "--check", action="store_true",
        help="run every route with one vehicle in network namespaces, and compare; needs root and ROS",
    )  # fmt: skip
    command.add_argument(
        "--check-seconds", type=_positive, default=20, help="of each measurement (default: %(default)s)"
    )
    command.set_defaults(function=_plan, extra="plan")

    command = commands.add_parser("plan-study", help="compare ways of planning on random graphs")
    command.add_argument("--graphs", type=_positive, default=200, help="(default: %(default)s)")
    command.add_argument(
        "--seconds", type=_positive, default=60, help="at most, for the exact solver on each (default: %(default)s)"
    )
    command.add_argument(
        "--run", type=Path, default=Path("runs/planning"), help="folder of what is done so far (default: %(default)s)"
    )
    command.add_argument(
        "--out", type=Path, default=Path("docs/results"), help="folder of page and plots (default: %(default)s)"
    )
    command.set_defaults(function=_study_planning, extra="plan")

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
    command.set_defaults(function=_compare, extra="train")

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
    command.add_argument("--processes", type=_positive, default=os.cpu_count(), help="processes that run at once")
    command.add_argument("--cluster", default="", metavar="ADDRESS", help=CLUSTER)
    command.set_defaults(function=_compare_rates, extra="replay")

    command = commands.add_parser("replay", help="evaluate rosbags, videos and pictures, without ROS running")
    command.add_argument(
        "input",
        nargs="+",
        help="a rosbag, a video, a picture, a folder of pictures, a folder with images/ and one JSON file of labels, "
        "such a file, sim:SEED:FRAMES, or sim:SEED:DRIVES:FRAMES for consecutive ones; several make one report",
    )
    command.add_argument(
        "--bundle",
        default="street",
        help="name of a shipped bundle, or path of a bundle's folder (default: %(default)s)",
    )
    command.add_argument(
        "--ways", metavar="WAY,...",
        help="split, split:POINT, whole, exit, jpeg:QUALITY, raw (default: all operating points, and some of each)",
    )  # fmt: skip
    command.add_argument(
        "--max-payload-bytes", type=_positive, default=1200, help="of the way split; as the edge node's (%(default)s)"
    )
    command.add_argument("--image-topic", default="", help="topic of a bag's images (default: the only one there is)")
    command.add_argument(
        "--truth", action="append", default=[], metavar="TASK=TOPIC", type=_pair,
        help="topic of a bag with a task's truth (default: in ground_truth/ beside the images)",
    )  # fmt: skip
    command.add_argument("--images", type=Path, help="folder of the pictures (default: images/ beside the labels)")
    command.add_argument(
        "--rename", action="append", default=[], metavar="LABEL=OURS", type=_pair,
        help="what the bundle calls a label of the file, such as person=pedestrian",
    )  # fmt: skip
    command.add_argument(
        "--masks", action="append", default=[], metavar="TASK=FOLDER[:LABEL,...]", type=_pair,
        help="masks NAME.png of the pictures, and the labels of their numbers 0, 1, ... (default: the task's own)",
    )  # fmt: skip
    command.add_argument(
        "--tracking", choices=TRACKING, default=TRACKING[0], help="as the server node's (default: %(default)s)"
    )
    command.add_argument("--frames", type=_positive, help="evaluate only so many (default: all)")
    command.add_argument(
        "--out", type=Path, default=Path("out/replay"), help="folder for what comes out (default: %(default)s)"
    )
    command.add_argument(
        "--at-once", type=_positive, default=os.cpu_count(), metavar="N",
        help="frames at work at the same time; 1 for times that no other frame adds to (default: %(default)s)",
    )  # fmt: skip
    command.add_argument("--cluster", default="", metavar="ADDRESS", help=CLUSTER)
    command.set_defaults(function=_replay, extra="replay")

    command = commands.add_parser("record", help="record a vehicle's camera, truth and results into a rosbag")
    command.add_argument("bag", type=Path, help="folder to write, which is not there yet")
    command.add_argument("--namespace", default="", help="of the vehicle (default: none)")
    command.add_argument("--image-topic", default="image_raw", help="topic of the images (default: %(default)s)")
    command.add_argument("--bundle", default="street", help="whose tasks' results to record (default: %(default)s)")
    command.add_argument("--storage", choices=("mcap", "sqlite3"), default="mcap", help="(default: %(default)s)")
    command.set_defaults(function=_record, extra="replay")

    command = commands.add_parser("compare", help="print what changed between two reports of replay")
    command.add_argument("before", type=Path, help="report.json of the one")
    command.add_argument("after", type=Path, help="report.json of the other")
    command.add_argument(
        "--points", type=float, default=1.0,
        help="exit with 1 where an accuracy fell by more than so many points (default: %(default)s)",
    )  # fmt: skip
    command.add_argument(
        "--percent", type=float, default=5.0,
        help="exit with 1 where the median bytes grew by more than so many per cent (default: %(default)s)",
    )  # fmt: skip
    command.set_defaults(function=_compare_reports, extra="replay")

    command = commands.add_parser("trace", help="make a trace of a link from recorded bottlenecks and link reports")
    command.add_argument("bag", type=Path, help="rosbag with the topics bottleneck and link_report, as `record` writes")
    command.add_argument("--namespace", default="", help="of the vehicle (default: the only one there is)")
    command.add_argument(
        "--out",
        type=Path,
        default=Path("out/trace.csv"),
        metavar="FILE.csv",
        help="file to write (default: %(default)s)",
    )
    command.set_defaults(function=_make_trace, extra="replay")

    command = commands.add_parser("train-policy", help="learn when to send what from traces of links")
    _add_adaptation(command)
    command.add_argument(
        "--own", choices=("exit", "whole"), default="whole", help="the edge's own network (default: %(default)s)"
    )
    command.add_argument(
        "--slower", type=float, default=1.0, help="than the profile's machine, the vehicle's (default: %(default)s)"
    )
    command.add_argument("--method", choices=("learned", "imitation"), default="learned",
        help="soft actor-critic, or imitation of one who knows the link (default: %(default)s)")  # fmt: skip
    command.add_argument("--hold-out", nargs="*", default=[], metavar="CARRIER", help="carriers only to test on")
    command.add_argument("--seed", type=int, default=0, help="of chance (default: %(default)s)")
    command.add_argument(
        "--out", type=Path, default=Path("out/policy.onnx"), metavar="FILE.onnx", help="file to write, and beside it a "
        "card, FILE.json (default: %(default)s)",
    )  # fmt: skip
    command.set_defaults(function=_train_policy, extra="adapt")

    command = commands.add_parser("adapt-study", help="compare policies over all traces, learned ones over unseen ones")
    _add_adaptation(command)
    command.add_argument(
        "--folds", type=_positive, default=5, help="groups of carriers that are tested in turn (default: %(default)s)"
    )
    command.add_argument("--seeds", type=_positive, default=5, help="of what is learned (default: %(default)s)")
    command.add_argument(
        "--run", type=Path, default=Path("runs/adapt"), help="folder of what is learned (default: %(default)s)"
    )
    command.add_argument(
        "--out", type=Path, default=Path("docs/results"), help="folder of page and plot (default: %(default)s)"
    )
    command.add_argument("--processes", type=_positive, default=os.cpu_count(), help="drives that run at once")
    command.set_defaults(function=_adapt_study, extra="adapt")

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


def _add_hardware(command: argparse.ArgumentParser) -> None:
    command.add_argument("--accelerator", default="auto", help="as Lightning names them (default: %(default)s)")
    command.add_argument("--devices", type=_positive, default=1, help="accelerators to use (default: %(default)s)")
    command.add_argument("--nodes", type=_positive, default=1, help="machines to train on (default: %(default)s)")
    command.add_argument("--precision", default="32-true", help="as Lightning names them (default: %(default)s)")


def _hardware(options: argparse.Namespace) -> dict[str, Any]:
    """Return what Lightning's Trainer is told of the hardware."""
    return {
        "accelerator": options.accelerator,
        "devices": options.devices,
        "num_nodes": options.nodes,
        "precision": options.precision,
    }


def _add_adaptation(command: argparse.ArgumentParser) -> None:
    """Add what all commands about policies take."""
    command.add_argument("--traces", type=Path, required=True, metavar="FOLDER", help="traces, CARRIER_ANYTHING.csv")
    command.add_argument(
        "--profile", type=Path, default=Path("out/profile.json"), help="written by profile (default: %(default)s)"
    )
    command.add_argument("--bundle", default="street", help="as for replay (default: %(default)s)")
    command.add_argument("--steps", type=_positive, default=40_000, help="frames to learn on (default: %(default)s)")
    command.add_argument(
        "--second-price", type=float, default=5.0, help="value of a second of the processor (default: %(default)s)"
    )
    command.add_argument(
        "--megabyte-price", type=float, default=6.0, help="value of a megabyte on the link (default: %(default)s)"
    )


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


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    if not name or not value:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _say_written(*paths: Path) -> None:
    print(f"written: {', '.join(map(str, paths))}")


# Each subcommand imports what it needs: torch takes seconds to load, and not every machine has it.


def _wait_passively() -> None:
    # Threads that wait by spinning slow each other down many times on a busy processor. torch reads this once.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _train(options: argparse.Namespace) -> None:
    _wait_passively()
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
        _hardware(options),
    )
    print(f"trained: {options.run / BEST}, the losses are drawn in {options.run / CURVES}")
    print(f"next: mtl-split export --run {options.run} --bundle FOLDER, with the same --data")


def _export(options: argparse.Namespace) -> None:
    from mtl_split_core.bundle import load_bundle
    from mtl_split_lab.learning.export import export

    deployed = load_bundle(options.contract) if options.contract else None
    bundle = export(options.run, options.bundle, options.data, options.processes, options.int8, deployed)
    print(json.dumps({key: bundle.manifest[key] for key in ("measured", "int8") if key in bundle.manifest}, indent=2))
    print(f"wrote bundle {bundle.name}, contract {bundle.contract.fingerprint}, to {options.bundle}")


def _give_exit(options: argparse.Namespace) -> None:
    _wait_passively()
    from mtl_split_lab.learning.curves import CURVES
    from mtl_split_lab.learning.exits import give_exit
    from mtl_split_lab.learning.values import format_values

    quieten()  # Lightning is imported
    bundle = give_exit(
        options.bundle, options.pictures, options.run, options.data, options.processes, options.count, options.epochs,
        _hardware(options),
    )  # fmt: skip
    print(format_values(bundle))
    _say_written(bundle.path(EXIT), options.run / CURVES)


def _quantise(options: argparse.Namespace) -> None:
    from mtl_split_core.bundle import load_bundle
    from mtl_split_core.share import bundle_folder
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


def _list_backbones(options: argparse.Namespace) -> None:
    from mtl_split_lab.studies.backbone_cuts import format_cuts
    from mtl_split_net.backbones import BACKBONES

    for backbone in options.backbone or BACKBONES:
        print(format_cuts(backbone, tuple(options.input)), end="\n\n")


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
        _say_written(options.plot)


def _profile(options: argparse.Namespace) -> None:
    from mtl_split_core.bundle import load_bundle
    from mtl_split_core.profile import write_profile
    from mtl_split_core.share import bundle_folder
    from mtl_split_lab.bench.profiling import format_profile, measure_profile

    bundle = load_bundle(bundle_folder(options.bundle))
    profile = measure_profile(bundle, options.engine, options.threads, options.calls, tuple(options.size))
    if options.layers:
        from mtl_split_lab.bench.layers import add_layers

        profile = add_layers(profile, bundle)
    print(format_profile(profile))
    write_profile(profile, options.out)
    _say_written(options.out)


def _cut(options: argparse.Namespace) -> None:
    from mtl_split_core.bundle import load_bundle
    from mtl_split_core.division import FEATURE_BYTES
    from mtl_split_core.share import bundle_folder
    from mtl_split_lab.learning.division import divide

    if options.out is None and "/" not in options.bundle:
        raise InputError(f"the shipped bundle {options.bundle} stays as it is: add --out FOLDER")
    bundle, division, difference = divide(load_bundle(bundle_folder(options.bundle)), options.at, options.out)
    kilobytes = FEATURE_BYTES * division.numbers / 1e3
    print(
        f"divided {bundle.name} at {division.cut}: {len(division.tensors)} tensors, {kilobytes:,.0f} kB before they are"
        f" compressed; in series the parts differ from the suffix by {difference:.0e}"
    )
    _say_written(*(bundle.path(role) for role in (division.middle, division.rest)))


def _plan(options: argparse.Namespace) -> None:
    from mtl_split_lab.planning.plan import format_plan, make_plan, write_plan

    plan = make_plan(options.fleet, options.seconds)
    print(format_plan(plan))
    _say_written(*write_plan(plan, options.out))
    if options.check:
        from mtl_split_lab.bench.namespaces import NoLinkError
        from mtl_split_lab.live.processes import ProcessError
        from mtl_split_lab.planning.check import check_plan, format_checks

        try:
            checks = list(check_plan(plan, options.check_seconds))
        except (NoLinkError, ProcessError) as error:
            raise InputError(f"the plan cannot be checked: {error}") from error
        print(format_checks(checks))
        if not all(each.close for each in checks):
            raise SystemExit(1)


def _study_planning(options: argparse.Namespace) -> None:
    from mtl_split_lab.planning.plan import make_plan
    from mtl_split_lab.planning.study import PAGE, compare, write_page

    rows = compare(options.graphs, options.seconds, options.run / "graphs.jsonl")
    write_page(rows, make_plan(FLEET), options.seconds, options.out)
    _say_written(options.out / PAGE)


def _compare(options: argparse.Namespace) -> None:
    from mtl_split_lab.studies.comparison import compare, paper_experiments
    from mtl_split_lab.studies.comparison_page import PAGE, PLOT

    experiments = [e for e in paper_experiments(options.shapes) if e.name in options.experiments]
    if options.epochs:
        experiments = [replace(e, recipe=replace(e.recipe, epochs=options.epochs)) for e in experiments]
    compare(experiments, options.backbones, options.seeds, options.run, options.out, options.processes)
    _say_written(options.out / PAGE, options.out / PLOT)


def _compare_rates(options: argparse.Namespace) -> None:
    from mtl_split_core.bundle import load_bundle
    from mtl_split_core.share import bundle_folder
    from mtl_split_lab.studies.rate_accuracy_page import PAGE, compare_rates

    bundle = load_bundle(bundle_folder(options.bundle))
    drives = options.drives or [DRIVES[0], *(name for name in DRIVES[1:] if name in options.pictures)]
    compare_rates(
        bundle, options.pictures, drives, options.data, options.run, options.out, options.processes, options.cluster
    )
    _say_written(options.out / PAGE)


def _replay(options: argparse.Namespace) -> None:
    from mtl_split_core.bundle import load_bundle
    from mtl_split_core.share import bundle_folder
    from mtl_split_lab.recordings.gallery import FOLDER
    from mtl_split_lab.recordings.inputs import Together, open_input
    from mtl_split_lab.recordings.replay import FRAMES, REPORT, default_ways, replay, write_report
    from mtl_split_lab.recordings.replay_page import PAGE, format_report, write_page

    bundle = load_bundle(bundle_folder(options.bundle))
    ways = options.ways.split(",") if options.ways else default_ways(bundle)
    drawn = options.out / "pictures"
    inputs = [
        open_input(
            name, bundle.tasks, drawn, options.at_once,
            options.image_topic, dict(options.truth), options.images, dict(options.rename),
            dict(options.masks),
        )
        for name in options.input
    ]  # fmt: skip
    source = Together(inputs) if len(inputs) > 1 else inputs[0]
    stop = threading.Event()

    def end(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_DFL)  # a second one does not wait for the report
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    done = replay(
        bundle, source, ways, options.out, options.max_payload_bytes, options.at_once, stop, options.frames,
        options.tracking, options.cluster,
    )  # fmt: skip
    report = write_report(done, bundle, source, options.out)
    write_page(report, done, bundle, options.out)
    print(format_report(report))
    _say_written(*(options.out / name for name in (PAGE, FOLDER, REPORT, FRAMES)))
    if done.interrupted:
        raise SystemExit(130)


def _record(options: argparse.Namespace) -> None:
    from mtl_split_core.bundle import load_bundle
    from mtl_split_core.share import bundle_folder
    from mtl_split_lab.recordings.bag_recorder import BagRecorder
    from mtl_split_ros.process import run

    tasks = load_bundle(bundle_folder(options.bundle)).tasks
    create = partial(BagRecorder, options.bag, tasks, options.image_topic, options.storage, options.namespace)
    raise SystemExit(run(create))


def _compare_reports(options: argparse.Namespace) -> None:
    from mtl_split_lab.recordings.report_comparison import compare_reports, read_report

    table, worse = compare_reports(
        read_report(options.before), read_report(options.after), options.points / 100, options.percent / 100
    )
    print(table)
    if worse:
        raise SystemExit("worse: " + "; ".join(worse))


def _make_trace(options: argparse.Namespace) -> None:
    from mtl_split_lab.adaptation.recorded import trace_of_bag
    from mtl_split_lab.adaptation.traces import write_trace

    trace = trace_of_bag(options.bag, options.namespace)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_trace(trace, options.out)
    outages = trace.outages(0.5)
    lasting = sum(end - begin for begin, end in outages)
    print(f"{trace.duration:.0f} s, {len(outages)} outages of 0.5 s or more, {lasting:.1f} s in all")
    _say_written(options.out)


def _train_policy(options: argparse.Namespace) -> None:
    from mtl_split_core.bundle import load_bundle
    from mtl_split_core.profile import load_profile
    from mtl_split_core.share import bundle_folder
    from mtl_split_lab.adaptation.cars import Prices
    from mtl_split_lab.adaptation.policy_card import Wanted, train_policy

    wanted = Wanted(
        method=options.method,
        own=options.own,
        slower=options.slower,
        prices=Prices(options.second_price, options.megabyte_price),
        hold_out=tuple(options.hold_out),
        seed=options.seed,
        steps=options.steps,
    )
    bundle = load_bundle(bundle_folder(options.bundle))
    card = train_policy(bundle, load_profile(options.profile), options.traces, wanted, options.out)
    _say_written(options.out, card)
    print(f"next: the edge's parameter policy:=learned:{options.out.resolve()}")


def _adapt_study(options: argparse.Namespace) -> None:
    from mtl_split_core.bundle import load_bundle
    from mtl_split_core.profile import load_profile
    from mtl_split_core.share import bundle_folder
    from mtl_split_lab.adaptation.cars import Prices
    from mtl_split_lab.adaptation.page import FIGURES, PAGE, PLOT, Chosen, adapt_study, all_traces

    bundle = load_bundle(bundle_folder(options.bundle))
    profile = load_profile(options.profile)
    chosen = Chosen(all_traces(options.traces), options.folds, options.seeds, options.steps)
    prices = Prices(options.second_price, options.megabyte_price)
    adapt_study(bundle, profile, options.run, options.out, chosen, prices, options.processes)
    _say_written(*(options.out / name for name in (PAGE, PLOT, FIGURES)))


if __name__ == "__main__":
    main()
