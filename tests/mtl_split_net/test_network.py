"""The network is the same whole or split, batched or single, in torch or on the wire."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from mtl_split_core.errors import InputError
from mtl_split_core.payload import OperatingPoint, PayloadFormat
from mtl_split_core.scene import Size
from mtl_split_net.backbones import BACKBONES, Backbone
from mtl_split_net.kinds.classification import FlatHead
from mtl_split_net.kinds.detection import Candidates
from mtl_split_net.network import IMAGENET, MultiTaskNetwork, cut_backbone
from mtl_split_net.tasks import LearnedTask, parse_learned_tasks
from mtl_split_net.vision import models

from ..mtl_split_core.test_entropy import random_tables

TASKS = parse_learned_tasks(
    [
        {"name": "detection", "kind": "detection", "labels": ["car", "truck"]},
        {"name": "weather", "kind": "classification", "labels": ["clear", "rainy", "foggy"]},
    ]
)
SIZE = (128, 96)


def build(
    backbone: Backbone, cut: str, tasks: Sequence[LearnedTask], size: Size, channels: int | None, reduction: int = 1,
    sizes: Sequence[int] = (),
) -> MultiTaskNetwork:  # fmt: skip
    network = cut_backbone(backbone, cut, tasks, size)
    return MultiTaskNetwork(network, tasks, size, channels, reduction, sizes).eval()


@pytest.fixture(scope="module")
def network() -> MultiTaskNetwork:
    torch.manual_seed(0)
    return build(Backbone("mobilenet_v3_small"), "features.3", TASKS, SIZE, 6, 2, (40, 160))


def pictures(count: int, size: Size = SIZE) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, size[1], size[0], 3), dtype=torch.uint8, generator=generator)


@pytest.fixture(scope="module", params=BACKBONES)
def backbone(request: pytest.FixtureRequest) -> Backbone:
    torch.manual_seed(0)
    return Backbone(request.param)


def test_split_equals_whole_at_every_cut(backbone: Backbone) -> None:
    """The reference is torchvision's network, never cut."""
    images = pictures(1, (32, 32))
    planes = images.flip(3).permute(0, 3, 1, 2).contiguous().float()
    mean, scale = torch.tensor(IMAGENET.mean).view(3, 1, 1), 1 / torch.tensor(IMAGENET.deviation).view(3, 1, 1)
    with torch.no_grad():
        features = backbone.eval().stages((planes - mean) * scale)
        for cut in backbone.cuts:
            network = build(backbone, cut, TASKS[1:], (32, 32), None)
            latents = network.prefix(images)
            assert latents.shape[1:] == network.latent_shape
            whole = network.suffix.heads["weather_head"](features)
            assert torch.equal(network.suffix(latents)["weather"], whole), cut


def test_detection_works_wherever_the_backbone_is_cut(backbone: Backbone) -> None:
    few = max(1, len(backbone.cuts) // 4)
    for cut in {*backbone.cuts[::few], backbone.cuts[-1]}:
        network = build(backbone, cut, TASKS, (32, 32), 5)
        with torch.no_grad():
            latents = network.prefix(pictures(1, (32, 32)))
            candidates = network.suffix(latents)["detection"]
        assert latents.shape[1:] == network.latent_shape and network.latent_shape[0] == 5
        assert isinstance(candidates, Candidates) and candidates.boxes.shape == (1, 4 * 4 + 2 * 2 + 1, 4)


def test_unknown_names_and_sizes_are_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"'resnet0', expected one of vgg16, "):
        Backbone("resnet0")
    small = Backbone("mobilenet_v3_small")
    with pytest.raises(InputError, match=r"'features.99', expected one of features.0, "):
        small.split("features.99")
    with pytest.raises(InputError, match="multiples of 32 pixels, got 128 x 100"):
        build(small, "features.3", TASKS, (128, 100), 6)
    with pytest.raises(InputError, match=r"bottleneck_reduction 5 does not divide the 16x12 features at the cut"):
        build(small, "features.3", TASKS, SIZE, 6, 5)


