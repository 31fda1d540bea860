"""Where labelled pictures come from, in one word."""

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from mtl_split_core.errors import InputError
from mtl_split_core.plain_json import parse_json
from mtl_split_core.scene import Size, Task
from mtl_split_core.text_file import read_text
from mtl_split_lab.data.faces import read_faces
from mtl_split_lab.data.medic import read_medic
from mtl_split_lab.data.pictures import (
    MASKS,
    MOST_BYTES,
    UNDEFINED,
    LabelledPicture,
    MaskFile,
    PictureFile,
    read_pictures,
)
from mtl_split_lab.data.shapes import draw_shapes, read_shapes
from mtl_split_lab.data.simulated import MASK_LABELS, draw_pictures
from mtl_split_lab.kinds import KINDS
from mtl_split_lab.portion import ATTRIBUTES, Portion
from mtl_split_lab.untrusted import name_faults

_MOST_NAMED = 20
_logger = logging.getLogger(__name__)
_SHAPES = re.compile(r"(shapes|.*\.h5)(?::(\d+):([1-9]\d*))?(?::(train|test))?")
_SIMULATED = re.compile(r"sim:(\d+):([1-9]\d*)")


def find_pictures(portion: Portion, data: Path, drawn: Path, size: Size, processes: int) -> list[LabelledPicture]:
    """Find the pictures of a portion, each as often as it says.

    Its `pictures` are one of

    - `sim:SEED:COUNT`: so many pictures of the simulated streets from SEED on, letterboxed to `size`, which `processes`
      draw into the folder `drawn` unless they are there;
    - `FILE.json`: BDD100K's labels (a list) or COCO's (a mapping);
    - `FILE.tsv`: a table of MEDIC;
    - `FOLDER`: the pictures of FACES;
    - `FILE.h5[:SEED:COUNT][:train|:test]`: the file of 3D Shapes, or so many of its pictures at random, of all or of
      those that MTL-Split's paper trains on or tests on (floor hue and wall hue both from the upper half), which are
      unpacked into the folder `drawn` unless they are there;
    - `shapes[:SEED:COUNT][:train|:test]`: the same ones, drawn here instead of read.

    Files and folders begin in the folder `data`. `images`, `rename` and `labelled` are for files of labels,
    `attributes` and `masks` for pictures that are files. Raises InputError for anything else, and for a source without
    a single picture.
    """
    found = _find(portion, data, drawn, size, processes)
    for task, masks in portion.masks.items():
        found = _add_masks(found, task, data / masks.folder, masks.labels)
    if portion.rename or portion.labelled is not None:
        found = _translate(_files(found, "rename or labelled"), portion)
    if portion.attributes is not None:
        found = _add_attributes(found, portion.attributes, data)
    if portion.imitate:
        found = [replace(picture, imitated=True) for picture in _files(found, "imitate")]
    return [picture for picture in found for _ in range(portion.repeat)]


def check_tasks(pictures: Iterable[LabelledPicture], tasks: Sequence[Task], elsewhere: Collection[str] = ()) -> None:
    """Warn of labels that these pictures cannot teach; `elsewhere` are those that are learned in another way.

    Raises InputError for a task without any other label, and where pictures have a label that no task asks for: that is
    another spelling of the missing one, or shows that it is not there.
    """
    there: dict[str, set[str]] = defaultdict(set)
    for picture in pictures:
        for task in tasks:
            there[task.name] |= KINDS[task.kind].labels_in(task, picture.truth)
    faults = []
    for task in tasks:
        missing = [label for label in task.labels if label not in there[task.name]]
        asked = {label for other in tasks if other.kind == task.kind for label in other.labels}
        others = sorted(there[task.name] - asked)
        if len(missing) == len(task.labels):
            faults.append(f"no picture has any of {task.name}'s labels {task.labels}")
        elif others and (lost := [label for label in missing if label not in elsewhere]):
            faults.append(
                f"no picture has {task.name}'s labels {lost}, but there are {others[:_MOST_NAMED]}: correct them, "
                "rename some of these in the portion, or leave them out"
            )
        elif missing:
            _logger.warning("no picture has %s's labels %s: they will never be found", task.name, missing)
    if faults:
        raise InputError("; ".join(faults))


def check_there(portions: Iterable[Portion], data: Path) -> None:
    """Raise InputError for a portion whose file or folder is not there: sooner than others have been drawn."""
    for portion in portions:
        shapes = _SHAPES.fullmatch(portion.pictures)
        name = shapes[1] if shapes else portion.pictures
        if name != "shapes" and not _SIMULATED.fullmatch(name) and not (data / name).exists():
            raise _no_pictures(name, data)


def find_all_pictures(
    portions: Iterable[Portion], data: Path, drawn: Path, size: Size, processes: int
) -> list[LabelledPicture]:
    """Find the pictures of several portions, one after the other, as find_pictures does."""
    return [picture for portion in portions for picture in find_pictures(portion, data, drawn, size, processes)]


