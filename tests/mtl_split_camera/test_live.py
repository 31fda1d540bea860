"""Real cameras: the newest picture, never an old one; opened again when lost; what can be no camera is named."""

import socket
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from mtl_split_camera import live
from mtl_split_camera.live import LivePictures, open_live, without_password
from mtl_split_core.errors import InputError
from mtl_split_core.scene import Image

SIZE = (64, 48)


class FakeCamera:
    """A camera that sees its own numbers: so many pictures, then it is lost; grabbing waits for `more`."""

    def __init__(
        self, pictures: range, more: threading.Semaphore | None = None, then: Callable[[], object] = int
    ) -> None:
        self._pictures = list(pictures)
        self._more = more
        self._then = then
        self.grabbed = -1
        self.released = False

    def isOpened(self) -> bool:
        return bool(self._pictures)

    def grab(self) -> bool:
        if self._more:
            self._more.acquire()
        self._then()
        if not self._pictures:
            return False
        self.grabbed = self._pictures.pop(0)
        return True

    def retrieve(self) -> tuple[bool, Image]:
        return True, np.full((4, 4, 3), self.grabbed, np.uint8)

    def release(self) -> None:
        self.released = True


def number(picture: Image) -> int:
    return int(picture[0, 0, 0])


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "PAUSES", (0.01, 0.04))


def test_a_camera_that_is_lost_is_opened_again() -> None:
    more = threading.Semaphore(0)
    cameras = [FakeCamera(range(0, 1), more), FakeCamera(range(0)), FakeCamera(range(2, 100), more)]
    waiting = iter(cameras)
    pictures = LivePictures("fake", lambda: next(waiting), 0.0)
    seen: set[int] = set()
    while max(seen, default=0) < 2:
        threading.Timer(0.005, more.release).start()
        threading.Timer(0.01, more.release).start()
        seen.add(number(next(pictures)))
    assert pictures.reconnects == 2
    assert [camera.released for camera in cameras] == [True, True, False]
    more.release(100)
    pictures.close()
    assert next(pictures, None) is None


def test_the_pauses_double_up_to_a_limit_and_begin_anew_after_a_picture() -> None:
    states: list[str] = []
    done = threading.Event()

    def open_camera() -> FakeCamera:
        states.append(pictures.state if len(states) else "")
        if len(states) == 8:
            done.set()
        return FakeCamera(range(1) if len(states) == 5 else range(0))

    created = threading.Event()

    def opened() -> FakeCamera:
        created.wait()
        return open_camera()

    pictures = LivePictures("fake", opened, 0.0)
    pictures.begin()
    created.set()
    assert done.wait(60)
    pictures.close()
    pauses = [float(state.split()[-2]) for state in states[1:8]]
    assert pauses == [0.02, 0.04, 0.04, 0.04, 0.01, 0.02, 0.04]
    assert states[1] == "fake cannot be opened, or sends no picture: next attempt in 0.02 s"
    assert states[5] == "fake was lost: next attempt in 0.01 s"


def test_no_picture_waits_for_those_who_are_slow() -> None:
    more = threading.Semaphore(0)
    camera = FakeCamera(range(100), more)
    pictures = LivePictures("fake", lambda: camera, 0.0)
    threading.Timer(0.01, more.release).start()
    assert number(next(pictures)) == 0
    more.release(50)
    while camera.grabbed < 50:
        threading.Event().wait(0.001)
    threading.Timer(0.01, more.release).start()
    assert number(next(pictures)) == 51
    assert pictures.missed == 50
    more.release(100)
    pictures.close()


def test_no_more_pictures_come_than_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]

    def pass_time() -> None:
        clock[0] += 1 / 30

    monkeypatch.setattr(live, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    done = threading.Event()
    cameras: Iterator[FakeCamera] = iter([FakeCamera(range(240), None, pass_time)])

    def opened() -> FakeCamera:
        if camera := next(cameras, None):
            return camera
        done.set()
        return FakeCamera(range(0))

    pictures = LivePictures("fake", opened, 10.0)
    pictures.begin()
    assert done.wait(60)
    assert 79 <= pictures.missed <= 82, "nobody wanted any of the 80"
    pictures.close()


class Opened:
    """What is asked of OpenCV."""

    def __init__(self, *arguments: object) -> None:
        self.arguments = arguments
        self.properties: dict[int, float] = {}

    def set(self, name: int, value: float) -> None:
        self.properties[name] = value


def test_a_device_is_asked_for_compressed_pictures_of_the_size_and_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", Opened)
    device: Any = live._open_device("/dev/video3", 15.0, (1280, 720))
    assert device.arguments == ("/dev/video3", cv2.CAP_V4L2)
    assert device.properties == {
        cv2.CAP_PROP_FOURCC: cv2.VideoWriter.fourcc(*"MJPG"),
        cv2.CAP_PROP_FRAME_WIDTH: 1280,
        cv2.CAP_PROP_FRAME_HEIGHT: 720,
        cv2.CAP_PROP_FPS: 15.0,
    }
    unlimited: Any = live._open_device("/dev/video3", 0.0, (1280, 720))
    assert cv2.CAP_PROP_FPS not in unlimited.properties


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_a_stream_that_does_not_answer_is_given_up(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes the connection and says nothing."""
    monkeypatch.setattr(live, "TIMEOUT", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        pictures = open_live(f"{scheme}://127.0.0.1:{server.getsockname()[1]}/stream", 0.0, SIZE)
        pictures.begin()
        while "next attempt" not in pictures.state:
            threading.Event().wait(0.05)
        assert "cannot be opened" in pictures.state
        pictures.close()


@pytest.mark.parametrize("source", ["v4l2:", "v4l2:video0", "ftp://camera/stream", "file:///etc/passwd"])
def test_what_can_be_no_camera_is_named(source: str) -> None:
    with pytest.raises(InputError, match=source):
        open_live(source, 0.0, SIZE)


@pytest.mark.parametrize(
    ("source", "logged"),
    [
        ("rtsp://user:secret@10.0.0.5:554/stream?x=1", "rtsp://…@10.0.0.5:554/stream?x=1"),
        ("rtsp://10.0.0.5/a@b", "rtsp://10.0.0.5/a@b"),
        ("v4l2:/dev/video0", "v4l2:/dev/video0"),
    ],
)
def test_passwords_are_not_logged(source: str, logged: str) -> None:
    assert without_password(source) == logged
