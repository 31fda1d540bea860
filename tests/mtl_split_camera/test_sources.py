"""Sources: every picture comes, in order, once or in a loop, and what cannot be shown is named."""

import os
import shutil
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from mtl_split_camera.sources import DEFAULT_RATE, Source, open_source
from mtl_split_camera.street import SCENE, TIMEOFDAY, WEATHER, Street
from mtl_split_core.errors import InputError
from mtl_split_core.scene import Image

CLIPS = Path(__file__).parents[3] / "shared" / "data" / "clips"
GREYS = [20, 60, 100, 140, 180]


def plain(grey: int, width: int = 64, height: int = 48) -> Image:
    return np.full((height, width, 3), grey, np.uint8)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "video.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 12.5, (64, 48))
    for grey in GREYS:
        writer.write(plain(grey))
    writer.release()
    return path


def opened(name: str, rate: float = 0.0, loop: bool = False, skipped: Callable[[str], None] = pytest.fail) -> Source:
    return open_source(name, rate, (160, 96), loop, skipped)


def greys(source: Source, count: int) -> list[int]:
    """The mean of up to `count` pictures, to the next 20."""
    return [round(float(image.mean()) / 20) * 20 for image, _ in islice(source.frames, count)]


def test_a_video_is_played_to_its_end_at_its_own_rate(video: Path) -> None:
    source = opened(f"video:{video}")
    assert source.rate == 12.5
    assert greys(source, 100) == GREYS


def test_a_video_in_a_loop_begins_again_and_a_rate_overrides_its_own(video: Path) -> None:
    source = opened(f"video:{video}", rate=3.0, loop=True)
    assert source.rate == 3.0
    assert greys(source, 12) == [*GREYS, *GREYS, *GREYS[:2]]


@pytest.mark.skipif(not CLIPS.is_dir(), reason=f"the clips are not at {CLIPS}")
@pytest.mark.parametrize(
    ("clip", "frames", "shape", "rate"),
    [
        ("london_street.mp4", 20, (1840, 1376, 3), 28.8),
        ("motorway_day.mp4", 20, (540, 960, 3), 25.0),
        ("motorway_two_cars.mp4", 38, (720, 1280, 3), 25.0),
    ],
)
def test_real_clips(clip: str, frames: int, shape: tuple[int, ...], rate: float) -> None:
    source = opened(f"video:{CLIPS / clip}")
    assert source.rate == pytest.approx(rate, abs=0.05)
    assert [image.shape for image, _ in islice(source.frames, frames)] == [shape] * frames


def test_pictures_come_by_name_with_subfolders_and_in_their_own_sizes(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    for name, grey, width in (("b.png", 60, 80), ("a.JPG", 20, 64), ("c/d.jpeg", 100, 40)):
        (tmp_path / name).write_bytes(cv2.imencode(Path(name).suffix.lower(), plain(grey, width))[1].tobytes())
    (tmp_path / "notes.txt").write_text("not a picture")
    source = opened(f"images:{tmp_path}")
    pictures = [image for image, _ in source.frames]
    assert [picture.shape for picture in pictures] == [(48, 64, 3), (48, 80, 3), (48, 40, 3)]
    assert [round(float(picture.mean())) for picture in pictures] == [20, 60, 100]
    assert source.rate == DEFAULT_RATE


def test_a_shuffled_folder_has_every_picture_in_another_order_which_is_the_same_again(tmp_path: Path) -> None:
    for number in range(12):
        cv2.imwrite(str(tmp_path / f"{number:02}.png"), plain(20 * number))
    ordered, first, again = (
        greys(open_source(f"images:{tmp_path}", 0.0, (160, 96), False, pytest.fail, shuffle), 20)
        for shuffle in (False, True, True)
    )
    assert first == again != ordered and sorted(first) == ordered


def test_a_truncated_video_is_told(tmp_path: Path) -> None:
    path = tmp_path / "video.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (64, 48))
    noise = np.random.default_rng(1).integers(0, 256, (48, 64, 3), np.uint8)
    for _ in range(20):
        writer.write(noise)
    writer.release()
    assert len(greys(opened(f"video:{path}"), 100)) == 20
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    problems: list[str] = []
    count = len(greys(opened(f"video:{path}", skipped=problems.append), 100))
    assert 0 < count < 20
    assert problems == [f"{path} is truncated or damaged: of 20 frames that it promises, {count} can be read"]


def test_only_files_are_pictures(tmp_path: Path) -> None:
    """To read a named pipe is to wait for its other end."""
    cv2.imwrite(str(tmp_path / "a.png"), plain(20))
    (tmp_path / "b.png").mkdir()
    os.mkfifo(tmp_path / "c.png")
    (tmp_path / "d.png").symlink_to(tmp_path / "d.png")
    (tmp_path / "e").symlink_to(tmp_path)
    assert greys(opened(f"images:{tmp_path}"), 10) == [20]


@pytest.mark.parametrize("name", ["a b#1?c=%20", "a:b", 'it\'s "ü日"', "[x]*%03d"])
def test_a_source_may_have_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, video: Path, name: str) -> None:
    shutil.copyfile(video, tmp_path / f"{name}.mp4")
    (tmp_path / name).mkdir()
    (tmp_path / name / f"{name}.png").write_bytes(cv2.imencode(".png", plain(60))[1].tobytes())
    monkeypatch.chdir(tmp_path)
    for folder in (Path(), tmp_path):
        assert greys(opened(f"video:{folder / name}.mp4"), 10) == GREYS
        assert greys(opened(f"images:{folder / name}"), 10) == [60]


