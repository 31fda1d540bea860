"""From a recipe to a bundle: train, interrupt, go on, export, and the bundle answers as torch does."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from mtl_split_core.bundle import load_bundle
from mtl_split_core.errors import InputError
from mtl_split_core.halves import EdgeHalf, ServerHalf
from mtl_split_core.scene import Classification, Detections
from mtl_split_lab.command import main
from mtl_split_lab.commands.learning import RECIPE
from mtl_split_lab.data.pictures import LABELS, read_pictures
from mtl_split_lab.learning.beginning import build_network, start_from
from mtl_split_lab.learning.curves import CURVES, draw_curves, read_losses
from mtl_split_lab.learning.export import load_network
from mtl_split_lab.learning.training import BEST, LATEST, Training
from mtl_split_lab.recipe import RECIPES, load_recipe
from mtl_split_net.tasks import LearnedTask


def write_recipe(path: Path, **changes: object) -> Path:
    path.write_text(yaml.safe_dump(yaml.safe_load(RECIPE.read_text()) | changes))
    return path


@pytest.mark.parametrize("name", ["street", "roads"])
def test_the_shipped_recipes_are_complete(name: str) -> None:
    recipe = load_recipe(RECIPES / f"{name}.yaml")
    assert [task.kind for task in recipe.tasks] == ["detection", *["classification"] * 3]
    assert 0 < recipe.crop_epochs < recipe.epochs
    assert recipe.name == name
    assert recipe.network is None or (recipe.network.licence and recipe.distil is not None)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"speed": 1}, "speed: Unexpected keyword argument, got 1"),
        ({"training": [], "validation": []}, "training needs pictures, or distil does"),
        ({"validation": []}, "training and validation need pictures, or neither of them"),
        (
            {"validation": [{"pictures": "a.json", "repeat": 0}]},
            "validation.0.repeat: Input should be greater than or equal to 1, got 0",
        ),
        (
            {"network": {"detector": "yolox", "labels": ["car"], "cut": "a"}},
            "either onnx, a file, or module, a function",
        ),
        ({"network": {"onnx": "a.onnx", "detector": "yolox", "labels": "coco"}}, "network needs a cut"),
        ({"distil": {"pictures": [{"pictures": "a.json"}]}}, "distil needs a network that others trained"),
        ({"training": [{"pictures": "a.json", "imitate": True}]}, "imitate needs a teacher"),
        ({"operating_points": {"fine": 2000}}, "operating points need a default"),
        ({"operating_points": {"default": 800, "fine": 800}}, "different numbers of bytes"),
        ({"crop": [320, 240]}, "crop needs multiples of 32 pixels"),
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


class Interruption(Exception):
    """Ends a training in its midst."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of three epochs that was interrupted in the second and taken up again."""
    folder = tmp_path_factory.mktemp("training")
    recipe = write_recipe(
        folder / "recipe.yaml",
        input_size=[256, 160],
        operating_points={"coarse": 60, "default": 200},
        training=[{"pictures": "sim:1000000:10", "repeat": 2}],
        validation=[{"pictures": "sim:2000000:2"}],
        testing=[{"pictures": "sim:100000:3"}],
        batch=4,
        crop=[128, 96],
        crop_epochs=2,
        epochs=3,
    )
    run = folder / "run"
    arguments = ["train", str(recipe), "--run", str(run), "--processes", "1"]

    def interrupt(training: Training) -> None:
        if training.current_epoch == 1:
            raise Interruption

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Interruption):
        patch.setattr(Training, "on_train_epoch_start", interrupt)
        main(arguments)
    assert torch.load(run / LATEST, weights_only=True)["epoch"] == 0
    main(arguments)
    return run


