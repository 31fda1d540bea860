"""Samples and batches: boxes move with the picture, what is unknown is masked, what is damaged is left out."""

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mtl_split_core.geometry import PADDING_GREY, Letterbox
from mtl_split_core.label_map import UNKNOWN as UNKNOWN_PLACE
from mtl_split_core.label_map import Segmentation, pack, to_input
from mtl_split_core.scene import Task, Truth
from mtl_split_lab.commands.learning import RECIPE
from mtl_split_lab.data import samples as sampling
from mtl_split_lab.data.pictures import LabelledPicture, MaskFile, PictureFile, read_pictures
from mtl_split_lab.data.samples import Batch, Sample, Samples, collate, cut
from mtl_split_lab.data.simulated import CAMERA_SIZE, draw_pictures, street_pictures
from mtl_split_lab.data.sources import find_pictures
from mtl_split_lab.learning.damage import DamageReport
from mtl_split_lab.recipe import Portion, load_recipe
from mtl_split_net.kinds.classification import UNKNOWN
from mtl_split_net.kinds.detection import Objects
from mtl_split_net.vision import transforms

TASKS = (Task("detection", "detection", ("car", "bus")), Task("weather", "classification", ("clear", "rainy")))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[PictureFile]:
    folder = tmp_path_factory.mktemp("drawn")
    return read_pictures(draw_pictures(folder, 10, 5, (256, 144), processes=1))


def test_drawn_pictures_have_the_size_and_labels_asked_for(drawn: list[PictureFile]) -> None:
    assert len(drawn) == 10
    for picture in drawn:
        assert picture.read().shape == (144, 256, 3)
        assert set(picture.truth.classes) == {"timeofday", "weather", "scene"}
        assert (picture.truth.boxes <= [256, 144, 256, 144]).all()


def test_a_batch_holds_every_known_object_and_class(drawn: list[PictureFile]) -> None:
    tasks = load_recipe(RECIPE).tasks
    partly = PictureFile(drawn[0].path, Truth(labelled=frozenset({"car"})))
    batch = collate([Samples([*drawn, partly], (512, 288), False)[index] for index in (0, 1, 10)], tasks)
    assert batch.images.shape == (3, 288, 512, 3)
    objects, weather = batch.targets["detection"], batch.targets["weather"]
    assert isinstance(objects, Objects) and isinstance(weather, torch.Tensor)
    assert objects.present.sum(1).tolist() == [len(drawn[0].truth.labels), len(drawn[1].truth.labels), 0]
    assert objects.labelled.sum(1).tolist() == [9, 9, 1]
    assert weather[2] == UNKNOWN and tasks[2].labels[int(weather[0])] == drawn[0].truth.classes["weather"]
    expected = Letterbox((256, 144), (512, 288)).to_input(drawn[0].truth.boxes)
    np.testing.assert_allclose(objects.boxes[0][objects.present[0]], expected)


def test_mirroring_moves_boxes_with_the_picture(drawn: list[PictureFile]) -> None:
    plain = Samples(drawn, (256, 144), False)[0]
    torch.manual_seed(0)
    augmented = [Samples(drawn, (256, 144), True)[0] for _ in range(32)]
    mirrored = next(sample for sample in augmented if (sample.image[:, ::-1] == plain.image).all())
    np.testing.assert_allclose(mirrored.truth.boxes[:, 0], 256 - plain.truth.boxes[:, 2])
    np.testing.assert_allclose(mirrored.truth.boxes[:, [1, 3]], plain.truth.boxes[:, [1, 3]])


@pytest.mark.parametrize(("colour", "grey"), [((255, 0, 0), 29), ((0, 255, 0), 149), ((0, 0, 255), 76)])
def test_light_is_weighed_by_the_right_colours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, colour: tuple[int, int, int], grey: int
) -> None:
    """Without any saturation, pure blue, green and red become as bright as BT.601 says."""
    monkeypatch.setattr(sampling, "_light", transforms.ColorJitter(saturation=(0, 0)))
    cv2.imwrite(str(tmp_path / "plain.png"), np.full((24, 32, 3), colour, np.uint8))
    torch.manual_seed(0)
    served = Samples([PictureFile(tmp_path / "plain.png", Truth())], (32, 24), augment=True)
    shown = {tuple(served[0].image[0, 0].tolist()) for _ in range(16)}
    assert shown == {colour, (grey, grey, grey)}


