"""Labelled pictures, wherever they come from, and the two formats of labels that they mostly come in."""

import json
import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol

import cv2
import numpy as np
import pydantic
from pydantic import Field, TypeAdapter, ValidationError

from mtl_split_core.compressed import read_picture
from mtl_split_core.errors import InputError
from mtl_split_core.scene import Image, Truth

LABELS = "labels.json"
IMAGES = "images"

UNDEFINED = "undefined"
"""The label for classification that BDD100K gives where none is known."""
_MOST_NAMED = 10
_logger = logging.getLogger(__name__)


class LabelledPicture(Protocol):
    """One picture and what is really in it."""

    @property
    def truth(self) -> Truth: ...

    def read(self) -> Image:
        """Read or draw the picture: uint8 (height, width, 3) blue-green-red. Raises InputError for a damaged one."""
        ...


@dataclass(frozen=True)
class PictureFile:
    """A labelled picture that is a file of its own."""

    path: Path
    truth: Truth

    def read(self) -> Image:
        """Read the picture: uint8 (height, width, 3) blue-green-red. Raises InputError for a damaged file."""
        return read_picture(self.path)


class Sieve:
    """Keeps the sound pictures of a source of labels, and names what is broken instead of ending there."""

    def __init__(self, source: Path) -> None:
        """Begin with `source`, the file or the folder that the labels come from."""
        self._source = source
        self._broken: list[str] = []

    @contextmanager
    def naming(self, place: str) -> Iterator[None]:
        """Take down a ValueError as what is broken at this place of the source."""
        try:
            yield
        except ValidationError as error:
            self._broken.append(f"{place}: {name_fault(error)}")
        except ValueError as error:
            self._broken.append(f"{place}: {error}")

    def check(self, pictures: list[PictureFile]) -> list[PictureFile]:
        """Return the sound pictures, and warn of the broken ones, the first of them by name.

        Raises InputError where no picture is sound, or none of them is there.
        """
        if not pictures:
            reason = self._broken[0] if self._broken else "it is empty"
            raise InputError(f"{self._source} has no usable labels: {reason}")
        if not any(os.path.isfile(picture.path) for picture in pictures):
            raise InputError(f"none of the {len(pictures)} pictures of {self._source} is there: {pictures[0].path} ...")
        for complaint in self._broken[:_MOST_NAMED]:
            _logger.warning("%s: skipped %s", self._source, complaint)
        if self._broken:
            _logger.warning("%s: skipped %d, kept %d pictures", self._source, len(self._broken), len(pictures))
        return pictures


def name_fault(error: ValidationError) -> str:
    """Say where the first fault of some data is, what is there and what was expected."""
    fault = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, fault['loc'])) or 'it'}: {fault['msg']}, got {fault['input']!r:.80}"


