"""A portion: some of the pictures that a recipe, or a command without torch, is to take, and how."""

from dataclasses import field
from pathlib import Path
from typing import Annotated

from annotated_types import Len
from pydantic import ConfigDict, Field, PlainSerializer, StrictInt
from pydantic.dataclasses import dataclass

from mtl_split_core.label_map import MOST_LABELS

ATTRIBUTES = Path(__file__).parent / "recipes" / "attributes"
"""Labels for classification that come with the package."""

NO_OTHER_KEYS = ConfigDict(extra="forbid", allow_inf_nan=False)
Count = Annotated[StrictInt, Field(ge=1, le=1_000_000)]
_Labels = Annotated[frozenset[str], PlainSerializer(sorted)]  # sets have another order in every process


@dataclass(frozen=True, config=NO_OTHER_KEYS)
class MaskFolder:
    """The masks of some pictures for one segmentation task: NAME.png, of 8-bit grey, for each picture NAME.jpg.

    folder: where the recipe's paths begin; labels: of the numbers 0, 1, ... in the masks; all other numbers stand for
    what is not known, and so do labels that the task does not have.
    """

    folder: str
    labels: Annotated[tuple[str, ...], Len(1, MOST_LABELS)]


@dataclass(frozen=True, config=NO_OTHER_KEYS)
class Portion:
    """Some of the pictures.

    pictures: where they come from, as find_pictures in data/sources.py takes it; repeat: how often each is served in
    one epoch; images: the folder in which a file of labels has its pictures; attributes: a JSON file of further labels
    for classification, by the pictures' names, or the name of one that comes with the package; masks: for segmentation,
    by task; rename: our label by the file's or the masks'; labelled: the labels of which every object has its box
    (None: those that the file says, or all); imitate: whether the teacher's answers for all its labels are learned as
    well, score by score.
    """

    pictures: str
    repeat: Count = 1
    images: str | None = None
    attributes: str | None = None
    masks: dict[str, MaskFolder] = field(default_factory=dict)
    rename: dict[str, str] = field(default_factory=dict)
    labelled: _Labels | None = None
    imitate: bool = False