def _find(portion: Portion, data: Path, drawn: Path, size: Size, processes: int) -> Sequence[LabelledPicture]:
    source = portion.pictures
    images = None if portion.images is None else data / portion.images
    if images is not None and not source.endswith((".json", ".tsv")):
        raise InputError(f"{source!r} is no file of labels: it takes no folder of images")
    if match := _SHAPES.fullmatch(source):
        name, seed, count, part = match.groups()
        sample = (int(seed), int(count)) if seed else None
        unpacked = drawn / f"{re.sub('[/:]', '-', source)}.npy"
        return draw_shapes(sample, part) if name == "shapes" else read_shapes(data / name, unpacked, sample, part)
    if match := _SIMULATED.fullmatch(source):
        folder = drawn / f"{source.replace(':', '-')}-{size[0]}x{size[1]}"
        pictures = read_pictures(draw_pictures(folder, int(match[2]), int(match[1]), size, processes))
        for task, names in MASK_LABELS.items():
            pictures = _add_masks(pictures, task, folder / MASKS / task, names)
        return pictures
    path = data / source
    if path.suffix == ".json" and path.is_file():
        return read_pictures(path, images)
    if path.suffix == ".tsv" and path.is_file():
        return read_medic(path, images)
    if path.is_dir():
        return read_faces(path)
    raise _no_pictures(source, data)


def _add_attributes(pictures: Sequence[LabelledPicture], name: str, data: Path) -> list[LabelledPicture]:
    """Give pictures the labels for classification that a JSON file has by the pictures' file names."""
    file = data / name if "/" in name else ATTRIBUTES / f"{name}.json"
    try:
        attributes = TypeAdapter(dict[str, dict[str, str]]).validate_python(parse_json(read_text(file, MOST_BYTES)))
    except ValueError as error:
        fault = name_faults(error) if isinstance(error, ValidationError) else error
        raise InputError(f"{file} has no attributes of pictures by their names: {fault}") from error
    named = Counter(picture.path.name for picture in pictures if isinstance(picture, PictureFile))
    if shared := sorted(name for name in attributes if named[name] > 1):
        _logger.warning("%s: skipped %d names that several pictures have: %s ...", file, len(shared), shared[0])
        attributes = {name: labels for name, labels in attributes.items() if named[name] <= 1}
    added: list[LabelledPicture] = []
    files = _files(pictures, "attributes")
    for picture in files:
        known = {task: label for task, label in attributes.get(picture.path.name, {}).items() if label != UNDEFINED}
        added.append(replace(picture, truth=replace(picture.truth, classes=picture.truth.classes | known)))
    if strange := attributes.keys() - {picture.path.name for picture in files}:
        _logger.warning("%s names %d pictures that are not there: %s ...", file, len(strange), min(strange))
    return added


def _add_masks(
    pictures: Sequence[LabelledPicture], task: str, folder: Path, labels: tuple[str, ...]
) -> list[PictureFile]:
    """Give pictures the masks of a task that a folder has by the pictures' names; `labels` are those of its numbers."""
    files = _files(pictures, "masks")
    there = {path.stem for path in folder.glob("*.png")}
    named = Counter(picture.path.stem for picture in files)
    added = []
    for picture in files:
        name = picture.path.stem
        if name in there and named[name] == 1:
            mask = MaskFile(labels, folder / f"{name}.png")
            picture = replace(picture, truth=replace(picture.truth, masks={**picture.truth.masks, task: mask}))
        added.append(picture)
    lacking = sum(task not in picture.truth.masks for picture in added)
    if lacking == len(added):
        raise InputError(
            f"{folder} has no mask of any picture: expected NAME.png for NAME.jpg, as {files[0].path.stem}.png"
        )
    if lacking:
        _logger.warning("%s has no mask of %d of %d pictures, or they share their names", folder, lacking, len(added))
    return added


def _files(pictures: Sequence[LabelledPicture], key: str) -> list[PictureFile]:
    files = [picture for picture in pictures if isinstance(picture, PictureFile)]
    if len(files) < len(pictures):
        raise InputError(f"{key} is for pictures that are files")
    return files


def _no_pictures(source: str, data: Path) -> InputError:
    return InputError(
        f"no pictures {source!r}: expected sim:SEED:COUNT, shapes:SEED:COUNT, or a folder or a file .json, .tsv or .h5 "
        f"in {data.resolve()}, which --data chooses"
    )


def _translate(pictures: list[PictureFile], portion: Portion) -> list[PictureFile]:
    """Give the pictures a portion's labels instead of the source's."""

    def ours(label: str) -> str:
        return portion.rename.get(label, label)

    known: set[str] = set()
    translated = []
    for picture in pictures:
        truth = picture.truth
        known.update(truth.labels, truth.classes.values(), truth.labelled or ())
        known.update(label for mask in truth.masks.values() for label in mask.labels)
        said = None if truth.labelled is None else frozenset(map(ours, truth.labelled))
        labelled = said if portion.labelled is None else portion.labelled
        classes = {task: ours(label) for task, label in truth.classes.items()}
        masks = {task: replace(mask, labels=tuple(map(ours, mask.labels))) for task, mask in truth.masks.items()}
        truth = replace(truth, labels=tuple(map(ours, truth.labels)), classes=classes, labelled=labelled, masks=masks)
        translated.append(replace(picture, truth=truth))
    if strange := portion.rename.keys() - known:
        _logger.warning("%s has no label %s, only %s", portion.pictures, sorted(strange), sorted(known))
    return translated
