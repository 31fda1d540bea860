"""A torch module becomes an imported network that is cut after a submodule."""

import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from mtl_split_core.errors import InputError
from mtl_split_net.imported import import_network
from mtl_split_net.onnx_graph import OnnxGraph
from mtl_split_net.torch_module import output_of, write_module


class Detector(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU()), nn.Conv2d(4, 6, 3, 2, 1)
        )
        self.head = nn.Conv2d(6, 7, 1)

    def forward(self, images: Tensor) -> Tensor:
        rows: Tensor = self.head(self.backbone(images)).flatten(2).transpose(1, 2)
        return rows


@pytest.fixture(autouse=True)
def package(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("someones_detector")
    module.create, module.number = Detector, lambda: 1  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "someones_detector", module)


def test_it_is_cut_after_a_submodule_and_calculates_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = Detector().eval()
    torch.save(whole.state_dict(), tmp_path / "weights.pth")
    write_module("someones_detector:create", tmp_path / "weights.pth", (16, 8), tmp_path / "network.onnx")
    graph = OnnxGraph(tmp_path / "network.onnx")
    pictures = torch.rand(3, 3, 8, 16)
    for submodule, features in (("backbone.0", whole.backbone[0]), ("backbone", whole.backbone)):
        network = import_network(graph, output_of(graph, submodule), (16, 8))
        with torch.no_grad():
            torch.testing.assert_close(network.before(pictures), features(pictures), atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(network.after(features(pictures)), whole(pictures), atol=1e-5, rtol=1e-5)
    with pytest.raises(InputError, match=r"no submodule .neck., expected one of backbone, .*head"):
        output_of(graph, "neck")


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("no_package:create", "expected package.module:function"),
        ("someones_detector:build", "expected package.module:function"),
        ("someones_detector", "expected package.module:function"),
        ("someones_detector:number", "returns int, expected a torch module"),
    ],
)
def test_what_is_no_module_is_named(tmp_path: Path, name: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        write_module(name, None, (16, 8), tmp_path / "network.onnx")


def test_a_checkpoint_of_another_module_is_named(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"other\.pth is no state_dict of someones_detector:create"):
        write_module("someones_detector:create", tmp_path / "other.pth", (16, 8), tmp_path / "network.onnx")
