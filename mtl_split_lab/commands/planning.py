"""Subcommands that decide what runs where, and measure what that depends on."""

import argparse
from pathlib import Path

from mtl_split_core.bundle import load_bundle
from mtl_split_core.errors import InputError
from mtl_split_core.share import bundle_folder
from mtl_split_lab.commands.arguments import Commands, positive, say_written

FLEET = Path(__file__).parents[1] / "fleets" / "example.yaml"
"""The shipped example."""


def add(commands: Commands) -> None:
    """Add the subcommands."""
    for each in (_add_profile, _add_plan, _add_plan_study):
        each(commands)


def _add_profile(commands: Commands) -> None:
    command = commands.add_parser("profile", help="measure what every part of a bundle takes on this machine")
    command.add_argument("--bundle", default="street", help="as for replay (default: %(default)s)")
    command.add_argument("--engine", default="onnxruntime", help="as the nodes' parameter (default: %(default)s)")
    command.add_argument("--threads", type=positive, default=1, help="threads of one call (default: %(default)s)")
    command.add_argument("--calls", type=positive, default=100, help="calls of each part (default: %(default)s)")
    command.add_argument(
        "--rate", type=_rate, default=20.0,
        help="calls per second at most, with rests as between frames; 0: no rests (default: %(default)s)",
    )  # fmt: skip
    command.add_argument(
        "--size", type=positive, nargs=2, default=(1280, 720), metavar=("WIDTH", "HEIGHT"),
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


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = -1.0
    if not 0 <= rate <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is no rate of 0 to 1000")
    return rate


def _profile(options: argparse.Namespace) -> None:
    from mtl_split_core.profile import write_profile
    from mtl_split_lab.bench.profiling import format_profile, measure_profile

    bundle = load_bundle(bundle_folder(options.bundle))
    profile = measure_profile(bundle, options.engine, options.threads, options.calls, tuple(options.size), options.rate)
    if options.layers:
        from mtl_split_lab.bench.layers import add_layers

        profile = add_layers(profile, bundle)
    print(format_profile(profile))
    write_profile(profile, options.out)
    say_written(options.out)


def _add_plan(commands: Commands) -> None:
    command = commands.add_parser("plan", help="decide what runs where for a fleet, with a bound on how good it can be")
    command.add_argument("fleet", type=Path, nargs="?", default=FLEET, help="YAML file (default: the shipped example)")
    command.add_argument(
        "--seconds", type=positive, default=60, help="at most, for the exact solver (default: %(default)s)"
    )
    command.add_argument(
        "--out", type=Path, default=Path("out/plan"), help="folder for what comes out (default: %(default)s)"
    )
    command.add_argument(
        "--check", action="store_true",
        help="run every route with one vehicle in network namespaces, and compare; needs root and ROS",
    )  # fmt: skip
    command.add_argument(
        "--check-seconds", type=positive, default=15, help="of each measurement (default: %(default)s)"
    )
    command.set_defaults(function=_plan, extra="plan")


def _plan(options: argparse.Namespace) -> None:
    from mtl_split_lab.planning.plan import format_plan, make_plan, write_plan

    plan = make_plan(options.fleet, options.seconds)
    print(format_plan(plan))
    say_written(*write_plan(plan, options.out))
    if options.check:
        from mtl_split_lab.bench.namespaces import NoLinkError
        from mtl_split_lab.live.processes import ProcessError
        from mtl_split_lab.planning.check import check_plan, format_check

        close = True
        try:
            for checked in check_plan(plan, options.check_seconds):
                print(f"\n{format_check(checked)}", flush=True)
                close &= checked.close
        except (NoLinkError, ProcessError) as error:
            raise InputError(f"the plan cannot be checked: {error}") from error
        if not close:
            raise SystemExit(1)


def _add_plan_study(commands: Commands) -> None:
    command = commands.add_parser("plan-study", help="compare ways of planning on random graphs")
    command.add_argument("--graphs", type=positive, default=200, help="(default: %(default)s)")
    command.add_argument(
        "--seconds", type=positive, default=10,
        help="at most, of one core, for the exact solver on each (default: %(default)s)",
    )  # fmt: skip
    command.add_argument(
        "--seed", type=int, default=20_261_127,
        help="of the first graph; those of the default were not looked at before (default: %(default)s)",
    )  # fmt: skip
    command.add_argument(
        "--run", type=Path, default=Path("runs/planning"), help="folder of what is done so far (default: %(default)s)"
    )
    command.add_argument(
        "--out", type=Path, default=Path("docs/results"), help="folder of page and plots (default: %(default)s)"
    )
    command.set_defaults(function=_study_planning, extra="plan")


def _study_planning(options: argparse.Namespace) -> None:
    from mtl_split_lab.planning.plan import make_plan
    from mtl_split_lab.planning.study import PAGE, compare, write_page

    rows = compare(options.graphs, options.seconds, options.run / f"graphs_{options.seconds:g}s.jsonl", options.seed)
    write_page(rows, make_plan(FLEET), options.seconds, options.out)
    say_written(options.out / PAGE)
