"""Export: a trained network becomes a bundle, its two halves as ONNX files."""

import copy
import hashlib
import json
import logging
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn
from tqdm import tqdm

from mtl_split_core.bundle import PREFIX, SUFFIX, UNSUPPRESSED, Bundle, load_bundle, write_manifest
from mtl_split_core.contract import Contract, format_contract
from mtl_split_core.engine import OnnxRuntime
from mtl_split_core.errors import InputError
from mtl_split_core.geometry import Letterbox
from mtl_split_core.payload import PayloadFormat
from mtl_split_core.scene import Image, Size
from mtl_split_lab.data.pictures import LabelledPicture
from mtl_split_lab.data.simulated import CAMERA_SIZE
from mtl_split_lab.data.sources import check_there, find_all_pictures, find_pictures
from mtl_split_lab.kinds import KINDS
from mtl_split_lab.kinds.calibration import Calibration
from mtl_split_lab.learning.beginning import BEGAN_WITH, GRAPH, ORIGIN, build_network, load_weights
from mtl_split_lab.learning.operating_points import DEFAULT, calibrate, median_bytes
from mtl_split_lab.learning.quantisation import quantise
from mtl_split_lab.learning.training import BEST, RECIPE
from mtl_split_lab.learning.unlabelled import find_unlabelled
from mtl_split_lab.learning.values import measure_values
from mtl_split_lab.learning.weights import FILES, WEIGHTS, write_weights
from mtl_split_lab.portion import Portion
from mtl_split_lab.recipe import Recipe, load_recipe, name_portions
from mtl_split_lab.scoring.frames import Frame, keep_known
from mtl_split_lab.scoring.measurement import answer, measure
from mtl_split_net import detectors
from mtl_split_net.exits import Exit
from mtl_split_net.kinds import KINDS as NET_KINDS
from mtl_split_net.kinds import all_answers
from mtl_split_net.network import MultiTaskNetwork, Prefix, Suffix, to_planes
from mtl_split_net.onnx_graph import forget_metadata

LARGEST_DIFFERENCE = 1e-3
"""How far an exported half's outputs may be from torch's, relative to the largest."""

CALIBRATION_PICTURES = 256
"""So many training pictures show which numbers there are."""


class _Folded(nn.Module):
    """A backbone's prefix, with the normalisation of pictures in its first convolution, where it takes no time."""

    mean: Tensor

    def __init__(self, prefix: Prefix) -> None:
        super().__init__()
        self.stages = copy.deepcopy(prefix.stages)
        self.encoder = prefix.encoder
        order = [2, 1, 0] if prefix.pixels.red_first else [0, 1, 2]
        first = next(module for module in self.stages.modules() if isinstance(module, nn.Conv2d))
        first.weight.data = (first.weight.data * prefix.scale)[:, order]
        self.register_buffer("mean", prefix.mean[order])

    def forward(self, images: Tensor) -> Tensor:
        latents: Tensor = self.encoder(self.stages(to_planes(images) - self.mean))
        return latents


class _Answers(nn.Module):
    """The suffix with outputs ready for the server: boxes, scores and probabilities instead of logits."""

    def __init__(self, suffix: Suffix | Exit, calibrations: Mapping[str, Calibration]) -> None:
        super().__init__()
        self.suffix = suffix
        self._calibrations = {
            name: (torch.from_numpy(found.scale), torch.from_numpy(found.offset))
            for name, found in calibrations.items()
        }

    def forward(self, latents: Tensor) -> dict[str, Tensor]:
        outputs = self.suffix(latents)
        for task in self.suffix.tasks:
            if task.name in self._calibrations:
                outputs[task.name] = NET_KINDS[task.kind].calibrated(outputs[task.name], *self._calibrations[task.name])
        return all_answers(self.suffix.tasks, outputs)


def load_network(run: Path) -> tuple[Recipe, MultiTaskNetwork]:
    """Load the recipe and the network that a training left in the folder `run`, ready for inference."""
    if not (run / BEST).is_file():
        raise InputError(f"no training at {run}: expected a folder with a {BEST}")
    recipe = load_recipe(run / RECIPE)
    network = build_network(recipe, graph=run / GRAPH)
    load_weights(network, run / BEST)
    return recipe, network.eval()


