"""Training: a recipe's network learns all its tasks at once; Lightning runs the loop and keeps the checkpoints."""

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

# Lightning imports torchvision, which mtl_split_net.vision has to make importable first.
import mtl_split_net.vision  # noqa: F401

# isort: split
import lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.utils.data import DataLoader

from mtl_split_core.errors import InputError, in_one_line
from mtl_split_lab.data.pictures import LabelledPicture
from mtl_split_lab.data.samples import Batch, Sample, Samples, collate
from mtl_split_lab.data.sources import check_tasks, check_there, find_all_pictures
from mtl_split_lab.kinds import object_labels
from mtl_split_lab.learning.beginning import GRAPH, build_network, load_weights, start_from, take_graph
from mtl_split_lab.learning.charging import WINDOW_DENSITY, draw_points, share_of_bits
from mtl_split_lab.learning.curves import LOSSES, LossCurves
from mtl_split_lab.learning.damage import DamageReport
from mtl_split_lab.learning.distillation import Distillation
from mtl_split_lab.learning.teacher import Teacher, TeacherNetwork, check_points, teach
from mtl_split_lab.learning.unlabelled import find_unlabelled, is_unlabelled
from mtl_split_lab.recipe import Recipe, load_recipe
from mtl_split_net.checkpoints import read_checkpoint
from mtl_split_net.detectors import KIND
from mtl_split_net.kinds import KINDS as NET_KINDS
from mtl_split_net.kinds.detection import imitation_parts
from mtl_split_net.losses import LossSum
from mtl_split_net.network import MultiTaskNetwork, Outputs

RECIPE = "recipe.yaml"
DISTILLED = "distilled"
"""The folder of the distillation, in a training's own."""
LATEST = "latest.ckpt"
BEST = "best.ckpt"
"""The checkpoint of the epoch with the lowest loss on the validation pictures."""

_logger = logging.getLogger(__name__)


class Training(lightning.LightningModule):
    """One step of training: the tasks' losses, added up."""

    def __init__(
        self,
        recipe: Recipe,
        network: MultiTaskNetwork,
        pictures: list[LabelledPicture],
        held_out: list[LabelledPicture],
        readers: int,
        teacher: TeacherNetwork | None = None,
    ) -> None:
        """Train a recipe's network on `pictures`, and watch its losses on those `held_out`.

        `readers` processes read the pictures; 0: the training itself does. `teacher` is whom it is to imitate in some.
        """
        super().__init__()
        self.recipe = recipe
        self._pictures = pictures
        self._held_out = held_out
        self._readers = readers
        self._teacher = (teacher,)  # in a tuple, so that it stays out of the checkpoint
        self.network = network
        weights = {task.name: task.weight for task in recipe.trained_tasks}
        self.loss_sum = LossSum(weights, recipe.loss_sum == "uncertainty")
        if recipe.train_only:
            _freeze(network, recipe.train_only)
        # Half of the time on a processor, and never more.
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def on_fit_start(self) -> None:
        """Bring the teacher to where the network is."""
        for teacher in filter(None, self._teacher):
            teacher.to(self.device)

    def train_dataloader(self) -> DataLoader[Sample]:
        """Windows around the objects at first, which teach more in the same time; in the end whole pictures."""
        window = self.recipe.crop if self.current_epoch < self.recipe.crop_epochs else None
        labels = object_labels(self.recipe.tasks)
        recipe = self.recipe
        samples = Samples(self._pictures, recipe.input_size, recipe.augment, window, labels, self._trained)
        return self._loader(samples, training=True)

    def val_dataloader(self) -> DataLoader[Sample]:
        """Whole pictures that are not trained on."""
        return self._loader(Samples(self._held_out, self.recipe.input_size, tasks=self._trained), training=False)

    @property
    def _trained(self) -> list[str]:
        return [task.name for task in self.recipe.trained_tasks]

    def _loader(self, samples: Samples, training: bool) -> DataLoader[Sample]:
        return DataLoader(
            samples,
            self.recipe.batch,
            shuffle=training,
            drop_last=training and len(samples) > self.recipe.batch,
            num_workers=self._readers,
            collate_fn=partial(collate, tasks=self.recipe.trained_tasks),
        )

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """Return the loss of one batch."""
        return self._loss(batch, "train")

    def validation_step(self, batch: Batch, _: int) -> None:
        """Log the loss of one batch that is not trained on."""
        self._loss(batch, "validation")

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW under a one-cycle schedule over all steps."""
        trained = [weight for weight in self.network.parameters() if weight.requires_grad]
        groups = [
            {"params": trained, "weight_decay": self.recipe.weight_decay},
            {"params": self.loss_sum.parameters(), "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, self.recipe.learning_rate)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.recipe.learning_rate, steps, pct_start=0.1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _loss(self, batch: Batch, part: str) -> Tensor:
        losses: dict[str, Tensor] = {}
        charge: Tensor | float = 0.0
        pictures = len(batch.images)
        if self.recipe.operating_points:
            points = draw_points(self.recipe, pictures, self.training).to(batch.images.device)
            outputs, bits = self.network.compressed(batch.images, points)
            if not self.recipe.train_only:
                share = share_of_bits(self.recipe, batch.images, WINDOW_DENSITY)
                charge = self.network.rate.charge(bits, points, share)
                self.log(f"{part}/rate", charge, on_step=False, on_epoch=True, batch_size=pictures, sync_dist=True)
        else:
            outputs = self.network(batch.images)
        for task in self.recipe.trained_tasks:
            losses[task.name] = NET_KINDS[task.kind].loss(outputs[task.name], batch.targets[task.name])
        total: Tensor = self.loss_sum(losses)
        means: dict[str, Any] = {
            "on_step": False, "on_epoch": True, "batch_size": pictures, "sync_dist": True
        }  # fmt: skip
        self.log_dict({f"{part}/{name}": loss for name, loss in losses.items()}, **means)
        # Without the charge: prices change from epoch to epoch.
        self.log(f"{part}/loss", total, prog_bar=True, **means)
        if self.training and self._teacher[0] is not None and batch.imitated.any():
            imitation = self._imitate(self._teacher[0], batch, outputs)
            self.log(f"{part}/imitation", imitation, **means)
            total = total + imitation
        return total + charge

    def _imitate(self, teacher: TeacherNetwork, batch: Batch, outputs: Outputs) -> Tensor:
        """The loss of those pictures that are to be answered as the teacher does, as a part of the whole batch's."""
        (task,) = (task for task in self.recipe.tasks if task.kind == KIND)
        chosen, known = batch.imitated, teacher.known
        ours, right = outputs[task.name], teacher(batch.images[chosen])
        ours = replace(ours, boxes=ours.boxes[chosen], logits=ours.logits[chosen][..., known])
        losses = imitation_parts(ours, replace(right, logits=right.logits[..., known]))
        return torch.stack(list(losses.values())).sum() * chosen.float().mean()


