"""A recipe: everything that decides what a training makes, read from one YAML file."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from annotated_types import Len
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PlainSerializer,
    PlainValidator,
    PositiveFloat,
    StrictInt,
    TypeAdapter,
    ValidationError,
)
from pydantic.dataclasses import dataclass

from mtl_split_core.bundle import MANIFEST, Bundle
from mtl_split_core.contract import text
from mtl_split_core.errors import InputError, brief
from mtl_split_core.payload import MOST_PER_AXIS
from mtl_split_core.scene import Size
from mtl_split_lab.portion import NO_OTHER_KEYS, Count, Portion
from mtl_split_lab.untrusted import name_faults, read_yaml
from mtl_split_net.detectors import COCO_LABELS
from mtl_split_net.network import Pixels
from mtl_split_net.tasks import LearnedTask, parse_learned_tasks

T = TypeVar("T")

CROP_UNIT = 32
"""Windows fit whole cells of the detection head's coarsest map."""
RECIPES = Path(__file__).parent / "recipes"
"""Those that come with the package."""

_MOST_NAMED = 10

_Axis = Annotated[StrictInt, Field(ge=1, le=MOST_PER_AXIS)]


def _parse_labels(value: Any) -> Any:
    return COCO_LABELS if value == "coco" else value


@dataclass(frozen=True, config=NO_OTHER_KEYS)
class PixelStatistics:
    """What an imported network expects of its input: see mtl_split_net.network.Pixels."""

    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    deviation: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = (1.0, 1.0, 1.0)
    red_first: bool = False


@dataclass(frozen=True, config=NO_OTHER_KEYS)
class ImportedDetector:
    """A detector that others trained.

    onnx: its file, where the recipe's paths begin; or module: `package.module:function`, which returns it as a torch
    module, with the weights of the file `checkpoint`; cut: the tensor at which it is cut, as `mtl-split cuts` lists
    them, or of a torch module the submodule after which (a teacher is not cut); detector: what its outputs mean, see
    mtl_split_net.detectors; labels: its labels in the order of its scores, or `coco`; rename: our label by its; pixels:
    what it expects of its input; source, licence: of the file, which the manifest repeats.
    """

    detector: str
    labels: Annotated[tuple[str, ...], BeforeValidator(_parse_labels), Len(1)]
    onnx: str = ""
    module: str = ""
    checkpoint: str = ""
    cut: str = ""
    rename: dict[str, str] = field(default_factory=dict)
    pixels: PixelStatistics = field(default_factory=PixelStatistics)
    source: str = ""
    licence: str = ""

    def __post_init__(self) -> None:
        if bool(self.onnx) == bool(self.module):
            raise ValueError("expected either onnx, a file, or module, a function")

    @property
    def expected_pixels(self) -> Pixels:
        """What it expects of its input, for the network in torch."""
        return Pixels(**asdict(self.pixels))

    @property
    def renamed_labels(self) -> list[str]:
        """Its labels, in their order, as ours."""
        return [self.rename.get(label, label) for label in self.labels]


@dataclass(frozen=True, config=NO_OTHER_KEYS)
class Distillation:
    """How the bottleneck of an imported network is trained without labels, before anything else.

    pictures: any, their labels are not looked at; epochs: how often all are seen; crop_epochs: for so many of them only
    windows of the recipe's `crop` (None: for all, if it has one); learning_rate: the highest.
    """

    pictures: Annotated[tuple[Portion, ...], Len(1)]
    epochs: Count = 10
    crop_epochs: Annotated[StrictInt, Field(ge=0)] | None = None
    learning_rate: PositiveFloat = 0.002


def _parse_tasks(value: Any) -> tuple[LearnedTask, ...]:
    if isinstance(value, tuple) and value and all(isinstance(task, LearnedTask) for task in value):
        return value
    try:
        return parse_learned_tasks(value)
    except (KeyError, TypeError) as error:
        raise ValueError(f"tasks need name, kind and labels ({error!r})") from error


def _format_tasks(tasks: tuple[LearnedTask, ...]) -> list[dict[str, Any]]:
    return [asdict(task) for task in tasks]