def test_an_interrupted_training_goes_on(run: Path) -> None:
    checkpoint = torch.load(run / LATEST, weights_only=True)
    assert checkpoint["epoch"] == 2
    assert checkpoint["global_step"] == 3 * 20 // 4
    losses = read_losses(run)
    assert {"train/loss", "validation/loss", "train/detection", "validation/weather"} <= losses.keys()
    assert all(sorted(epochs) == [0, 1, 2] for epochs in losses.values())
    curves = (run / CURVES).read_bytes()
    assert curves.startswith(b"\x89PNG")
    draw_curves(run)
    assert (run / CURVES).read_bytes() == curves, "the last epoch's losses are missing"
    best = torch.load(run / BEST, weights_only=True)["epoch"]
    assert losses["validation/loss"][best] == min(losses["validation/loss"].values())


SHAPES = {
    "tasks": [
        {"name": "size", "kind": "classification", "labels": [str(size) for size in range(8)], "head": "flattened"}
    ],
    "training": [{"pictures": "shapes:0:48:train"}],
    "validation": [{"pictures": "shapes:1:16:train"}],
    "testing": [],
    "input_size": [64, 64],
    "cut": "features.12",
    "bottleneck_channels": None,
    "operating_points": {},
    "crop": None,
    "crop_epochs": 0,
}


def test_the_same_seed_gives_the_same_losses(tmp_path: Path) -> None:
    def losses(run: str, seed: int) -> dict[str, dict[int, float]]:
        recipe = write_recipe(tmp_path / f"{run}.yaml", **SHAPES, epochs=2, seed=seed)
        main(["train", str(recipe), "--run", str(tmp_path / run), "--processes", "1"])
        return read_losses(tmp_path / run)

    assert losses("one", 1) == losses("two", 1) != losses("three", 2)


def test_training_ends_when_validation_gets_no_better(tmp_path: Path) -> None:
    """With such a learning rate, epochs soon get worse."""
    recipe = write_recipe(tmp_path / "recipe.yaml", **SHAPES, epochs=40, patience=1, learning_rate=0.3)
    main(["train", str(recipe), "--run", str(tmp_path / "run"), "--processes", "1"])
    assert len(read_losses(tmp_path / "run")["validation/loss"]) < 40