def export(
    run: Path, folder: Path, data: Path, processes: int, int8: bool = False, deployed: Bundle | None = None
) -> Bundle:
    """Write the bundle of the training in the folder `run`, measured on the recipe's pictures for testing.

    `data` is where the recipe's paths begin; `processes` draw simulated pictures. With `int8`, the prefix calculates
    with 8-bit integers, and the manifest has the measurement before that as well; the contract is the same. With
    `deployed`, a bundle of the same training, its contract is kept; where the recipe trained only some heads of that
    bundle's network, its prefix, its median bytes, and all of the contract but the tasks. Otherwise the operating
    points and tables are calibrated, which on another machine may give slightly different numbers, and so another
    contract. Raises InputError where there is no training, it has no bottleneck, `deployed` is of another training, or
    an exported half differs from torch's.
    """
    recipe, network = load_network(run)
    if not recipe.operating_points:
        raise InputError(f"{run / RECIPE} has no operating_points, which a bundle needs")
    check_there([*recipe.training, *recipe.testing, *recipe.calibration], data)
    sources = find_tests(recipe.testing, data, run, processes)
    known = find_all_pictures(recipe.calibration, data, run, CAMERA_SIZE, processes)
    seen = _seen_pictures(recipe, run, data, processes)
    with TemporaryDirectory() as unfinished:
        bundle = write_bundle(recipe, network, seen, Path(unfinished), deployed, run)
        if known:
            bundle = correct_scores(bundle, network, _calibrate_scores(bundle, known))
        added: dict[str, Any] = {"measured": measure_sources(bundle, sources)}
        if int8:
            quantise(bundle.path(PREFIX), seen[::4])
            # The quantised prefix differs from torch by design.
            parity = {SUFFIX: bundle.manifest["difference_from_torch"][SUFFIX]}
            bundle = write_manifest(bundle.folder, {**bundle.manifest, "difference_from_torch": parity}, FILES)
            added = {
                "measured": measure_sources(bundle, sources),
                "int8": {"calibration_pictures": len(seen[::4]), "measured_before": added["measured"]},
            }
        added |= measure_values(bundle, find_frames(bundle, sources))
        write_manifest(bundle.folder, {**bundle.manifest, **added}, FILES)
        folder.mkdir(parents=True, exist_ok=True)
        for file in bundle.folder.iterdir():
            shutil.copyfile(file, folder / file.name)
    return load_bundle(folder)


def find_tests(testing: Sequence[Portion], data: Path, drawn: Path, processes: int) -> dict[str, list[LabelledPicture]]:
    """Find a recipe's pictures for testing, by the name of their source; see find_pictures."""
    return {
        name: find_pictures(portion, data, drawn, CAMERA_SIZE, processes)
        for name, portion in name_portions(testing).items()
    }


def _seen_pictures(recipe: Recipe, run: Path, data: Path, processes: int) -> list[Image]:
    """Take some of the pictures that a training has seen, from all of its portions, letterboxed to the input."""
    unlabelled = recipe.distil.pictures if recipe.distil else ()
    once = [replace(portion, repeat=1) for portion in recipe.training or unlabelled]
    pictures = find_unlabelled(once, data, run, recipe.input_size, processes)
    images = read_some(pictures)
    return [Letterbox((image.shape[1], image.shape[0]), recipe.input_size).apply(image) for image in images]


def read_some(pictures: Sequence[LabelledPicture]) -> Iterator[Image]:
    """Read CALIBRATION_PICTURES at most, evenly spread, without those that are damaged."""
    for index in np.linspace(0, len(pictures) - 1, min(len(pictures), CALIBRATION_PICTURES)).astype(int):
        try:
            yield pictures[index].read()
        except InputError as error:
            logging.warning("left out: %s", error)


def find_frames(bundle: Bundle, sources: Mapping[str, Sequence[LabelledPicture]]) -> dict[str, Iterator[Frame]]:
    """Return the pictures of some sources as frames, with what of their truth a bundle was taught."""
    return {source: _frames(bundle, source, pictures) for source, pictures in sources.items()}


