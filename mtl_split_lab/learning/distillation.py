"""Distillation: a bottleneck learns without labels to let through what the untouched network needs.

Supervised compression (Matsubara et al. 2022): encoder, decoder and the layers behind the cut learn the features and
the answers of the network as it was, together with the rate.
"""

import copy
from collections.abc import Sequence
from functools import partial
from typing import cast

# Lightning imports torchvision, which mtl_split_net.vision has to make importable first.
import mtl_split_net.vision  # noqa: F401

# isort: split
import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, fx
from torch.nn import functional
from torch.utils.data import DataLoader

from mtl_split_lab.data.pictures import LabelledPicture
from mtl_split_lab.data.samples import Batch, Sample, Samples, collate
from mtl_split_lab.learning.charging import ANY_DENSITY, draw_points, share_of_bits
from mtl_split_lab.recipe import Recipe
from mtl_split_net.detectors import ImportedDetection, RawOutputs
from mtl_split_net.imported import last_of_scales, outputs_of, returning
from mtl_split_net.kinds.detection import Candidates, imitation_parts
from mtl_split_net.network import ImportedBody, MultiTaskNetwork

TRAINED_SHARE = 0.1
"""Learning rate of the weights that others trained, as a part of that of the new ones."""


class Distillation(lightning.LightningModule):
    """One step of distillation: the network as it was against the same one with a bottleneck."""

    def __init__(
        self, recipe: Recipe, network: MultiTaskNetwork, pictures: list[LabelledPicture], readers: int
    ) -> None:
        """Distil an imported network, whose weights are still those of its file, on `pictures`."""
        super().__init__()
        assert recipe.distil is not None
        self.recipe = recipe
        self._settings = recipe.distil
        self._pictures = pictures
        self._readers = readers
        self.network = network
        body = cast(ImportedBody, network.suffix.body).graph
        (head,) = (head for head in network.suffix.heads.values() if isinstance(head, ImportedDetection))
        outputs = [node.name for node in outputs_of(body)[:-1]]
        self._ends = len(ends := [node.name for node in last_of_scales(body)])
        self._learning = network.prefix.encoder, network.suffix.decoder, network.rate, network.suffix.body, head
        # In tuples: they are either in the network already, or stay as they are and out of the checkpoint.
        self._student = returning(body, [*ends, *outputs]), head
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._teacher = copy.deepcopy(self._student)
        for copied in self._teacher:
            copied.requires_grad_(False).eval()
        network.requires_grad_(False)
        for module in self._learning:
            module.requires_grad_(True)
        network.prefix.stages.eval()

    def on_fit_start(self) -> None:
        """Bring the network as it was to where the one that learns is."""
        for copied in self._teacher:
            copied.to(self.device)

    def train_dataloader(self) -> DataLoader[Sample]:
        """Windows of the pictures, in the end whole ones; their labels are not looked at."""
        windows = self._settings.crop_epochs
        window = self.recipe.crop if windows is None or self.current_epoch < windows else None
        samples = Samples(self._pictures, self.recipe.input_size, self.recipe.augment, window)
        return DataLoader(
            samples,
            self.recipe.batch,
            shuffle=True,
            drop_last=len(samples) > self.recipe.batch,
            num_workers=self._readers,
            collate_fn=partial(collate, tasks=()),
        )

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """Return the loss of one batch."""
        network, images = self.network, batch.images
        size = (images.shape[1], images.shape[2])
        points = draw_points(self.recipe, len(images), training=True).to(images.device)
        with torch.no_grad():
            features = network.prefix.features(images)
            true_ends, right = self._run(self._teacher, features, size)
        restored, bits = network.rate(network.prefix.encoder(features), points)
        restored = network.suffix.decoder(restored)
        ends, answer = self._run(self._student, restored, size)
        pairs = zip(ends, true_ends, strict=True)
        losses = {
            "features": torch.stack([functional.mse_loss(ours, true) / true.var() for ours, true in pairs]).sum(),
            **imitation_parts(answer, right),
            "rate": network.rate.charge(bits, points, share_of_bits(self.recipe, images, ANY_DENSITY)),
        }
        self.log_dict(
            {f"train/{name}": loss for name, loss in losses.items()},
            prog_bar=True, on_step=False, on_epoch=True, batch_size=len(images), sync_dist=True,
        )  # fmt: skip
        return torch.stack(list(losses.values())).sum()

    def _run(
        self, network: tuple[fx.GraphModule, ImportedDetection], features: Tensor, size: tuple[int, int]
    ) -> tuple[Sequence[Tensor], Candidates]:
        graph, head = network
        values = graph(features)
        return values[: self._ends], head(RawOutputs(values[self._ends :], size))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW under a one-cycle schedule; the weights that others trained learn more slowly."""
        highest = self._settings.learning_rate
        new, trained = self._learning[:3], self._learning[3:]
        rates = [highest, TRAINED_SHARE * highest]
        groups = [
            {"params": [weight for module in modules for weight in module.parameters()], "lr": rate}
            for modules, rate in zip([new, trained], rates, strict=True)
        ]
        optimizer = torch.optim.AdamW(groups, weight_decay=self.recipe.weight_decay)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, steps, pct_start=0.1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
