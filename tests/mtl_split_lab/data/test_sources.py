"""Sources in one word: each finds its pictures, and a portion's words are put in place of the source's."""

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pydantic import TypeAdapter

from mtl_split_core.errors import InputError
from mtl_split_core.label_map import UNKNOWN, pack, renumber
from mtl_split_core.scene import Task
from mtl_split_lab.commands.learning import RECIPE
from mtl_split_lab.data.pictures import LabelledPicture
from mtl_split_lab.data.sources import check_tasks, check_there, find_pictures
from mtl_split_lab.portion import ATTRIBUTES, MaskFolder, Portion
from mtl_split_lab.recipe import load_recipe

DATA = Path(__file__).parents[3] / "../shared/data"


def find(data: Path, source: str, **options: Any) -> Sequence[LabelledPicture]:
    return find_pictures(Portion(source, **options), data, data / "drawn", (64, 48), processes=1)


def write_picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((20, 20, 3), np.uint8))


def write_labels(path: Path, **entry: Any) -> None:
    box = {"x1": 1, "y1": 2, "x2": 3, "y2": 4}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps([{"name": "a.png", "labels": [{"category": "person", "box2d": box}]} | entry]))


def test_the_simulated_street(tmp_path: Path) -> None:
    pictures = find(tmp_path, "sim:3:2")
    assert [picture.read().shape for picture in pictures] == [(48, 64, 3)] * 2
    assert find(tmp_path, "sim:3:2")[1].truth.classes == pictures[1].truth.classes


def test_drawn_shapes(tmp_path: Path) -> None:
    pictures = find(tmp_path, "shapes:1:4:test", repeat=2)
    assert len(pictures) == 8 and pictures[0] == pictures[1] != pictures[2]
    assert all(picture.read().shape == (64, 64, 3) for picture in pictures)
    assert all(int(picture.truth.classes["floor_hue"]) >= 5 for picture in pictures)


def test_bdd100k_with_the_pictures_elsewhere(tmp_path: Path) -> None:
    write_labels(tmp_path / "labels" / "train.json")
    with pytest.raises(InputError, match=r"none of the 1 pictures of .*train.json is there: .*labels/images/a.png"):
        find(tmp_path, "labels/train.json")
    write_picture(tmp_path / "100k" / "train" / "a.png")
    (picture,) = find(tmp_path, "labels/train.json", images="100k/train")
    assert picture.read().shape == (20, 20, 3)


def test_attributes_of_pictures_by_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """They add to the source's own; what is undefined teaches nothing, and a name that is not there is told."""
    write_picture(tmp_path / "images" / "a.png")
    box = {"category": "car", "box2d": {"x1": 1, "y1": 2, "x2": 3, "y2": 4}}
    entry = {"name": "a.png", "attributes": {"scene": "highway", "weather": "rainy"}, "labels": [box]}
    (tmp_path / "train.json").write_text(json.dumps([entry]))
    more = {"a.png": {"weather": "clear", "timeofday": "undefined"}, "b.png": {"weather": "foggy"}}
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "eyes.json").write_text(json.dumps(more))
    with caplog.at_level(logging.WARNING):
        (picture,) = find(tmp_path, "train.json", attributes="more/eyes.json")
    assert picture.truth.classes == {"scene": "highway", "weather": "clear"} and picture.truth.labels == ("car",)
    assert "names 1 pictures that are not there: b.png" in caplog.text
    for written in ("", "[1]", '{"a.png": {"weather": 1}}'):
        (tmp_path / "more" / "eyes.json").write_text(written)
        with pytest.raises(InputError, match=r"eyes.json has no attributes of pictures by their names"):
            find(tmp_path, "train.json", attributes="more/eyes.json")
    with pytest.raises(InputError, match=r"eyes2.json has no attributes"):
        find(tmp_path, "train.json", attributes="eyes2")


