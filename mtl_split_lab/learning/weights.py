"""The weights of a network that can be trained on, as files without code: a training's checkpoint, or a bundle's."""

from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from mtl_split_core.bundle import HALVES, load_bundle
from mtl_split_core.errors import BundleError, InputError
from mtl_split_net.checkpoints import read_checkpoint
from mtl_split_net.network import MultiTaskNetwork
from mtl_split_net.onnx_graph import fill_in, without_weights

WEIGHTS = "weights"
"""Role of a bundle's file with the weights, and of an imported network also the graph."""
FILES = {**HALVES, WEIGHTS: "weights.safetensors"}
"""A bundle's files by role, as export names them."""
GRAPH_KEY = "graph"


def write_weights(network: MultiTaskNetwork, graph: Path | None, file: Path) -> None:
    """Write a network's weights; of an imported network, whose ONNX file is `graph`, also what it calculates."""
    state = {name: value.contiguous() for name, value in network.state_dict().items()}
    if graph is not None:
        state[GRAPH_KEY] = torch.from_numpy(np.frombuffer(without_weights(graph), np.uint8).copy())
    safetensors.torch.save_file(state, file)


def read_weights(source: Path) -> dict[str, Tensor]:
    """Read the weights of a training's checkpoint, a file, or of a bundle, a folder.

    Raises InputError where they are missing or damaged.
    """
    if source.is_dir():
        weights = _read_bundle(source)
        weights.pop(GRAPH_KEY, None)
        return weights
    state = read_checkpoint(source)
    if not isinstance(state, dict) or not isinstance(state := state.get("state_dict"), dict):
        raise InputError(f"{source} has no state_dict, expected a checkpoint of `mtl-split train`")
    if not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()):
        raise InputError(f"{source} has a state_dict of other things than tensors by name")
    prefix = "network."
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def read_graph(bundle: Path) -> bytes:
    """Return the ONNX file of a bundle's imported network, with zeros for weights.

    Raises InputError where the bundle has none.
    """
    weights = _read_bundle(bundle)
    if GRAPH_KEY not in weights or weights[GRAPH_KEY].dtype != torch.uint8:
        raise InputError(f"the network of the bundle at {bundle} is not imported: the recipe needs a backbone")
    return fill_in(weights[GRAPH_KEY].numpy().tobytes())


def _read_bundle(folder: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load(load_bundle(folder).read(WEIGHTS))
    except SafetensorError as error:
        raise BundleError(f"the weights of the bundle at {folder} cannot be read: {error}") from error