def _sort_operating_points(points: dict[str, int]) -> dict[str, int]:
    if points and ("default" not in points or len(set(points.values())) < len(points)):
        raise ValueError("operating points need a default, and different numbers of bytes")
    return dict(sorted(((text(name), size) for name, size in points.items()), key=lambda point: point[1]))


def _check_name(name: str) -> str:
    if not re.fullmatch(r"\w[\w .,+-]{0,99}", name):
        raise ValueError(f"{brief(name)} is no name: expected 1 to 100 letters, digits, '_', and within also ' .,+-'")
    return name


Sides = tuple[_Axis, _Axis]
"""A size: width and height in pixels."""


@dataclass(frozen=True, config=NO_OTHER_KEYS)
class Recipe:
    """What is trained, on what and how.

    name: the bundle's name; tasks: what the network answers, as parse_learned_tasks reads it; training, validation:
    the pictures (none: only distilled); testing: those that an export measures the bundle on; calibration: those, not
    trained on, by which it corrects the scores (none: scores stay as they are); backbone, cut: see
    mtl_split_net.backbones; network: instead of these, a detector that others trained; distil: how it is trained
    without labels; teacher: another such detector, which finds in training pictures what their source does not label;
    input_size: of the network; bottleneck_channels: how many cross the link (None: the features as they are, which
    cannot be exported); bottleneck_reduction: how much coarser than the features they are; bottleneck_width: the
    encoder's channels in between (None: four times the features'); operating_points: about how many bytes a picture is
    to take at each, by name, one of them `default` (none: not compressed, cannot be exported); loss_sum: see
    mtl_split_net.losses.LossSum; augment: whether training pictures are mirrored, scaled in windows, and lit
    differently, by chance; batch: pictures per step; epochs: how often all are seen; crop, crop_epochs: for so many
    epochs only windows of this size are seen, around the objects; patience: after so many epochs without a lower loss
    on the validation pictures the training ends (None: never); learning_rate: the highest of a one-cycle schedule;
    weight_decay: AdamW's; train_only: the tasks whose heads are trained, while all else stays as
    it is in what the training starts from (none: all is trained); seed: of everything drawn by chance.
    """

    name: Annotated[str, AfterValidator(_check_name)]
    tasks: Annotated[tuple[LearnedTask, ...], PlainValidator(_parse_tasks), PlainSerializer(_format_tasks)]
    training: tuple[Portion, ...] = ()
    validation: tuple[Portion, ...] = ()
    testing: tuple[Portion, ...] = ()
    calibration: tuple[Portion, ...] = ()
    backbone: str = "mobilenet_v3_small"
    cut: str = "features.3"
    network: ImportedDetector | None = None
    distil: Distillation | None = None
    teacher: ImportedDetector | None = None
    input_size: Sides = (512, 288)
    bottleneck_channels: _Axis | None = 24
    bottleneck_reduction: _Axis = 2
    bottleneck_width: Count | None = None
    operating_points: Annotated[dict[str, Count], AfterValidator(_sort_operating_points)] = field(
        default_factory=lambda: {"coarsest": 300, "coarse": 550, "default": 860, "fine": 2000}
    )
    loss_sum: Literal["plain", "uncertainty"] = "plain"
    augment: bool = True
    batch: Count = 16
    crop: Sides | None = None
    crop_epochs: Annotated[StrictInt, Field(ge=0)] = 0
    epochs: Count = 10
    patience: Count | None = None
    learning_rate: PositiveFloat = 0.002
    weight_decay: NonNegativeFloat = 0.01
    train_only: tuple[str, ...] = ()
    seed: Annotated[StrictInt, Field(ge=0, lt=1 << 32)] = 1

    def __post_init__(self) -> None:
        _check_crop(self.crop, self.crop_epochs, self.input_size, self.epochs)
        if self.network is not None and not self.network.cut:
            raise ValueError("network needs a cut: `mtl-split cuts` lists those there are")
        if self.teacher is not None and not self.teacher.onnx:
            raise ValueError("a teacher needs onnx, a file")
        if self.teacher is None and any(portion.imitate for portion in self.training):
            raise ValueError("imitate needs a teacher")
        if self.distil is not None and not self.operating_points:
            raise ValueError("distil needs operating_points")
        if self.distil is not None and self.network is None:
            raise ValueError("distil needs a network that others trained, expected the key network")
        if self.distil is not None:
            _check_crop(self.crop, self.distil.crop_epochs or 0, self.input_size, self.distil.epochs)
        if not (self.training or self.distil):
            raise ValueError("training needs pictures, or distil does")
        if bool(self.training) != bool(self.validation):
            raise ValueError("training and validation need pictures, or neither of them")
        if strange := set(self.train_only) - {task.name for task in self.tasks}:
            raise ValueError(f"train_only has {sorted(strange)}, expected names of tasks")
        if self.train_only and (self.distil or self.teacher):
            raise ValueError("train_only leaves all but some heads as they are: it takes neither distil nor a teacher")

    @property
    def trained_tasks(self) -> tuple[LearnedTask, ...]:
        """Those that are trained, see train_only."""
        return tuple(task for task in self.tasks if not self.train_only or task.name in self.train_only)


