"""Subcommands on recordings: replay and compare them, and make them."""

import argparse
import os
import signal
import threading
from functools import partial
from pathlib import Path

from mtl_split_core.bundle import load_bundle
from mtl_split_core.share import bundle_folder
from mtl_split_core.tracks import TRACKING
from mtl_split_lab.commands.arguments import CLUSTER, Commands, pair, positive, say_written


def add(commands: Commands) -> None:
    """Add the subcommands."""
    for each in (_add_replay, _add_record, _add_compare):
        each(commands)


def _add_replay(commands: Commands) -> None:
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
        "--max-payload-bytes", type=positive, default=1200, help="of the way split; as the edge node's (%(default)s)"
    )
    command.add_argument("--image-topic", default="", help="topic of a bag's images (default: the only one there is)")
    command.add_argument(
        "--truth", action="append", default=[], metavar="TASK=TOPIC", type=pair,
        help="topic of a bag with a task's truth (default: in ground_truth/ beside the images)",
    )  # fmt: skip
    command.add_argument("--images", type=Path, help="folder of the pictures (default: images/ beside the labels)")
    command.add_argument(
        "--rename", action="append", default=[], metavar="LABEL=OURS", type=pair,
        help="what the bundle calls a label of the file, such as person=pedestrian",
    )  # fmt: skip
    command.add_argument(
        "--masks", action="append", default=[], metavar="TASK=FOLDER[:LABEL,...]", type=pair,
        help="masks NAME.png of the pictures, and the labels of their numbers 0, 1, ... (default: the task's own)",
    )  # fmt: skip
    command.add_argument(
        "--tracking", choices=TRACKING, default=TRACKING[0], help="as the server node's (default: %(default)s)"
    )
    command.add_argument("--frames", type=positive, help="evaluate only so many (default: all)")
    command.add_argument(
        "--out", type=Path, default=Path("out/replay"), help="folder for what comes out (default: %(default)s)"
    )
    command.add_argument(
        "--at-once", type=positive, default=os.cpu_count(), metavar="N",
        help="frames at work at the same time; 1 for times that no other frame adds to (default: %(default)s)",
    )  # fmt: skip
    command.add_argument("--cluster", default="", metavar="ADDRESS", help=CLUSTER)
    command.set_defaults(function=_replay, extra="replay")


def _replay(options: argparse.Namespace) -> None:
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
    say_written(*(options.out / name for name in (PAGE, FOLDER, REPORT, FRAMES)))
    if done.interrupted:
        raise SystemExit(130)


def _add_record(commands: Commands) -> None:
    command = commands.add_parser("record", help="record a vehicle's camera, truth and results into a rosbag")
    command.add_argument("bag", type=Path, help="folder to write, which is not there yet")
    command.add_argument("--namespace", default="", help="of the vehicle (default: none)")
    command.add_argument("--image-topic", default="image_raw", help="topic of the images (default: %(default)s)")
    command.add_argument("--bundle", default="street", help="whose tasks' results to record (default: %(default)s)")
    command.add_argument("--storage", choices=("mcap", "sqlite3"), default="mcap", help="(default: %(default)s)")
    command.set_defaults(function=_record, extra="replay")


def _record(options: argparse.Namespace) -> None:
    from mtl_split_lab.recordings.bag_recorder import BagRecorder
    from mtl_split_ros.process import run

    tasks = load_bundle(bundle_folder(options.bundle)).tasks
    create = partial(BagRecorder, options.bag, tasks, options.image_topic, options.storage, options.namespace)
    raise SystemExit(run(create))


def _add_compare(commands: Commands) -> None:
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


def _compare_reports(options: argparse.Namespace) -> None:
    from mtl_split_lab.recordings.report_comparison import compare_reports, read_report

    table, worse = compare_reports(
        read_report(options.before), read_report(options.after), options.points / 100, options.percent / 100
    )
    print(table)
    if worse:
        raise SystemExit("worse: " + "; ".join(worse))
