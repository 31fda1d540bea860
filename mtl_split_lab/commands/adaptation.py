"""Subcommands on what the edge decides: traces of links, learned policies, and how good they are."""

import argparse
import os
from pathlib import Path

from mtl_split_core.bundle import EXIT, load_bundle
from mtl_split_core.share import bundle_folder
from mtl_split_lab.commands.arguments import Commands, positive, say_written


def add(commands: Commands) -> None:
    """Add the subcommands."""
    for each in (_add_trace, _add_train_policy, _add_adapt_study):
        each(commands)


def _add_adaptation(command: argparse.ArgumentParser, second_price: float, megabyte_price: float) -> None:
    """Add what all commands about policies take; the prices: by default."""
    command.add_argument("--traces", type=Path, required=True, metavar="FOLDER", help="traces, CARRIER_ANYTHING.csv")
    command.add_argument(
        "--profile", type=Path, default=Path("out/profile.json"), help="written by profile (default: %(default)s)"
    )
    command.add_argument("--bundle", default="street", help="as for replay (default: %(default)s)")
    command.add_argument("--steps", type=positive, default=40_000, help="frames to learn on (default: %(default)s)")
    command.add_argument(
        "--second-price", type=float, default=second_price, help="as the edge's parameter (default: %(default)s)"
    )
    command.add_argument(
        "--megabyte-price", type=float, default=megabyte_price, help="as the edge's parameter (default: %(default)s)"
    )


def _add_trace(commands: Commands) -> None:
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


def _make_trace(options: argparse.Namespace) -> None:
    from mtl_split_lab.adaptation.recorded import trace_of_bag
    from mtl_split_lab.adaptation.traces import write_trace

    trace = trace_of_bag(options.bag, options.namespace)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_trace(trace, options.out)
    outages = trace.outages(0.5)
    lasting = sum(end - begin for begin, end in outages)
    print(f"{trace.duration:.0f} s, {len(outages)} outages of 0.5 s or more, {lasting:.1f} s in all")
    say_written(options.out)


def _add_train_policy(commands: Commands) -> None:
    command = commands.add_parser("train-policy", help="learn when to send what from traces of links")
    _add_adaptation(command, 1.0, 1.0)
    command.add_argument(
        "--own", nargs="+", choices=("exit", "whole"), help="the edge's own networks (default: those of the launch "
        "files, the bundle's exit, if any, and the whole one, which an edge has with local_suffix)",
    )  # fmt: skip
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


def _train_policy(options: argparse.Namespace) -> None:
    from mtl_split_core.control.policy import Own
    from mtl_split_core.profile import load_profile
    from mtl_split_lab.adaptation.cars import ANSWER_BY, Prices
    from mtl_split_lab.adaptation.policy_card import Wanted, train_policy

    bundle = load_bundle(bundle_folder(options.bundle))
    launched = ["exit", "whole"] if EXIT in bundle.files else ["whole"]
    wanted = Wanted(
        method=options.method,
        own=tuple(own for own in Own if own.value in (options.own or launched)),
        slower=options.slower,
        prices=Prices(options.second_price, options.megabyte_price),
        hold_out=tuple(options.hold_out),
        seed=options.seed,
        steps=options.steps,
    )
    card = train_policy(bundle, load_profile(options.profile), options.traces, wanted, options.out)
    say_written(options.out, card)
    print(
        f"next: launch the edge with answer_by:={ANSWER_BY:g} policy:=learned:{options.out.resolve()}, and with the"
        f" parameters second_price {options.second_price:g} and megabyte_price {options.megabyte_price:g}"
    )


def _add_adapt_study(commands: Commands) -> None:
    command = commands.add_parser("adapt-study", help="compare policies over all traces, learned ones over unseen ones")
    _add_adaptation(command, 5.0, 6.0)
    command.add_argument(
        "--folds", type=positive, default=5, help="groups of carriers that are tested in turn (default: %(default)s)"
    )
    command.add_argument("--seeds", type=positive, default=5, help="of what is learned (default: %(default)s)")
    command.add_argument(
        "--run", type=Path, default=Path("runs/adapt"), help="folder of what is learned (default: %(default)s)"
    )
    command.add_argument(
        "--out", type=Path, default=Path("docs/results"), help="folder of page and plot (default: %(default)s)"
    )
    command.add_argument(
        "--live",
        type=Path,
        metavar="FILE.json",
        help="drives with the nodes, as mtl_split_lab.bench.drives writes them",
    )
    command.add_argument("--processes", type=positive, default=os.cpu_count(), help="drives that run at once")
    command.set_defaults(function=_adapt_study, extra="adapt")


def _adapt_study(options: argparse.Namespace) -> None:
    from mtl_split_core.profile import load_profile
    from mtl_split_lab.adaptation.cars import Prices
    from mtl_split_lab.adaptation.page import FIGURES, PAGE, PLOT, Chosen, adapt_study, all_traces

    bundle = load_bundle(bundle_folder(options.bundle))
    profile = load_profile(options.profile)
    chosen = Chosen(all_traces(options.traces), options.folds, options.seeds, options.steps)
    prices = Prices(options.second_price, options.megabyte_price)
    live = ""
    if options.live:
        # It needs the messages that are built, which the study does not.
        from mtl_split_lab.bench.drives import markdown, read_rows

        live = markdown(read_rows(options.live))
    adapt_study(bundle, profile, options.run, options.out, chosen, prices, options.processes, live)
    say_written(*(options.out / name for name in (PAGE, PLOT, FIGURES)))
