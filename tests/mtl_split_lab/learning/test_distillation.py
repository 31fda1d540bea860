"""A detector that others trained gets a bottleneck without labels, becomes a bundle, and is trained on from there."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import torch
import yaml
from onnx import helper, numpy_helper

from mtl_split_core.bundle import load_bundle
from mtl_split_core.errors import InputError
from mtl_split_core.halves import EdgeHalf, ServerHalf
from mtl_split_core.kinds.detection import suppress
from mtl_split_core.scene import Detections, Truth
from mtl_split_lab.command import main
from mtl_split_lab.data.pictures import IMAGES, LABELS, read_pictures, write_labels
from mtl_split_lab.learning.beginning import build_network
from mtl_split_lab.learning.curves import read_losses
from mtl_split_lab.learning.teacher import (
    DOUBTFUL,
    FOUND,
    OVERLAP,
    Teacher,
    TeacherNetwork,
    add_objects,
    check_points,
    teach,
)
from mtl_split_lab.learning.training import DISTILLED
from mtl_split_lab.learning.weights import WEIGHTS, read_weights
from mtl_split_lab.recipe import ImportedDetector, PixelStatistics, load_recipe
from mtl_split_net.detectors import decode_boxes
from mtl_split_net.kinds.detection import Candidates, imitation_parts

from ...tiny_detector import CUT, HEIGHT, WIDTH, write_tiny_detector
from ...tiny_detector import LABELS as THEIRS

pytestmark = pytest.mark.timeout(600)

PICTURES = 24
RECIPE = {
    "name": "tiny",
    "tasks": [{"name": "detection", "kind": "detection", "labels": ["car", "lorry"]}],
    "network": {
        "onnx": "tiny.onnx", "cut": CUT, "detector": "yolox", "labels": list(THEIRS), "rename": {"bus": "lorry"},
        "source": "made for a test", "licence": "Apache-2.0",
    },
    "distil": {"pictures": [{"pictures": "labels.json"}], "epochs": 8},
    "testing": [{"pictures": "labels.json"}],
    "calibration": [{"pictures": "labels.json"}],
    "input_size": [WIDTH, HEIGHT],
    "bottleneck_channels": 6,
    "bottleneck_reduction": 1,
    "operating_points": {"coarse": 60, "default": 110},
    "batch": 4,
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Smooth pictures, in each of which a car is labelled."""
    folder = tmp_path_factory.mktemp("data")
    write_tiny_detector(folder / "tiny.onnx")
    (folder / IMAGES).mkdir()
    chance = np.random.default_rng(0)
    truth = Truth(
        np.array([[8, 4, 40, 28]], np.float32), ("car",), np.ones(1, np.float32), np.zeros(1, np.bool_),
        labelled=frozenset({"car"}),
    )  # fmt: skip
    labels = []
    for number in range(PICTURES):
        picture = cv2.resize(chance.integers(0, 256, (4, 8, 3), np.uint8), (WIDTH, HEIGHT))
        cv2.imwrite(str(folder / IMAGES / f"{number}.png"), picture)
        labels.append((f"{number}.png", truth))
    write_labels(folder / LABELS, labels)
    return folder


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A distillation, and the bundle of it."""
    folder = tmp_path_factory.mktemp("training")
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    arguments = ["--run", str(folder / "run"), "--data", str(data), "--processes", "1"]
    main(["train", str(folder / "recipe.yaml"), *arguments])
    main(["export", "--bundle", str(folder / "bundle"), *arguments])
    yield folder / "run"


def test_it_learns_to_imitate(run: Path) -> None:
    losses = read_losses(run / DISTILLED)
    assert {"train/features", "train/score", "train/box", "train/rate"} <= losses.keys()
    assert losses["train/features"][7] < 0.7 * losses["train/features"][0]


def test_the_part_before_the_cut_stays_as_it_was(run: Path, data: Path) -> None:
    distilled = read_weights(run / "best.ckpt")
    untouched = build_network(load_recipe(run / "recipe.yaml"), graph=data / "tiny.onnx").state_dict()
    before = [name for name in untouched if name.startswith("prefix.stages.")]
    behind = [name for name in untouched if name.startswith("suffix.body.") and name.endswith("weight")]
    assert before and all(torch.equal(distilled[name], untouched[name]) for name in before)
    assert behind and not any(torch.equal(distilled[name], untouched[name]) for name in behind)


def test_the_bundle_answers_with_our_labels_and_names_where_it_began(run: Path, data: Path) -> None:
    bundle = load_bundle(run.parent / "bundle")
    assert bundle.manifest["began_with"] | {"sha256": ""} == {
        "file": "tiny.onnx", "sha256": "", "source": "made for a test", "licence": "Apache-2.0"
    }  # fmt: skip
    image = cv2.imread(str(data / IMAGES / "0.png"))
    assert image is not None
    encoded = EdgeHalf(bundle).encode(image.astype(np.uint8))
    found = ServerHalf(bundle, score_threshold=0.01).decode(encoded.payload, (WIDTH, HEIGHT))["detection"]
    assert len(found.labels) and set(found.labels) <= {"car", "lorry"}


def test_the_bundles_weights_are_trained_on_without_the_file(run: Path, data: Path, tmp_path: Path) -> None:
    """Another task, labels, and no file of the network."""
    recipe = RECIPE | {
        "network": RECIPE["network"] | {"onnx": "not/here.onnx"},  # type: ignore[operator]
        "teacher": {"onnx": "tiny.onnx", "detector": "yolox", "labels": list(THEIRS), "rename": {"bus": "lorry"}},
        "training": [{"pictures": "labels.json", "imitate": True}, {"pictures": "labels.json"}],
        "validation": [{"pictures": "labels.json"}],
        "epochs": 1,
        "learning_rate": 0.0001,
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    arguments = ["--run", str(tmp_path / "run"), "--data", str(data), "--processes", "1"]
    main(["train", str(tmp_path / "recipe.yaml"), "--start", str(run.parent / "bundle"), *arguments])
    started, trained = read_weights(run.parent / "bundle"), read_weights(tmp_path / "run" / "best.ckpt")
    assert started.keys() == trained.keys()
    assert read_losses(tmp_path / "run")["train/imitation"][0] > 0
    before = [name for name in started if name.startswith("prefix.stages.") and name.endswith("weight")]
    for name in before:
        assert not torch.equal(started[name], trained[name])
        torch.testing.assert_close(started[name], trained[name], atol=0.01, rtol=0)
    main(["export", "--bundle", str(tmp_path / "bundle"), *arguments])
    origins = [
        json.loads((folder / "manifest.json").read_text())["began_with"]
        for folder in (run.parent / "bundle", tmp_path / "bundle")
    ]
    assert origins[0] == origins[1]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"network": RECIPE["network"] | {"cut": "eighth"}}, "is cut at 'shuffled', the recipe's network at 'eighth'"),  # type: ignore[operator]
        ({"training": [], "validation": []}, "the recipe needs training and validation"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(
    run: Path,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, object],
    complaint: str,
) -> None:
    labelled = {"training": [{"pictures": "labels.json"}], "validation": [{"pictures": "labels.json"}]}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(RECIPE | labelled | changes))
    arguments = ["--run", str(tmp_path / "run"), "--data", str(data), "--start", str(run.parent / "bundle")]
    with pytest.raises(SystemExit, match="1"):
        main(["train", str(tmp_path / "recipe.yaml"), *arguments])
    assert complaint in capsys.readouterr().err


def test_another_recipe_does_not_go_on_in_the_folder_of_a_distillation(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(RECIPE | {"seed": 2}))
    with pytest.raises(SystemExit, match="1"):
        main(["train", str(tmp_path / "recipe.yaml"), "--run", str(run), "--data", str(data)])
    assert "holds a training of another recipe" in capsys.readouterr().err


def test_a_bundle_without_weights_is_no_start(run: Path, tmp_path: Path) -> None:
    folder = run.parent / "bundle"
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["files"][WEIGHTS]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="has no weights, only prefix, suffix"):
        read_weights(tmp_path)


def test_a_perfect_copy_has_nothing_to_learn() -> None:
    boxes = torch.tensor([[[0.0, 0.0, 10.0, 10.0], [5.0, 5.0, 9.0, 25.0]]])
    right = Candidates(boxes, torch.tensor([[[2.0, -3.0], [-1.0, 0.5]]]), torch.zeros(2, 2), torch.ones(2))
    losses = imitation_parts(right, right)
    assert losses["score"] == 0 and float(losses["box"]) == pytest.approx(0, abs=1e-5)
    worse = Candidates(boxes + 2, right.logits - 1, right.centres, right.strides)
    assert all(value > 0 for value in imitation_parts(worse, right).values())


def test_a_teacher_adds_what_the_source_does_not_label(data: Path, tmp_path: Path) -> None:
    detector = ImportedDetector(onnx="tiny.onnx", detector="yolox", labels=THEIRS, rename={"bus": "lorry"})
    teacher = Teacher(detector, data / "tiny.onnx", ["car", "lorry", "sign"], (WIDTH, HEIGHT))
    assert teacher.labels == ("car", "lorry")
    pictures = read_pictures(data / LABELS)[:2]
    taught = teach(pictures, teacher, tmp_path / "taught.json")
    for before, after in zip(pictures, taught, strict=True):
        assert after.truth.labelled == {"car", "lorry"}
        assert set(after.truth.labels[len(before.truth.labels) :]) <= {"lorry"}
        assert np.array_equal(after.read(), before.read())
    assert any("lorry" in picture.truth.labels for picture in taught)
    nothing = [replace(picture, truth=Truth(labelled=frozenset())) for picture in pictures]
    assert all(p.truth.labelled == {"car", "lorry"} for p in teach(nothing, teacher, tmp_path / "taught.json"))
    written = (tmp_path / "taught.json").read_text()
    again = teach(pictures, teacher, tmp_path / "taught.json")
    assert [p.truth.labels for p in again] == [p.truth.labels for p in taught]
    assert (tmp_path / "taught.json").read_text() == written


def test_a_teacher_gets_its_pixels_as_it_expects_them(data: Path, tmp_path: Path) -> None:
    """Normalised pixels of a network that undoes it again change nothing; red first does."""
    image = read_pictures(data / LABELS)[0].read()
    path = tmp_path / "normalised.onnx"
    model = onnx.load(data / "tiny.onnx")
    first = model.graph.node[0]
    first.input[0] = "pixels"
    undo = (
        helper.make_node("Mul", ["images", "deviation"], ["scaled_up"]),
        helper.make_node("Add", ["scaled_up", "mean"], ["pixels"]),
    )
    for node in reversed(undo):
        model.graph.node.insert(0, node)
    values = {"deviation": np.array([2.0], np.float32), "mean": np.array([100.0], np.float32)}
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in values.items())
    onnx.save(model, path)

    def find(file: Path, **pixels: Any) -> Detections:
        detector = ImportedDetector(
            onnx="x", detector="yolox", labels=THEIRS, rename={"bus": "lorry"}, pixels=PixelStatistics(**pixels)
        )
        return Teacher(detector, file, ["car", "lorry"], (WIDTH, HEIGHT)).find(image)

    plain = find(data / "tiny.onnx")
    same = find(path, mean=(100.0,) * 3, deviation=(2.0,) * 3)
    assert len(plain.scores)
    np.testing.assert_allclose(same.scores, plain.scores, atol=1e-4)
    assert not np.array_equal(find(data / "tiny.onnx", red_first=True).scores, plain.scores)
    with pytest.raises(InputError, match="is no readable ONNX file"):
        find(tmp_path / "none.onnx")


def test_a_teacher_that_is_imitated_finds_what_it_finds_for_labels(data: Path) -> None:
    detector = ImportedDetector(onnx="x", detector="yolox", labels=THEIRS, rename={"bus": "lorry"})
    labels = ["sign", "car", "lorry"]
    network = TeacherNetwork(detector, data / "tiny.onnx", labels, (WIDTH, HEIGHT), None)
    assert network.known.tolist() == [False, True, True]
    for picture in read_pictures(data / LABELS)[:3]:
        image = picture.read()
        answer = network(torch.from_numpy(image)[None])
        scores = answer.logits[0, :, network.known].sigmoid().numpy()
        ours = suppress(("car", "lorry"), answer.boxes[0].numpy(), scores, DOUBTFUL, OVERLAP)
        found = Teacher(detector, data / "tiny.onnx", labels, (WIDTH, HEIGHT)).find(image)
        assert ours.labels == found.labels and len(ours.labels)
        inside = np.clip(ours.boxes, 0, [WIDTH, HEIGHT, WIDTH, HEIGHT])
        np.testing.assert_allclose(inside, found.boxes, atol=0.01)


def test_a_teacher_with_other_points_is_not_imitated(run: Path, data: Path) -> None:
    network = build_network(load_recipe(run / "recipe.yaml"), graph=data / "tiny.onnx")
    detector = ImportedDetector(onnx="x", detector="yolox", labels=THEIRS, rename={"bus": "lorry"})
    teacher = TeacherNetwork(detector, data / "tiny.onnx", ["car", "lorry"], (WIDTH, HEIGHT), None)
    check_points(network, teacher, (WIDTH, HEIGHT))
    five = torch.zeros(1, 5, 4), torch.zeros(1, 5, len(THEIRS))
    teacher.head.decode = lambda outputs, size: decode_boxes(five, size)
    with pytest.raises(InputError, match="the teacher answers for 5 points"):
        check_points(network, teacher, (WIDTH, HEIGHT))


def test_doubtful_objects_are_to_be_ignored_and_labelled_ones_stay() -> None:
    truth = add_objects(
        Truth(labelled=frozenset({"car"})), [[0, 0, 9, 9]] * 3, ["lorry", "lorry", "car"],
        [FOUND + 0.1, FOUND - 0.1, 0.9], {"lorry"},
    )  # fmt: skip
    assert truth.labels == ("lorry", "lorry") and truth.ignore.tolist() == [False, True]
    assert truth.boxes.shape == (2, 4) and truth.labelled == {"car", "lorry"}