def _frames(bundle: Bundle, source: str, pictures: Sequence[LabelledPicture]) -> Iterator[Frame]:
    for picture in tqdm(pictures, source):
        yield Frame(source, keep_known(picture.truth, bundle.tasks, Counter()), picture.read)


def measure_sources(bundle: Bundle, sources: Mapping[str, Sequence[LabelledPicture]]) -> dict[str, Any]:
    """Measure a bundle on each source of pictures, see mtl_split_lab.scoring.measurement.measure."""
    return {source: measure(bundle, frames) for source, frames in find_frames(bundle, sources).items()}


def _calibrate_scores(bundle: Bundle, pictures: Sequence[LabelledPicture]) -> dict[str, Calibration]:
    answered = [(truth, found) for truth, _, found in answer(bundle, _frames(bundle, "calibrating scores", pictures))]
    return {
        task.name: KINDS[task.kind].calibrate(task, [(truth, found[task.name]) for truth, found in answered])
        for task in bundle.tasks
    }


def write_bundle(
    recipe: Recipe, network: MultiTaskNetwork, seen: Sequence[Image], folder: Path, deployed: Bundle | None = None,
    run: Path | None = None,
) -> Bundle:  # fmt: skip
    """Write the bundle of a network, in inference mode, that was built from a recipe.

    The operating points are those of the bundle `deployed`, see `export`, or else calibrated on the pictures `seen`,
    which have the input's size and were trained on. `run` is the folder of an imported network's training.
    """
    with torch.no_grad():
        all_latents = torch.cat([network.prefix(torch.from_numpy(picture)[None]) for picture in seen])
    form = deployed.payload_format if deployed else calibrate(network.rate, all_latents, recipe.operating_points)
    images, latents = _example(network, recipe.input_size)
    prefix = folder / FILES[PREFIX]
    contract = _contract(recipe, network, form, deployed)
    kept_medians: Mapping[str, float] = {}
    if deployed and recipe.train_only:
        prefix.write_bytes(deployed.read(PREFIX))
        kept_medians = deployed.median_bytes
    else:
        # An imported network need not begin with a convolution.
        half = network.prefix if recipe.network else _Folded(network.prefix)
        _export_half(half.eval(), images[:1], prefix, "images", ["latents"])
    differences = {
        PREFIX: _difference(prefix, images[:1], {"latents": latents[:1]}),
        SUFFIX: write_suffix(network.suffix, latents, folder / FILES[SUFFIX]),
    }
    graph = run / GRAPH if run is not None and recipe.network is not None else None
    write_weights(network, graph, folder / FILES[WEIGHTS])
    return write_manifest(
        folder,
        {
            "name": recipe.name,
            "contract": format_contract(contract),
            "default_operating_point": DEFAULT,
            "cut": recipe.network.cut if recipe.network else recipe.cut,
            "median_bytes": kept_medians or median_bytes(form, all_latents),
            "parameters": {"prefix": count_weights(network.prefix), "suffix": count_weights(network.suffix)},
            "difference_from_torch": differences,
            "recipe": TypeAdapter(Recipe).dump_python(recipe, mode="json"),
            **_unsuppressed(recipe),
            **({} if graph is None else {BEGAN_WITH: json.loads((graph.parent / ORIGIN).read_text())}),
        },
        FILES,
    )


def _contract(recipe: Recipe, network: MultiTaskNetwork, form: PayloadFormat, deployed: Bundle | None) -> Contract:
    """Return the contract of a network: the deployed one, or where some heads were added, that with further tasks."""
    if deployed is None:
        return Contract(recipe.input_size, form, recipe.tasks, name_latent_space(network.suffix))
    if recipe.train_only:
        contract = replace(deployed.contract, tasks=recipe.tasks)
        fits = contract.input_size == recipe.input_size and _is_prefix_of(network, deployed)
    else:
        contract = Contract(recipe.input_size, form, recipe.tasks, name_latent_space(network.suffix))
        fits = contract.fingerprint == deployed.contract.fingerprint
    if not fits:
        raise InputError(f"the contract {deployed.contract.fingerprint} is of another training than {recipe.name}")
    return contract


