"""Pictures without labels, for distillation: from folders, videos and rosbags as well as from labelled sources."""

import hashlib
import logging
import math
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from mtl_split_camera.sources import open_source
from mtl_split_core.errors import InputError
from mtl_split_core.geometry import Letterbox
from mtl_split_core.scene import Image, Size
from mtl_split_lab.data.pictures import LabelledPicture, PictureFile, write_picture
from mtl_split_lab.data.sources import find_pictures
from mtl_split_lab.portion import Portion
from mtl_split_lab.scoring.frames import NOTHING_KNOWN

SPACING = 0.5
"""Seconds between the frames that are taken of a video or a rosbag: neighbours are nearly the same."""
COMPLETE = "complete"
_KINDS = ("images", "video", "bag")
_logger = logging.getLogger(__name__)


def find_unlabelled(
    portions: Iterable[Portion], data: Path, drawn: Path, size: Size, processes: int
) -> list[LabelledPicture]:
    """Find the pictures of portions whose labels do not matter.

    Beside what find_pictures takes, `pictures` may be `images:FOLDER`, `video:FILE` or `bag:PATH`, which begin in the
    folder `data`; their frames are unpacked into the folder `drawn`, letterboxed to `size`, unless they are there.
    Raises InputError as find_pictures does.
    """
    found: list[LabelledPicture] = []
    for portion in portions:
        kind, _, path = portion.pictures.partition(":")
        if kind in _KINDS:
            place = hashlib.sha256(path.encode()).hexdigest()[:8]
            name = f"{kind}-{Path(path).name}-{place}-{size[0]}x{size[1]}"
            unpacked = _unpack(kind, data / path, drawn / name, size)
            found += [picture for picture in unpacked for _ in range(portion.repeat)]
        else:
            found += find_pictures(portion, data, drawn, size, processes)
    return found


def is_unlabelled(portion: Portion) -> bool:
    """Whether a portion is one of those that only find_unlabelled takes."""
    return portion.pictures.partition(":")[0] in _KINDS


def _unpack(kind: str, path: Path, folder: Path, size: Size) -> list[LabelledPicture]:
    if not (folder / COMPLETE).exists():
        folder.mkdir(parents=True, exist_ok=True)
        number = -1
        for number, image in enumerate(_images(kind, path)):
            fitted = Letterbox((image.shape[1], image.shape[0]), size).apply(image)
            write_picture(folder / f"{number:06}.png", fitted)
        if number < 0:
            raise InputError(f"{path} holds no picture")
        (folder / COMPLETE).touch()
    return [PictureFile(file, NOTHING_KNOWN) for file in sorted(folder.glob("*.png"))]


def _images(kind: str, path: Path) -> Iterator[Image]:
    if kind == "bag":
        from mtl_split_lab.recordings.bags import BagFrames  # needs ROS

        taken = -math.inf
        for frame in BagFrames(path, ()):
            stamp = int(frame.name) / 1e9
            if 0 <= stamp - taken < SPACING:
                continue
            try:
                yield frame.read()
                taken = stamp
            except InputError as error:
                _logger.warning("left out: %s", error)
        return
    source = open_source(f"{kind}:{path}", 0.0, size=(0, 0), loop=False, skipped=_logger.warning)
    every = max(1, round(source.rate * SPACING)) if kind == "video" else 1
    for image, _ in islice(source.frames, 0, None, every):
        yield image
