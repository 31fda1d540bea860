"""Where an ONNX network can be cut, and what each cut costs the vehicle and the link."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from matplotlib.figure import Figure
from onnx import ModelProto

from mtl_split_core.engine import Array, OnnxRuntime
from mtl_split_core.errors import InputError
from mtl_split_core.stopwatch import measure_in_turn
from mtl_split_net.onnx_graph import Cost, OnnxGraph

RUNS = 9
LONGEST_LABEL = 40
"""Characters of a cut's name on the plot; of a longer one the end is shown."""


@dataclass(frozen=True)
class MeasuredCut:
    """One cut, for one picture.

    tensors: how many cross; shape: of the one that it is named by; bytes: of all of them as they are; prefix, suffix:
    what lies before the cut and behind it; milliseconds: the prefix's.
    """

    name: str
    tensors: int
    shape: tuple[int, ...]
    bytes: int
    prefix: Cost
    suffix: Cost
    milliseconds: float


def measure_cuts(graph: OnnxGraph, cuts: Sequence[str]) -> list[MeasuredCut]:
    """Measure some of a network's cuts, or of its places where several tensors cross.

    The prefix runs in ONNX Runtime on one thread: the median of several runs. Raises InputError where one is no cut, or
    ONNX Runtime cannot run its prefix.
    """
    rng = np.random.default_rng(0)
    inputs = {name: rng.uniform(0, 255, graph.shape(name)).astype(graph.dtype(name)) for name in graph.inputs}
    found = []
    for cut in cuts:
        before, behind = graph.costs(cut)
        shape = graph.shape(cut)
        milliseconds = _time(graph.divide(cut)[0], inputs, f"the part of {graph.path} before {cut!r}")
        frontier = graph.frontier(cut)
        size = sum(math.prod(graph.shape(each)) * graph.dtype(each).itemsize for each in frontier)
        found.append(MeasuredCut(cut, len(frontier), shape, size, before, behind, milliseconds))
    return found


def _time(model: ModelProto, inputs: dict[str, Array], name: str) -> float:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3  # errors alone
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        session.run(None, inputs)
    except OnnxRuntime.errors as error:
        raise InputError(f"ONNX Runtime cannot run {name}: {' '.join(str(error).split())}") from error
    return float(np.median(measure_in_turn({"prefix": lambda: session.run(None, inputs)}, RUNS)["prefix"]))


def format_cuts(graph: OnnxGraph, cuts: Sequence[MeasuredCut]) -> str:
    """Write cuts as a table."""
    width = max([3, *(len(cut.name) for cut in cuts)])
    head = f"  {'cut':<{width}}{'shape':>18}{'bytes':>12}{'multiply-adds, M':>22}{'parameters':>26}{'prefix, ms':>12}"
    lines = [f"{graph.path}, {', '.join(f'{name} {_shape(graph.shape(name))}' for name in graph.inputs)}:", head]
    lines.append(f"  {'':<{width}}{'':>30}{'before':>11}{'behind':>11}{'before':>13}{'behind':>13}")
    for cut in cuts:
        shape = _shape(cut.shape) + (f" + {cut.tensors - 1}" if cut.tensors > 1 else "")
        lines.append(
            f"  {cut.name:<{width}}{shape:>18}{cut.bytes:>12,}"
            f"{cut.prefix.multiply_adds / 1e6:>11,.1f}{cut.suffix.multiply_adds / 1e6:>11,.1f}"
            f"{cut.prefix.parameters:>13,}{cut.suffix.parameters:>13,}{cut.milliseconds:>12.2f}"
        )
    return "\n".join(lines)


def _shape(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes[1:] if sizes[:1] == (1,) else sizes))


def plot_cuts(cuts: Sequence[MeasuredCut], file: Path) -> None:
    """Draw bytes and milliseconds over the cuts into a PNG file. Raises InputError for another kind of file."""
    if file.suffix.lower() != ".png":
        raise InputError(f"plot is {str(file)!r}, expected a file .png")
    figure = Figure((max(6.0, 0.3 * len(cuts)), 7.0), layout="constrained")
    sizes, times = figure.subplots(2, 1, sharex=True)
    places = range(len(cuts))
    sizes.plot(places, [cut.bytes for cut in cuts], "o-", color="black")
    sizes.set(ylabel="bytes of the tensor", yscale="log")
    times.plot(places, [cut.milliseconds for cut in cuts], "o-", color="tab:orange")
    times.set(ylabel="prefix, ms on one thread", ylim=(0, None))
    names = [cut.name if len(cut.name) <= LONGEST_LABEL else "…" + cut.name[1 - LONGEST_LABEL :] for cut in cuts]
    times.set_xticks(places, names, rotation=90, fontsize="small")
    for panel in (sizes, times):
        panel.grid(alpha=0.3)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=90)
