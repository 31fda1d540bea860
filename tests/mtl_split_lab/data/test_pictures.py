"""Files of labels: what they say arrives, what is broken is named and left out, and nothing makes them crash."""

import contextlib
import json
import logging
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mtl_split_core.errors import InputError
from mtl_split_core.scene import Truth
from mtl_split_lab.data.pictures import LABELS, PictureFile, read_pictures, write_labels

BDD100K: list[Any] = [
    {
        "name": "a.png",
        "attributes": {"weather": "rainy", "scene": "undefined", "timeofday": "night"},
        "timestamp": 10000,
        "labels": [
            {
                "id": "0",
                "category": "car",
                "attributes": {"occluded": False},
                "box2d": {"x1": 1, "y1": 2, "x2": 3, "y2": 4},
            },
            {"id": "1", "category": "lane", "attributes": {"laneStyle": "solid"}, "poly2d": [{"vertices": [[0, 0]]}]},
            {
                "id": "2",
                "category": "bus",
                "attributes": {"visible": 0.25, "ignore": True},
                "box2d": {"x1": 5.5, "y1": 6, "x2": 7, "y2": 8.25},
            },
        ],
    },
    {"name": "b.png", "labels": None, "labelled": ["car"]},
]

COCO: dict[str, Any] = {
    "images": [{"id": 7, "file_name": "a.png", "width": 20, "height": 20}, {"id": 8, "file_name": "b.png"}],
    "categories": [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 2, 10.5, 4], "iscrowd": 0, "area": 42},
        {"id": 2, "image_id": 7, "category_id": 1, "bbox": [0, 0, 2, 2], "iscrowd": 1},
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the pictures a.png and b.png in its folder `images`."""
    folder = tmp_path_factory.mktemp("labels")
    (folder / "images").mkdir()
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(folder / "images" / name), np.zeros((20, 20, 3), np.uint8))
    return folder


def read(folder: Path, content: Any) -> list[PictureFile]:
    (folder / LABELS).write_text(content if isinstance(content, str) else json.dumps(content))
    return read_pictures(folder / LABELS)


def test_labels_return_as_they_were_written(tmp_path: Path) -> None:
    truth = Truth(
        np.array([[1, 2, 30, 40], [5, 5, 9, 9]], np.float32),
        ("car", "bus"),
        np.array([1, 0.25], np.float32),
        np.array([False, True]),
        {"weather": "foggy"},
        frozenset({"car", "bus"}),
    )
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "one.jpg").touch()
    write_labels(tmp_path / LABELS, [("one.jpg", truth), ("two.jpg", Truth())])
    one, two = read_pictures(tmp_path / LABELS)
    assert one.path == tmp_path / "images" / "one.jpg"
    np.testing.assert_equal(vars(one.truth), vars(truth))
    np.testing.assert_equal(vars(two.truth), vars(Truth()))


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"broken\.jpg' is no readable picture"):
        PictureFile(tmp_path / "broken.jpg", Truth()).read()


def test_the_rest_of_a_truncated_picture_is_not_made_up(tmp_path: Path) -> None:
    """Not even where its thumbnail is whole; what follows a picture's end does not matter."""
    picture = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8))[1].tobytes()
    thumbnail = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    segment = b"\xff\xe1" + (2 + len(thumbnail)).to_bytes(2, "big") + thumbnail
    with_thumbnail = picture[:2] + segment + picture[2:]
    file = PictureFile(tmp_path / "picture.jpg", Truth())
    for whole in (picture, with_thumbnail, picture + b"\0" * 7, picture + b"appended"):
        file.path.write_bytes(whole)
        assert file.read().shape == (64, 96, 3)
    for cut in (picture[:-1], picture[: len(picture) // 2], with_thumbnail[: -len(picture) // 2]):
        file.path.write_bytes(cut)
        with pytest.raises(
            InputError, match=r"picture\.jpg' is no readable picture: the JPEG of \d+ bytes is truncated"
        ):
            file.read()


def test_a_picture_whose_name_is_no_unicode_is_named() -> None:
    with pytest.raises(InputError, match=r"'\\ud800.jpg' is no readable picture"):
        PictureFile(Path("\ud800.jpg"), Truth()).read()


def test_bdd100k_as_it_is_published(folder: Path) -> None:
    """Labels that are null or no boxes, attributes that are undefined, keys that mean nothing here; and our keys."""
    first, second = read(folder, BDD100K)
    assert first.read().shape == second.read().shape == (20, 20, 3)
    assert first.truth.labels == ("car", "bus")
    np.testing.assert_array_equal(first.truth.boxes, [[1, 2, 3, 4], [5.5, 6, 7, 8.25]])
    assert first.truth.visible.tolist() == [1, 0.25] and first.truth.ignore.tolist() == [False, True]
    assert first.truth.classes == {"weather": "rainy", "timeofday": "night"}
    assert first.truth.labelled is None and second.truth.labelled == {"car"}
    assert second.truth.boxes.shape == (0, 4) and second.truth.classes == {}


def test_coco(folder: Path) -> None:
    first, second = read(folder, COCO)
    assert first.truth.labels == ("car", "person") and second.truth.labels == ()
    np.testing.assert_array_equal(first.truth.boxes, [[1, 2, 11.5, 6], [0, 0, 2, 2]])
    assert first.truth.ignore.tolist() == [False, True]
    assert first.truth.labelled == second.truth.labelled == {"person", "car"}


def box(**corners: Any) -> dict[str, Any]:
    return {"name": "b.png", "labels": [{"category": "car", "box2d": {"x1": 1, "y1": 1, "x2": 2, "y2": 2} | corners}]}


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        (box(x2=1), r"labels.0.box2d: .*expected x1 < x2 and y1 < y2 instead of \(1.0, 1.0, 1.0, 2.0\)"),
        (box(y1="top"), "labels.0.box2d.y1: .*valid number.*'top'"),
        (box(y1=float("nan")), "labels.0.box2d.y1: "),
        (box(x2=10**400), "labels.0.box2d.x2: "),
        ({"name": "b.png", "labels": [{"box2d": {}}]}, "labels.0.category: Field required"),
        ({"labels": []}, "name: Field required"),
        ({"name": 5, "labels": []}, "name: .*string.*got 5"),
        ({"name": "b.png", "labelled": "car"}, "labelled: .*frozenset.*'car'"),
        ("b.png", "it: .*got 'b.png'"),
    ],
)
def test_a_broken_entry_is_named_and_left_out(
    folder: Path, caplog: pytest.LogCaptureFixture, entry: Any, complaint: str
) -> None:
    with caplog.at_level(logging.WARNING):
        assert [picture.path.name for picture in read(folder, [BDD100K[0], entry])] == ["a.png"]
    named, counted = caplog.messages
    assert named.startswith(f"{folder / LABELS}: skipped entry 1: ")
    assert re.search(complaint, named), named
    assert counted == f"{folder / LABELS}: skipped 1, kept 1 pictures"


