"""From a recipe to a bundle: train, interrupt, go on, export, and the bundle answers as torch does."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from mtl_split_core.bundle import load_bundle
from mtl_split_core.errors import InputError
from mtl_split_core.geometry import Letterbox
from mtl_split_core.halves import EdgeHalf, ServerHalf
from mtl_split_core.scene import Classification, Detections, Truth
from mtl_split_lab.command import RECIPE, main
from mtl_split_lab.export import load_network
from mtl_split_lab.pictures import LABELS, LabelledPicture, read_pictures, write_labels
from mtl_split_lab.recipe import load_recipe
from mtl_split_lab.samples import Sample, Samples, collate, cut
from mtl_split_lab.simulated import draw_pictures
from mtl_split_lab.training import CHECKPOINT, Training
from mtl_split_net.losses import UNKNOWN, Objects


def write_recipe(path: Path, **changes: object) -> Path:
    path.write_text(yaml.safe_dump(yaml.safe_load(RECIPE.read_text()) | changes))
    return path


def test_the_shipped_recipe_is_complete() -> None:
    recipe = load_recipe(RECIPE)
    assert [task.kind for task in recipe.tasks] == ["detection", *["classification"] * 3]
    assert 0 < recipe.crop_epochs < recipe.epochs


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"speed": 1}, r"unknown keys \['speed'\]"),
        ({"training": []}, r"training is \[\], expected a list of pictures"),
        (
            {"validation": [{"pictures": "a.json", "repeat": 0}]},
            "validation has .*'repeat': 0.*expected pictures: SOURCE",
        ),
        ({"tasks": [{"name": "weather"}]}, "tasks need name, kind and labels"),
        ({"tasks": [{"name": "road type", "kind": "classification", "labels": ["a"]}]}, "'road type' is no task name"),
    ],
)
def test_a_wrong_recipe_is_named(tmp_path: Path, changes: dict[str, object], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        load_recipe(write_recipe(tmp_path / "recipe.yaml", **changes))


def test_a_recipe_without_a_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("name: street\n")
    with pytest.raises(InputError, match=r"missing keys \['backbone'"):
        load_recipe(tmp_path / "recipe.yaml")


def test_labels_return_as_they_were_written(tmp_path: Path) -> None:
    truth = Truth(
        np.array([[1, 2, 30, 40], [5, 5, 9, 9]], np.float32),
        ("car", "bus"),
        np.array([1, 0.25], np.float32),
        np.array([False, True]),
        {"weather": "foggy"},
        frozenset({"car", "bus"}),
    )
    write_labels(tmp_path / LABELS, [("one.jpg", truth), ("two.jpg", Truth())])
    one, two = read_pictures(tmp_path / LABELS)
    assert one.path == tmp_path / "images" / "one.jpg"
    np.testing.assert_equal(vars(one.truth), vars(truth))
    np.testing.assert_equal(vars(two.truth), vars(Truth()))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[LabelledPicture]:
    folder = tmp_path_factory.mktemp("drawn")
    return read_pictures(draw_pictures(folder, 10, 5, (256, 144), processes=1))


def test_drawn_pictures_have_the_size_and_labels_asked_for(drawn: list[LabelledPicture]) -> None:
    assert len(drawn) == 10
    for picture in drawn:
        assert picture.read().shape == (144, 256, 3)
        assert set(picture.truth.classes) == {"timeofday", "weather", "scene"}
        assert (picture.truth.boxes <= [256, 144, 256, 144]).all()


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"broken\.jpg is no readable picture"):
        LabelledPicture(tmp_path / "broken.jpg", Truth()).read()


def test_a_batch_holds_every_known_object_and_class(drawn: list[LabelledPicture]) -> None:
    tasks = load_recipe(RECIPE).tasks
    partly = LabelledPicture(drawn[0].path, Truth(labelled=frozenset({"car"})))
    batch = collate([Samples([*drawn, partly], (512, 288), False)[index] for index in (0, 1, 10)], tasks)
    assert batch.images.shape == (3, 288, 512, 3)
    objects, weather = batch.targets["detection"], batch.targets["weather"]
    assert isinstance(objects, Objects) and isinstance(weather, torch.Tensor)
    assert objects.present.sum(1).tolist() == [len(drawn[0].truth.labels), len(drawn[1].truth.labels), 0]
    assert objects.labelled.sum(1).tolist() == [9, 9, 1]
    assert weather[2] == UNKNOWN and tasks[2].labels[int(weather[0])] == drawn[0].truth.classes["weather"]
    expected = Letterbox((256, 144), (512, 288)).to_input(drawn[0].truth.boxes)
    np.testing.assert_allclose(objects.boxes[0][objects.present[0]], expected)


def test_mirroring_moves_boxes_with_the_picture(drawn: list[LabelledPicture]) -> None:
    plain = Samples(drawn, (256, 144), False)[0]
    torch.manual_seed(0)
    augmented = [Samples(drawn, (256, 144), True)[0] for _ in range(32)]
    mirrored = next(sample for sample in augmented if (sample.image[:, ::-1] == plain.image).all())
    np.testing.assert_allclose(mirrored.truth.boxes[:, 0], 256 - plain.truth.boxes[:, 2])
    np.testing.assert_allclose(mirrored.truth.boxes[:, [1, 3]], plain.truth.boxes[:, [1, 3]])


def test_a_window_shows_what_its_truth_says() -> None:
    """White objects on black: in every window, what is white is in a box, and what is in a box is white."""
    boxes = np.array([[30, 40, 80, 90], [150, 20, 200, 60], [230, 100, 250, 140]], np.float32)
    image = np.zeros((144, 256, 3), np.uint8)
    for x1, y1, x2, y2 in boxes.astype(int):
        image[y1:y2, x1:x2] = 255
    truth = Truth(boxes, ("car", "bus", "car"), np.ones(3, np.float32), np.zeros(3, np.bool_))
    for scale in (0.65, 1.0, 1.25):
        for _ in range(8):
            window = cut(Sample(image, truth), (128, 96), scale)
            inside = np.zeros((96, 128), np.bool_)
            for x1, y1, x2, y2 in window.truth.boxes:
                inside[max(0, round(y1 - 1)) : round(y2 + 1), max(0, round(x1 - 1)) : round(x2 + 1)] = True
            assert window.image.shape == (96, 128, 3)
            assert len(window.truth.labels) and not (window.image[~inside] > 128).any()
            x, y = (window.truth.boxes[:, :2] + window.truth.boxes[:, 2:]).astype(int).T // 2
            assert (window.image[y, x] > 128).all()


def test_what_is_cut_off_or_tiny_is_to_be_ignored() -> None:
    boxes = np.array([[0, 0, 100, 100], [100, 90, 104, 94]], np.float32)
    image = np.zeros((100, 110, 3), np.uint8)
    both = Truth(boxes, ("car", "car"), np.ones(2, np.float32), np.zeros(2, np.bool_))
    assert cut(Sample(image, both), (110, 100), 1.0).truth.ignore.tolist() == [False, True]
    large = Truth(boxes[:1], ("car",), np.ones(1, np.float32), np.zeros(1, np.bool_))
    assert cut(Sample(image, large), (20, 100), 1.0).truth.ignore.tolist() == [True]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of three epochs that was interrupted in the second and taken up again."""
    folder = tmp_path_factory.mktemp("training")
    recipe = write_recipe(
        folder / "recipe.yaml",
        input_size=[256, 160],
        training=[{"pictures": "sim:1000000:10", "repeat": 2}],
        validation=[{"pictures": "sim:2000000:2"}],
        batch=4,
        crop_epochs=2,
        epochs=3,
    )
    run = folder / "run"
    arguments = ["train", str(recipe), "--run", str(run), "--processes", "1"]

    def interrupt(training: Training) -> None:
        if training.current_epoch == 1:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises((KeyboardInterrupt, SystemExit)):
        patch.setattr(Training, "on_train_epoch_start", interrupt)
        main(arguments)
    assert torch.load(run / CHECKPOINT, weights_only=True)["epoch"] == 0
    main(arguments)
    return run


