"""What a training begins with: a recipe's network, and the weights of others."""

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from mtl_split_core.bundle import load_bundle
from mtl_split_core.errors import InputError, in_one_line
from mtl_split_core.scene import Size
from mtl_split_lab.learning.weights import read_graph, read_weights
from mtl_split_lab.recipe import ImportedDetector, Recipe
from mtl_split_net.backbones import Backbone
from mtl_split_net.detectors import find_detector
from mtl_split_net.imported import import_network
from mtl_split_net.network import MultiTaskNetwork, cut_backbone, cut_imported
from mtl_split_net.onnx_graph import OnnxGraph
from mtl_split_net.torch_module import output_of, write_module

GRAPH = "network.onnx"
"""An imported network's file, as it was."""
ORIGIN = "origin.json"
"""Where it comes from."""
BEGAN_WITH = "began_with"
"""The same in a bundle's manifest."""

_logger = logging.getLogger(__name__)


def build_network(recipe: Recipe, pretrained: Path | None = None, graph: Path | None = None) -> MultiTaskNetwork:
    """Build a recipe's network.

    Its backbone has random weights, or those of torchvision's checkpoint `pretrained`; an imported network has those of
    the ONNX file `graph`. Raises InputError where these do not fit the recipe.
    """
    if recipe.network is None:
        network = cut_backbone(Backbone(recipe.backbone, pretrained), recipe.cut, recipe.tasks, recipe.input_size)
    else:
        if graph is None:
            raise InputError("the recipe's network is imported, expected its ONNX file")
        imported, file = recipe.network, OnnxGraph(graph)
        cut = output_of(file, imported.cut) if imported.module else imported.cut
        network = cut_imported(
            import_network(file, cut, recipe.input_size, recipe.crop),
            find_detector(imported.detector),
            imported.labels,
            imported.rename,
            recipe.tasks,
            recipe.input_size,
            imported.expected_pixels,
        )
    return MultiTaskNetwork(
        network,
        recipe.tasks,
        recipe.input_size,
        recipe.bottleneck_channels,
        recipe.bottleneck_reduction,
        tuple(recipe.operating_points.values()),
        recipe.bottleneck_width,
    )


def take_graph(network: ImportedDetector, input_size: Size, data: Path, start: Path | None, run: Path) -> None:
    """Put the file of an imported network into a training's folder, and where it comes from."""
    file = run / GRAPH
    if start is not None and start.is_dir():
        bundle = load_bundle(start)
        if bundle.cut != network.cut:
            raise InputError(f"the bundle at {start} is cut at {bundle.cut!r}, the recipe's network at {network.cut!r}")
        file.write_bytes(read_graph(start))
        origin = bundle.manifest.get(BEGAN_WITH)
    else:
        if network.module:
            began = data / network.checkpoint if network.checkpoint else None
            write_module(network.module, began, input_size, file)
        else:
            began = data / network.onnx
            file.write_bytes(_read_file(began))
        origin = {
            "file": began.name if began else network.module,
            "sha256": hashlib.sha256(_read_file(began or file)).hexdigest(),
            "source": network.source,
            "licence": network.licence,
        }
    (run / ORIGIN).write_text(json.dumps(origin))


def load_weights(network: MultiTaskNetwork, checkpoint: Path) -> None:
    """Give a network the weights of a training's checkpoint. Raises InputError where they are missing or do not fit."""
    try:
        network.load_state_dict(read_weights(checkpoint))
    except RuntimeError as error:
        raise InputError(f"{checkpoint} is of another network: {in_one_line(error)[:200]}") from error


def start_from(network: MultiTaskNetwork, checkpoint: Path, train_only: Sequence[str] = ()) -> None:
    """Give a network those weights of a training's checkpoint that fit: the heads of other tasks do not.

    Warns of what gets none. Raises InputError where a stage of the prefix gets none, or where only the heads of the
    tasks `train_only` are trained, anything else.
    """
    own = network.state_dict()
    weights = {
        name: value
        for name, value in read_weights(checkpoint).items()
        if name in own and own[name].shape == value.shape
    }
    left_out = own.keys() - weights
    fixed = "prefix.stages.", "suffix.body.graph."
    if any(name.startswith(fixed) for name in left_out):
        raise InputError(f"{checkpoint} is of another network or cut: its weights do not fit the stages of this one")
    network.load_state_dict(weights, strict=False)
    modules = sorted({".".join(name.split(".")[:3]) for name in left_out})
    trained = [network.suffix.head(task) for task in train_only]
    if train_only and (lost := [name for name in modules if network.get_submodule(name) not in trained]):
        raise InputError(
            f"{checkpoint} has no weights that fit {', '.join(lost)}, which are not trained: leave out train_only, or "
            "start from a network with all tasks but those"
        )
    if left_out:
        _logger.warning("%s has no weights that fit %s: they begin at random", checkpoint, ", ".join(modules))


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}; --data chooses where a recipe's paths begin") from error
