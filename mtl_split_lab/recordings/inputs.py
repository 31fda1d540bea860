"""What can be replayed: rosbags, videos, and pictures with or without labels, wherever they come from."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

from mtl_split_camera.sources import DEFAULT_RATE, PICTURE_SUFFIXES, Source, frame_count, open_source, picture_files
from mtl_split_core.compressed import read_picture
from mtl_split_core.errors import InputError
from mtl_split_core.scene import Task
from mtl_split_lab.data.drives import Drive, find_drives
from mtl_split_lab.data.pictures import IMAGES, LabelledPicture, MaskFile, PictureFile
from mtl_split_lab.data.simulated import CAMERA_SIZE
from mtl_split_lab.data.sources import find_pictures
from mtl_split_lab.kinds import KINDS
from mtl_split_lab.portion import MaskFolder, Portion
from mtl_split_lab.recordings.storage import is_bag, storage_files
from mtl_split_lab.scoring.frames import NOTHING_KNOWN, Frame, keep_known


class Input(Protocol):
    """Frames in their order.

    name: what the user called it; count: how many frames, 0 where that shows only when they are read; facts: what is
    worth knowing of it; skipped: how much of it could not be used and why, complete once the frames were read.
    """

    name: str
    count: int
    facts: dict[str, str]
    skipped: Counter[str]

    def __iter__(self) -> Iterator[Frame]: ...


class Frames:
    """An input whose frames a function yields, which is handed `skipped` to count what cannot be used."""

    def __init__(self, name: str, count: int, frames: Callable[[Counter[str]], Iterator[Frame]]) -> None:
        """Name the input, and say how many frames `frames` yields."""
        self.name, self.count = name, count
        self.facts: dict[str, str] = {}
        self.skipped: Counter[str] = Counter()
        self._frames = frames

    def __iter__(self) -> Iterator[Frame]:
        """Begin with the first frame."""
        self.skipped.clear()
        return self._frames(self.skipped)


class Together:
    """Several inputs one after the other; see Input for the rest.

    What is followed from frame to frame in one of them is never what is followed in another.
    """

    def __init__(self, inputs: Sequence[Input]) -> None:
        """Raises InputError for an input that is given twice: nobody could tell its frames apart."""
        self._inputs = {one.name: one for one in inputs}
        if len(self._inputs) < len(inputs):
            raise InputError(f"the inputs are {', '.join(one.name for one in inputs)}, expected each of them once")
        self.name = ", ".join(self._inputs)
        counts = [one.count for one in inputs]
        self.count = sum(counts) if all(counts) else 0
        self.facts = {f"{name}: {key}": value for name, one in self._inputs.items() for key, value in one.facts.items()}
        self.skipped: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Frame]:
        """Begin with the first frame of the first input."""
        self.skipped = Counter()
        for name, one in self._inputs.items():
            for frame in one:
                ids = tuple(known and f"{name}: {known}" for known in frame.truth.ids)
                yield replace(frame, name=f"{name}: {frame.name}", truth=replace(frame.truth, ids=ids), recording=name)
            self.skipped += one.skipped


def _labelled_frames(
    pictures: Sequence[LabelledPicture], tasks: Sequence[Task], skipped: Counter[str]
) -> Iterator[Frame]:
    """Yield labelled pictures by their files; of their labels, those of the tasks count."""
    for number, picture in enumerate(pictures):
        name = str(picture.path) if isinstance(picture, PictureFile) else str(number)
        yield Frame(name, keep_known(picture.truth, tasks, skipped), picture.read)


def _drive_frames(drives: Sequence[Drive], tasks: Sequence[Task], skipped: Counter[str]) -> Iterator[Frame]:
    """Yield drives on simulated streets, one after the other, a minute apart."""
    for number, drive in enumerate(drives):
        for index, (image, truth) in enumerate(drive.frames()):
            stamp = 60 * number * 10**9 + round(index * 1e9 / DEFAULT_RATE)
            yield Frame(f"{number}/{index}", keep_known(truth, tasks, skipped), image.copy, stamp)


def _picture_frames(files: Sequence[Path], _: Counter[str]) -> Iterator[Frame]:
    """Yield pictures that nothing is known of."""
    for file in files:
        yield Frame(str(file), NOTHING_KNOWN, partial(read_picture, file))


def _video_frames(path: Path, skipped: Counter[str]) -> Iterator[Frame]:
    """Yield the frames of a video by their numbers, a stamp of 0 for the first one."""
    video = _open_video(path, lambda fault: skipped.update([f"video that is not whole: {fault}"]))
    for number, (image, _) in enumerate(video.frames):
        yield Frame(str(number), NOTHING_KNOWN, image.copy, round(number * 1e9 / video.rate))


def _open_video(path: Path, skipped: Callable[[str], None]) -> Source:
    return open_source(f"video:{path}", 0.0, (0, 0), loop=False, skipped=skipped)


def _open_unlabelled(name: str, path: Path) -> Input | None:
    """Open pictures or a video that nothing is known of; None where a name means neither."""
    kind, _, rest = name.partition(":")
    if kind in ("images", "video"):
        path = Path(os.path.expanduser(rest))
    if kind == "images" or (path.is_dir() and not any(path.glob("*.json"))):
        files = picture_files(path)
        return Frames(name, len(files), partial(_picture_frames, files))
    if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file():
        return Frames(name, 1, partial(_picture_frames, [path]))
    if kind == "video" or (path.is_file() and path.suffix != ".json"):
        rate = _open_video(path, lambda _: None).rate
        video = Frames(name, frame_count(path), partial(_video_frames, path))
        video.facts["rate"] = f"{rate:g} frames/s"
        return video
    return None


def open_input(
    name: str,
    tasks: Sequence[Task],
    drawn: Path,
    processes: int,
    image_topic: str = "",
    truth_topics: Mapping[str, str] | None = None,
    images: Path | None = None,
    rename: Mapping[str, str] | None = None,
    masks: Mapping[str, str] | None = None,
) -> Input:
    """Open what a user calls `name`.

    That is a rosbag (then `image_topic` and `truth_topics` are as BagFrames takes them), a video, a picture or a folder
    of pictures without labels (`video:PATH` and `images:FOLDER` are taken for nothing else), a folder with `images/`
    and one JSON file of labels, such a file (then `images` may be the folder of the pictures, `rename` tell the
    bundle's labels for those in the file, and `masks` tell, by segmentation task, "FOLDER" or "FOLDER:LABEL,LABEL" of
    its masks and what their numbers 0, 1, ... mean, if not the task's own labels), `sim:SEED:FRAMES`, pictures of
    simulated streets, which `processes` draw into the folder `drawn`, or `sim:SEED:DRIVES:FRAMES`, consecutive ones,
    see mtl_split_lab.data.drives. Raises InputError for anything else.
    """
    path = Path(os.path.expanduser(name))
    if is_bag(path) or (storage_files(path) and not (path / IMAGES).is_dir()):
        if images or rename or masks:
            raise InputError(f"{name!r} is a rosbag: it has no folders of images and masks, and no labels to rename")
        from mtl_split_lab.recordings.bags import BagFrames  # needs ROS

        return BagFrames(path, tasks, image_topic, truth_topics)
    if image_topic or truth_topics:
        raise InputError(f"{name!r} is no rosbag: it has no topics")
    if unlabelled := _open_unlabelled(name, path):
        if images or rename or masks:
            raise InputError(f"{name!r} has no labels: it has none to rename, and no folders of their images and masks")
        return unlabelled
    if name.startswith("sim:") and name.count(":") == 3:
        drives = find_drives(name, Path())
        return Frames(name, sum(drive.length for drive in drives), partial(_drive_frames, drives, tasks))
    portion = Portion(
        _find_labels(name, path),
        images=str(images) if images else None,
        rename=dict(rename or {}),
        masks={task: _mask_folder(task, text, tasks) for task, text in (masks or {}).items()},
    )
    pictures = find_pictures(portion, Path(), drawn, CAMERA_SIZE, processes)
    return Frames(name, len(pictures), partial(_labelled_frames, pictures, tasks))


def _mask_folder(name: str, text: str, tasks: Sequence[Task]) -> MaskFolder:
    """Read what a user says of a task's masks. Raises InputError for a task that has none."""
    known = {task.name: task for task in tasks if _has_masks(task)}
    if name not in known:
        raise InputError(f"masks of {name!r}, expected a segmentation task of the bundle: {', '.join(known) or 'none'}")
    folder, _, labels = text.partition(":")
    return MaskFolder(os.path.expanduser(folder), tuple(labels.split(",")) if labels else known[name].labels)


def _has_masks(task: Task) -> bool:
    mask = MaskFile(task.labels, Path())
    return bool(KINDS[task.kind].labels_in(task, replace(NOTHING_KNOWN, masks={task.name: mask})))


def _find_labels(name: str, path: Path) -> str:
    """Return what a recipe would call labelled pictures. Raises InputError where a name means none."""
    if path.is_dir():
        files = sorted(path.glob("*.json"))
        if len(files) != 1 or not (path / IMAGES).is_dir():
            raise InputError(
                f"{name} is no folder with {IMAGES}/ and one JSON file of labels, found"
                f" {', '.join(file.name for file in files)}; images:{name} takes its pictures without labels"
            )
        return str(files[0])
    if not name.startswith("sim:") and path.suffix != ".json":
        raise InputError(
            f"nothing to replay at {name!r}: expected a rosbag, a video, a picture, a folder of pictures, a folder with"
            f" {IMAGES}/ and a JSON file of labels, such a file, sim:SEED:FRAMES or sim:SEED:DRIVES:FRAMES"
        )
    return str(path)