def test_an_interrupted_training_goes_on(run: Path) -> None:
    checkpoint = torch.load(run / CHECKPOINT, weights_only=True)
    assert checkpoint["epoch"] == 2
    assert checkpoint["global_step"] == 3 * 20 // 4


def test_a_bundle_answers_as_torch_does(run: Path, tmp_path: Path) -> None:
    main(["export", "--run", str(run), "--bundle", str(tmp_path / "bundle"), "--streets", "1"])
    bundle = load_bundle(tmp_path / "bundle")
    measured = bundle.manifest["measured"]["simulated street"]
    assert measured["pictures"] == 10 and set(measured["classification"]) == {"timeofday", "weather", "scene"}
    edge, server = EdgeHalf(bundle), ServerHalf(bundle, score_threshold=0.0)
    _, network = load_network(run)
    for picture in read_pictures(run / "sim-1000000-10" / LABELS)[:3]:
        image = picture.read()
        results = server.decode(edge.encode(image), (image.shape[1], image.shape[0]))
        with torch.no_grad():
            outputs = network(torch.from_numpy(image)[None], bundle.payload_format.operating_points[0].step)
        weather, detections = results["weather"], results["detection"]
        assert isinstance(weather, Classification) and isinstance(detections, Detections)
        np.testing.assert_allclose(weather.scores, outputs["weather"].softmax(-1)[0], atol=0.02)
        assert detections.scores[0] == pytest.approx(float(outputs["detection"].logits.sigmoid().max()), abs=0.02)


def test_another_recipe_in_the_same_folder_is_refused(run: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", bottleneck_channels=3)
    with pytest.raises(SystemExit, match="1"):
        main(["train", str(recipe), "--run", str(run)])
