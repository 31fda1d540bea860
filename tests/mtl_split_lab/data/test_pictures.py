"""Files of labels: what they say arrives, what is broken is named and left out, and nothing makes them crash."""

import json
import logging
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

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
        (box(x2=1), r"labels.0.box2d: expected x1 < x2 and y1 < y2 instead of \(1.0, 1.0, 1.0, 2.0\)"),
        (box(y1="top"), "labels.0.box2d.y1: .*valid number.*'top'"),
        (box(y1=float("nan")), "labels.0.box2d.y1: "),
        (box(x2=10**400), "labels.0.box2d.x2: "),
        ({"name": "b.png", "labels": [{"box2d": {}}]}, "labels.0.category: Field required"),
        ({"labels": []}, "name: Field required"),
        ({"name": 5, "labels": []}, "name: .*string.*got 5"),
        ({"name": "b.png", "labelled": "car"}, "labelled: .*frozenset.*'car'"),
        ("b.png", "entry 1: .*got 'b.png'"),
        (BDD100K[1] | {"name": "../images/b.png"}, "entry 1: '../images/b.png' is no path .* without '..'"),
        (BDD100K[1] | {"name": "/b.png"}, "entry 1: '/b.png' is no path"),
        (BDD100K[1] | {"name": "."}, "entry 1: '.' is no path"),
        (BDD100K[1] | {"width": 0}, "width: .*greater than or equal to 1, got 0"),
        (box() | {"labels": [{"category": "car", "attributes": {"crowd": "maybe"}}]}, "attributes.ignore.0: .*'maybe'"),
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
        ({"category_id": 3}, "annotation 2: image_id: Field required", ["a.png"]),
        ({"image_id": "b", "category_id": 3}, "annotation 2: image_id: .*got 'b'", ["a.png"]),
        ({"image_id": 8.5, "category_id": 3}, "annotation 2: image_id: .*got 8.5", ["a.png"]),
        ({"image_id": 9, "category_id": 3}, "annotation 2: no image has the id 9", ["a.png"]),
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


def kept(folder: Path, content: Any, caplog: pytest.LogCaptureFixture, *complaints: str) -> list[str]:
    """The names of the pictures that are left, once the complaints about the others are found."""
    with caplog.at_level(logging.WARNING):
        names = [picture.path.name for picture in read(folder, content)]
    assert len(caplog.messages) == len(complaints) + bool(complaints), caplog.messages
    for message, complaint in zip(caplog.messages, complaints, strict=False):
        assert re.search(complaint, message), message
    return names