def test_torchvisions_checkpoints_load(tmp_path: Path) -> None:
    torch.manual_seed(0)
    classifier = models.resnet18(weights=None)
    torch.save(classifier.state_dict(), tmp_path / "resnet18.pth")
    backbone = Backbone("resnet18", tmp_path / "resnet18.pth").eval()
    inputs = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        logits = classifier.eval().fc(backbone.stages(inputs).mean((2, 3)))
        torch.testing.assert_close(logits, classifier(inputs))
    with pytest.raises(InputError, match=r"resnet18.pth is no checkpoint of torchvision's MobileNetV3"):
        Backbone("mobilenet_v3_small", tmp_path / "resnet18.pth")
    with pytest.raises(InputError, match="no checkpoint at"):
        Backbone("resnet18", tmp_path / "none.pth")


def test_the_papers_head_sees_every_feature() -> None:
    task = LearnedTask("type", "classification", ("cube", "ball"), "flattened", 1.0)
    network = build(Backbone("mobilenet_v3_small"), "features.12", [task], (64, 64), None)
    head = network.suffix.heads["type_head"]
    assert isinstance(head, FlatHead)
    first = head[1]
    assert isinstance(first, torch.nn.Linear) and first.in_features == 576 * 2 * 2 and first.out_features == 256
    assert network(pictures(2, (64, 64)))["type"].shape == (2, 2)


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ({"head": "pooled"}, "expected a head of anchor-free"),
        ({"weight": 0}, "weight 0 .* expected"),
        ({"colour": "red"}, "unknown keys 'colour'"),
    ],
)
def test_a_wrong_task_is_named(entry: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_learned_tasks([{"name": "detection", "kind": "detection", "labels": ["car"]} | entry])


def test_halves_chained_by_a_payload_equal_the_whole(network: MultiTaskNetwork) -> None:
    """Training rounds as the wire does."""
    steps = torch.exp(-network.rate.log_gains.detach()).numpy()
    points = tuple(OperatingPoint(str(index), step) for index, step in enumerate(steps))
    form = PayloadFormat(network.latent_shape, points, random_tables(1, 6))
    images = pictures(1)
    with torch.no_grad():
        for index in range(2):
            whole, _ = network.compressed(images, torch.tensor([index]))
            received = form.unpack(form.pack(network.prefix(images)[0].numpy(), index))
            split = network.suffix(torch.from_numpy(received)[None])
            torch.testing.assert_close(split["weather"], whole["weather"])
            one, other = split["detection"], whole["detection"]
            assert isinstance(one, Candidates) and isinstance(other, Candidates)
            torch.testing.assert_close(one.boxes, other.boxes)


def test_batched_equals_single(network: MultiTaskNetwork) -> None:
    images = pictures(3)
    with torch.no_grad():
        batched = network(images)
        for index in range(3):
            single = network(images[index : index + 1])
            torch.testing.assert_close(batched["weather"][index], single["weather"][0], rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(
                batched["detection"].boxes[index], single["detection"].boxes[0], rtol=1e-3, atol=1e-2
            )


def test_every_cell_proposes_a_box(network: MultiTaskNetwork) -> None:
    with torch.no_grad():
        candidates = network(pictures(2))["detection"]
    assert isinstance(candidates, Candidates)
    points = sum((SIZE[0] // stride) * (SIZE[1] // stride) for stride in (8, 16, 32))
    assert candidates.boxes.shape == (2, points, 4)
    assert candidates.logits.shape == (2, points, 2)
    assert candidates.centres.shape == (points, 2)
    assert (candidates.centres > 0).all() and (candidates.centres < torch.tensor(SIZE)).all()
    assert (candidates.boxes[..., 2:] >= candidates.boxes[..., :2]).all()
