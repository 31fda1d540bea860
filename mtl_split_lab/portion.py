"""A portion: some of the pictures that a recipe, or a command without torch, is to take, and how."""

from dataclasses import field
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, PlainSerializer, StrictInt
from pydantic.dataclasses import dataclass

ATTRIBUTES = Path(__file__).parent / "recipes" / "attributes"
"""Labels for classification that come with the package."""

NO_OTHER_KEYS = ConfigDict(extra="forbid", allow_inf_nan=False)
Count = Annotated[StrictInt, Field(ge=1, le=1_000_000)]
_Labels = Annotated[frozenset[str], PlainSerializer(sorted)]  # sets have another order in every process


@dataclass(frozen=True, config=NO_OTHER_KEYS)
class Portion:
    """Some of the pictures.

    pictures: where they come from, as find_pictures in data/sources.py takes it; repeat: how often each is served in
    one epoch; images: the folder in which a file of labels has its pictures; attributes: a JSON file of further labels
    for classification, by the pictures' names, or the name of one that comes with the package; rename: our label by the
    file's; labelled: the labels of which every object has its box (None: those that the file says, or all);
    imitate: whether the teacher's answers for all its labels are learned as well, score by score.
    """

    pictures: str
    repeat: Count = 1
    images: str | None = None
    attributes: str | None = None
    rename: dict[str, str] = field(default_factory=dict)
    labelled: _Labels | None = None
    imitate: bool = False
