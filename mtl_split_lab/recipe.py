"""A recipe: everything that decides what a training makes, read from one YAML file."""

from dataclasses import dataclass, fields
from pathlib import Path

import yaml

from mtl_split_core.bundle import Task, parse_tasks
from mtl_split_core.errors import InputError
from mtl_split_core.scene import Size


@dataclass(frozen=True)
class Recipe:
    """What is trained, on what and how.

    name: the bundle's name; tasks: what the network answers; backbone, split_point: see mtl_split_net.backbones;
    input_size: width and height of the network's input in pixels; bottleneck_channels: channels that cross the link;
    quantisation_step: the latents, of unit variance, are sent as multiples of it; simulated_pictures: how many pictures
    of the simulated street are drawn for training; batch: pictures per step; epochs: how often each picture is seen;
    crop, crop_epochs: for so many epochs only windows of this width and height are seen, around the objects;
    learning_rate: the highest of a one-cycle schedule; weight_decay: AdamW's; seed: of everything drawn by chance.
    """

    name: str
    tasks: tuple[Task, ...]
    backbone: str
    split_point: str
    input_size: Size
    bottleneck_channels: int
    quantisation_step: float
    simulated_pictures: int
    batch: int
    crop: Size
    crop_epochs: int
    epochs: int
    learning_rate: float
    weight_decay: float
    seed: int


def load_recipe(path: Path) -> Recipe:
    """Read a recipe. Raises InputError for a file, a key or a task that is missing or cannot be."""
    if not path.is_file():
        raise InputError(f"no recipe at {path}")
    values = yaml.safe_load(path.read_text())
    names = {field.name for field in fields(Recipe)}
    given = set(values) if isinstance(values, dict) else set()
    if given != names:
        missing, unknown = sorted(names - given), sorted(given - names)
        raise InputError(f"{path}: missing keys {missing}, unknown keys {unknown}")
    try:
        tasks = parse_tasks(values.pop("tasks"))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: tasks need name, kind and labels ({error!r})") from error
    values |= {name: _size(path, name, values[name]) for name in ("input_size", "crop")}
    return Recipe(tasks=tasks, **values)


def _size(path: Path, name: str, value: object) -> Size:
    match value:
        case [int(width), int(height)]:
            return width, height
    raise InputError(f"{path}: {name} is {value!r}, expected [width, height] in pixels")