def read_pictures(labels: Path, images: Path | None = None) -> list[PictureFile]:
    """Read a JSON file of labels: a list of entries is taken as BDD100K's format, a mapping as COCO's.

    The pictures are in the folder `images`, or in the one of that name beside the labels. What is broken is left out
    with a warning. Raises InputError for a file without anything usable, and where there are no pictures.
    """
    try:
        content = json.loads(labels.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{labels} is no readable JSON: {error}") from error
    folder = images or labels.parent / IMAGES
    match content:
        case list():
            return _read_bdd100k(labels, content, folder)
        case {"images": list(), "annotations": list(), "categories": list()}:
            return _read_coco(labels, content, folder)
    raise InputError(f"{labels} holds neither a list, as BDD100K's, nor images, annotations and categories, as COCO's")


def write_picture(path: Path, picture: Image) -> None:
    """Write a picture, uint8 (height, width, 3), as its suffix says. Raises OSError where it cannot be written."""
    # cv2.imwrite would not tell of a full disk.
    _, data = cv2.imencode(path.suffix, picture)
    path.write_bytes(data.tobytes())


def write_labels(labels: Path, truths: Iterable[tuple[str, Truth]]) -> None:
    """Write the labels of pictures in BDD100K's format, given as file names and truths."""
    labels.write_text(json.dumps([_format(name, truth) for name, truth in truths]))


_Pixels = Annotated[float, Field(gt=-1e6, lt=1e6)]
_Fraction = Annotated[float, Field(ge=0, le=1)]


@pydantic.dataclasses.dataclass(frozen=True)
class _Box:
    x1: _Pixels
    y1: _Pixels
    x2: _Pixels
    y2: _Pixels

    def __post_init__(self) -> None:
        if self.x2 <= self.x1 or self.y2 <= self.y1:
            raise ValueError(f"expected x1 < x2 and y1 < y2 instead of {self.corners}")

    @property
    def corners(self) -> tuple[float, float, float, float]:
        return self.x1, self.y1, self.x2, self.y2


@pydantic.dataclasses.dataclass(frozen=True)
class _ObjectAttributes:
    visible: _Fraction = 1.0
    ignore: bool = False


@pydantic.dataclasses.dataclass(frozen=True)
class _Label:
    category: str
    box2d: _Box | None = None
    attributes: _ObjectAttributes | None = None


@pydantic.dataclasses.dataclass(frozen=True)
class _Entry:
    """A picture in BDD100K's format, and our key `labelled`; our keys for objects are in _ObjectAttributes."""

    name: str
    labels: list[_Label] | None = None
    attributes: dict[str, str] | None = None
    labelled: frozenset[str] | None = None


def _read_bdd100k(labels: Path, entries: list[Any], images: Path) -> list[PictureFile]:
    read = TypeAdapter(_Entry).validate_python
    pictures, sieve = [], Sieve(labels)
    for number, value in enumerate(entries):
        with sieve.naming(f"entry {number}"):
            entry = read(value)
            boxes = [(label, label.box2d) for label in entry.labels or () if label.box2d]
            attributes = [label.attributes or _ObjectAttributes() for label, _ in boxes]
            truth = Truth(
                boxes=np.array([box.corners for _, box in boxes], np.float32).reshape(-1, 4),
                labels=tuple(label.category for label, _ in boxes),
                visible=np.array([attribute.visible for attribute in attributes], np.float32),
                ignore=np.array([attribute.ignore for attribute in attributes], np.bool_),
                classes={task: label for task, label in (entry.attributes or {}).items() if label != UNDEFINED},
                labelled=entry.labelled,
            )
            pictures.append(PictureFile(images / entry.name, truth))
    return sieve.check(pictures)


def _format(name: str, truth: Truth) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": name, "attributes": truth.classes, "labels": []}
    for box, label, visible, ignore in zip(truth.boxes, truth.labels, truth.visible, truth.ignore, strict=True):
        corners = dict(zip(("x1", "y1", "x2", "y2"), np.round(box.astype(float), 2).tolist(), strict=True))
        attributes = {"visible": round(float(visible), 3), "ignore": bool(ignore)}
        entry["labels"].append({"category": label, "attributes": attributes, "box2d": corners})
    if truth.labelled is not None:
        entry["labelled"] = sorted(truth.labelled)
    return entry


@pydantic.dataclasses.dataclass(frozen=True)
class _CocoCategory:
    id: int
    name: str


@pydantic.dataclasses.dataclass(frozen=True)
class _CocoImage:
    id: int
    file_name: str


@pydantic.dataclasses.dataclass(frozen=True)
class _CocoAnnotation:
    category_id: int
    bbox: tuple[_Pixels, _Pixels, _Pixels, _Pixels]
    iscrowd: bool = False

    @property
    def box(self) -> _Box:
        x, y, width, height = self.bbox
        return _Box(x, y, x + width, y + height)


def _read_coco(labels: Path, content: dict[str, list[Any]], images: Path) -> list[PictureFile]:
    try:
        categories = TypeAdapter(list[_CocoCategory]).validate_python(content["categories"])
    except ValidationError as error:
        raise InputError(f"{labels}: categories: {name_fault(error)}") from error
    names = {category.id: category.name for category in categories}
    by_image: dict[int, list[Any]] = defaultdict(list)
    pictures, sieve = [], Sieve(labels)
    for number, value in enumerate(content["annotations"]):
        with sieve.naming(f"annotation {number}"):
            match value:
                case {"image_id": int(image_id)}:
                    by_image[image_id].append(value)
                case _:
                    raise ValueError(f"expected a mapping with an image_id instead of {value!r:.80}")
    read_image = TypeAdapter(_CocoImage).validate_python
    read_annotations = TypeAdapter(list[_CocoAnnotation]).validate_python
    for number, value in enumerate(content["images"]):
        with sieve.naming(f"image {number}"):
            image = read_image(value)
            annotations = read_annotations(by_image[image.id])
            truth = Truth(
                boxes=np.array([annotation.box.corners for annotation in annotations], np.float32).reshape(-1, 4),
                labels=tuple(_find(names, annotation.category_id) for annotation in annotations),
                visible=np.ones(len(annotations), np.float32),
                ignore=np.array([annotation.iscrowd for annotation in annotations], np.bool_),
                labelled=frozenset(names.values()),
            )
            pictures.append(PictureFile(images / image.file_name, truth))
    return sieve.check(pictures)


def _find(names: dict[int, str], category: int) -> str:
    if category not in names:
        raise ValueError(f"no category has the id {category}")
    return names[category]