def _freeze(network: MultiTaskNetwork, tasks: Sequence[str]) -> None:
    """Leave all but the heads of some tasks as it is, with the statistics of the batch norms."""
    network.requires_grad_(False).eval()
    for task in tasks:
        network.suffix.head(task).requires_grad_(True).train()


def train(
    recipe_path: Path,
    run: Path,
    data: Path,
    processes: int,
    pretrained: Path | None = None,
    start: Path | None = None,
    hardware: Mapping[str, Any] | None = None,
) -> None:
    """Train a recipe's network in the folder `run`, or go on where an interrupted training stopped there.

    `data` is where the recipe's paths begin. A new training begins with random weights, with those of torchvision's
    checkpoint `pretrained` in the backbone, or with those of `start`, another training's checkpoint or a bundle.
    `processes` draw the simulated pictures and read them; `hardware`: see run_trainer. Leaves the recipe, the
    checkpoints, the losses and their curves in the folder. Raises InputError for a recipe that is wrong, a folder with
    a training of another one, weights that do not fit, and hardware that is not there.
    """
    recipe = load_recipe(recipe_path)
    begun = any((run / place / LATEST).exists() for place in ("", DISTILLED))
    if begun and load_recipe(run / RECIPE) != recipe:
        raise InputError(f"{run} holds a training of another recipe than {recipe_path}: choose another folder")
    if start is not None and not recipe.training:
        raise InputError("--start goes on with labelled pictures: the recipe needs training and validation")
    if recipe.train_only and start is None and not begun:
        raise InputError("train_only leaves most weights as they are: --start tells where to take them from")
    check_hardware(hardware or {})
    run = _for_lightning(run)
    lightning.seed_everything(recipe.seed, workers=True)
    run.mkdir(parents=True, exist_ok=True)
    if recipe.network is not None and not begun:
        take_graph(recipe.network, recipe.input_size, data, start, run)
    network = build_network(recipe, pretrained, run / GRAPH)
    if start is not None:
        start_from(network, start, recipe.train_only)
    distils = recipe.distil is not None and start is None and not (run / LATEST).exists()
    unlabelled = recipe.distil.pictures if recipe.distil and distils else ()
    labelled = [*recipe.training, *recipe.validation]
    check_there([*(portion for portion in unlabelled if not is_unlabelled(portion)), *labelled], data)
    seen = find_unlabelled(unlabelled, data, run, recipe.input_size, processes)
    pictures, held_out = (
        find_all_pictures(portions, data, run, recipe.input_size, processes)
        for portions in (recipe.training, recipe.validation)
    )
    if recipe.training:
        check_tasks(pictures, recipe.trained_tasks, _labels_from_elsewhere(recipe, start))
    if recipe.teacher is not None:
        teacher = Teacher(recipe.teacher, data / recipe.teacher.onnx, object_labels(recipe.tasks), recipe.input_size)
        taught = run / f"taught-{teacher.fingerprint}.json"
        pictures, held_out = (teach(some, teacher, taught) for some in (pictures, held_out))
    imitated = _load_imitated(recipe, network, data)
    if not ((run / RECIPE).exists() and (run / RECIPE).samefile(recipe_path)):
        shutil.copyfile(recipe_path, run / RECIPE)
    # On a processor the network takes all cores: each of its operations would wait for the core that a reader has.
    readers = processes if torch.cuda.is_available() else 0
    if recipe.distil and distils:
        distilled = run / DISTILLED
        distillation = Distillation(recipe, network, seen, readers)
        run_trainer(distillation, distilled, hardware or {}, recipe.distil.epochs)
        load_weights(network, distilled / LATEST)
        network.requires_grad_(True)
        if not recipe.training:
            shutil.copyfile(distilled / LATEST, run / BEST)
    if recipe.training:
        fit(Training(recipe, network, pictures, held_out, readers, imitated), run, hardware or {})


