"""Training: a recipe's network learns all its tasks at once; Lightning runs the loop and keeps the checkpoints."""

import shutil
from functools import partial
from pathlib import Path

# Lightning imports torchvision, which mtl_split_net.vision has to make importable first.
import mtl_split_net.vision  # noqa: F401

# isort: split
import lightning
import torch
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.utils.data import DataLoader

from mtl_split_core.errors import InputError
from mtl_split_lab.pictures import LabelledPicture
from mtl_split_lab.recipe import Recipe, load_recipe
from mtl_split_lab.samples import Batch, Sample, Samples, collate
from mtl_split_lab.sources import find_pictures
from mtl_split_net.heads import Candidates
from mtl_split_net.losses import Objects, classification_loss, detection_loss
from mtl_split_net.network import MultiTaskNetwork

RECIPE = "recipe.yaml"
CHECKPOINT = "last.ckpt"
BOX_WEIGHT = 10.0
"""Weight of the box loss beside the score loss."""


def build_network(recipe: Recipe) -> MultiTaskNetwork:
    """Build a recipe's network with random weights."""
    return MultiTaskNetwork(
        recipe.backbone, recipe.split_point, recipe.bottleneck_channels, recipe.tasks, recipe.input_size
    )


class Training(lightning.LightningModule):
    """One step of training: the tasks' losses, added up."""

    def __init__(
        self, recipe: Recipe, pictures: list[LabelledPicture], held_out: list[LabelledPicture], readers: int
    ) -> None:
        """Train the network of a recipe on `pictures`, and watch its losses on those `held_out`.

        `readers` processes read the pictures.
        """
        super().__init__()
        self.recipe = recipe
        self._pictures = pictures
        self._held_out = held_out
        self._readers = readers
        self.network = build_network(recipe)
        # Half of the time on a processor, and never more.
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def train_dataloader(self) -> DataLoader[Sample]:
        """Windows around the objects at first, which teach more in the same time; in the end whole pictures."""
        window = self.recipe.crop if self.current_epoch < self.recipe.crop_epochs else None
        samples = Samples(self._pictures, self.recipe.input_size, augment=True, window=window)
        return self._loader(samples, training=True)

    def val_dataloader(self) -> DataLoader[Sample]:
        """Whole pictures that are not trained on."""
        return self._loader(Samples(self._held_out, self.recipe.input_size), training=False)

    def _loader(self, samples: Samples, training: bool) -> DataLoader[Sample]:
        return DataLoader(
            samples,
            self.recipe.batch,
            shuffle=training,
            drop_last=training,
            num_workers=self._readers,
            collate_fn=partial(collate, tasks=self.recipe.tasks),
        )

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """Return the loss of one batch."""
        return self._loss(batch, "train")

    def validation_step(self, batch: Batch, _: int) -> None:
        """Log the loss of one batch that is not trained on."""
        self._loss(batch, "validation")

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW under a one-cycle schedule over all steps."""
        optimizer = torch.optim.AdamW(
            self.network.parameters(), self.recipe.learning_rate, weight_decay=self.recipe.weight_decay
        )
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.recipe.learning_rate, steps, pct_start=0.1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _loss(self, batch: Batch, part: str) -> Tensor:
        outputs = self.network(batch.images, self.recipe.quantisation_step)
        losses: dict[str, Tensor] = {}
        for task, target in batch.targets.items():
            output = outputs[task]
            if isinstance(output, Candidates) and isinstance(target, Objects):
                parts = detection_loss(output, target)
                losses[f"{task}_score"], losses[f"{task}_box"] = parts["score"], BOX_WEIGHT * parts["box"]
            elif isinstance(output, Tensor) and isinstance(target, Tensor):
                losses[task] = classification_loss(output, target)
        total = torch.stack(list(losses.values())).sum()
        log = {f"{part}/{name}": loss for name, loss in losses.items()}
        self.log_dict(log, on_step=False, on_epoch=True, batch_size=len(batch.images))
        self.log(f"{part}/loss", total, prog_bar=True, on_epoch=True, batch_size=len(batch.images))
        return total


def train(recipe_path: Path, run: Path, data: Path, start: Path | None, processes: int) -> None:
    """Train a recipe's network in the folder `run`, or go on where an interrupted training stopped there.

    `data` is where the recipe's paths begin. A new training begins with the weights of the checkpoint `start`, if one
    is given. `processes` draw the simulated pictures and read them. Leaves the recipe, the checkpoints and the losses
    in the folder. Raises InputError for a recipe that cannot be, or a folder with a training of another one.
    """
    recipe = load_recipe(recipe_path)
    lightning.seed_everything(recipe.seed, workers=True)
    run.mkdir(parents=True, exist_ok=True)
    if not (run / RECIPE).exists():
        shutil.copyfile(recipe_path, run / RECIPE)
    elif load_recipe(run / RECIPE) != recipe:
        raise InputError(f"{run} holds a training of another recipe than {recipe_path}: choose another folder")
    pictures, held_out = (
        [
            picture
            for portion in portions
            for picture in find_pictures(portion.pictures, data, run, recipe.input_size, processes) * portion.repeat
        ]
        for portions in (recipe.training, recipe.validation)
    )
    # On a processor the network itself takes the rest of the cores.
    training = Training(recipe, pictures, held_out, readers=max(1, processes // 2))
    checkpoint = run / CHECKPOINT
    if start is not None and not checkpoint.exists():
        training.network.load_state_dict(read_weights(start))
    trainer = lightning.Trainer(
        max_epochs=recipe.epochs,
        default_root_dir=run,
        logger=CSVLogger(run, name="losses"),
        callbacks=[
            ModelCheckpoint(run, filename="epoch-{epoch}", auto_insert_metric_name=False, save_last=True),
            LearningRateMonitor(),
        ],
        reload_dataloaders_every_n_epochs=1,
        gradient_clip_val=10.0,
        num_sanity_val_steps=0,
    )
    trainer.fit(training, ckpt_path=checkpoint if checkpoint.exists() else None, weights_only=True)


def read_weights(checkpoint: Path) -> dict[str, Tensor]:
    """Read a checkpoint's weights of the network. Raises InputError where there is none."""
    if not checkpoint.is_file():
        raise InputError(f"no checkpoint at {checkpoint}")
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    return {name.removeprefix("network."): value for name, value in state.items()}