def test_a_window_shows_what_its_truth_says() -> None:
    """White objects on black: in every window, what is white is in a box, and what is in a box is white."""
    boxes = np.array([[30, 40, 80, 90], [150, 20, 200, 60], [230, 100, 250, 140]], np.float32)
    image = np.zeros((144, 256, 3), np.uint8)
    for x1, y1, x2, y2 in boxes.astype(int):
        image[y1:y2, x1:x2] = 255
    truth = Truth(boxes, ("car", "bus", "car"), np.ones(3, np.float32), np.zeros(3, np.bool_))
    for scale in (0.65, 1.0, 1.25):
        for _ in range(8):
            window = cut(Sample(image, truth), (128, 96), scale, {"car", "bus"})
            inside = np.zeros((96, 128), np.bool_)
            for x1, y1, x2, y2 in window.truth.boxes:
                inside[max(0, round(y1 - 1)) : round(y2 + 1), max(0, round(x1 - 1)) : round(x2 + 1)] = True
            assert window.image.shape == (96, 128, 3)
            assert len(window.truth.labels) and not (window.image[~inside] > 128).any()
            x, y = (window.truth.boxes[:, :2] + window.truth.boxes[:, 2:]).astype(int).T // 2
            assert (window.image[y, x] > 128).all()


LABELS = ("background", "road")


def masked(numbers: np.ndarray) -> Truth:
    return Truth(masks={"road": Segmentation(LABELS, pack(numbers)), "other": Segmentation(LABELS, b"not looked at")})


def test_masks_move_with_the_picture(tmp_path: Path) -> None:
    """A mask of what is bright stays one, at half the picture's resolution and whatever is done to the picture."""
    numbers = np.zeros((72, 128), np.uint8)
    numbers[20:50, 10:60] = 1
    bright = cv2.resize(numbers * 255, (256, 144), interpolation=cv2.INTER_NEAREST)
    cv2.imwrite(str(tmp_path / "a.png"), cv2.cvtColor(bright, cv2.COLOR_GRAY2BGR))
    picture = PictureFile(tmp_path / "a.png", masked(numbers))
    torch.manual_seed(0)
    for window in (None, (64, 32)):
        served = Samples([picture], (128, 128), augment=True, window=window, tasks=["road"])
        for _ in range(20):
            sample = served[0]
            found = sample.truth.masks["road"].indices()
            assert sample.truth.masks.keys() == {"road"} and found.shape == sample.image.shape[:2]
            known = found != UNKNOWN_PLACE
            assert ((sample.image.mean(axis=2) > 100) == (found == 1))[known].mean() > 0.96
            assert known.all() == (window is not None) or (sample.image[~known] == PADDING_GREY).mean() > 0.9


def test_a_mask_that_is_damaged_or_of_another_picture_is_told(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((144, 256, 3), np.uint8))
    (tmp_path / "mask.png").write_bytes(b"none")
    broken = replace(masked(np.zeros((9, 16), np.uint8)), masks={"road": MaskFile(LABELS, tmp_path / "mask.png")})
    for truth, complaint in (
        (masked(np.zeros((16, 9), np.uint8)), "the mask has 9x16 places, expected the aspect of its picture, 256x144"),
        (broken, "is no readable mask"),
    ):
        sample = Samples([PictureFile(tmp_path / "a.png", truth)], (128, 72), tasks=["road"])[0]
        assert sample.damage is not None and complaint in sample.damage


def test_drawn_pictures_have_masks(tmp_path: Path) -> None:
    [picture] = find_pictures(Portion("sim:5:1"), tmp_path, tmp_path, (256, 144), processes=1)
    _, truth = next(street_pictures(5))
    assert picture.truth.masks.keys() == truth.masks.keys()
    for task, mask in picture.truth.masks.items():
        expected = to_input(truth.masks[task].indices(), Letterbox(CAMERA_SIZE, (256, 144)))
        assert mask.labels == truth.masks[task].labels and np.array_equal(mask.indices(), expected)
    # Those that were drawn without masks, by an earlier version, are drawn once more.
    shutil.rmtree(tmp_path / "sim-5-1-256x144" / "masks")
    [again] = find_pictures(Portion("sim:5:1"), tmp_path, tmp_path, (256, 144), processes=1)
    assert again.truth.masks.keys() == truth.masks.keys()


def test_a_window_is_around_what_is_to_be_learned() -> None:
    boxes = np.array([[10, 10, 20, 20], [230, 10, 240, 20], [120, 120, 130, 130]], np.float32)
    image = np.zeros((144, 256, 3), np.uint8)
    truth = Truth(boxes, ("car", "dog", "car"), np.ones(3, np.float32), np.array([False, False, True]))
    for _ in range(8):
        window = cut(Sample(image, truth), (64, 64), 1.0, {"car", "bus"})
        assert window.truth.labels == ("car",) and not window.truth.ignore.any()
    assert cut(Sample(image, truth), (64, 64), 1.0, {"bus"}).image.shape == (64, 64, 3)