@pytest.mark.parametrize("part", ["train", "val"])
def test_the_attributes_that_come_with_the_package(part: str) -> None:
    """Every picture has all three, in the shipped recipe's words."""
    tasks = {
        task.name: {*task.labels, "undefined"} for task in load_recipe(RECIPE).tasks if task.kind == "classification"
    }
    attributes = json.loads((ATTRIBUTES / f"road_mix_{part}.json").read_text())
    assert len(attributes) >= 150
    for labels in attributes.values():
        assert labels.keys() == tasks.keys() and all(label in tasks[task] for task, label in labels.items())


def test_attributes_of_names_that_are_not_unique_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Two pictures with one name in two folders, and one name twice in the file."""
    for name in ("one/a.png", "two/a.png", "b.png"):
        write_picture(tmp_path / "images" / name)
    (tmp_path / "train.json").write_text(json.dumps([{"name": "one/a.png"}, {"name": "two/a.png"}, {"name": "b.png"}]))
    more = tmp_path / "more.json"
    more.write_text(json.dumps({"a.png": {"weather": "clear"}, "b.png": {"weather": "rainy"}}))
    with caplog.at_level(logging.WARNING):
        classes = [picture.truth.classes for picture in find(tmp_path, "train.json", attributes="./more.json")]
    assert classes == [{}, {}, {"weather": "rainy"}]
    assert caplog.messages == [f"{more}: skipped 1 names that several pictures have: a.png ..."]
    more.write_text('{"b.png": {"weather": "clear"}, "b.png": {"weather": "rainy"}}')
    with pytest.raises(InputError, match=r"an object has the key 'b\.png' twice"):
        find(tmp_path, "train.json", attributes="./more.json")


def test_masks_of_pictures_by_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """BDD100K's, for instance, in our words; a picture without a mask stays without."""
    for name in ("a", "b"):
        write_picture(tmp_path / "images" / f"{name}.jpg")
    (tmp_path / "train.json").write_text(json.dumps([{"name": "a.jpg"}, {"name": "b.jpg"}]))
    (tmp_path / "masks").mkdir()
    masks = {"drivable": {"folder": "masks", "labels": ["direct", "alternative", "background"]}}
    rename = {"direct": "drivable area", "alternative": "drivable area"}
    portion = TypeAdapter(Portion).validate_python({"pictures": "train.json", "masks": masks, "rename": rename})

    def find() -> Sequence[LabelledPicture]:
        return find_pictures(portion, tmp_path, tmp_path / "drawn", (64, 48), processes=1)

    with pytest.raises(InputError, match=r"masks has no mask of any picture: expected NAME.png for NAME.jpg, as a.png"):
        find()
    numbers = np.array([[0, 1, 2, 255]], np.uint8)
    (tmp_path / "masks" / "a.png").write_bytes(pack(numbers))
    with caplog.at_level(logging.WARNING):
        first, second = find()
    assert "masks has no mask of 1 of 2 pictures" in caplog.text
    assert not second.truth.masks
    assert renumber(first.truth.masks["drivable"], ("background", "drivable area")).tolist() == [[1, 1, 0, UNKNOWN]]
    task = Task("drivable", "segmentation", ("background", "drivable area"))
    check_tasks([first, second], [task])
    with pytest.raises(InputError, match=r"no picture has any of drivable's labels \('sky',\)"):
        check_tasks([first, second], [replace(task, labels=("sky",))])


def test_masks_of_pictures_that_are_no_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="masks is for pictures that are files"):
        find(tmp_path, "shapes:1:4", masks={"type": MaskFolder("masks", ("a",))})


