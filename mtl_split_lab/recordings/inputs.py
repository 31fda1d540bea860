"""What can be replayed: rosbags, and labelled pictures wherever they come from."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from functools import partial
from pathlib import Path
from typing import Protocol

from mtl_split_camera.sources import DEFAULT_RATE
from mtl_split_core.errors import InputError
from mtl_split_core.scene import Task
from mtl_split_lab.data.drives import Drive, find_drives
from mtl_split_lab.data.pictures import IMAGES, LabelledPicture, PictureFile
from mtl_split_lab.data.simulated import CAMERA_SIZE
from mtl_split_lab.data.sources import find_pictures
from mtl_split_lab.recipe import Portion
from mtl_split_lab.recordings.bags import BagFrames, is_bag
from mtl_split_lab.recordings.storage import storage_files
from mtl_split_lab.scoring.frames import Frame, keep_known


class Input(Protocol):
    """Frames in their order.

    name: what the user called it; count: how many frames; facts: what is worth knowing of it; skipped: how much of it
    could not be used and why, complete once the frames were read.
    """

    name: str
    count: int
    facts: dict[str, str]
    skipped: Counter[str]

    def __iter__(self) -> Iterator[Frame]: ...


class PictureFrames:
    """Labelled pictures as frames, by their files."""

    def __init__(self, name: str, pictures: Sequence[LabelledPicture], tasks: Sequence[Task]) -> None:
        """Take pictures; of their labels, those of the tasks count."""
        self.name = name
        self.count = len(pictures)
        self.facts: dict[str, str] = {}
        self.skipped: Counter[str] = Counter()
        self._pictures = pictures
        self._tasks = tasks

    def __iter__(self) -> Iterator[Frame]:
        """Name the pictures."""
        self.skipped.clear()
        for number, picture in enumerate(self._pictures):
            name = str(picture.path) if isinstance(picture, PictureFile) else str(number)
            yield Frame(name, keep_known(picture.truth, self._tasks, self.skipped), picture.read)


class DriveFrames:
    """Drives on simulated streets as frames, one drive after the other, a minute apart."""

    def __init__(self, name: str, drives: Sequence[Drive], tasks: Sequence[Task]) -> None:
        """Take drives; of their truth, what the tasks ask for counts."""
        self.name = name
        self.count = sum(drive.length for drive in drives)
        self.facts: dict[str, str] = {}
        self.skipped: Counter[str] = Counter()
        self._drives = drives
        self._tasks = tasks

    def __iter__(self) -> Iterator[Frame]:
        """Draw the pictures."""
        self.skipped.clear()
        for number, drive in enumerate(self._drives):
            for index, (image, truth) in enumerate(drive.frames()):
                stamp = 60 * number * 10**9 + round(index * 1e9 / DEFAULT_RATE)
                yield Frame(
                    f"{number}/{index}", keep_known(truth, self._tasks, self.skipped), partial(copy, image), stamp
                )


def open_input(
    name: str,
    tasks: Sequence[Task],
    drawn: Path,
    processes: int,
    image_topic: str = "",
    truth_topics: Mapping[str, str] | None = None,
    images: Path | None = None,
    rename: Mapping[str, str] | None = None,
) -> Input:
    """Open what a user calls `name`.

    That is a rosbag (then `image_topic` and `truth_topics` are as BagFrames takes them), a folder with `images/` and
    one JSON file of labels, such a file (then `images` may be the folder of the pictures and `rename` tell the bundle's
    labels for those in the file), `sim:SEED:FRAMES`, pictures of simulated streets, which `processes` draw into the
    folder `drawn`, or `sim:SEED:DRIVES:FRAMES`, consecutive ones, see mtl_split_lab.data.drives. Raises InputError for
    anything else.
    """
    path = Path(os.path.expanduser(name))
    if is_bag(path) or (storage_files(path) and not (path / IMAGES).is_dir()):
        if images or rename:
            raise InputError(f"{name!r} is a rosbag: it has no folder of images and no labels to rename")
        return BagFrames(path, tasks, image_topic, truth_topics)
    if image_topic or truth_topics:
        raise InputError(f"{name!r} is no rosbag: it has no topics")
    if path.is_dir():
        files = sorted(path.glob("*.json"))
        if len(files) != 1 or not (path / IMAGES).is_dir():
            found = ", ".join(file.name for file in files) or "none"
            raise InputError(
                f"{name} is neither a rosbag, with metadata.yaml, nor a folder with {IMAGES}/ and one JSON file of "
                f"labels, found {found}"
            )
        path = files[0]
    elif not name.startswith("sim:") and path.suffix != ".json":
        raise InputError(
            f"nothing to replay at {name!r}: expected a rosbag, a folder with {IMAGES}/ and a JSON file of labels, such"
            " a file, sim:SEED:FRAMES or sim:SEED:DRIVES:FRAMES"
        )
    if name.startswith("sim:") and name.count(":") == 3:
        return DriveFrames(name, find_drives(name, Path()), tasks)
    portion = Portion(str(path), images=str(images) if images else None, rename=dict(rename or {}))
    pictures = find_pictures(portion, Path(), drawn, CAMERA_SIZE, processes)
    return PictureFrames(name, pictures, tasks)