def test_what_is_cut_off_or_tiny_is_to_be_ignored() -> None:
    boxes = np.array([[0, 0, 100, 100], [100, 90, 104, 94]], np.float32)
    image = np.zeros((100, 110, 3), np.uint8)
    both = Truth(boxes, ("car", "car"), np.ones(2, np.float32), np.zeros(2, np.bool_))
    assert cut(Sample(image, both), (110, 100), 1.0, {"car"}).truth.ignore.tolist() == [False, True]
    large = Truth(boxes[:1], ("car",), np.ones(1, np.float32), np.zeros(1, np.bool_))
    assert cut(Sample(image, large), (20, 100), 1.0, {"car"}).truth.ignore.tolist() == [True]


@pytest.fixture
def pictures(tmp_path: Path) -> list[LabelledPicture]:
    """Four pictures, the second and the third of them damaged."""
    truth = Truth(np.array([[4, 4, 20, 20]], np.float32), ("car",), np.ones(1, np.float32), np.zeros(1, np.bool_))
    cv2.imwrite(str(tmp_path / "0.png"), np.full((24, 32, 3), 10, np.uint8))
    (tmp_path / "1.png").write_bytes((tmp_path / "0.png").read_bytes()[:40])
    cv2.imwrite(str(tmp_path / "3.png"), np.full((24, 32, 3), 30, np.uint8))
    return [PictureFile(tmp_path / f"{number}.png", truth) for number in range(4)]


@pytest.mark.parametrize("window", [None, (16, 12)])
def test_damaged_pictures_are_left_out_of_their_batch(
    pictures: list[LabelledPicture], window: tuple[int, int] | None
) -> None:
    samples = Samples(pictures, (32, 24), augment=False, window=window)
    batch = collate([samples[index] for index in range(4)], TASKS)
    assert batch.images[:, 0, 0, 0].tolist() == [10, 30]
    assert all("is no readable picture" in damage for damage in batch.damage)
    assert ["1.png" in batch.damage[0], "2.png" in batch.damage[1]] == [True, True]


@pytest.mark.parametrize("window", [None, (16, 12)])
def test_a_batch_of_damaged_pictures_teaches_nothing(
    pictures: list[LabelledPicture], window: tuple[int, int] | None
) -> None:
    samples = Samples(pictures, (32, 24), augment=True, window=window)
    batch = collate([samples[1], samples[2]], TASKS)
    width, height = window or (32, 24)
    assert batch.images.shape == (2, height, width, 3)
    objects, weather = batch.targets["detection"], batch.targets["weather"]
    assert isinstance(objects, Objects) and isinstance(weather, torch.Tensor)
    assert not objects.labelled.any() and (weather == UNKNOWN).all()


def test_a_damaged_picture_is_reported_once_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    report = DamageReport()
    with caplog.at_level(logging.WARNING):
        for damage in [("one.jpg is damaged",), (), ("one.jpg is damaged", "two.jpg is damaged")]:
            report.on_train_batch_start(None, None, Batch(torch.zeros(1), {}, torch.zeros(1), damage), 0)
        batch = Batch(torch.zeros(1), {}, torch.zeros(1), ("two.jpg is damaged",))
        report.on_validation_batch_start(None, None, batch, 0)
        report.on_fit_end(None, None)
    assert caplog.messages == [
        "left out: one.jpg is damaged",
        "left out: two.jpg is damaged",
        "left out 2 damaged pictures",
    ]


def test_what_a_picture_does_not_label_is_unknown() -> None:
    """No weather, a weather that is no label of the task, and a picture in which only buses have their boxes."""
    image = np.zeros((24, 32, 3), np.uint8)
    truths = [
        Truth(labelled=frozenset({"bus"})),
        Truth(classes={"weather": "snowy"}),
        Truth(classes={"weather": "rainy"}),
    ]
    batch = collate([Sample(image, truth) for truth in truths], TASKS)
    objects, weather = batch.targets["detection"], batch.targets["weather"]
    assert isinstance(objects, Objects) and isinstance(weather, torch.Tensor)
    assert weather.tolist() == [UNKNOWN, UNKNOWN, 1]
    assert objects.labelled.tolist() == [[False, True], [True, True], [True, True]]
