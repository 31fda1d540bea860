"""The curves of a training: its losses over the epochs as a picture."""

import csv
from collections import defaultdict
from pathlib import Path

# Lightning imports torchvision, which mtl_split_net.vision has to make importable first.
import mtl_split_net.vision  # noqa: F401

# isort: split
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from matplotlib.figure import Figure

LOSSES = "losses"
CURVES = "losses.png"


class LossCurves(Callback):
    """Draws the losses of a training, and of those that it goes on from, in every epoch and in the end."""

    def __init__(self, run: Path) -> None:
        """Draw from the losses logged in the folder `run`, and into it."""
        self._run = run

    def on_train_epoch_end(self, trainer: Trainer, training: LightningModule) -> None:
        """Draw all epochs so far: this one's losses in training are only known later."""
        draw_curves(self._run)

    def on_train_end(self, trainer: Trainer, training: LightningModule) -> None:
        """Draw all epochs."""
        draw_curves(self._run)


def read_losses(run: Path) -> dict[str, dict[int, float]]:
    """Read the mean losses that a training logged in the folder `run`: by name, then by epoch."""
    losses: dict[str, dict[int, float]] = defaultdict(dict)
    for file in sorted((run / LOSSES).glob("version_*/metrics.csv"), key=lambda path: path.stat().st_mtime):
        with file.open() as rows:
            for row in csv.DictReader(rows):
                for name, value in row.items():
                    if value and name.startswith(("train/", "validation/")):
                        losses[name][int(row["epoch"])] = float(value)
    return dict(losses)


def draw_curves(run: Path) -> None:
    """Draw the losses in the folder `run` as a picture: a panel for each, training and validation in one."""
    losses = read_losses(run)
    names = sorted({name.split("/", 1)[1] for name in losses}, key=lambda name: (name != "loss", name))
    if not names:  # the first epoch's losses in training are only known in the second
        return
    figure = Figure((4 * len(names), 3.2), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for part in ("train", "validation"):
            curve = sorted(losses.get(f"{part}/{name}", {}).items())
            axes.plot([epoch + 1 for epoch, _ in curve], [loss for _, loss in curve], marker=".", label=part)
        axes.set(title=name, xlabel="epoch", yscale="log")
        axes.legend()
    figure.savefig(run / CURVES, dpi=80)