def _check_crop(crop: Size | None, crop_epochs: int, input_size: Size, epochs: int) -> None:
    if crop is None and crop_epochs:
        raise ValueError(f"crop_epochs is {crop_epochs}, but there is no crop: expected its size, or no crop_epochs")
    if crop is not None and any(side % CROP_UNIT for side in crop):
        raise ValueError(f"crop needs multiples of {CROP_UNIT} pixels, got {crop}")
    if crop is not None and (crop[0] > input_size[0] or crop[1] > input_size[1]):
        raise ValueError(f"crop {crop} is larger than input_size {input_size}, expected a part of it")
    if crop_epochs > epochs:
        raise ValueError(f"crop_epochs {crop_epochs} are more than epochs {epochs}, expected at most as many")


def name_portions(portions: Sequence[Portion]) -> dict[str, Portion]:
    """Return portions by name: their `pictures`, with all other keys where several portions are of the same ones."""
    shared = Counter(portion.pictures for portion in portions)
    described = TypeAdapter(Portion)
    names = {}
    for portion in portions:
        keys = described.dump_python(portion, mode="json", exclude_defaults=True)
        more = [f"{key} {value}" for key, value in keys.items() if key != "pictures"]
        names[", ".join([portion.pictures, *(more if shared[portion.pictures] > 1 else ())])] = portion
    return names


def load_recipe(path: Path) -> Recipe:
    """Read a recipe. Raises InputError for a file, a key or a value that is missing or cannot be."""
    if not path.is_file():
        raise InputError(f"no recipe at {path}")
    content = read_yaml(path)
    return _validated(Recipe, content, path)


@dataclass(frozen=True, config=ConfigDict(extra="ignore"))
class _Distilled:
    pictures: tuple[Portion, ...] = ()


@dataclass(frozen=True, config=ConfigDict(extra="ignore"))
class KnownPictures:
    """The pictures in a recipe of whatever version, as a bundle's manifest repeats it: all other keys are left out."""

    training: tuple[Portion, ...] = ()
    testing: tuple[Portion, ...] = ()
    distil: _Distilled | None = None

    @property
    def seen(self) -> tuple[Portion, ...]:
        """Those that were trained on, or distilled on where no others were."""
        return self.training or (self.distil.pictures if self.distil else ())


def find_recipe_pictures(bundle: Bundle) -> KnownPictures:
    """Return the pictures in the recipe of a bundle's manifest, none where it has no recipe. Raises InputError."""
    return _validated(KnownPictures, bundle.manifest.get("recipe", {}), bundle.folder / MANIFEST)


def _validated(kind: type[T], content: Any, path: Path) -> T:
    try:
        return TypeAdapter(kind).validate_python(content)
    except ValidationError as error:
        raise InputError(f"{path}: {name_faults(error, _MOST_NAMED)}") from error