def test_a_bundle_needs_a_bottleneck(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", **SHAPES, epochs=1)
    main(["train", str(recipe), "--run", str(tmp_path / "run"), "--processes", "1"])
    with pytest.raises(SystemExit, match="1"):
        main(["export", "--run", str(tmp_path / "run"), "--bundle", str(tmp_path / "bundle")])
    assert "has no operating_points" in capsys.readouterr().err


def test_a_bundle_answers_as_torch_does(run: Path, tmp_path: Path) -> None:
    main(["export", "--run", str(run), "--bundle", str(tmp_path / "bundle"), "--processes", "1"])
    bundle = load_bundle(tmp_path / "bundle")
    measured = bundle.manifest["measured"]["sim:100000:3"]
    assert measured["frames"] == 3 and set(measured["classification"]) == {"timeofday", "weather", "scene"}
    edge, server = EdgeHalf(bundle), ServerHalf(bundle, score_threshold=0.0)
    _, network = load_network(run)
    for picture in read_pictures(run / "sim-1000000-10-256x160" / LABELS)[:3]:
        image = picture.read()
        results = server.decode(edge.encode(image).payload, (image.shape[1], image.shape[0]))
        with torch.no_grad():
            latents = bundle.payload_format.unpack(edge.encode(image).payload)
            outputs = network.suffix(torch.from_numpy(latents)[None])
        weather, detections = results["weather"], results["detection"]
        assert isinstance(weather, Classification) and isinstance(detections, Detections)
        np.testing.assert_allclose(weather.scores, outputs["weather"].softmax(-1)[0], atol=0.02)
        assert detections.scores[0] == pytest.approx(float(outputs["detection"].logits.sigmoid().max()), abs=0.02)


def test_another_recipe_in_the_same_folder_is_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", bottleneck_channels=3)
    with pytest.raises(SystemExit, match="1"):
        main(["train", str(recipe), "--run", str(run)])
    assert "holds a training of another recipe" in capsys.readouterr().err


def test_a_recipe_that_failed_can_be_put_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--run", str(tmp_path / "run"), "--processes", "1"]
    wrong = write_recipe(tmp_path / "recipe.yaml", **{**SHAPES, "validation": [{"pictures": "vall.json"}]}, epochs=1)
    with pytest.raises(SystemExit, match="1"):
        main(["train", str(wrong), *arguments])
    assert "no pictures 'vall.json'" in capsys.readouterr().err
    main(["train", str(write_recipe(tmp_path / "recipe.yaml", **SHAPES, epochs=1)), *arguments])
    assert (tmp_path / "run" / BEST).exists()


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What `mtl-split train` says, in one line."""
    with pytest.raises(SystemExit, match="1"):
        main(["train", *arguments, "--processes", "1"])
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mtl-split: ")]
    return line


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("accelerator", "abacus", "cannot train with accelerator abacus, devices 1, num_nodes 1, precision 32-true: "),
        ("accelerator", "mps", "cannot train with accelerator mps"),
        ("precision", "7", "cannot train with accelerator auto, devices 1, num_nodes 1, precision 7: "),
    ],
)
def test_hardware_that_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, words: str
) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", **SHAPES)
    assert words in complaint(capsys, str(recipe), "--run", str(tmp_path / "run"), f"--{option}", value)
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", **SHAPES)
    for folder, words in (("a::b", "expected a name without '::'"), ("recipe.yaml/run", "Not a directory")):
        assert words in complaint(capsys, str(recipe), "--run", str(tmp_path / folder))


def test_weights_of_something_else_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", **SHAPES)
    (tmp_path / "text").write_text(".")
    torch.save({1: torch.zeros(1)}, tmp_path / "numbered")
    torch.save({"state_dict": {"network.a": 1}}, tmp_path / "numbers")
    for option, name, words in (
        ("pretrained", "text", "text is no checkpoint of weights alone: "),
        ("pretrained", "numbered", "numbered is no checkpoint of torchvision's MobileNetV3: "),
        ("start", "numbers", "numbers has a state_dict of other things than tensors by name"),
    ):
        arguments = (str(recipe), "--run", str(tmp_path / "run"), f"--{option}", str(tmp_path / name))
        assert words in complaint(capsys, *arguments)


def test_the_recipe_may_be_the_one_in_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run #1?x=100%"
    run.mkdir()
    recipe = write_recipe(run / "recipe.yaml", **SHAPES, epochs=1)
    linked = tmp_path / "linked.yaml"
    linked.hardlink_to(recipe)
    main(["train", str(linked), "--run", str(run), "--processes", "1"])
    assert (run / BEST).exists() and load_recipe(recipe) == load_recipe(linked)
    (run / LATEST).write_bytes(b".")
    assert "latest.ckpt is no checkpoint of weights alone" in complaint(capsys, str(recipe), "--run", str(run))


def test_another_tasks_network_is_a_start(run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recipe = load_recipe(run / "recipe.yaml")
    before = load_network(run)[1].state_dict()
    people = LearnedTask("detection", "detection", ("person",), "anchor-free", 1.0)
    roads = LearnedTask("road", "classification", ("dry", "wet"), "pooled", 1.0)
    network = build_network(replace(recipe, tasks=(people, recipe.tasks[1], roads)))
    with caplog.at_level(logging.WARNING):
        start_from(network, run / BEST)
    after = network.state_dict()
    for part in ("prefix", "suffix.decoder", "suffix.body.neck", f"suffix.heads.{recipe.tasks[1].name}_head", "rate"):
        names = [name for name in before if name.startswith(part)]
        assert names and all(torch.equal(before[name], after[name]) for name in names)
    assert "no weights that fit suffix.heads.detection_head, suffix.heads.road_head:" in caplog.messages[0]
    with pytest.raises(InputError, match="do not fit the stages of this one"):
        start_from(build_network(replace(recipe, backbone="vgg16", cut="features.9")), run / BEST)
