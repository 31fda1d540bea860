"""MTL-Split's comparison: a network for each task against one network for all tasks, everything else equal."""

import dataclasses
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

# Lightning imports torchvision, which mtl_split_net.vision has to make importable first.
import mtl_split_net.vision  # noqa: F401

# isort: split
import cv2
import lightning
import numpy as np
import torch
from pydantic import TypeAdapter
from torch.utils.data import DataLoader
from tqdm import tqdm

from mtl_split_core.errors import InputError
from mtl_split_core.geometry import Letterbox
from mtl_split_core.halves import OVERLAP_THRESHOLD, SCORE_THRESHOLD
from mtl_split_core.kinds import KINDS as CORE_KINDS
from mtl_split_core.scene import Size, Task
from mtl_split_lab.data.noise import RELEASED, SALT_AND_PEPPER, Noise, NoisyPicture
from mtl_split_lab.data.pictures import LabelledPicture, PictureFile
from mtl_split_lab.data.samples import LEAST_HEIGHT, Samples, collate
from mtl_split_lab.data.shapes import COUNTS, ShapesPicture
from mtl_split_lab.data.sources import find_all_pictures
from mtl_split_lab.kinds import KINDS
from mtl_split_lab.learning.beginning import build_network, load_weights
from mtl_split_lab.learning.training import BEST, LATEST, Training, fit
from mtl_split_lab.machine import machine
from mtl_split_lab.quiet import quieten
from mtl_split_lab.recipe import RECIPES, Recipe, load_recipe
from mtl_split_lab.scoring.measurement import Measurement
from mtl_split_lab.studies.comparison_page import Result, read_result, write_page, write_result
from mtl_split_net.backbones import Backbone
from mtl_split_net.kinds import KINDS as NET_KINDS
from mtl_split_net.kinds import all_answers
from mtl_split_net.neck import STRIDES
from mtl_split_net.network import MultiTaskNetwork

LEARNING_RATES = {"vgg16": 1e-4}
"""Without batch norms a backbone does not bear the recipes' rate; this one is MTL-Split's."""

PICTURES = "pictures"
DESCRIPTION = "description.json"
RESULT = "result.json"


@dataclass(frozen=True)
class Experiment:
    """Pictures and tasks on which to compare.

    name: of the folders; data: what the pictures are called; recipe: of the network for all tasks, with the pictures
    for testing that only finished networks see; noise: over pictures of 3D Shapes.
    """

    name: str
    data: str
    recipe: Recipe
    noise: Noise = Noise("none", 0, 0)  # noqa: RUF009 (frozen)


def paper_experiments(shapes: Path | None = None) -> list[Experiment]:
    """MTL-Split's experiment on 3D Shapes with two kinds of noise, and the simulated street's four tasks.

    3D Shapes are read from the original's file `shapes`, `FILE.h5`, or drawn. Raises InputError for another file.
    """
    street = load_recipe(RECIPES / "compare_street.yaml")
    recipe = load_recipe(RECIPES / "compare_shapes.yaml")
    data = "3D Shapes, drawn"
    if shapes is not None:
        recipe = _read_from(shapes, recipe)
        data = "3D Shapes"
    return [
        Experiment("street", "simulated street", street),
        Experiment("shapes-8", data, recipe, SALT_AND_PEPPER),
        Experiment("shapes-71", data, recipe, RELEASED),
    ]


def _read_from(file: Path, recipe: Recipe) -> Recipe:
    """Take 3D Shapes from the original's file instead of drawing them."""
    if file.suffix != ".h5":
        raise InputError(f"{file} is no file of 3D Shapes, expected a name that ends in .h5")
    parts: dict[str, Any] = {
        part: tuple(
            dataclasses.replace(portion, pictures=portion.pictures.replace("shapes", str(file), 1))
            for portion in getattr(recipe, part)
        )
        for part in ("training", "validation", "testing")
    }
    return dataclasses.replace(recipe, **parts)


