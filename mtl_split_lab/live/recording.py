"""What a run of camera, edge and server left behind, by the stamp of the camera image."""

import math
import os
import threading
from collections import Counter, defaultdict
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile

import cv2
import numpy as np

from mtl_split_core.errors import InputError
from mtl_split_core.scene import Image, Results, Task, Truth
from mtl_split_ros.messages import Origin

JPEG_QUALITY = 90

UNSTAMPED = "images without a stamp of their own"
"""What is skipped of a camera's images: those with the stamp 0, and with one that was there before."""

MOST_WAITING = 50
"""Pictures that may wait for their compression; further ones are lost to the recording."""


@dataclass
class Frame:
    """One camera image.

    sent: whether the camera announced it; seen: when the image arrived at the recorder, in nanoseconds; payload_bytes:
    None if no bottleneck was seen; arrivals: milliseconds from the image's stamp to each task's result, or in
    simulated time, from when the image was seen; truths: what is really there, by the topic that says so; origin: None
    where the edge has no deadline, or was not heard.
    """

    sent: bool = False
    seen: int | None = None
    payload_bytes: int | None = None
    results: Results = field(default_factory=dict)
    arrivals: dict[str, float] = field(default_factory=dict)
    truths: dict[str, Truth] = field(default_factory=dict)
    origin: Origin | None = None


class PictureStore:
    """Pictures as JPEG in a temporary file, compressed in a thread that gives way to everything else on the machine.

    ended: a fault, such as of the disk.
    """

    def __init__(self, folder: Path) -> None:
        """Keep the file in a folder; it vanishes with the process."""
        self.ended: Future[None] = Future()
        self._offered: set[int] = set()
        # Without a buffer, which a full disk would keep from ever being left. It lives as long as the store.
        self._file = TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
        self._places: dict[int, tuple[int, int]] = {}
        self._room = threading.Semaphore(MOST_WAITING)
        self._pool = ThreadPoolExecutor(1, initializer=_give_way)

    def put(self, stamp: int, image: Image) -> None:
        """Compress a picture, uint8 (height, width, 3), in the background; it is lost if too many wait already."""
        self._offered.add(stamp)
        if self._room.acquire(blocking=False):
            self._pool.submit(self._compress, stamp, image).add_done_callback(self._compressed)

    def finish(self) -> None:
        """Wait until every picture is compressed; only then may they be read."""
        self._pool.shutdown()

    @property
    def lost(self) -> int:
        """How many pictures there is no room or no disk for, once it is finished."""
        return len(self._offered - self._places.keys())

    @property
    def bytes_of(self) -> dict[int, int]:
        """The size of every picture's JPEG in bytes, by stamp."""
        return {stamp: length for stamp, (_, length) in self._places.items()}

    def get(self, stamp: int) -> Image:
        """Return a picture; KeyError if it was lost."""
        place, length = self._places[stamp]
        self._file.seek(place)
        data: np.ndarray = np.frombuffer(self._file.read(length), np.uint8)
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)

    def _compress(self, stamp: int, image: Image) -> None:
        _, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        place = self._file.tell()
        if (written := self._file.write(jpeg.data)) < len(jpeg):
            raise OSError(f"there is room for {written} of {len(jpeg)} bytes")
        self._places[stamp] = (place, len(jpeg))

    def _compressed(self, compressing: Future[None]) -> None:
        self._room.release()
        if error := compressing.exception():
            with suppress(InvalidStateError):  # only the first fault is told
                self.ended.set_exception(InputError(f"cannot keep the pictures: {error}"))


@dataclass
class Recording:
    """What was heard of one vehicle.

    tasks: those of the bundle; simulated_time: whether a bag is played or a simulator runs, where milliseconds count
    from an image's arrival instead of its stamp; frames: by stamp in nanoseconds; sent: how many of them the camera
    announced; stages: the medians reported for each stage, in milliseconds; fates: how many frames were dropped,
    refused and so on since the nodes' start, as they last reported; wanted_rate: frames per second at which the camera
    is to publish; skipped: how much of what was heard cannot be used, by reason; last: the stamp of the last frame that
    counts, None while that is open.
    """

    tasks: tuple[Task, ...]
    pictures: PictureStore
    simulated_time: bool = False
    frames: defaultdict[int, Frame] = field(default_factory=lambda: defaultdict(Frame))
    sent: int = 0
    stages: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    fates: dict[str, int] = field(default_factory=dict)
    wanted_rate: float | None = None
    skipped: Counter[str] = field(default_factory=Counter)
    last: int | None = None

    def is_complete(self, frame: Frame) -> bool:
        """Whether every task has answered a frame."""
        return len(frame.results) == len(self.tasks)

    def counted(self) -> dict[int, Frame]:
        """Return the frames that count, in order: those sent from the first one on that every task has answered."""
        stamps = sorted(stamp for stamp, frame in self.frames.items() if frame.sent)
        first = next((stamp for stamp in stamps if self.is_complete(self.frames[stamp])), math.inf)
        last = math.inf if self.last is None else self.last
        return {stamp: self.frames[stamp] for stamp in stamps if first <= stamp <= last}


def _give_way() -> None:
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 15)