def _is_prefix_of(network: MultiTaskNetwork, deployed: Bundle) -> bool:
    """Whether a bundle's prefix calculates the same as a network's."""
    if network.latent_shape != deployed.payload_format.shape:
        return False
    images, latents = _example(network, deployed.input_size)
    found = OnnxRuntime(deployed.read(PREFIX), threads=1, at_once=1)(images[:1].numpy())["latents"]
    return _largest_difference({"latents": found}, {"latents": latents[:1]}) <= LARGEST_DIFFERENCE


def _example(network: MultiTaskNetwork, size: Size) -> tuple[Tensor, Tensor]:
    """Two pictures of the input's size, and their latents."""
    width, height = size
    images = torch.randint(0, 256, (2, height, width, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return images, network.prefix(images).contiguous()


def write_suffix(
    suffix: Suffix | Exit, latents: Tensor, path: Path, calibrations: Mapping[str, Calibration] = MappingProxyType({})
) -> float:
    """Export a suffix or an exit, with the scores of tasks corrected by name; returns its difference from torch.

    `latents` of two pictures are an example. Raises InputError where that difference is more than LARGEST_DIFFERENCE.
    """
    answers = _Answers(suffix, calibrations).eval()
    with torch.no_grad():
        expected = answers(latents)
    _export_half(answers, latents, path, "latents", list(expected), ({0: torch.export.Dim("batch")},))
    return _difference(path, latents, expected)


def correct_scores(bundle: Bundle, network: MultiTaskNetwork, calibrations: Mapping[str, Calibration]) -> Bundle:
    """Write a bundle's suffix once more, with the scores of tasks corrected by name."""
    _, latents = _example(network, bundle.input_size)
    difference = write_suffix(network.suffix, latents, bundle.path(SUFFIX), calibrations)
    differences = {**bundle.manifest["difference_from_torch"], SUFFIX: difference}
    return write_manifest(bundle.folder, {**bundle.manifest, "difference_from_torch": differences}, FILES)


def _unsuppressed(recipe: Recipe) -> dict[str, list[str]]:
    if recipe.network is None or recipe.network.detector not in detectors.UNSUPPRESSED:
        return {}
    return {UNSUPPRESSED: [task.name for task in recipe.tasks if task.kind == detectors.KIND]}


def name_latent_space(suffix: nn.Module) -> str:
    """Name the latents that a suffix was trained to read: 16 hexadecimal digits of the SHA-256 of its weights."""
    weights = hashlib.sha256()
    for name, values in sorted(suffix.state_dict().items()):
        weights.update(f"{name} {values.dtype} {[*values.shape]}\n".encode())
        weights.update(values.cpu().contiguous().numpy().tobytes())
    return weights.hexdigest()[:16]


def _export_half(
    half: nn.Module, example: Tensor, path: Path, name: str, outputs: list[str], dynamic_shapes: Any = None
) -> None:
    # On its own first: while torch.onnx exports, imported networks' operators write ONNX in a way of their own.
    program = torch.export.export(half, (example,), dynamic_shapes=dynamic_shapes)
    torch.onnx.export(
        program, (), path, input_names=[name], output_names=outputs, dynamo=True, external_data=False, verbose=False
    )
    forget_metadata(path)


def _difference(path: Path, inputs: Tensor, expected: dict[str, Tensor]) -> float:
    found = OnnxRuntime(path.read_bytes(), threads=1, at_once=1)(inputs.numpy())
    difference = _largest_difference(found, expected)
    if difference > LARGEST_DIFFERENCE:
        raise InputError(f"{path} differs from torch by {difference:.1e}, expected at most {LARGEST_DIFFERENCE:.0e}")
    return difference


def _largest_difference(found: Mapping[str, np.ndarray], expected: Mapping[str, Tensor]) -> float:
    return max(
        float(np.abs(found[name] - value.numpy()).max() / max(1.0, value.abs().max()))
        for name, value in expected.items()
    )


def count_weights(module: nn.Module) -> int:
    """Return how many weights a module has."""
    return sum(parameter.numel() for parameter in module.parameters())
