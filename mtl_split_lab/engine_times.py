"""How long both halves take in every engine that is installed, against the bare libraries and PyTorch itself.

ros2_ws/run python -m mtl_split_lab.engine_times --threads 1 --calls 300
"""

import argparse
import random
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime
import torch
from torch import nn

from mtl_split_core.choice import AUTO, KINDS
from mtl_split_core.engine import Array, NotInstalledError
from mtl_split_core.halves import EdgeHalf, ServerHalf
from mtl_split_lab.export import write_bundle
from mtl_split_lab.recipe import Recipe, load_recipe
from mtl_split_lab.training import build_network

RECIPE = Path(__file__).parent / "recipes" / "street.yaml"
EAGER = "torch, as trained"

Call = Callable[[], object]


def main() -> None:
    """Export a recipe's network, with random weights, and print a table of times for each half."""
    parser = argparse.ArgumentParser(prog="engine_times", description=main.__doc__)
    parser.add_argument("--recipe", type=Path, default=RECIPE, help="YAML file (default: the shipped bundle's)")
    parser.add_argument("--threads", type=int, default=1, help="threads of one call (default: %(default)s)")
    parser.add_argument("--calls", type=int, default=300, help="calls of each (default: %(default)s)")
    options = parser.parse_args()
    for half, calls in halves(load_recipe(options.recipe), options.threads).items():
        print(f"\n{half}, {options.threads} threads, {options.calls} calls\n\n{table(measure(calls, options.calls))}")


def halves(recipe: Recipe, threads: int) -> dict[str, dict[str, Call]]:
    """Return calls of the prefix and of the suffix on one picture: by every engine, by its bare library, by PyTorch."""
    torch.set_num_threads(threads)
    network = build_network(recipe).eval()
    calls: dict[str, dict[str, Call]] = {"prefix": {}, "suffix": {}}
    with TemporaryDirectory() as folder:
        chance = np.random.default_rng(0)
        width, height = recipe.input_size
        image = chance.integers(0, 256, (1, height, width, 3), np.uint8)
        bundle = write_bundle(recipe, network, [*image], Path(folder))
        latents = chance.standard_normal((1, *bundle.payload_format.shape), np.float32)
        for half, module, path, example, kind_of_half in (
            ("prefix", network.prefix, bundle.prefix, image, EdgeHalf),
            ("suffix", network.suffix, bundle.suffix, latents, ServerHalf),
        ):
            calls[half][EAGER] = _eager(module, example)
            for kind in KINDS:
                if kind == AUTO:
                    continue
                try:
                    engine = kind_of_half(bundle, threads, engine=kind).choice.engine
                except NotInstalledError as error:
                    print(error)
                    continue
                if kind in BARE:
                    calls[half][f"{kind}, bare"] = BARE[kind](path, threads, example)
                calls[half][kind] = partial(engine, example)
    return calls


def measure(calls: Mapping[str, Call], number: int) -> dict[str, list[float]]:
    """Return the milliseconds of so many calls of each, made in turn, in another order every time."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(number):
        for name in random.sample(list(calls), len(calls)):
            start = time.perf_counter()
            calls[name]()
            times[name].append((time.perf_counter() - start) * 1e3)
    return times


def table(times: Mapping[str, list[float]]) -> str:
    """Render times as Markdown; the ratios are of the fastest calls, which other processes have not disturbed."""
    fastest = {name: min(values) for name, values in times.items()}
    lines = ["| | median, ms | fastest, ms | torch / this | this / bare |", "|---|---|---|---|---|"]
    for name, values in times.items():
        bare = fastest.get(f"{name}, bare")
        against_bare = f"{fastest[name] / bare:.3f}" if bare else ""
        speed = fastest[EAGER] / fastest[name]
        lines.append(
            f"| {name} | {statistics.median(values):.2f} | {fastest[name]:.2f} | {speed:.2f} | {against_bare} |"
        )
    return "\n".join(lines)


def _eager(module: nn.Module, example: Array) -> Call:
    batch = torch.from_numpy(example)

    def call() -> object:
        with torch.inference_mode():
            return module(batch)

    return call


def _bare_onnxruntime(path: Path, threads: int, example: Array) -> Call:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=onnxruntime.get_available_providers())
    inputs = {session.get_inputs()[0].name: example}
    return lambda: session.run(None, inputs)


def _bare_openvino(path: Path, threads: int, example: Array) -> Call:
    import openvino

    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.Core().compile_model(path, "CPU", settings).create_infer_request()
    return lambda: request.infer([example])


BARE = {"onnxruntime": _bare_onnxruntime, "openvino": _bare_openvino}

if __name__ == "__main__":
    main()
