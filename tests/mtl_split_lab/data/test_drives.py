"""Drives are found by name, and their frames come in order."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from mtl_split_camera.street import Street
from mtl_split_core.errors import InputError
from mtl_split_lab.data.drives import find_drives


def test_simulated_drives_are_consecutive_frames_of_one_street_each(tmp_path: Path) -> None:
    drives = find_drives("sim:7:2:5", tmp_path)
    assert [(drive.length, drive.scored) for drive in drives] == [(5, 4), (5, 4)]
    street = Street(8, (1280, 720), 15.0)
    for image, truth in drives[1].frames():
        expected, known = next(street)
        assert (image == expected).all() and truth.labels == known.labels


def test_labelled_pictures_are_parted_by_their_names(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "images").mkdir()
    names = ["Town01_000060.png", "Town01_000120.png", "Town02_000060.png", "Town01_000180.png"]
    for number, name in enumerate(names):
        cv2.imwrite(str(tmp_path / "images" / name), np.full((8, 8, 3), number, np.uint8))
    (tmp_path / "val.json").write_text(json.dumps([{"name": name} for name in names]))
    (tmp_path / "images" / names[1]).write_bytes(b"damaged")
    drives = find_drives("val.json", tmp_path)
    assert [(drive.length, drive.scored) for drive in drives] == [(2, 1), (1, 1), (1, 1)]
    assert [[int(image[0, 0, 0]) for image, _ in drive.frames()] for drive in drives] == [[0], [2], [3]]
    assert "left out" in caplog.text and names[1] in caplog.text


@pytest.mark.parametrize("name", ["sim:7:5", "sim:7:0:5", "missing.json", "sim:1:1:3"])
def test_other_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"{name!r}.* expected"):
        find_drives(name, tmp_path)
