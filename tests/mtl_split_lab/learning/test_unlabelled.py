"""Pictures without labels come from folders, videos and rosbags."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import Image

from mtl_split_core.errors import InputError
from mtl_split_lab.learning.unlabelled import SPACING, find_unlabelled
from mtl_split_lab.portion import Portion

from ...bags import PERIOD, header, write_bag

EVERY = round(SPACING * 1e9 / PERIOD)
FRAMES = 2 * EVERY + 1
SIZE = (64, 32)


def plain(number: int) -> np.ndarray:
    return np.full((48, 96, 3), 20 * number, np.uint8)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "pictures" / "deep").mkdir(parents=True)
    video = cv2.VideoWriter(str(tmp_path / "drive.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 1e9 / PERIOD, (96, 48))
    messages = []
    for number in range(FRAMES):
        cv2.imwrite(str(tmp_path / "pictures" / "deep" / f"{number:02}.png"), plain(number))
        video.write(plain(number))
        image = Image(header=header(number), height=48, width=96, encoding="bgr8", step=288)
        image.data.frombytes(plain(number).tobytes())
        messages.append(("/front/image_raw", image))
    video.release()
    write_bag(tmp_path / "drive", messages)
    return tmp_path


def brightness(data: Path, source: str, repeat: int = 1) -> list[int]:
    found = find_unlabelled([Portion(source, repeat)], data, data / "drawn", SIZE, processes=1)
    assert all(picture.truth.labelled == frozenset() for picture in found)
    images = [picture.read() for picture in found]
    assert all(image.shape == (SIZE[1], SIZE[0], 3) for image in images)
    return [round(float(image[16].mean()) / 20) for image in images]


def test_a_folder_is_taken_whole(data: Path) -> None:
    assert brightness(data, "images:pictures") == list(range(FRAMES))


@pytest.mark.parametrize("source", ["video:drive.mp4", "bag:drive"])
def test_of_neighbouring_frames_one_is_taken(data: Path, source: str) -> None:
    assert brightness(data, source) == [0, EVERY, 2 * EVERY]
    assert brightness(data, source, repeat=2) == [0, 0, EVERY, EVERY, 2 * EVERY, 2 * EVERY]


def test_frames_are_unpacked_once(data: Path) -> None:
    first = brightness(data, "video:drive.mp4")
    (data / "drive.mp4").unlink()
    assert brightness(data, "video:drive.mp4") == first


@pytest.mark.parametrize("source", ["images:nowhere", "video:nowhere.mp4", "bag:nowhere", "nowhere.json"])
def test_what_is_not_there_is_named(data: Path, source: str) -> None:
    with pytest.raises(InputError, match="nowhere"):
        brightness(data, source)
