"""A recipe: everything that decides what a training makes, read from one YAML file."""

from dataclasses import dataclass, fields
from pathlib import Path

import yaml

from mtl_split_core.bundle import Task, parse_tasks
from mtl_split_core.errors import InputError
from mtl_split_core.scene import Size


@dataclass(frozen=True)
class Portion:
    """Some of the pictures: where they come from, and how often each is served in one epoch."""

    pictures: str
    repeat: int = 1


@dataclass(frozen=True)
class Recipe:
    """What is trained, on what and how.

    name: the bundle's name; tasks: what the network answers; backbone, split_point: see mtl_split_net.backbones;
    input_size: width and height of the network's input in pixels; bottleneck_channels: channels that cross the link;
    quantisation_step: the latents, of unit variance, are sent as multiples of it; training, validation: the pictures,
    as mtl_split_lab.pictures.find_pictures takes them; batch: pictures per step; epochs: how often all are seen; crop,
    crop_epochs: for so many epochs only windows of this width and height are seen, around the objects;
    learning_rate: the highest of a one-cycle schedule; weight_decay: AdamW's; seed: of everything drawn by chance.
    """

    name: str
    tasks: tuple[Task, ...]
    backbone: str
    split_point: str
    input_size: Size
    bottleneck_channels: int
    quantisation_step: float
    training: tuple[Portion, ...]
    validation: tuple[Portion, ...]
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
    values |= {name: _portions(path, name, values[name]) for name in ("training", "validation")}
    return Recipe(tasks=tasks, **values)


def _size(path: Path, name: str, value: object) -> Size:
    match value:
        case [int(width), int(height)]:
            return width, height
    raise InputError(f"{path}: {name} is {value!r}, expected [width, height] in pixels")


def _portions(path: Path, name: str, values: object) -> tuple[Portion, ...]:
    match values:
        case [_, *_]:
            return tuple(_portion(path, name, value) for value in values)
    raise InputError(f"{path}: {name} is {values!r}, expected a list of pictures")


def _portion(path: Path, name: str, value: object) -> Portion:
    match value:
        case {"pictures": str(pictures), "repeat": int(repeat), **rest} if repeat > 0 and not rest:
            return Portion(pictures, repeat)
        case {"pictures": str(pictures), **rest} if not rest:
            return Portion(pictures)
    raise InputError(
        f"{path}: {name} has {value!r}, expected pictures: SOURCE and, if wanted, repeat: a number above 0"
    )
