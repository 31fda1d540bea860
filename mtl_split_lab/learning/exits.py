"""An exit for a finished bundle: a small network learns, without labels, to answer from the latents as the suffix does.

Distillation (Hinton et al. 2015) from the answers alone, so that it makes no difference what the suffix is. Prefix and
suffix answer once; then only latents and answers are needed, which makes epochs cheap.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

# Lightning imports torchvision, which mtl_split_net.vision has to make importable first.
import mtl_split_net.vision  # noqa: F401

# isort: split
import lightning
import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from mtl_split_core.bundle import EXIT, PREFIX, SUFFIX, Bundle, load_bundle, write_manifest
from mtl_split_core.errors import InputError
from mtl_split_core.halves import EdgeHalf, ServerHalf
from mtl_split_core.scene import Floats
from mtl_split_lab.data.pictures import LabelledPicture
from mtl_split_lab.data.samples import Samples
from mtl_split_lab.data.sources import check_there
from mtl_split_lab.learning.export import count_weights, find_frames, find_tests, write_suffix
from mtl_split_lab.learning.training import check_hardware, run_trainer
from mtl_split_lab.learning.unlabelled import find_unlabelled, is_unlabelled
from mtl_split_lab.learning.values import measure_values
from mtl_split_lab.portion import Portion
from mtl_split_lab.recipe import find_recipe_pictures
from mtl_split_net.exits import Exit
from mtl_split_net.kinds import KINDS

EXIT_FILE = "exit.onnx"
SETTINGS = "exit.json"
"""In the folder of a training, what is trained there."""
HELD_OUT = 10
"""Every so many pictures, one is not trained on, to watch the losses on."""
SEED = 1
BATCH = 16
LEARNING_RATE = 0.002
WEIGHT_DECAY = 0.01


@dataclass(frozen=True)
class Lesson:
    """What a picture teaches.

    latents: float16 (channels, height, width); tasks: by name, what the task's kind keeps of the suffix's answer.
    """

    latents: npt.NDArray[np.float16]
    tasks: dict[str, Any]


@dataclass
class Batch:
    """Latents (N, channels, height, width), and by task its target, see mtl_split_net.kinds."""

    latents: Tensor
    targets: dict[str, Any]
    damage: ClassVar[tuple[str, ...]] = ()


def give_exit(
    folder: Path, pictures: Sequence[str], run: Path, data: Path, processes: int, count: int, epochs: int,
    hardware: Mapping[str, Any],
) -> Bundle:  # fmt: skip
    """Train an exit for the bundle in `folder`, and add it there, measured on the recipe's pictures for testing.

    pictures: sources, labelled or not, as find_unlabelled takes them (none: those of the recipe in the manifest), which
    begin in the folder `data`; they are taken alike, `count` pictures in all; run: where the training is kept, which
    goes on there if it was interrupted; processes: draw simulated pictures; hardware: see
    mtl_split_lab.learning.training.run_trainer. Raises InputError where a source is not there or none can be read,
    where `run` holds another training, and for hardware that is not there.
    """
    bundle = load_bundle(folder)
    known = find_recipe_pictures(bundle)
    check_hardware(hardware)
    portions = [Portion(source) for source in pictures] or [replace(each, repeat=1) for each in known.seen]
    if not portions:
        raise InputError(f"the bundle at {folder} does not say what it was trained on: --pictures names some")
    check_there([*(portion for portion in portions if not is_unlabelled(portion)), *known.testing], data)
    files = [bundle.files[role].sha256 for role in (PREFIX, SUFFIX)]
    _claim(run, {"files": files, "pictures": list(pictures), "count": count, "epochs": epochs})
    lightning.seed_everything(SEED, workers=True)
    sources = [find_unlabelled([portion], data, run, bundle.input_size, processes) for portion in portions]
    taught = [[picture for number, picture in enumerate(source) if number % HELD_OUT] or source for source in sources]
    lessons = draw_lessons(bundle, taught, count)
    held_out = draw_lessons(bundle, [source[::HELD_OUT] for source in sources], -(-count // HELD_OUT))
    training = ExitTraining(bundle, lessons, held_out)
    run_trainer(training, run, hardware, epochs)
    tests = find_tests(known.testing, data, run, processes)
    return add_exit(bundle, training.exit.cpu().eval(), [portion.pictures for portion in portions], tests)


def _claim(run: Path, settings: Mapping[str, Any]) -> None:
    """Note in the folder `run` what is trained there. Raises InputError where that is something else already."""
    run.mkdir(parents=True, exist_ok=True)
    note, written = run / SETTINGS, json.dumps(settings)
    if note.exists() and note.read_text() != written:
        raise InputError(f"{run} holds the training of another exit, or with other settings: choose another folder")
    note.write_text(written)


def add_exit(
    bundle: Bundle, network: Exit, pictures: Sequence[str], tests: Mapping[str, Sequence[LabelledPicture]]
) -> Bundle:
    """Write a trained exit into a bundle's folder, and measure what its own answers are worth there.

    `network` is in inference mode; `pictures` names what it learned from. Raises InputError where the exported exit
    differs from it.
    """
    names = {role: file.path.name for role, file in bundle.files.items()} | {EXIT: EXIT_FILE}
    latents = torch.randn(2, *bundle.payload_format.shape, generator=torch.Generator().manual_seed(0))
    with TemporaryDirectory(dir=bundle.folder) as unfinished:
        file = Path(unfinished) / EXIT_FILE
        difference = write_suffix(network, latents, file)
        file.replace(bundle.folder / EXIT_FILE)
    described = {
        "learned_from": list(pictures),
        "parameters": count_weights(network),
        "difference_from_torch": difference,
    }
    manifest = {**bundle.manifest, EXIT: described}
    bundle = write_manifest(bundle.folder, manifest, names)
    return write_manifest(bundle.folder, {**manifest, **measure_values(bundle, find_frames(bundle, tests))}, names)


def new_exit(bundle: Bundle) -> Exit:
    """Return an exit with random weights for a bundle."""
    latents = np.zeros((1, *bundle.payload_format.shape), np.float32)
    shapes = {name: answer.shape for name, answer in ServerHalf(bundle).choice.engine(latents).items()}
    return Exit(bundle.tasks, bundle.input_size, bundle.payload_format.shape, shapes)


def draw_lessons(bundle: Bundle, sources: Sequence[Sequence[LabelledPicture]], count: int) -> list[Lesson]:
    """Let a bundle answer `count` pictures, mirrored, scaled and lit differently by chance, as many of each source.

    Raises InputError where not one can be read.
    """
    edge, suffix = EdgeHalf(bundle), ServerHalf(bundle).choice.engine
    maps = new_exit(bundle).maps
    samples = [Samples(pictures, bundle.input_size, augment=True, window=bundle.input_size) for pictures in sources]
    lessons, damage = [], ""
    for number in tqdm(range(count), "asking the suffix", unit="picture"):
        source = samples[number % len(samples)]
        sample = source[int(torch.randint(len(source), ()))]
        if sample.damage is not None:
            damage = sample.damage
            continue
        latents = edge.latents(sample.image)
        answers = suffix(latents[None])
        kept = {task.name: KINDS[task.kind].lesson(task, answers, maps) for task in bundle.tasks}
        lessons.append(Lesson(latents.astype(np.float16), kept))
    if not lessons:
        raise InputError(f"no picture can be read: {damage}")
    return lessons


class ExitTraining(lightning.LightningModule):
    """One step of training: the tasks' losses against the suffix's answers, added up."""

    def __init__(self, bundle: Bundle, lessons: Sequence[Lesson], held_out: Sequence[Lesson]) -> None:
        """Train an exit for a bundle on `lessons`, and watch its losses on those `held_out`."""
        super().__init__()
        self.exit = new_exit(bundle)
        self.exit.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._lessons = lessons
        self._held_out = held_out

    def train_dataloader(self) -> DataLoader[Lesson]:
        """All lessons, in any order."""
        return self._loader(self._lessons, shuffle=True, drop_last=len(self._lessons) > BATCH)

    def val_dataloader(self) -> DataLoader[Lesson]:
        """Those that are not trained on."""
        return self._loader(self._held_out)

    def _loader(self, lessons: Sequence[Lesson], **order: bool) -> DataLoader[Lesson]:
        return DataLoader(lessons, BATCH, collate_fn=self._collate, **order)  # type: ignore[arg-type]

    def _collate(self, lessons: Sequence[Lesson]) -> Batch:
        latents: Floats = np.stack([lesson.latents for lesson in lessons]).astype(np.float32)
        targets = {
            task.name: KINDS[task.kind].imitated(task, [lesson.tasks[task.name] for lesson in lessons])
            for task in self.exit.tasks
        }
        return Batch(torch.from_numpy(latents), targets)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """Return the loss of one batch."""
        return self._loss(batch, "train")

    def validation_step(self, batch: Batch, _: int) -> None:
        """Log the loss of one batch that is not trained on."""
        self._loss(batch, "validation")

    def _loss(self, batch: Batch, part: str) -> Tensor:
        outputs = self.exit(batch.latents.contiguous(memory_format=torch.channels_last))
        losses = {
            task.name: KINDS[task.kind].imitation(outputs[task.name], batch.targets[task.name])
            for task in self.exit.tasks
        }
        total = torch.stack(list(losses.values())).sum()
        self.log_dict(
            {f"{part}/{name}": loss for name, loss in (losses | {"loss": total}).items()},
            prog_bar=True, on_step=False, on_epoch=True, batch_size=len(batch.latents), sync_dist=True,
        )  # fmt: skip
        return total

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW under a one-cycle schedule."""
        optimizer = torch.optim.AdamW(self.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, steps, pct_start=0.1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