@dataclass(frozen=True)
class Trial:
    """One training of a comparison: an experiment with a recipe of its own, for all of the tasks or one."""

    experiment: Experiment
    recipe: Recipe

    @property
    def name(self) -> str:
        """Name of the folder."""
        tasks = "+".join(task.name for task in self.recipe.tasks)
        return f"{self.experiment.name}-{self.recipe.backbone}-{tasks}-{self.recipe.seed}"

    def describe(self) -> dict[str, Any]:
        """Everything that decides the result, ready for JSON."""
        description: dict[str, Any] = TypeAdapter(Trial).dump_python(self, mode="json")
        return description


def list_trials(experiments: Iterable[Experiment], backbones: Iterable[str], seeds: int) -> list[Trial]:
    """All trainings of a comparison, those of the first seed first.

    Raises InputError for an unknown backbone.
    """
    recipes = [
        (experiment, _with_backbone(experiment.recipe, backbone))
        for backbone in backbones
        for experiment in experiments
    ]
    return [
        Trial(experiment, dataclasses.replace(recipe, tasks=tasks, seed=seed))
        for seed in range(1, seeds + 1)
        for experiment, recipe in recipes
        for tasks in (recipe.tasks, *((task,) for task in recipe.tasks))
    ]


def _with_backbone(recipe: Recipe, name: str) -> Recipe:
    """Cut at the end of the backbone, as MTL-Split, or where the neck still gets all of its scales."""
    backbone = Backbone(name)
    cut = backbone.cuts[-1]
    if any(NET_KINDS[task.kind].USES_NECK for task in recipe.tasks):
        rows = recipe.input_size[1]
        strides = [rows // height for _, height, _ in backbone.shapes(recipe.input_size)]
        fine = [point for point, stride in zip(backbone.cuts, strides, strict=True) if stride <= STRIDES[0]]
        cut = fine[-1]
    learning_rate = LEARNING_RATES.get(name, recipe.learning_rate)
    return dataclasses.replace(recipe, backbone=name, cut=cut, learning_rate=learning_rate)


def compare(
    experiments: Sequence[Experiment], backbones: Sequence[str], seeds: int, run: Path, out: Path, processes: int
) -> None:
    """Train whatever is not yet trained in the folder `run`, and write what came out into the folder `out`.

    `processes` trainings run at the same time. The page is about everything that the folder `run` holds. Raises
    InputError for an unknown backbone, and for a folder with trainings of other recipes.
    """
    trials = list_trials(experiments, backbones, seeds)
    todo = [trial for trial in trials if not _is_finished(trial, run)]
    if todo:
        _train_all(todo, len(trials), run, processes)
    write_page([read_result(path) for path in sorted(run.glob(f"*/{RESULT}"))], out)


def _train_all(todo: Sequence[Trial], total: int, run: Path, processes: int) -> None:
    """Do what is left of so many trainings, and show how far that is."""
    for experiment in {trial.experiment.name: trial.experiment for trial in todo}.values():
        find_parts(experiment, run / PICTURES, processes)  # drawn once, for all the processes that will read them
    progress = tqdm(
        total=total,
        initial=total - len(todo),
        bar_format="{n_fmt} of {total_fmt} trainings done, {remaining} left{postfix}",
        smoothing=0,
    )
    threads = max(1, len(os.sched_getaffinity(0)) // processes)
    with progress, get_context("spawn").Pool(min(processes, len(todo)), _quieten, (threads,)) as pool:
        for name in pool.imap_unordered(partial(_train, run), todo):
            progress.set_postfix_str(f"last: {name}", refresh=False)
            progress.update()


def _is_finished(trial: Trial, run: Path) -> bool:
    description = run / trial.name / DESCRIPTION
    if description.exists() and json.loads(description.read_text()) != trial.describe():
        raise InputError(f"{description.parent} holds a training of another recipe: choose another folder than {run}")
    return (run / trial.name / RESULT).exists()


def _quieten(threads: int) -> None:
    """Prepare a process that trains: as many threads as it may use, and no words of Lightning's."""
    torch.set_num_threads(threads)
    cv2.setNumThreads(1)
    quieten()


def _train(run: Path, trial: Trial) -> str:
    """Train and test one network, leave its result in the folder `run`, and return the training's name."""
    started = time.monotonic()
    recipe, folder = trial.recipe, run / trial.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / DESCRIPTION).write_text(json.dumps(trial.describe(), indent=2))
    training, validation, test = find_parts(trial.experiment, run / PICTURES, processes=1)
    lightning.seed_everything(recipe.seed, workers=True, verbose=False)
    network = build_network(recipe)
    hardware = {"accelerator": "auto", "devices": 1, "enable_progress_bar": False, "enable_model_summary": False}
    fit(Training(recipe, network, training, validation, readers=0), folder, hardware)
    load_weights(network, folder / BEST)
    result = Result(
        data=trial.experiment.data,
        noise=trial.experiment.noise.name,
        backbone=recipe.backbone,
        tasks=tuple(task.name for task in recipe.tasks),
        seed=recipe.seed,
        scores=evaluate(network, test, recipe.input_size, recipe.batch),
        backbone_parameters=_count(network.prefix.stages) + _count(network.suffix.body.get_submodule("stages")),
        parameters=_count(network),
        pictures=(len(training), len(validation), len(test)),
        input_size=recipe.input_size,
        epochs=recipe.epochs,
        batch=recipe.batch,
        learning_rate=recipe.learning_rate,
        minutes=(time.monotonic() - started) / 60,
        machine="{processor}, {cores} cores".format(**machine()),
    )
    write_result(folder / RESULT, result)
    for checkpoint in (LATEST, BEST):
        (folder / checkpoint).unlink()
    return trial.name


def find_parts(
    experiment: Experiment, drawn: Path, processes: int
) -> tuple[list[LabelledPicture], list[LabelledPicture], list[LabelledPicture]]:
    """Find an experiment's pictures for training, validation and test; no picture is in two of them.

    `processes` draw into the folder `drawn` what is not there.
    """
    recipe = experiment.recipe
    training, validation, test = (
        [
            _as_compared(picture, experiment.noise)
            for picture in find_all_pictures(portions, Path(), drawn, recipe.input_size, processes)
        ]
        for portions in (recipe.training, recipe.validation, recipe.testing)
    )
    # Two samples of 3D Shapes may have a combination of the factors in common.
    held_out = {picture.seed for picture in validation if isinstance(picture, NoisyPicture)}
    training = [p for p in training if not (isinstance(p, NoisyPicture) and p.seed in held_out)]
    return training, validation, test


def _as_compared(picture: LabelledPicture, noise: Noise) -> LabelledPicture:
    """Put the noise over a picture of 3D Shapes; in the street's, ignore what is tiny at the networks' input."""
    match picture:
        case ShapesPicture():
            return NoisyPicture(picture, noise, seed=int(np.ravel_multi_index(picture.factors, COUNTS)))
        case PictureFile(truth=truth):
            tiny = truth.boxes[:, 3] - truth.boxes[:, 1] < LEAST_HEIGHT
            return dataclasses.replace(picture, truth=dataclasses.replace(truth, ignore=truth.ignore | tiny))
    raise TypeError(f"{picture} is neither of 3D Shapes nor of the street")


@torch.no_grad()
def evaluate(
    network: MultiTaskNetwork, pictures: Sequence[LabelledPicture], input_size: Size, batch: int
) -> dict[str, float]:
    """Score a network on pictures of its input's size: mAP50 of a detection task, accuracy of a classification task.

    Raises InputError for a damaged picture.
    """
    network.cpu().eval()
    loader = DataLoader(Samples(pictures, input_size), batch, collate_fn=partial(collate, tasks=network.tasks))
    measurement = Measurement(network.tasks)
    truths = (picture.truth for picture in pictures)
    for part in loader:
        if part.damage:
            raise InputError(part.damage[0])
        answers = {name: answer.numpy() for name, answer in all_answers(network.tasks, network(part.images)).items()}
        for row in range(len(part.images)):
            outputs = {name: answer[row : row + 1] for name, answer in answers.items()}
            results = {task.name: _result(task, outputs, Letterbox(input_size, input_size)) for task in network.tasks}
            measurement.add(next(truths), 0, results)
    scores = measurement.scores()
    return {task.name: KINDS[task.kind].accuracy(scores[task.kind], task.name) for task in network.tasks}


def _result(task: Task, outputs: Mapping[str, Any], letterbox: Letterbox) -> Any:
    kind = CORE_KINDS[task.kind]
    return kind.to_picture(kind.result(task, outputs, SCORE_THRESHOLD, OVERLAP_THRESHOLD), letterbox)


def _count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
