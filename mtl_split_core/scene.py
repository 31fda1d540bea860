"""What is in a picture: what the network is asked, what it says, and what is really there."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Size = tuple[int, int]
"""Width and height of a picture in pixels."""

Floats = npt.NDArray[np.float32]

Image = npt.NDArray[np.uint8]
"""A picture: uint8 (height, width, 3), blue-green-red as in OpenCV."""

Indices = npt.NDArray[np.uint8]
"""Which of some labels each place of a picture has: uint8 (rows, columns), evenly over the whole picture."""


@dataclass(frozen=True)
class Task:
    """One thing that the network answers: its name, its kind and its labels in the order of the network's outputs.

    kind: a key of the tables of kinds, such as mtl_split_core.kinds.KINDS.
    """

    name: str
    kind: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Detections:
    """Objects found in one picture, best first.

    boxes: float32 (N, 4), x1, y1, x2, y2 in pixels of the original picture; labels: N names; scores: float32 (N,),
    0 to 1; ids: N identities, the same for one object from frame to frame, "" for one that is not followed (none at
    all: nothing is followed).
    """

    boxes: Floats
    labels: tuple[str, ...]
    scores: Floats
    ids: tuple[str, ...] = ()

    def take(self, indices: npt.NDArray[np.intp]) -> "Detections":
        """Return those with these indices, in their order."""
        ids = tuple(self.ids[i] for i in indices) if self.ids else ()
        return Detections(self.boxes[indices], tuple(self.labels[i] for i in indices), self.scores[indices], ids)


@dataclass(frozen=True)
class Classification:
    """One classification task's answer for a picture: scores, float32 (K,), that sum to 1, in the order of K labels."""

    labels: tuple[str, ...]
    scores: Floats

    @property
    def best(self) -> str:
        """The label with the highest score."""
        return self.labels[int(self.scores.argmax())]


@dataclass(frozen=True)
class LabelMap(ABC):
    """Which label each place of a picture has; labels: by number, one may be there more than once."""

    labels: tuple[str, ...]

    @abstractmethod
    def indices(self) -> Indices:
        """Return the numbers; one that has no label stands for what is not known.

        Raises InputError for a map that cannot be read.
        """


Results = dict[str, Any]
"""Every task's answer for one picture, by task name; its class, such as Detections, is the kind's."""


@dataclass(frozen=True)
class Truth:
    """What is really in a picture.

    boxes: float32 (N, 4), x1, y1, x2, y2 in pixels, around what can be seen of the objects; labels: N names; visible:
    float32 (N,), the fraction of them not hidden, 0 to 1; ignore: bool (N,), objects neither rewarded nor punished, in
    training and in scoring; classes: label by classification task, only the known ones; labelled: the detection labels
    of which every object in the picture has its box (None: all of them); ids: N identities, by which an object is known
    again in other pictures, "" for an object whose identity is not known (none at all: of no object is it known);
    masks: what is where, by segmentation task, only the known ones.
    """

    boxes: Floats = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    labels: tuple[str, ...] = ()
    visible: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    ignore: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    classes: dict[str, str] = field(default_factory=dict)
    labelled: frozenset[str] | None = None
    ids: tuple[str, ...] = ()
    masks: Mapping[str, LabelMap] = field(default_factory=dict)
