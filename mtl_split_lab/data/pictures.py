"""Labelled pictures, wherever they come from, and the two formats of labels that they mostly come in."""

import json
import logging
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Protocol, TypeVar

import cv2
import numpy as np
import pydantic
from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from mtl_split_core.compressed import decode_numbers, read_picture
from mtl_split_core.errors import InputError, brief, in_one_line
from mtl_split_core.scene import Image, Indices, LabelMap, Size, Truth
from mtl_split_core.text_file import read_text
from mtl_split_lab.untrusted import name_faults

T = TypeVar("T")

LABELS = "labels.json"
IMAGES = "images"
MASKS = "masks"

UNDEFINED = "undefined"
"""The label for classification that BDD100K gives where none is known."""
MOST_BYTES = 1 << 31
"""Files of labels of more bytes are refused: in memory they take ten times as much."""
_MOST_NAMED = 10
_PROBES = 5
_logger = logging.getLogger(__name__)


class LabelledPicture(Protocol):
    """One picture and what is really in it; imitated: whether a teacher's answers are to be learned as well."""

    @property
    def truth(self) -> Truth: ...

    @property
    def imitated(self) -> bool: ...

    def read(self) -> Image:
        """Read or draw the picture: uint8 (height, width, 3) blue-green-red. Raises InputError for a damaged one."""
        ...


@dataclass(frozen=True)
class PictureFile:
    """A labelled picture that is a file of its own.

    imitated: whether a teacher's answers are to be learned as well; size: of the picture that the labels are for (None:
    they do not say).
    """

    path: Path
    truth: Truth
    imitated: bool = False
    size: Size | None = None

    def read(self) -> Image:
        """Read the picture: uint8 (height, width, 3) blue-green-red.

        Raises InputError for a damaged file, and for a picture of another size than its labels say: it was scaled after
        it was labelled, or labelled without being turned as its camera says.
        """
        image = read_picture(self.path)
        found = image.shape[1], image.shape[0]
        if self.size is not None and self.size != found:
            raise InputError(
                f"{str(self.path)!r} has {found[0]}x{found[1]} pixels, turned as its camera says, its labels are for "
                f"{self.size[0]}x{self.size[1]}: label it as it is shown"
            )
        return image


@dataclass(frozen=True)
class MaskFile(LabelMap):
    """A mask that is a file of its own, a PNG of 8-bit grey."""

    path: Path

    def indices(self) -> Indices:
        """Read the numbers, uint8 (rows, columns). Raises InputError for a file that cannot be read, or is damaged."""
        try:
            return decode_numbers(self.path.read_bytes())
        except (OSError, ValueError) as error:
            raise InputError(f"{str(self.path)!r} is no readable mask: {error}") from error


class Sieve:
    """Keeps the sound pictures of a source of labels, and names what is broken instead of ending there."""

    def __init__(self, source: Path) -> None:
        """Begin with `source`, the file or the folder that the labels come from."""
        self._source = source
        self._named: list[str] = []
        self._broken = 0

    @contextmanager
    def naming(self, place: str) -> Iterator[None]:
        """Take down a ValueError as what is broken at this place of the source."""
        try:
            yield
        except ValueError as error:
            self._broken += 1
            if len(self._named) < _MOST_NAMED:
                fault = name_faults(error) if isinstance(error, ValidationError) else in_one_line(error)
                self._named.append(f"{place}: {fault}")

    def check(self, pictures: list[PictureFile]) -> list[PictureFile]:
        """Return the sound pictures, and warn of the broken ones, the first of them by name.

        Raises InputError where no picture is sound, none of them is there, or none of a few has its labels' size.
        """
        if not pictures:
            reason = self._named[0] if self._named else "it is empty"
            raise InputError(f"{self._source} has no usable labels: {reason}")
        if not any(os.path.isfile(picture.path) for picture in pictures):
            raise InputError(f"none of the {len(pictures)} pictures of {self._source} is there: {pictures[0].path} ...")
        _probe(pictures)
        for complaint in self._named:
            _logger.warning("%s: skipped %s", self._source, complaint)
        if self._broken:
            _logger.warning("%s: skipped %d, kept %d pictures", self._source, self._broken, len(pictures))
        return pictures