def test_a_name_that_is_there_twice_is_left_out(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In any spelling, and also where one of the two entries is broken."""
    for again in (BDD100K[1], box() | {"name": "./b.png"}, box(x2=0)):
        caplog.clear()
        twice = [f"entry {number}: the name 'b.png' is there 2 times" for number in (1, 2)]
        assert kept(folder, [*BDD100K, again], caplog, *twice) == ["a.png"]


@pytest.mark.parametrize(
    ("image", "complaint"),
    [
        ({"id": 8, "file_name": "c.png"}, "the id '8' is there 2 times"),
        ({"id": "8", "file_name": "c.png"}, "the id '8' is there 2 times"),
        ({"id": 8}, "the id '8' is there 2 times"),
        ({"id": 9, "file_name": "b.png"}, "the file_name 'b.png' is there 2 times"),
    ],
)
def test_an_image_that_is_there_twice_is_left_out(
    folder: Path, caplog: pytest.LogCaptureFixture, image: dict[str, Any], complaint: str
) -> None:
    other = complaint if "file_name" in image else "image 2: file_name: Field required"
    content = COCO | {"images": [*COCO["images"], image]}
    assert kept(folder, content, caplog, f"image 1: {complaint}", other) == ["a.png"]


def test_a_category_that_is_there_twice_is_none(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither of its names counts as labelled; nobody guesses what its objects are."""
    content = COCO | {"categories": [*COCO["categories"], {"id": 3, "name": "bus"}]}
    complaints = [f"category {number}: the id '3' is there 2 times" for number in (1, 2)]
    complaints.append("image 0: no category has the id 3")
    assert kept(folder, content, caplog, *complaints) == ["b.png"]
    assert read(folder, content)[0].truth.labelled == {"person"}


@pytest.mark.parametrize("identity", ["7", 7.0, "007"])
def test_ids_are_read_alike_everywhere(folder: Path, identity: Any) -> None:
    """As images and as annotations have them, a number may be text."""
    annotations = [annotation | {"image_id": identity} for annotation in COCO["annotations"]]
    for images in (COCO["images"], [COCO["images"][0] | {"id": identity}, COCO["images"][1]]):
        first, second = read(folder, COCO | {"images": images, "annotations": annotations})
        assert first.truth.labels == ("car", "person") and second.truth.labels == ()


@pytest.mark.parametrize("mark", ["ignore", "ignored", "crowd", "Crowd", "iscrowd", "is_group_of", "group"])
def test_groups_and_ignored_objects_do_not_count(folder: Path, mark: str) -> None:
    labels = [
        {"category": "car", "attributes": attributes, "box2d": {"x1": 1, "y1": 2, "x2": 3, "y2": 4}}
        for attributes in ({mark: True}, {mark: False, "occluded": True}, {mark: None}, None)
    ]
    (picture,) = read(folder, [{"name": "a.png", "labels": labels}])
    assert picture.truth.ignore.tolist() == [True, False, False, False]
    annotation = COCO["annotations"][0] | {"ignore": 1}
    assert read(folder, COCO | {"annotations": [annotation]})[0].truth.ignore.tolist() == [True]


def jpeg(width: int, height: int, orientation: int) -> bytes:
    """A picture whose camera says how it was held: 1 upright, 6 to be turned by a quarter."""
    data = cv2.imencode(".jpg", np.zeros((height, width, 3), np.uint8))[1].tobytes()
    entry = b"\x12\x01\x03\0\1\0\0\0" + orientation.to_bytes(4, "little")
    exif = b"Exif\0\0II*\0\x08\0\0\0\1\0" + entry + bytes(4)
    return data[:2] + b"\xff\xe1" + (2 + len(exif)).to_bytes(2, "big") + exif + data[2:]


def test_a_picture_of_another_size_than_its_labels_say_is_damaged(folder: Path) -> None:
    upright, turned = folder / "images" / "upright.jpg", folder / "images" / "turned.jpg"
    upright.write_bytes(jpeg(40, 20, 1))
    turned.write_bytes(jpeg(40, 20, 6))
    sizes = {"width": 40, "height": 20}
    coco = {"images": [{"id": 1, "file_name": "upright.jpg"} | sizes, {"id": 2, "file_name": "turned.jpg"} | sizes]}
    files = "upright.jpg", "turned.jpg"
    for content in (COCO | coco | {"annotations": []}, [{"name": name} | sizes for name in files],
                    [{"name": name, "size": sizes} for name in files]):  # fmt: skip
        right, wrong = read(folder, content)
        assert right.read().shape == (20, 40, 3)
        with pytest.raises(InputError, match=r"turned.jpg' has 20x40 pixels, .* its labels are for 40x20: label it"):
            wrong.read()
        with pytest.raises(
            InputError, match=r"of 1 pictures that were tried, none can be used: .*turned.jpg' has 20x40"
        ):
            read(folder, [{"name": "turned.jpg"} | sizes])
    for said in ([{"name": "turned.jpg"}], [{"name": "turned.jpg", "width": 40}]):
        assert read(folder, said)[0].read().shape == (40, 20, 3)


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / LABELS).open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InputError, match=r"labels\.json has 1099511627776 bytes, expected at most"):
        read_pictures(tmp_path / LABELS)
    (tmp_path / LABELS).write_bytes(b"[\xff]")
    with pytest.raises(InputError, match=r"labels\.json is no text in UTF-8"):
        read_pictures(tmp_path / LABELS)