def test_labels_in_our_words(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_picture(tmp_path / "images" / "a.png")
    write_labels(tmp_path / "said.json", labelled=["person", "car"], attributes={"weather": "partly cloudy"})
    write_labels(tmp_path / "unsaid.json")
    rename = {"person": "pedestrian", "partly cloudy": "overcast"}
    (said,) = find(tmp_path, "said.json", rename=rename, labelled=frozenset({"bus"}))
    assert said.truth.labels == ("pedestrian",) and said.truth.classes == {"weather": "overcast"}
    assert said.truth.labelled == {"bus"}
    (said,) = find(tmp_path, "said.json", rename=rename)
    assert said.truth.labelled == {"pedestrian", "car"}
    (unsaid,) = find(tmp_path, "unsaid.json", labelled=frozenset({"bus"}))
    assert unsaid.truth.labels == ("person",) and unsaid.truth.labelled == {"bus"}
    assert not caplog.messages
    with caplog.at_level(logging.WARNING):
        find(tmp_path, "unsaid.json", rename={"persn": "pedestrian"})
    assert caplog.messages == ["unsaid.json has no label ['persn'], only ['person']"]


def test_coco_in_our_words(tmp_path: Path) -> None:
    write_picture(tmp_path / "val2017" / "a.png")
    content = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "dog"}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": 0}],
    }
    (tmp_path / "instances.json").write_text(json.dumps(content))
    (picture,) = find(tmp_path, "instances.json", images="val2017", rename={"person": "pedestrian"})
    assert picture.truth.labels == ("pedestrian",) and picture.truth.labelled == {"pedestrian", "dog"}


def test_medic(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_picture(tmp_path / "medic" / "data" / "1.jpg")
    lines = [
        "event_name\timage_id\timage_path\tdamage_severity\tdisaster_types",
        "quake\t1\tdata/1.jpg\tsevere\tearthquake",
        "quake\t2\tdata/2.jpg",
        "quake\t3\tdata/3.jpg\t\tnot_disaster",
    ]
    (tmp_path / "medic" / "MEDIC_train.tsv").write_text("\n".join(lines) + "\n")
    with caplog.at_level(logging.WARNING):
        severe, other = find(tmp_path, "medic/MEDIC_train.tsv")
    assert severe.truth.classes == {"damage_severity": "severe", "disaster_types": "earthquake"}
    assert other.truth.classes == {"disaster_types": "not_disaster"} and other.truth.labelled == frozenset()
    assert severe.read().shape == (20, 20, 3)
    assert caplog.messages[0].endswith("MEDIC_train.tsv: skipped line 3: expected 5 columns instead of 3")
    lines[2:] = ["quake\t2\tdata/1.jpg\tmild\tfire", "quake\t3\t../1.jpg\tmild\tfire", lines[3]]
    (tmp_path / "medic" / "MEDIC_train.tsv").write_text("\n".join(lines))
    write_picture(tmp_path / "medic" / "data" / "3.jpg")
    caplog.clear()
    (left,) = find(tmp_path, "medic/MEDIC_train.tsv")
    assert left.truth.classes == {"disaster_types": "not_disaster"}
    assert "line 2: the image_path 'data/1.jpg' is there 2 times" in caplog.messages[0]
    assert "line 4: '../1.jpg' is no path" in caplog.messages[2]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "has the columns '', expected image_path and some of damage_severity"),
        ("image_path\tinformative\tinformative\na.jpg\tyes\tno", "informative', expected .*, each once"),
        ("image_path\tinformative", "has no usable labels: it is empty"),
        ("image_path\tinformative\na.jpg\tyes", "none of the 1 pictures"),
        ("image_path\tinformative\na.jpg", "line 2: expected 2 columns instead of 1"),
    ],
)
def test_a_table_without_anything_usable_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "medic.tsv").write_text(text)
    with pytest.raises(InputError, match=complaint):
        find(tmp_path, "medic.tsv")


