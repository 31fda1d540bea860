"""Drives: the frames of one camera in their order in time, with what is really in them."""

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

from mtl_split_camera.sources import DEFAULT_RATE
from mtl_split_camera.street import Street
from mtl_split_core.errors import InputError
from mtl_split_core.scene import Image, Truth
from mtl_split_lab.data.pictures import PictureFile, read_pictures
from mtl_split_lab.data.simulated import CAMERA_SIZE

FRAMES_PER_SCORED = 4
"""Of so many frames of a simulated drive one is scored."""

_SIMULATED = re.compile(r"sim:(\d+):([1-9]\d*):([1-9]\d*)")


@dataclass(frozen=True)
class Drive:
    """One drive.

    length: how many frames it has; scored: of so many frames the last is worth scoring, 1 for all: neighbours in time
    show the same; frames: draws or reads them, leaving out damaged ones with a warning.
    """

    length: int
    scored: int
    frames: Callable[[], Iterator[tuple[Image, Truth]]]


def find_drives(name: str, data: Path) -> list[Drive]:
    """Find drives by name.

    `sim:SEED:DRIVES:FRAMES`: so many drives of so many consecutive frames, 15 per second, each on a simulated street
    of its own from SEED on; or `FILE.json` in the folder `data`: labelled pictures in the order of the drives that they
    are from; the names of a drive's pictures differ in their last number alone. Raises InputError for anything else.
    """
    if match := _SIMULATED.fullmatch(name):
        seed, drives, frames = map(int, match.groups())
        if frames < FRAMES_PER_SCORED:
            raise InputError(f"{name!r} has drives of {frames} frames, expected at least {FRAMES_PER_SCORED}")
        return [Drive(frames, FRAMES_PER_SCORED, partial(_draw, one, frames)) for one in range(seed, seed + drives)]
    path = data / name
    if path.suffix != ".json" or not path.is_file():
        raise InputError(
            f"no drives {name!r}: expected sim:SEED:DRIVES:FRAMES, or a file .json in {data.resolve()}, which --data "
            "chooses"
        )
    grouped = groupby(read_pictures(path), lambda picture: re.sub(r"\d+(?=\D*$)", "", picture.path.name))
    found = [list(pictures) for _, pictures in grouped]
    return [Drive(len(pictures), 1, partial(_read, pictures)) for pictures in found]


def _draw(seed: int, count: int) -> Iterator[tuple[Image, Truth]]:
    street = Street(seed, CAMERA_SIZE, DEFAULT_RATE)
    for _ in range(count):
        yield next(street)


def _read(pictures: Sequence[PictureFile]) -> Iterator[tuple[Image, Truth]]:
    for picture in pictures:
        try:
            yield picture.read(), picture.truth
        except InputError as error:
            logging.warning("left out: %s", error)
