"""How long each layer of an ONNX network takes, as ONNX Runtime's own profiler measures it."""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto

from mtl_split_core.bundle import PREFIX, SUFFIX, Bundle
from mtl_split_core.contract import LATENTS
from mtl_split_core.engine import Array, OnnxRuntime
from mtl_split_core.errors import InputError, in_one_line
from mtl_split_core.profile import Layer, Profile

RUNS = 30
WARM_UP = 5

_KERNEL = "_kernel_time"
_BLOCKED = "_nchwc"
"""How ONNX Runtime names what makes a tensor in its layout in blocks of channels, after the tensor."""


def add_layers(profile: Profile, bundle: Bundle, runs: int = RUNS) -> Profile:
    """Return a bundle's profile with the layers of both halves, of which each takes its share of the half's time.

    Raises InputError where ONNX Runtime cannot run a half.
    """
    rng = np.random.default_rng(0)
    width, height = bundle.input_size
    examples: dict[str, tuple[str, Array]] = {
        PREFIX: ("images", rng.integers(0, 256, (1, height, width, 3), np.uint8)),
        SUFFIX: (LATENTS, rng.standard_normal((1, *bundle.payload_format.shape), np.float32)),
    }
    return replace(
        profile,
        layers={
            role: measure_layers(
                onnx.load_from_string(bundle.read(role)),
                dict([example]),
                str(bundle.path(role)),
                profile.parts[role].median,
                profile.threads,
                runs,
            )
            for role, example in examples.items()
        },
    )


def measure_layers(
    model: ModelProto, inputs: Mapping[str, Array], name: str, milliseconds: float, threads: int = 1, runs: int = RUNS
) -> tuple[Layer, ...]:
    """Return the layers of a network in the order in which they run.

    They share out the `milliseconds` of the whole network as the medians of several runs under the profiler, which
    itself takes time. ONNX Runtime runs several nodes of a file in one go: such a layer has the tensor that the last of
    them makes. What brings tensors into another layout is part of the layer that follows. name: of the network, for
    errors. Raises InputError where ONNX Runtime cannot run it.
    """
    with TemporaryDirectory() as folder:
        optimised = Path(folder) / "optimised.onnx"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors alone
        options.optimized_model_filepath = str(optimised)
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        try:
            session = onnxruntime.InferenceSession(
                _with_names(model).SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            for _ in range(WARM_UP + runs):
                session.run(None, dict(inputs))
        except OnnxRuntime.errors as error:
            raise InputError(f"ONNX Runtime cannot run {name}: {in_one_line(error)}") from error
        events = json.loads(Path(session.end_profiling()).read_bytes())
        nodes = onnx.load(optimised).graph.node
    times = defaultdict(list)
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith(_KERNEL):
            times[event["name"].removesuffix(_KERNEL)].append(event["dur"] / 1e3)
    known = {output for node in model.graph.node for output in node.output}
    layers: dict[str, float] = {}
    pending = 0.0
    for node in nodes:
        pending += float(np.median(times[node.name][WARM_UP:])) if node.name in times else 0.0
        made = next((each for each in (*node.output, node.name.removesuffix(_BLOCKED)) if each in known), None)
        if made is not None:
            layers[made] = layers.get(made, 0.0) + pending
            pending = 0.0
    whole = sum(layers.values())
    return tuple(Layer(output, milliseconds * share / whole) for output, share in layers.items())


def _with_names(model: ModelProto) -> ModelProto:
    """Return a copy in which every node has a name of its own, by which the profiler tells them apart."""
    named = ModelProto()
    named.CopyFrom(model)
    for index, node in enumerate(named.graph.node):
        node.name = f"node {index}"
    return named