def _load_imitated(recipe: Recipe, network: MultiTaskNetwork, data: Path) -> TeacherNetwork | None:
    if recipe.teacher is None or not any(portion.imitate for portion in recipe.training):
        return None
    labels = object_labels(recipe.tasks)
    teacher = TeacherNetwork(recipe.teacher, data / recipe.teacher.onnx, labels, recipe.input_size, recipe.crop)
    check_points(network, teacher, recipe.input_size)
    return teacher


def _labels_from_elsewhere(recipe: Recipe, start: Path | None) -> set[str]:
    """The labels that a network knows already, or learns from a teacher: pictures need not have them."""
    if start is not None:
        return {label for task in recipe.tasks for label in task.labels}
    detectors = [detector for detector in (recipe.network, recipe.teacher) if detector is not None]
    return {label for detector in detectors for label in detector.renamed_labels}


def check_hardware(hardware: Mapping[str, Any]) -> None:
    """Raise InputError for what Lightning's Trainer does not take on this machine; see run_trainer."""
    try:
        lightning.Trainer(**hardware, logger=False, enable_checkpointing=False)
    except (ImportError, MisconfigurationException, RuntimeError, ValueError) as error:
        chosen = ", ".join(f"{name} {value}" for name, value in hardware.items())
        raise InputError(f"cannot train with {chosen}: {in_one_line(error)}") from error


def fit(training: Training, run: Path, hardware: Mapping[str, Any]) -> None:
    """Train in the folder `run`, or go on from the checkpoint there; see run_trainer."""
    recipe, watched = training.recipe, "validation/loss"
    best = ModelCheckpoint(run, filename=Path(BEST).stem, monitor=watched, enable_version_counter=False)
    stopping = [EarlyStopping(watched, patience=recipe.patience)] if recipe.patience else []
    run_trainer(training, run, hardware, recipe.epochs, best, *stopping)


def run_trainer(
    training: lightning.LightningModule, run: Path, hardware: Mapping[str, Any], epochs: int, *callbacks: Callback
) -> None:
    """Train in the folder `run`, or go on from the checkpoint there.

    `hardware` goes to Lightning's Trainer: accelerator, devices, num_nodes, precision. Raises InputError for a damaged
    checkpoint.
    """
    run = _for_lightning(run)
    trainer = lightning.Trainer(
        **hardware,
        max_epochs=epochs,
        default_root_dir=run,
        logger=CSVLogger(run, name=LOSSES),
        callbacks=[
            ModelCheckpoint(run, filename=Path(LATEST).stem, enable_version_counter=False),
            *callbacks,
            LearningRateMonitor(),
            DamageReport(),
            LossCurves(run),
        ],
        reload_dataloaders_every_n_epochs=1,
        gradient_clip_val=10.0,
        num_sanity_val_steps=0,
    )
    checkpoint = run / LATEST if (run / LATEST).exists() else None
    if checkpoint is not None:
        read_checkpoint(checkpoint)  # names a damaged one
    trainer.fit(training, ckpt_path=checkpoint, weights_only=True)


def _for_lightning(run: Path) -> Path:
    """Return a path that Lightning takes for a folder: it would read a protocol out of some relative ones."""
    if "::" in str(run):
        raise InputError(f"the folder of the training is {run}, expected a name without '::'")
    return run.absolute()
