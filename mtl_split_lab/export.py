"""Export: a trained network becomes a bundle, its two halves as ONNX files."""

import shutil
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from mtl_split_core.bundle import PREFIX, SUFFIX, Bundle, load_bundle, write_manifest
from mtl_split_core.engine import OnnxRuntime
from mtl_split_core.errors import InputError
from mtl_split_lab.measurement import measure
from mtl_split_lab.recipe import Recipe, load_recipe
from mtl_split_lab.simulated import MEASURING_SEEDS, street_pictures
from mtl_split_lab.training import CHECKPOINT, RECIPE, build_network, read_weights
from mtl_split_net.heads import Candidates
from mtl_split_net.network import MultiTaskNetwork, Suffix

LARGEST_DIFFERENCE = 1e-3
"""How far an exported half's outputs may be from torch's, relative to the largest."""


class _Answers(nn.Module):
    """The suffix with outputs ready for the server: boxes, scores and probabilities instead of logits."""

    def __init__(self, suffix: Suffix) -> None:
        super().__init__()
        self.suffix = suffix

    def forward(self, latents: Tensor) -> dict[str, Tensor]:
        answers: dict[str, Tensor] = {}
        for name, output in self.suffix(latents).items():
            if isinstance(output, Candidates):
                answers[f"{name}.boxes"] = output.boxes
                answers[f"{name}.scores"] = output.logits.sigmoid()
            else:
                answers[name] = output.softmax(-1)
        return answers


def load_network(run: Path) -> tuple[Recipe, MultiTaskNetwork]:
    """Load the recipe and the network that a training left in the folder `run`, ready for inference."""
    if not (run / CHECKPOINT).is_file():
        raise InputError(f"no training at {run}: expected a folder with a {CHECKPOINT}")
    recipe = load_recipe(run / RECIPE)
    network = build_network(recipe)
    network.load_state_dict(read_weights(run / CHECKPOINT))
    return recipe, network.eval()


def export(run: Path, folder: Path, streets: int) -> Bundle:
    """Write the bundle of the training in the folder `run`, measured on so many simulated streets never trained on.

    Raises InputError where there is no training or an exported half differs from torch's.
    """
    recipe, network = load_network(run)
    with TemporaryDirectory() as unchecked:
        write_bundle(recipe, network, Path(unchecked))
        bundle = load_bundle(Path(shutil.copytree(unchecked, folder, dirs_exist_ok=True)))
    seeds = tqdm(range(MEASURING_SEEDS, MEASURING_SEEDS + streets), "measuring", unit="street")
    measured = measure(bundle, chain.from_iterable(map(street_pictures, seeds)))
    return write_manifest(folder, {**bundle.manifest, "measured": {"simulated street": measured}})


def write_bundle(recipe: Recipe, network: MultiTaskNetwork, folder: Path) -> Bundle:
    """Write the bundle of a network, in inference mode, that was built from a recipe."""
    width, height = recipe.input_size
    images = torch.randint(0, 256, (1, height, width, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    answers = _Answers(network.suffix).eval()
    with torch.no_grad():
        latents = network.prefix(images)
        expected = answers(latents)
    _export_half(network.prefix, images, folder / PREFIX, "images", ["latents"])
    _export_half(answers, latents, folder / SUFFIX, "latents", list(expected))
    differences = {
        PREFIX: _difference(folder / PREFIX, images, {"latents": latents}),
        SUFFIX: _difference(folder / SUFFIX, latents, expected),
    }
    channels, rows, columns = network.latent_shape
    return write_manifest(
        folder,
        {
            "name": recipe.name,
            "tasks": [{"name": task.name, "kind": task.kind, "labels": task.labels} for task in recipe.tasks],
            "input": {"width": width, "height": height},
            "split_point": recipe.split_point,
            "bottleneck": {"channels": channels, "height": rows, "width": columns},
            "operating_points": [{"name": "default", "step": recipe.quantisation_step}],
            "parameters": {"prefix": _count(network.prefix), "suffix": _count(network.suffix)},
            "difference_from_torch": differences,
            "recipe": asdict(recipe),
        },
    )


def _export_half(half: nn.Module, example: Tensor, path: Path, name: str, outputs: list[str]) -> None:
    torch.onnx.export(
        half, (example,), path, input_names=[name], output_names=outputs, dynamo=True, external_data=False
    )


def _difference(path: Path, inputs: Tensor, expected: dict[str, Tensor]) -> float:
    found = OnnxRuntime(path, threads=1)(inputs.numpy())
    difference = max(
        float(np.abs(found[name] - value.numpy()).max() / max(1.0, value.abs().max()))
        for name, value in expected.items()
    )
    if difference > LARGEST_DIFFERENCE:
        raise InputError(f"{path} differs from torch by {difference:.1e}, expected at most {LARGEST_DIFFERENCE:.0e}")
    return difference


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