@pytest.mark.parametrize(
    ("annotation", "complaint", "kept"),
    [
        ({"image_id": 8, "category_id": 3, "bbox": [1, 2, 0, 4]}, "image 1: .*expected x1 < x2", ["a.png"]),
        ({"image_id": 8, "category_id": 2, "bbox": [1, 2, 3, 4]}, "image 1: no category has the id 2", ["a.png"]),
        ({"image_id": 8, "category_id": 3, "bbox": [1, 2, 3]}, r"image 1: 0.bbox.3: Field required", ["a.png"]),
        ({"category_id": 3}, "annotation 2: expected a mapping with an image_id", ["a.png", "b.png"]),
    ],
)
def test_a_broken_annotation_of_coco_is_named_and_its_picture_left_out(
    folder: Path, caplog: pytest.LogCaptureFixture, annotation: Any, complaint: str, kept: list[str]
) -> None:
    with caplog.at_level(logging.WARNING):
        pictures = read(folder, COCO | {"annotations": [*COCO["annotations"], annotation]})
    assert [picture.path.name for picture in pictures] == kept
    assert re.search(complaint, caplog.messages[0]), caplog.messages


def test_of_many_broken_entries_the_first_are_named_and_all_counted(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        read(folder, [*[box(x2=0)] * 1000, BDD100K[0]])
    assert len(caplog.messages) == 11 and "skipped 1000, kept 1" in caplog.messages[-1]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "is no readable JSON"),
        ("[" * 100_000, "is no readable JSON"),
        ([], "has no usable labels: it is empty"),
        ({"frames": []}, "neither a list, as BDD100K's, nor"),
        ([box(x2=0), 5], "has no usable labels: entry 0: labels.0.box2d"),
        (COCO | {"categories": [{"id": "car"}]}, "categories: 0.id: .*valid integer.*got 'car'"),
        ([BDD100K[0] | {"name": "elsewhere.png"}], "none of the 1 pictures of .* is there: .*elsewhere.png"),
    ],
)
def test_a_file_without_anything_usable_is_refused(folder: Path, content: Any, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        read(folder, content)


def places(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to everything in some plain data."""
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


def put(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Plain data with another value at one of its places."""
    if not path:
        return value
    changed = content.copy()
    changed[path[0]] = put(content[path[0]], path[1:], value)
    return changed


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([10**400, "\ud800", "a\0"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.sampled_from(["box2d", "id"]), inner),
    max_leaves=5,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_labels_never_crash(folder: Path, data: st.DataObject) -> None:
    """Whatever is put in any place, and whatever is cut out of the text: pictures, or InputError."""
    content = data.draw(st.sampled_from([BDD100K, COCO]))
    for _ in range(data.draw(st.integers(0, 3))):
        content = put(content, data.draw(st.sampled_from(places(content))), data.draw(ANYTHING))
    text = json.dumps(content)
    start, end = sorted((data.draw(st.integers(0, len(text))), data.draw(st.integers(0, len(text)))))
    if data.draw(st.booleans()):
        text = text[:start] + text[end:]
    try:
        pictures = read(folder, text)
    except InputError:
        return
    for picture in pictures:
        assert np.isfinite(picture.truth.boxes).all() and len(picture.truth.boxes) == len(picture.truth.labels)
        with contextlib.suppress(InputError):
            picture.read()