def test_faces(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("004_o_m_a_a.jpg", "066_y_f_h_b.jpg", "066_y_f_x_b.jpg"):
        write_picture(tmp_path / "faces" / name)
    with caplog.at_level(logging.WARNING):
        old, young = find(tmp_path, "faces", rename={"young": "adult"})
    assert old.truth.classes == {"age": "old", "gender": "male", "expression": "anger"}
    assert young.truth.classes == {"age": "adult", "gender": "female", "expression": "happiness"}
    assert "skipped 066_y_f_x_b.jpg: expected a name such as" in caplog.messages[0]


@pytest.mark.parametrize(
    ("source", "options", "complaint"),
    [
        ("sim:1", {}, "no pictures 'sim:1': expected sim:SEED:COUNT"),
        ("sim:1:0", {}, "no pictures 'sim:1:0'"),
        ("nothing.json", {}, "no pictures 'nothing.json'"),
        ("nothing.h5:1:5:test", {}, "nothing.h5 is no readable file with 3D Shapes"),
        ("shapes:1:5:validation", {}, "no pictures 'shapes:1:5:validation'"),
        ("shapes:1:5", {"rename": {"cube": "box"}}, "rename or labelled is for pictures that are files"),
        ("sim:1:1", {"images": "folder"}, "'sim:1:1' is no file of labels"),
        (".", {}, "no pictures named as those of FACES; of others, give the file"),
    ],
)
def test_a_source_that_cannot_be_is_refused(
    tmp_path: Path, source: str, options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint):
        find(tmp_path, source, **options)


def test_a_source_that_is_not_there_is_refused_before_any_is_drawn(tmp_path: Path) -> None:
    (tmp_path / "faces").mkdir()
    (tmp_path / "3dshapes.h5").touch()
    check_there(
        [Portion("sim:1:1"), Portion("shapes:1:5"), Portion("3dshapes.h5:1:5:test"), Portion("faces")], tmp_path
    )
    for source in ("train.json", "shapes.h5:1:5", "sim:1"):
        with pytest.raises(InputError, match=f"no pictures '{source.partition('.h5')[0]}.*which --data chooses"):
            check_there([Portion("sim:1:1"), Portion(source)], tmp_path)


def test_a_task_that_no_picture_teaches_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_picture(tmp_path / "images" / "a.png")
    write_labels(tmp_path / "train.json", attributes={"weather": "snowy"})
    pictures = find(tmp_path, "train.json")
    people = Task("people", "detection", ("rider", "person"))
    check_tasks(pictures, [people, Task("weather", "classification", ("rainy", "snowy"))])
    assert caplog.messages == [
        "no picture has people's labels ['rider']: they will never be found",
        "no picture has weather's labels ['rainy']: they will never be found",
    ]
    with pytest.raises(InputError, match=r"^no picture has any of weather's labels \('rainy',\)$"):
        check_tasks(pictures, [people, Task("weather", "classification", ("rainy",))])


def test_a_label_that_may_be_misspelt_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Pictures have labels that no task asks for: one of them may be meant. Not where it is learned elsewhere."""
    write_picture(tmp_path / "images" / "a.png")
    box = {"x1": 1, "y1": 2, "x2": 3, "y2": 4}
    write_labels(tmp_path / "train.json", labels=[{"category": name, "box2d": box} for name in ("person", "rider")])
    pictures = find(tmp_path, "train.json")
    one, other = Task("one", "detection", ("persn", "rider")), Task("other", "detection", ("person",))
    with pytest.raises(
        InputError, match=r"^no picture has one's labels \['persn'\], but there are \['person'\]: correct"
    ):
        check_tasks(pictures, [one])
    check_tasks(pictures, [one, other])
    check_tasks(pictures, [one], {"persn"})
    assert caplog.messages == ["no picture has one's labels ['persn']: they will never be found"] * 2


@pytest.mark.parametrize(
    ("source", "count", "labelled"),
    [
        ("road_mix/val.json", 386, {"car", "truck", "bus", "motorcycle", "traffic light", "traffic sign"}),
        ("carla_towns/val.json", 156, {"bicycle", "car", "motorcycle", "traffic light", "traffic sign"}),
    ],
)
def test_real_pictures(source: str, count: int, labelled: set[str], caplog: pytest.LogCaptureFixture) -> None:
    if not (DATA / source).is_file():
        pytest.skip(f"{DATA / source} is not there")
    pictures = find(DATA, source)
    assert len(pictures) == count and not caplog.messages
    assert set().union(*(picture.truth.labelled or () for picture in pictures)) == labelled
    for picture in pictures:
        assert picture.truth.labelled is not None and picture.truth.labelled.issuperset(picture.truth.labels)
    assert all(picture.read().shape[2] == 3 for picture in pictures[::50])
