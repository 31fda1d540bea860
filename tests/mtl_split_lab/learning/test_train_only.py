"""A task is added to a bundle: its head alone is trained, and everything else stays as it was, to the last bit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from mtl_split_core.bundle import PREFIX, Bundle, load_bundle
from mtl_split_core.errors import InputError
from mtl_split_core.geometry import Letterbox
from mtl_split_core.halves import EdgeHalf, ServerHalf
from mtl_split_core.label_map import Segmentation
from mtl_split_lab.command import main
from mtl_split_lab.commands.learning import RECIPE
from mtl_split_lab.data.simulated import CAMERA_SIZE, street_pictures
from mtl_split_lab.learning.beginning import build_network, start_from
from mtl_split_lab.learning.export import load_network, write_bundle
from mtl_split_lab.learning.training import Training
from mtl_split_lab.recipe import load_recipe

pytestmark = pytest.mark.timeout(600)

DRIVABLE = {"name": "drivable", "kind": "segmentation", "labels": ["background", "drivable area"]}
HEAD = "suffix.heads.drivable_head."


def write_recipe(path: Path, **changes: object) -> Path:
    recipe = yaml.safe_load(RECIPE.read_text())
    # A network of few operators is soon exported.
    recipe |= {"backbone": "resnet18", "cut": "layer2", "bottleneck_reduction": 1, "input_size": [128, 64]}
    recipe |= {"training": [{"pictures": "sim:1000000:4"}], "validation": [{"pictures": "sim:2000000:2"}]}
    recipe |= {"testing": [{"pictures": "sim:100000:2"}], "operating_points": {"coarse": 100, "default": 300}}
    recipe |= {"crop": None, "crop_epochs": 0, "batch": 2, "epochs": 1, "learning_rate": 0.02}
    path.write_text(yaml.safe_dump(recipe | changes))
    return path


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A network that has learned nothing."""
    folder = tmp_path_factory.mktemp("deployed")
    recipe = load_recipe(write_recipe(folder / "recipe.yaml"))
    torch.manual_seed(0)
    network = build_network(recipe)
    seen = [next(street_pictures(seed))[0] for seed in range(8)]
    fitted = [Letterbox(CAMERA_SIZE, recipe.input_size).apply(picture) for picture in seen]
    (folder / "bundle").mkdir()
    return write_bundle(recipe, network.eval(), fitted, folder / "bundle")


@pytest.fixture(scope="module")
def extended(deployed: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training, with its bundle."""
    folder = tmp_path_factory.mktemp("extended")
    tasks = [*yaml.safe_load(RECIPE.read_text())["tasks"], DRIVABLE]
    recipe = write_recipe(folder / "recipe.yaml", tasks=tasks, train_only=["drivable"])
    where = ["--run", str(folder), "--processes", "1"]
    main(["train", str(recipe), *where, "--start", str(deployed.folder)])
    main(["export", *where, "--bundle", str(folder / "bundle"), "--contract", str(deployed.folder)])
    return folder


def test_all_other_weights_and_statistics_stay(deployed: Bundle, extended: Path) -> None:
    recipe, network = load_network(extended)
    before = build_network(recipe)
    start_from(before, deployed.folder, ["drivable"])
    old, new = before.state_dict(), network.state_dict()
    changed = {name for name, value in new.items() if not torch.equal(value, old[name])}
    assert changed == {name for name in new if name.startswith(HEAD)}


def test_the_contract_differs_in_its_tasks_alone_and_no_result_in_a_bit(deployed: Bundle, extended: Path) -> None:
    bundle = load_bundle(extended / "bundle")
    assert bundle.contract.fingerprint != deployed.contract.fingerprint
    assert replace(bundle.contract, tasks=deployed.tasks).fingerprint == deployed.contract.fingerprint
    assert bundle.read(PREFIX) == deployed.read(PREFIX) and bundle.median_bytes == deployed.median_bytes != {}
    assert bundle.manifest["measured"]["sim:100000:2"]["miou"].keys() == {"drivable"}
    assert bundle.values is not None and bundle.values.server.keys() == {"coarse", "default"}
    assert bundle.values.own.keys() == bundle.manifest["measured_own"]["sim:100000:2"].keys() == {"whole"}
    picture = np.random.default_rng(7).integers(0, 256, (72, 128, 3), np.uint8)
    encoded, payload = EdgeHalf(bundle).encode(picture), EdgeHalf(deployed).encode(picture)
    assert encoded == payload
    latents = bundle.payload_format.unpack(encoded.payload)[None]
    halves = ServerHalf(bundle), ServerHalf(deployed)
    new, old = (half.choice.engine(latents) for half in halves)
    assert new.keys() - old.keys() == {"drivable"}
    for name, output in old.items():
        np.testing.assert_array_equal(new[name], output)
    found = halves[0].decode(encoded.payload, (128, 72))["drivable"]
    assert isinstance(found, Segmentation) and found.indices().shape == (72, 128)


def test_what_is_not_trained_needs_its_weights(deployed: Bundle, extended: Path, tmp_path: Path) -> None:
    recipe = load_recipe(extended / "recipe.yaml")
    network = build_network(replace(recipe, train_only=("weather",)))
    with pytest.raises(InputError, match=r"no weights that fit suffix.heads.drivable_head, which are not trained"):
        start_from(network, deployed.folder, ["weather"])
    with pytest.raises(SystemExit):
        main(["train", str(extended / "recipe.yaml"), "--run", str(tmp_path / "run"), "--processes", "1"])


def test_another_network_is_no_bundle_to_extend(deployed: Bundle, extended: Path, tmp_path: Path) -> None:
    recipe, network = load_network(extended)
    seen = [np.zeros((64, 128, 3), np.uint8)]
    with torch.no_grad():
        next(network.prefix.parameters()).add_(0.1)
    with pytest.raises(InputError, match="of another training"):
        write_bundle(recipe, network, seen, tmp_path, deployed)
    with pytest.raises(InputError, match="of another training"):
        write_bundle(replace(recipe, input_size=(64, 64)), network, seen, tmp_path, deployed)


def test_only_the_trained_tasks_are_taught(extended: Path) -> None:
    recipe, network = load_network(extended)
    training = Training(recipe, network, [], [], 0)
    learning = {name for name, weight in training.network.named_parameters() if weight.requires_grad}
    assert learning and all(name.startswith(HEAD) for name in learning)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"train_only": ["sky"]}, r"train_only has \['sky'\], expected names of tasks"),
        (
            {"train_only": ["weather"], "teacher": {"onnx": "a.onnx", "detector": "yolox", "labels": "coco"}},
            "it takes neither distil nor a teacher",
        ),
    ],
)
def test_a_wrong_recipe_is_named(tmp_path: Path, changes: dict[str, object], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        load_recipe(write_recipe(tmp_path / "recipe.yaml", **changes))