def _probe(pictures: list[PictureFile]) -> None:
    """Raise InputError where none of a few pictures, whose labels say a size, can be used: all are too slow to read."""
    some = pictures[:: -(-len(pictures) // _PROBES)]
    fault = None
    for picture in some:
        if picture.size is None or not os.path.isfile(picture.path):
            continue
        try:
            picture.read()
        except InputError as error:
            fault = error
        else:
            return
    if fault is not None:
        raise InputError(f"of {len(some)} pictures that were tried, none can be used: {fault}") from fault


class Identities:
    """What tells the entries of a list apart: who would have to guess which of two is meant leaves out both."""

    def __init__(self, what: str, values: Iterable[Any], read: Callable[[Any], Hashable]) -> None:
        """Read the identities, in words `what`, of all entries that have one: also of those that are broken."""
        self._what = what
        self._read = read
        self._counts: Counter[Any] = Counter()
        for value in values:
            with suppress(ValueError):
                self._counts[read(value)] += 1

    def __contains__(self, identity: object) -> bool:
        """Say whether any entry has this identity."""
        return identity in self._counts

    def of(self, value: Any) -> Any:
        """Return an entry's identity. Raises ValueError where it has none, or others have the same."""
        identity = self._read(value)
        if (count := self._counts[identity]) > 1:
            raise ValueError(f"the {self._what} {brief(str(identity))} is there {count} times, expected once")
        return identity


def check_inside(name: str) -> PurePosixPath:
    """Return a picture's path from its folder on. Raises ValueError for one that leads out of it, or nowhere."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ValueError(f"{brief(name)} is no path from the folder of the pictures on, expected one without '..'")
    return path


def read_pictures(labels: Path, images: Path | None = None) -> list[PictureFile]:
    """Read a JSON file of labels: a list of entries is taken as BDD100K's format, a mapping as COCO's.

    The pictures are in the folder `images`, or in the one of that name beside the labels. What is broken is left out
    with a warning. Raises InputError for a file without anything usable, and where there are no pictures.
    """
    written = read_text(labels, MOST_BYTES)
    try:
        content = json.loads(written)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{labels} is no readable JSON: {error}") from error
    del written
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


def _reader(kind: type[T]) -> Callable[[Any], T]:
    return TypeAdapter(kind).validate_python


_Pixels = Annotated[float, Field(gt=-1e6, lt=1e6)]
_Fraction = Annotated[float, Field(ge=0, le=1)]
_Side = Annotated[int, Field(ge=1)]


@pydantic.dataclasses.dataclass(frozen=True)
class _Sides:
    width: _Side | None = None
    height: _Side | None = None

    @property
    def known(self) -> Size | None:
        return None if self.width is None or self.height is None else (self.width, self.height)


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
    ignore: tuple[bool | None, ...] = ()


_UNCOUNTED = {"ignore", "ignored", "crowd", "iscrowd", "group", "isgroup", "groupof", "isgroupof"}
"""Attributes that mark an object as not to be counted: ours, those of BDD100K's tools, and of other data sets."""


def _collect_marks(attributes: Any) -> Any:
    if not isinstance(attributes, dict):
        return attributes
    marks = [said for key, said in attributes.items() if str(key).lower().replace("_", "") in _UNCOUNTED]
    return {"visible": attributes.get("visible", 1.0), "ignore": marks}


@pydantic.dataclasses.dataclass(frozen=True)
class _Label:
    category: str
    box2d: _Box | None = None
    attributes: Annotated[_ObjectAttributes | None, BeforeValidator(_collect_marks)] = None


@pydantic.dataclasses.dataclass(frozen=True)
class _Named:
    name: str


@pydantic.dataclasses.dataclass(frozen=True)
class _Entry(_Sides):
    """A picture in BDD100K's format, and our key `labelled`; our keys for objects are in _ObjectAttributes.

    Its size is said in the picture's own keys, or as BDD100K's tools do.
    """

    labels: list[_Label] | None = None
    attributes: dict[str, str] | None = None
    labelled: frozenset[str] | None = None
    size: _Sides | None = None


def _read_bdd100k(labels: Path, entries: list[Any], images: Path) -> list[PictureFile]:
    read_name, read = _reader(_Named), _reader(_Entry)
    names = Identities("name", entries, lambda value: check_inside(read_name(value).name))
    pictures, sieve = [], Sieve(labels)
    for number, value in enumerate(entries):
        with sieve.naming(f"entry {number}"):
            name, entry = names.of(value), read(value)
            boxes = [(label, label.box2d) for label in entry.labels or () if label.box2d]
            attributes = [label.attributes or _ObjectAttributes() for label, _ in boxes]
            truth = Truth(
                boxes=np.array([box.corners for _, box in boxes], np.float32).reshape(-1, 4),
                labels=tuple(label.category for label, _ in boxes),
                visible=np.array([attribute.visible for attribute in attributes], np.float32),
                ignore=np.array([any(attribute.ignore) for attribute in attributes], np.bool_),
                classes={task: label for task, label in (entry.attributes or {}).items() if label != UNDEFINED},
                labelled=entry.labelled,
            )
            pictures.append(PictureFile(images / name, truth, size=(entry.size or entry).known))
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
class _CocoIdentity:
    id: int


@pydantic.dataclasses.dataclass(frozen=True)
class _CocoCategory(_CocoIdentity):
    name: str


@pydantic.dataclasses.dataclass(frozen=True)
class _CocoFile:
    file_name: str


@pydantic.dataclasses.dataclass(frozen=True)
class _CocoOwner:
    image_id: int


@pydantic.dataclasses.dataclass(frozen=True)
class _CocoAnnotation:
    category_id: int
    bbox: tuple[_Pixels, _Pixels, _Pixels, _Pixels]
    iscrowd: bool = False
    ignore: bool = False

    @property
    def box(self) -> _Box:
        x, y, width, height = self.bbox
        return _Box(x, y, x + width, y + height)


def _read_coco(labels: Path, content: dict[str, list[Any]], images: Path) -> list[PictureFile]:
    read_id, read_file, read_owner = _reader(_CocoIdentity), _reader(_CocoFile), _reader(_CocoOwner)
    read_sides, read_annotations = _reader(_Sides), _reader(list[_CocoAnnotation])
    pictures, sieve = [], Sieve(labels)
    names = _read_categories(labels, content["categories"], sieve)
    ids = Identities("id", content["images"], lambda value: read_id(value).id)
    files = Identities("file_name", content["images"], lambda value: check_inside(read_file(value).file_name))
    by_image: dict[int, list[Any]] = defaultdict(list)
    for number, value in enumerate(content["annotations"]):
        with sieve.naming(f"annotation {number}"):
            owner = read_owner(value).image_id
            if owner not in ids:
                raise ValueError(f"no image has the id {brief(owner)}")
            by_image[owner].append(value)
    astray = len(content["annotations"]) - sum(map(len, by_image.values()))
    for number, value in enumerate(content["images"]):
        with sieve.naming(f"image {number}"):
            file, annotations = files.of(value), read_annotations(by_image[ids.of(value)])
            if astray and not annotations:
                raise ValueError(f"it may be empty, or have some of the {astray} annotations that belong to no image")
            truth = Truth(
                boxes=np.array([annotation.box.corners for annotation in annotations], np.float32).reshape(-1, 4),
                labels=tuple(_find(names, annotation.category_id) for annotation in annotations),
                visible=np.ones(len(annotations), np.float32),
                ignore=np.array([annotation.iscrowd or annotation.ignore for annotation in annotations], np.bool_),
                labelled=frozenset(names.values()),
            )
            pictures.append(PictureFile(images / file, truth, size=read_sides(value).known))
    return sieve.check(pictures)


def _read_categories(labels: Path, values: list[Any], sieve: Sieve) -> dict[int, str]:
    try:
        categories = _reader(list[_CocoCategory])(values)
    except ValidationError as error:
        raise InputError(f"{labels}: categories: {name_faults(error)}") from error
    ids = Identities("id", categories, lambda category: category.id)
    names: dict[int, str] = {}
    for number, category in enumerate(categories):
        with sieve.naming(f"category {number}"):
            names[ids.of(category)] = category.name
    return names


def _find(names: dict[int, str], category: int) -> str:
    if category not in names:
        raise ValueError(f"no category has the id {brief(category)}")
    return names[category]
