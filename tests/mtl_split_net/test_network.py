"""The network is the same whole or split, batched or single, in torch or on the wire."""

import numpy as np
import pytest
import torch

from mtl_split_core.bundle import Task
from mtl_split_core.payload import OperatingPoint, PayloadFormat
from mtl_split_net.backbones import BACKBONES, Backbone
from mtl_split_net.bottleneck import quantise
from mtl_split_net.heads import Candidates
from mtl_split_net.network import MultiTaskNetwork

TASKS = (
    Task("detection", "detection", ("car", "truck")),
    Task("weather", "classification", ("clear", "rainy", "foggy")),
)
SIZE = (128, 96)


@pytest.fixture(scope="module")
def network() -> MultiTaskNetwork:
    torch.manual_seed(0)
    return MultiTaskNetwork("mobilenet_v3_small", "features.3", 6, TASKS, SIZE).eval()


def pictures(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, SIZE[1], SIZE[0], 3), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("name", BACKBONES)
def test_split_equals_whole_at_every_split_point(name: str) -> None:
    torch.manual_seed(0)
    backbone = Backbone(name).eval()
    inputs = torch.randn(2, 3, 96, 128)
    with torch.no_grad():
        whole = backbone.features(inputs)
        for split_point in backbone.split_points:
            prefix, suffix = backbone.split(split_point)
            assert torch.equal(suffix(prefix(inputs)), whole), split_point


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'resnet0', expected one of mobilenet_v3_small"):
        Backbone("resnet0")
    with pytest.raises(ValueError, match=r"'features.99', expected one of features.0, "):
        Backbone("mobilenet_v3_small").split("features.99")
    with pytest.raises(ValueError, match=r"'features.1' has 24 rows, expected 1/8"):
        MultiTaskNetwork("mobilenet_v3_small", "features.1", 6, TASKS, SIZE)


def test_halves_chained_by_a_payload_equal_the_whole(network: MultiTaskNetwork) -> None:
    step = 0.25
    form = PayloadFormat(network.latent_shape, (OperatingPoint("default", step),))
    images = pictures(1)
    with torch.no_grad():
        whole = network(images, step)
        received = form.unpack(form.pack(network.prefix(images)[0].numpy(), 0))
        split = network.suffix(torch.from_numpy(received)[None])
    assert torch.equal(split["weather"], whole["weather"])
    assert torch.equal(split["detection"].boxes, whole["detection"].boxes)


@pytest.mark.parametrize("step", [0.0625, 1.0])
def test_training_rounds_as_the_wire_does(step: float) -> None:
    latents = torch.randn(6, 4, 5, generator=torch.Generator().manual_seed(2)) * 40
    form = PayloadFormat((6, 4, 5), (OperatingPoint("default", step),))
    np.testing.assert_allclose(quantise(latents, step), form.unpack(form.pack(latents.numpy(), 0)), atol=1e-5)


def test_gradients_pass_through_the_rounding() -> None:
    latents = torch.tensor([0.3, -0.7, 500.0], requires_grad=True)
    quantise(latents, 0.5).sum().backward()
    assert latents.grad is not None and latents.grad.tolist() == [1.0, 1.0, 0.0]


def test_batched_equals_single(network: MultiTaskNetwork) -> None:
    images = pictures(3)
    with torch.no_grad():
        batched = network(images, 0.25)
        for index in range(3):
            single = network(images[index : index + 1], 0.25)
            torch.testing.assert_close(batched["weather"][index], single["weather"][0], rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(
                batched["detection"].boxes[index], single["detection"].boxes[0], rtol=1e-3, atol=1e-2
            )


def test_every_cell_proposes_a_box(network: MultiTaskNetwork) -> None:
    with torch.no_grad():
        candidates = network(pictures(2), 0.25)["detection"]
    assert isinstance(candidates, Candidates)
    points = sum((SIZE[0] // stride) * (SIZE[1] // stride) for stride in (8, 16, 32))
    assert candidates.boxes.shape == (2, points, 4)
    assert candidates.logits.shape == (2, points, 2)
    assert candidates.centres.shape == (points, 2)
    assert (candidates.centres > 0).all() and (candidates.centres < torch.tensor(SIZE)).all()
    assert (candidates.boxes[..., 2:] >= candidates.boxes[..., :2]).all()
