"""From a recipe to a bundle: train, interrupt, go on, export, and the bundle answers as torch does."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from mtl_split_core.bundle import load_bundle
from mtl_split_core.errors import InputError
from mtl_split_core.halves import EdgeHalf, ServerHalf
from mtl_split_core.scene import Classification, Detections
from mtl_split_lab.command import RECIPE, main
from mtl_split_lab.export import load_network
from mtl_split_lab.pictures import LABELS, read_pictures
from mtl_split_lab.recipe import load_recipe
from mtl_split_lab.training import LATEST, Training


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
        ({"speed": 1}, "speed: Unexpected keyword argument, got 1"),
        ({"training": []}, r"training: Tuple should have at least 1 item.*got \[\]"),
        (
            {"validation": [{"pictures": "a.json", "repeat": 0}]},
            "validation.0.repeat: Input should be greater than 0, got 0",
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
    with pytest.raises(InputError, match="tasks: Field required"):
        load_recipe(tmp_path / "recipe.yaml")


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
    assert torch.load(run / LATEST, weights_only=True)["epoch"] == 0
    main(arguments)
    return run


def test_an_interrupted_training_goes_on(run: Path) -> None:
    checkpoint = torch.load(run / LATEST, weights_only=True)
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
