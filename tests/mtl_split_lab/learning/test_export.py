"""What an export leaves: a suffix for any number of pictures, a prefix of 8-bit integers, and what that costs."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import yaml

from mtl_split_core.bundle import PREFIX, SUFFIX, Bundle, load_bundle
from mtl_split_core.contract import format_contract, parse_contract
from mtl_split_core.engine import ENGINES
from mtl_split_core.errors import InputError
from mtl_split_core.geometry import Letterbox
from mtl_split_core.halves import EdgeHalf, ServerHalf
from mtl_split_core.scene import Classification, Truth
from mtl_split_lab.command import main
from mtl_split_lab.commands.learning import RECIPE
from mtl_split_lab.data.pictures import IMAGES, LABELS, write_labels
from mtl_split_lab.data.sources import find_pictures
from mtl_split_lab.kinds.calibration import Calibration
from mtl_split_lab.learning.beginning import build_network
from mtl_split_lab.learning.export import correct_scores, load_network, name_latent_space, write_bundle
from mtl_split_lab.learning.training import BEST
from mtl_split_lab.portion import Portion
from mtl_split_lab.recipe import load_recipe

pytestmark = pytest.mark.timeout(600)

PICTURES = "shapes:0:20"


def foreign(folder: Path) -> Path:
    """Labelled pictures of which one is cut off, with a category and a class that no recipe here knows."""
    (folder / IMAGES).mkdir()
    boxes, visible, ignore = np.array([[8, 8, 40, 40]], np.float32), np.ones(1, np.float32), np.zeros(1, np.bool_)
    truth = Truth(boxes, ("tram",), visible, ignore, {"weather": "snowy"})
    picture = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 255, (64, 128, 3), np.uint8))[1].tobytes()
    (folder / IMAGES / "whole.jpg").write_bytes(picture)
    (folder / IMAGES / "cut.jpg").write_bytes(picture[: len(picture) // 2])
    write_labels(folder / LABELS, [("whole.jpg", truth), ("cut.jpg", truth)])
    return folder / LABELS


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a training leaves it, of a small network that has learned nothing."""
    folder = tmp_path_factory.mktemp("run")
    recipe = yaml.safe_load(RECIPE.read_text())
    # A network of few operators is soon exported.
    recipe |= {"backbone": "resnet18", "cut": "layer2", "bottleneck_reduction": 1}
    recipe |= {"input_size": [128, 64], "crop": [64, 32], "training": [{"pictures": PICTURES, "repeat": 3}]}
    recipe |= {
        "testing": [{"pictures": PICTURES}, {"pictures": str(foreign(folder))}],
        "operating_points": {"coarse": 100, "default": 300},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    torch.manual_seed(0)
    weights = build_network(load_recipe(folder / "recipe.yaml")).state_dict()
    torch.save({"state_dict": {f"network.{name}": value for name, value in weights.items()}}, folder / BEST)
    return folder


@pytest.fixture(scope="module")
def int8(run: Path) -> Bundle:
    folder = run / "bundle"
    main(["export", "--run", str(run), "--bundle", str(folder), "--int8", "--processes", "1"])
    return load_bundle(folder)


def test_an_8_bit_edge_and_the_deployed_server_have_one_contract(int8: Bundle, run: Path) -> None:
    """The server half is of another export of the same training."""
    folder = run / "float"
    main(["export", "--run", str(run), "--bundle", str(folder), "--processes", "1"])
    deployed = load_bundle(folder)
    assert int8.contract.fingerprint == deployed.contract.fingerprint
    assert int8.files[PREFIX] != deployed.files[PREFIX] and int8.fingerprint != deployed.fingerprint
    edge, server = EdgeHalf(int8), ServerHalf(deployed, score_threshold=0.0)
    picture = np.random.default_rng(0).integers(0, 256, (64, 128, 3), np.uint8)
    results = server.decode(edge.encode(picture).payload, (128, 64))
    assert results.keys() == {task.name for task in deployed.tasks}
    right = server.decode(EdgeHalf(deployed).encode(picture).payload, (128, 64))["weather"]
    found = results["weather"]
    assert isinstance(found, Classification) and isinstance(right, Classification)
    np.testing.assert_allclose(found.scores, right.scores, atol=0.1)


def test_a_deployed_contract_is_kept(int8: Bundle, run: Path, tmp_path: Path) -> None:
    """One that was calibrated on a machine whose floating-point numbers are rounded differently, for instance."""
    recipe, network = load_network(run)
    plain = format_contract(int8.contract)
    plain["operating_points"][0]["steps"][0] *= 1.001
    deployed = replace(int8, contract=parse_contract(plain))
    seen = [np.random.default_rng(seed).integers(0, 256, (64, 128, 3), np.uint8) for seed in range(2)]
    bundle = write_bundle(recipe, network, seen, tmp_path, deployed)
    assert bundle.contract.fingerprint == deployed.contract.fingerprint != int8.contract.fingerprint
    plain["latent_space"] = "0" * 16
    with pytest.raises(InputError, match="of another training"):
        write_bundle(recipe, network, seen, tmp_path, replace(int8, contract=parse_contract(plain)))


def test_an_exported_suffix_has_corrected_scores(int8: Bundle, run: Path, tmp_path: Path) -> None:
    recipe, network = load_network(run)
    labels = len(next(task for task in recipe.tasks if task.name == "weather").labels)
    twice = Calibration(np.full(labels, 2, np.float32), np.arange(labels, dtype=np.float32))
    picture = np.random.default_rng(0).integers(0, 256, (64, 128, 3), np.uint8)
    uncorrected = write_bundle(recipe, network, [picture], tmp_path, int8)
    bundle = correct_scores(uncorrected, network, {"weather": twice})
    assert (
        bundle.fingerprint != uncorrected.fingerprint
        and bundle.contract.fingerprint == uncorrected.contract.fingerprint
    )
    latents = np.random.default_rng(0).standard_normal((1, *int8.payload_format.shape), np.float32)
    plain, corrected = (ServerHalf(each).choice.engine(latents) for each in (int8, bundle))
    expected = np.exp(2 * np.log(plain["weather"]) + np.arange(labels))
    np.testing.assert_allclose(np.asarray(corrected["weather"], float), expected / expected.sum(), atol=1e-5)
    np.testing.assert_array_equal(corrected["scene"], plain["scene"])


def test_the_latent_space_is_the_suffix_s(run: Path) -> None:
    _, network = load_network(run)
    name = name_latent_space(network.suffix)
    with torch.no_grad():
        next(network.prefix.parameters()).add_(1)
        assert name_latent_space(network.suffix) == name
        next(network.suffix.parameters()).view(-1)[0].add_(1)
    assert name_latent_space(network.suffix) != name


def test_both_precisions_are_measured_on_the_same_pictures(int8: Bundle) -> None:
    assert int8.manifest["int8"]["calibration_pictures"] == 5
    before, after = int8.manifest["int8"]["measured_before"], int8.manifest["measured"]
    assert [*before] == [*after] and PICTURES in before
    assert before[PICTURES]["frames"] == after[PICTURES]["frames"] == 20
    difference = int8.manifest["difference_from_torch"]
    assert difference.keys() == {SUFFIX} and difference[SUFFIX] < 1e-4


def test_only_what_the_tasks_were_taught_is_measured_and_a_damaged_picture_is_left_out(int8: Bundle) -> None:
    [measured] = [each for source, each in int8.manifest["measured"].items() if source != PICTURES]
    assert measured["frames"] == 1
    assert measured["map50"] is None and measured["ap50"] == {}
    assert "weather" not in measured["classification"]
    assert int8.values is None


def test_the_prefix_calculates_with_integers_and_is_near_the_network(int8: Bundle, run: Path) -> None:
    operators = [node.op_type for node in onnx.load(int8.path(PREFIX)).graph.node]
    assert operators.count("QuantizeLinear") > operators.count("Conv") > 10
    _, network = load_network(run)
    prefix = EdgeHalf(int8).choice.engine
    size = int8.input_size
    for picture in find_pictures(Portion(PICTURES), Path(), run, size, processes=1):
        image = Letterbox((64, 64), size).apply(picture.read())
        with torch.inference_mode():
            right = network.prefix(torch.from_numpy(image[None])).numpy()
        error = prefix(image[None])["latents"].astype(np.float32) - right
        assert 0 < np.sqrt(np.square(error).mean()) < 0.2 * right.std()


def test_the_suffix_takes_many_pictures_at_once(int8: Bundle) -> None:
    suffix = onnxruntime.InferenceSession(int8.read(SUFFIX), providers=["CPUExecutionProvider"])
    latents = np.random.default_rng(0).standard_normal((5, *int8.payload_format.shape), np.float32)
    together = suffix.run(None, {"latents": latents})
    for index, each in enumerate(latents):
        for all_of_them, one in zip(together, suffix.run(None, {"latents": each[None]}), strict=True):
            np.testing.assert_allclose(all_of_them[index], one[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ENGINES)
def test_every_engine_runs_the_suffix(kind: str, int8: Bundle, run: Path) -> None:
    latents = np.random.default_rng(0).standard_normal((1, *int8.payload_format.shape), np.float32)
    _, network = load_network(run)
    with torch.inference_mode():
        right = network.suffix(torch.from_numpy(latents))["weather"].softmax(-1).numpy()
    weather = ServerHalf(int8, engine=kind).choice.engine(latents)["weather"]
    np.testing.assert_allclose(weather.astype(np.float32), right, rtol=0, atol=1e-4)