def test_a_damaged_picture_is_named_and_skipped(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), plain(20))
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    cv2.imwrite(str(tmp_path / "c.png"), plain(60))
    problems: list[str] = []
    assert greys(opened(f"images:{tmp_path}", skipped=problems.append), 10) == [20, 60]
    assert [str(tmp_path / "b.png") in problem for problem in problems] == [True]


def test_a_folder_of_which_nothing_can_be_read_ends_even_in_a_loop(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    source = opened(f"images:{tmp_path}", loop=True, skipped=lambda problem: None)
    with pytest.raises(InputError, match=str(tmp_path)):
        next(source.frames)


def test_the_street_comes_with_its_truth_and_with_the_seed_that_was_asked_for() -> None:
    image, truth = next(opened("sim:7").frames)
    expected_image, expected_truth = next(Street(7, (160, 96), DEFAULT_RATE))
    assert np.array_equal(image, expected_image)
    assert truth is not None
    assert truth.classes == expected_truth.classes
    assert not np.array_equal(image, next(opened("sim").frames)[0])


def test_a_new_street_comes_every_two_seconds() -> None:
    source = opened("sim", rate=2.0)
    pictures, lengths = [], []
    for _ in range(5):
        pictures.append(next(source.frames)[0])
        lengths.append(source.focal_length())
    first = Street(0, (160, 96), 2.0, timeofday="daytime", weather="clear", scene="city street")
    second = Street(1, (160, 96), 2.0, timeofday="dawn/dusk", weather="rainy", scene="city street")
    np.testing.assert_array_equal(pictures[0], next(first)[0])
    np.testing.assert_array_equal(pictures[4], next(second)[0])
    assert lengths == [first.focal_length] * 4 + [second.focal_length]


def test_one_street_after_another_meets_every_label_in_twenty_seconds() -> None:
    truths = [truth for _, truth in islice(opened("sim", rate=1.0).frames, 20) if truth]
    for task, labels in (("timeofday", TIMEOFDAY), ("weather", WEATHER), ("scene", SCENE)):
        assert {truth.classes[task] for truth in truths} == set(labels)


@pytest.mark.parametrize("name", ["", "camera", "sim:x", "sim:-1", "video:", "images", "webcam:0"])
def test_an_unknown_source_is_named(name: str) -> None:
    with pytest.raises(InputError, match=f"'{name}'"):
        opened(name)


@pytest.mark.parametrize("kind", ["video", "images"])
def test_a_source_that_is_not_there_or_empty_is_named(kind: str, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    empty = tmp_path / "empty"
    if kind == "video":
        empty.write_bytes(b"")
    else:
        empty.mkdir()
    for path in (missing, empty):
        with pytest.raises(InputError, match=str(path)):
            opened(f"{kind}:{path}")
