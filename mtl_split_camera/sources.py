"""Where a camera's pictures come from: the simulated street, a video file, a folder of pictures, or a real camera."""

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2

from mtl_split_camera.live import V4L2, LivePictures, open_live
from mtl_split_camera.street import SCENE, TIMEOFDAY, WEATHER, Street
from mtl_split_core.compressed import read_picture
from mtl_split_core.errors import InputError
from mtl_split_core.scene import Image, Size, Truth

Frame = tuple[Image, Truth | None]
"""A picture and, where it is known, what is really in it."""

DEFAULT_RATE = 15.0
"""Frames per second of a source that has no rate of its own."""

RATES = (0.1, 240.0)
"""The lowest and the highest number of frames per second."""

SECONDS_PER_STREET = 2.0
"""How long the source "sim" stays on one simulated street."""

SURE_SHARE = 0.9
"""A video with less than this share of the frames that it promises is not whole."""

PICTURE_SUFFIXES = {".jpg", ".jpeg", ".png"}


@dataclass(frozen=True)
class Source:
    """An opened source.

    rate: frames per second at which it is to be shown; frames: its pictures, in order; focal_length: tells that of the
    latest picture's camera in pixels, None if unknown; live: None where the pictures are there whenever they are asked
    for, or else what they come from, at a rate of its own, of which `rate` is the limit (0: none).
    """

    rate: float
    frames: Iterator[Frame]
    focal_length: Callable[[], float | None] = lambda: None
    live: LivePictures | None = None


class Streets:
    """One simulated street after another, so that every kind of street, weather and time of day comes by."""

    def __init__(self, size: Size, rate: float) -> None:
        """Draw pictures of `size` (width, height), `rate` per second of simulated time."""
        self._size = size
        self._rate = rate
        self._shown = 0
        self._street = self._open(0)

    def __iter__(self) -> Iterator[Frame]:
        """Return itself."""
        return self

    def __next__(self) -> Frame:
        """Return the next picture; after SECONDS_PER_STREET it is one of the next street."""
        street, frame = divmod(self._shown, max(1, round(SECONDS_PER_STREET * self._rate)))
        if self._shown and frame == 0:
            self._street = self._open(street)
        self._shown += 1
        return next(self._street)

    def _open(self, number: int) -> Street:
        # Left to the seed, a short stream could have night after night.
        return Street(
            number,
            self._size,
            self._rate,
            timeofday=TIMEOFDAY[number % len(TIMEOFDAY)],
            weather=WEATHER[number % len(WEATHER)],
            scene=SCENE[number // len(TIMEOFDAY) % len(SCENE)],
        )

    def focal_length(self) -> float:
        """Return the focal length of the present street's camera in pixels."""
        return self._street.focal_length


def open_source(
    name: str, rate: float, size: Size, loop: bool, skipped: Callable[[str], None], shuffle: bool = False
) -> Source:
    """Open "sim" (one simulated street after another), "sim:SEED" (one), "video:PATH", "images:FOLDER", or a camera.

    A camera is "v4l2:DEVICE" or the address of a stream, see `open_live`. rate: frames per second, 0 for the source's
    own; size: (width, height) of simulated pictures, and asked of a device; loop: begin again at the end; skipped: told
    in words about every picture that cannot be read, and about a video that is not whole; shuffle: show the pictures of
    a folder in a mixed order, which is the same every time. Raises InputError for an unknown source, and, unless it is
    a camera, for a missing, unreadable or empty one, at the latest with its first frame.
    """
    kind, _, argument = name.partition(":")
    if name == "sim":
        streets = Streets(size, rate or DEFAULT_RATE)
        return Source(rate or DEFAULT_RATE, streets, streets.focal_length)
    if kind == "sim":
        return _open_street(argument, rate or DEFAULT_RATE, size)
    if kind == "video" and argument:
        path = Path(os.path.expanduser(argument))
        return Source(rate or _video_rate(path), _repeat(lambda: _video_frames(path, skipped), loop, path))
    if kind == "images" and argument:
        folder = Path(os.path.expanduser(argument))
        files = picture_files(folder)
        if shuffle:
            random.Random(0).shuffle(files)
        return Source(rate or DEFAULT_RATE, _repeat(lambda: _read_pictures(files, skipped), loop, folder))
    if kind == V4L2 or "://" in name:
        live = open_live(name, rate, size)
        return Source(rate, ((picture, None) for picture in live), live=live)
    raise InputError(f"source is {name!r}, expected sim, sim:SEED, video:PATH, images:FOLDER, v4l2:DEVICE or rtsp://…")


def _open_street(seed: str, rate: float, size: Size) -> Source:
    if not seed.isdecimal():
        raise InputError(f"source is 'sim:{seed}', expected a whole number as its seed")
    street = Street(int(seed), size, rate)
    return Source(rate, street, lambda: street.focal_length)


def _video_rate(path: Path) -> float:
    if not path.is_file():
        raise InputError(f"no video file at {path}")
    rate = float(_open_video(path).get(cv2.CAP_PROP_FPS))
    if not RATES[0] <= rate <= RATES[1]:
        raise InputError(f"{path} is no video with a frame rate of {RATES[0]} to {RATES[1]}: it says {rate}")
    return rate


def _open_video(path: Path) -> cv2.VideoCapture:
    # Of a relative path, what is before a colon would be a protocol.
    return cv2.VideoCapture(str(path.absolute()))


def frame_count(path: Path) -> int:
    """Return how many frames a video file says that it has, which may be an estimate; 0: it does not say."""
    return max(0, int(_open_video(path).get(cv2.CAP_PROP_FRAME_COUNT)))


def _video_frames(path: Path, skipped: Callable[[str], None]) -> Iterator[Frame]:
    capture = _open_video(path)
    count, promised = 0, frame_count(path)
    while True:
        more, image = capture.read()
        if not more:
            break
        count += 1
        yield image.astype("uint8", copy=False), None
    # Some files hold an estimate.
    if count < SURE_SHARE * promised:
        skipped(f"{path} is truncated or damaged: of {promised} frames that it promises, {count} can be read")


def picture_files(folder: Path) -> list[Path]:
    """Return the JPEG and PNG files in a folder and its subfolders, by name. Raises InputError where there are none."""
    if not folder.is_dir():
        raise InputError(f"no folder at {folder}")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file())
    if not files:
        raise InputError(f"no pictures in {folder}: expected files named {', '.join(sorted(PICTURE_SUFFIXES))}")
    return files


def _read_pictures(files: list[Path], skipped: Callable[[str], None]) -> Iterator[Frame]:
    for path in files:
        try:
            image = read_picture(path)
        except InputError as error:
            skipped(str(error))
        else:
            yield image, None


def _repeat(play: Callable[[], Iterator[Frame]], loop: bool, path: Path) -> Iterator[Frame]:
    """Play once, or again and again."""
    while True:
        empty = True
        for frame in play():
            empty = False
            yield frame
        if empty:
            raise InputError(f"{path} holds no frame that can be read")
        if not loop:
            return
