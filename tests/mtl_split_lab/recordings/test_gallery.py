"""The frames of a replay as pictures: the worst are kept, and can be chosen by what went wrong."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_split_core.scene import Classification, Results, Task, Truth
from mtl_split_lab.recordings import gallery as gallery_module
from mtl_split_lab.recordings.gallery import FOLDER, Gallery
from mtl_split_lab.recordings.replay_page import _frames
from mtl_split_lab.scoring.frames import Frame

TASKS = [Task(name, "classification", ("no", "yes")) for name in ("one", "two", "three")]


def frame(number: int, mistakes: int) -> tuple[Frame, Results]:
    """A frame on which so many tasks are wrong."""
    truth = Truth(classes={task.name: "yes" if at < mistakes else "no" for at, task in enumerate(TASKS)})
    answer = Classification(("no", "yes"), np.array([0.9, 0.1], np.float32))
    image = np.full((36, 64, 3), 10 * number, np.uint8)
    return Frame(f"frame {number}", truth, lambda: image), {task.name: answer for task in TASKS}


def pictures(out: Path) -> set[str]:
    return {f"{FOLDER}/{path.name}" for path in (out / FOLDER).iterdir()}


@given(counts=st.lists(st.integers(0, 3), max_size=12), most=st.integers(1, 5))
def test_the_worst_frames_are_kept_with_their_pictures(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int], most: int
) -> None:
    out = tmp_path_factory.mktemp("gallery")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gallery_module, "MOST_PICTURES", most)
        gallery = Gallery(out, TASKS)
        for number, mistakes in enumerate(counts):
            gallery.add(*frame(number, mistakes))
    # Of those that are equally bad, the first.
    worst = sorted(range(len(counts)), key=lambda number: (-counts[number], number))[:most]
    assert [one.number for one in gallery.shown] == worst
    assert [one.mistakes.total() for one in gallery.shown] == [counts[number] for number in worst]
    assert pictures(out) == {one.file for one in gallery.shown}
    assert gallery.left_out == len(counts) - len(worst)


def test_pictures_of_an_earlier_replay_are_removed_and_nothing_else(tmp_path: Path) -> None:
    Gallery(tmp_path, TASKS).add(*frame(7, 0))
    (tmp_path / FOLDER / "mine.jpg").write_bytes(b"")
    Gallery(tmp_path, TASKS)
    assert pictures(tmp_path) == {f"{FOLDER}/mine.jpg"}


def test_what_is_true_and_what_was_answered_is_in_the_picture(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path, TASKS)
    gallery.add(*frame(5, 1))
    [one] = gallery.shown
    picture = cv2.imread(str(tmp_path / one.file))
    assert picture is not None and abs(int(picture[180, 320, 0]) - 50) < 4
    assert one.caption == "frame 5: 1 one yes taken for no"


def test_frames_are_chosen_by_what_went_wrong(tmp_path: Path, browser: Any, wait: Callable[..., None]) -> None:
    gallery = Gallery(tmp_path, TASKS)
    for number, mistakes in enumerate((0, 1, 3)):
        gallery.add(*frame(number, mistakes))
    from mtl_split_lab.recordings.replay_page import _SCRIPT

    page_file = tmp_path / "report.html"
    page_file.write_text(f"<!DOCTYPE html><body>{_frames(gallery)}<script>{_SCRIPT}</script>")
    page = browser.new_page()
    page.goto(page_file.as_uri())
    visible = "[...document.querySelectorAll('figure')].filter((one) => !one.hidden).map((one) => one.innerText)"
    assert len(page.evaluate(visible)) == 3
    page.select_option("#mistake", "two yes taken for no")
    assert page.evaluate(visible) == [gallery.shown[0].caption]
    page.select_option("#mistake", "")
    assert len(page.evaluate(visible)) == 3
    wait(page, "the picture", "document.images[0].naturalWidth > 0")
    page.close()
