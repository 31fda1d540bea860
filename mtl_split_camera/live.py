"""Cameras that are read as they come, devices and network streams: the newest picture, opened again when lost."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import cv2

from mtl_split_core.errors import InputError
from mtl_split_core.scene import Image, Size

V4L2 = "v4l2"

SCHEMES = ("rtsp", "rtsps", "http", "https", "udp", "rtp", "tcp", "srt", "rtmp")
"""What a stream's address may begin with; FFmpeg, inside OpenCV, reads them all."""

TIMEOUT = 4.0
"""Seconds after which a stream that does not open, or falls silent, is given up; closing may take as long."""

PAUSES = (0.5, 10.0)
"""Seconds from the end of a stream to the next attempt: at first, and at most; they double until a picture comes."""


class Capture(Protocol):
    """The part of cv2.VideoCapture that is needed here."""

    def isOpened(self) -> bool: ...

    def grab(self) -> bool: ...

    def retrieve(self) -> tuple[bool, Any]: ...

    def release(self) -> None: ...


def open_live(source: str, rate: float, size: Size) -> "LivePictures":
    """Open "v4l2:DEVICE" or the address of a stream, such as "rtsp://HOST/PATH".

    rate: at most so many pictures per second, 0 for all; size: (width, height) that is asked of a device. Raises
    InputError for a source that no camera can ever be behind; one that is not there yet is waited for.
    """
    # What OpenCV warns of is in the pictures' state, too.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    kind, _, argument = source.partition(":")
    if kind == V4L2:
        if not Path(argument).is_absolute():
            raise InputError(f"source is {source!r}, expected v4l2:/dev/video0 or another device's path")
        return LivePictures(argument, lambda: _open_device(argument, rate, size), rate)
    if kind not in SCHEMES:
        raise InputError(f"source is {source!r}, expected an address that begins with {', '.join(SCHEMES)}")
    return LivePictures(without_password(source), lambda: _open_stream(source), rate)


def without_password(source: str) -> str:
    """Return an address as it may be logged."""
    return re.sub(r"(?<=://)[^/@]*@", "…@", source)


class LivePictures:
    """The newest pictures of a camera, as an iterator that waits for the next one and ends when it is closed.

    Every picture is grabbed as soon as it comes, by a thread, so that none is old because others were waiting.
    """

    def __init__(self, name: str, open_capture: Callable[[], Capture], rate: float) -> None:
        """Read nothing yet.

        name: for messages; open_capture: is called for every attempt; rate: at most so many pictures per second, 0 for
        all that come.
        """
        self._name = name
        self._open = open_capture
        self._interval = 1 / rate if rate else 0.0
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._wanted = False
        self._picture: Image | None = None
        self.state = f"opening {name}"
        self.reconnects = self.missed = 0
        self._thread = threading.Thread(target=self._run, name="camera")

    def __iter__(self) -> Iterator[Image]:
        """Return itself."""
        return self

    def begin(self) -> None:
        """Open the camera, unless that was done; whoever does so has to close it."""
        if self._thread.ident is None:
            self._thread.start()

    def __next__(self) -> Image:
        """Return the next picture to come."""
        self.begin()
        with self._changed:
            self._wanted = True
            self._changed.wait_for(lambda: self._picture is not None or self._closed.is_set())
            picture, self._picture = self._picture, None
        if picture is None:
            raise StopIteration
        return picture

    def close(self) -> None:
        """End the iterator, and close the camera."""
        self._closed.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        pause = PAUSES[0]
        while not self._closed.is_set():
            capture = self._open()
            came = capture.isOpened() and self._relay(capture)
            capture.release()
            pause = PAUSES[0] if came else min(2 * pause, PAUSES[1])
            what = f"{self._name} was lost" if came else f"{self._name} cannot be opened, or sends no picture"
            self.state = f"{what}: next attempt in {pause:g} s"
            self._closed.wait(pause)
            self.reconnects += 1

    def _relay(self, capture: Capture) -> bool:
        """Hand over pictures until the camera is lost; returns whether there was any."""
        came, due = False, 0.0
        while not self._closed.is_set() and capture.grab():
            came = True
            now = time.monotonic()
            if now < due:
                continue
            # A little late is no reason for the next one to be late too.
            due = max(due, now - self._interval) + self._interval
            if not self._wanted:
                self.missed += 1
                continue
            good, picture = capture.retrieve()
            if not good:
                break
            self.state = f"waiting for the next picture of {self._name}"
            with self._changed:
                self._picture, self._wanted = picture, False
                self._changed.notify_all()
        return came


def _open_device(path: str, rate: float, size: Size) -> cv2.VideoCapture:
    capture = cv2.VideoCapture(path, cv2.CAP_V4L2)
    # Without compression, USB has no room for more than a few such pictures per second.
    capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
    capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
    capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
    if rate:
        capture.set(cv2.CAP_PROP_FPS, rate)
    return capture


def _open_stream(address: str) -> cv2.VideoCapture:
    milliseconds = int(TIMEOUT * 1000)
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, milliseconds, cv2.CAP_PROP_READ_TIMEOUT_MSEC, milliseconds]
    return cv2.VideoCapture(address, cv2.CAP_FFMPEG, limits)
