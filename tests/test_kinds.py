"""Every layer knows the same kinds of task, and a new one is one more entry in each layer's table."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from std_msgs.msg import Float32, Header
from torch import Tensor, nn

import mtl_split_core.kinds
import mtl_split_lab.kinds
import mtl_split_net.kinds
import mtl_split_ros.kinds
from mtl_split_core.bundle import write_manifest
from mtl_split_core.canvas import Canvas
from mtl_split_core.drawing import annotate
from mtl_split_core.geometry import Letterbox
from mtl_split_core.halves import EdgeHalf, ServerHalf
from mtl_split_core.scene import Results, Task, Truth
from mtl_split_lab.kinds.calibration import Calibration
from mtl_split_lab.kinds.sheet import Sheet
from mtl_split_lab.scoring.frames import as_truth, results_to_json
from mtl_split_lab.scoring.measurement import Measurement
from mtl_split_net.backbones import Backbone
from mtl_split_net.exit_maps import ExitMaps
from mtl_split_net.exits import Exit
from mtl_split_net.kinds import all_answers
from mtl_split_net.network import MultiTaskNetwork, cut_backbone
from mtl_split_net.tasks import LearnedTask, parse_learned_tasks
from mtl_split_ros.kinds.form import Form
from mtl_split_ros.messages import result_topic, truth_messages

from .tiny_bundle import write_tiny_bundle

LAYERS = (mtl_split_core.kinds, mtl_split_ros.kinds, mtl_split_net.kinds, mtl_split_lab.kinds)
LABELS = ["car", "bus", "bicycle"]
LIGHT = {"name": "light", "kind": "brightness", "labels": ["light"]}
"""A task of a kind that there is only here: how bright a picture is, 0 to 1."""


def _network(task: LearnedTask, size: tuple[int, int]) -> MultiTaskNetwork:
    network = cut_backbone(Backbone("mobilenet_v3_small"), "features.3", [task], size)
    return MultiTaskNetwork(network, [task], size, 6)


def test_every_layer_has_the_same_kinds() -> None:
    assert [list(layer.KINDS) for layer in LAYERS] == [list(mtl_split_core.kinds.KINDS)] * len(LAYERS)


@pytest.mark.parametrize("kind", mtl_split_core.kinds.KINDS)
def test_what_a_network_answers_is_what_the_core_expects(kind: str) -> None:
    """Whichever of the heads it has."""
    for head in mtl_split_net.kinds.KINDS[kind].HEADS:
        [task] = parse_learned_tasks([{"name": "task", "kind": kind, "labels": LABELS, "head": head}])
        network = _network(task, (64, 64)).eval()
        with torch.no_grad():
            answers = all_answers([task], network(torch.zeros(1, 64, 64, 3, dtype=torch.uint8)))
        expected = mtl_split_core.kinds.KINDS[kind].outputs(task)
        assert answers.keys() == expected.keys()
        for name, shape in expected.items():
            assert len(shape) == answers[name].ndim
            assert all(wanted in (None, found) for wanted, found in zip(shape, answers[name].shape, strict=True))


class CoreBrightness:
    HAS_THRESHOLD = False
    MOST_LABELS = 1

    def outputs(self, task: Task) -> dict[str, tuple[int | None, ...]]:
        return {"detection.scores": (1, 1, 1)}  # which is the brightness of the tiny bundle's pictures

    def result(
        self, task: Task, outputs: Mapping[str, npt.NDArray[np.generic]], score_threshold: float,
        overlap_threshold: float,
    ) -> float:  # fmt: skip
        return float(outputs["detection.scores"].item())

    def tracker(self, score_threshold: float, name: Callable[[], str]) -> None:
        return None

    def to_picture(self, result: float, letterbox: Letterbox) -> float:
        return result

    def to_json(self, result: float) -> float:
        return result

    def count_objects(self, result: float) -> Counter[str]:
        return Counter()

    def select(self, result: float, score_threshold: float) -> float:
        return result

    def to_bytes(self, result: float, task: Task, letterbox: Letterbox) -> bytes:
        return repr(result).encode()

    def from_bytes(self, data: bytes, task: Task, letterbox: Letterbox) -> float:
        return float(data)

    def draw(self, canvas: Canvas, tasks: Sequence[Task], results: Results, truth: Truth | None) -> None:
        canvas.picture[:] = 255

    def caption(self, result: float) -> str:
        return f"{result:.2f}"

    def in_words(self, result: float) -> str:
        return self.caption(result)


class RosBrightness:
    MESSAGE = Float32

    def topic(self, task: Task) -> str:
        return f"brightness/{task.name}"

    def truth_topic(self, task: Task) -> str:
        return "ground_truth/brightness"

    def to_message(self, result: float, header: Header) -> Float32:
        return Float32(data=result)

    def further_forms(self, task: Task) -> Mapping[str, Form]:
        return {}

    def to_result(self, message: Float32, task: Task) -> float:
        return float(message.data)

    def truth_messages(self, truth: Truth, header: Header) -> dict[str, Float32]:
        return {"ground_truth/brightness": Float32(data=float(truth.classes["light"]))}

    def to_truth(self, task: Task, message: Float32, skipped: Counter[str]) -> Truth:
        return Truth(classes={task.name: str(message.data)}, labelled=frozenset())


class Brightest(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        logits: Tensor = self.project(maps[0].mean((2, 3)))
        return logits


class NetBrightness:
    USES_NECK = False
    HEADS = {"mean": lambda labels, features, width: nn.Sequential(nn.Flatten(), nn.LazyLinear(1))}  # noqa: RUF012

    def target(self, task: Task, truths: Sequence[Truth]) -> Tensor:
        return torch.tensor([float(truth.classes[task.name]) for truth in truths])

    def exit_head(self, task: Task, shapes: Mapping[str, Sequence[int]], maps: ExitMaps) -> nn.Module:
        return Brightest(maps.width)

    def lesson(self, task: Task, answers: Mapping[str, npt.NDArray[Any]], maps: ExitMaps) -> float:
        return float(answers[task.name].item())

    def imitated(self, task: Task, lessons: Sequence[float]) -> Tensor:
        return torch.tensor(lessons)

    def imitation(self, output: Tensor, target: Tensor) -> Tensor:
        return self.loss(output, target)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return (output[:, 0].sigmoid() - target).square().mean()

    def calibrated(self, output: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
        return output * scale + offset

    def answers(self, name: str, output: Tensor) -> dict[str, Tensor]:
        return {name: output.sigmoid()}


class LabBrightness:
    def object_labels(self, task: Task) -> tuple[str, ...]:
        return ()

    def labels_in(self, task: Task, truth: Truth) -> set[str]:
        return {"light"}

    def keep_known(self, truth: Truth, tasks: Sequence[Task], skipped: Counter[str]) -> Truth:
        return truth

    def pair(self, truth: Truth, results: Results) -> float | None:
        return abs(float(truth.classes["light"]) - results["light"]) if results else None

    def as_truth(self, tasks: Sequence[Task], results: Results) -> Truth:
        return Truth(classes={task: str(result) for task, result in results.items()}, labelled=frozenset())

    def score(self, pairs: Sequence[float]) -> float:
        return sum(pairs) / max(1, len(pairs))

    def accuracy(self, score: float, task: str) -> float:
        return 1 - score

    def count(
        self, tasks: Sequence[Task], pairs: Sequence[float]
    ) -> Callable[[npt.NDArray[np.int64]], dict[str, float]]:
        return lambda counts: {task.name: 1 - float(counts @ np.array(pairs)) / counts.sum() for task in tasks}

    def figures(self, score: float) -> dict[str, Any]:
        return {"brightness_error": score}

    def calibrate(self, task: Task, answered: Sequence[tuple[Truth, Any]]) -> Calibration:
        return Calibration(np.ones(1, np.float32), np.zeros(1, np.float32))

    def columns(self, figures: Mapping[str, Any]) -> dict[str, float | None]:
        return {}

    def sheets(self, ways: Mapping[str, Mapping[str, Any]]) -> list[Sheet]:
        return []

    def sheet(self, task: Task, results: Sequence[float], score: float) -> Sheet:
        return Sheet("", (task.name, "mean", "error"), [("all", "", score)])

    def find_mistakes(self, truth: Truth, results: Results) -> Counter[str]:
        return Counter()


@pytest.fixture
def brightness(monkeypatch: pytest.MonkeyPatch) -> Task:
    """A task of the new kind, which is registered in all layers."""
    monkeypatch.setitem(mtl_split_core.kinds.KINDS, "brightness", CoreBrightness())
    monkeypatch.setitem(mtl_split_ros.kinds.KINDS, "brightness", RosBrightness())
    monkeypatch.setitem(mtl_split_net.kinds.KINDS, "brightness", NetBrightness())
    monkeypatch.setitem(mtl_split_lab.kinds.KINDS, "brightness", LabBrightness())
    return parse_learned_tasks([LIGHT])[0]


def test_a_new_kind_is_learned(brightness: Task) -> None:
    [task] = parse_learned_tasks([LIGHT])
    network = _network(task, (32, 32)).eval()
    output = network(torch.zeros(2, 32, 32, 3, dtype=torch.uint8))["light"]
    kind = mtl_split_net.kinds.KINDS["brightness"]
    kind.loss(output, kind.target(task, [Truth(classes={"light": "0.5"})] * 2)).backward()
    assert all_answers([task], {"light": output})["light"].shape == (2, 1)


def test_an_exit_learns_a_new_kind(brightness: Task) -> None:
    network = Exit([brightness], (32, 32), (6, 4, 4), {"light": (1, 1)})
    kind = mtl_split_net.kinds.KINDS["brightness"]
    kept = [kind.lesson(brightness, {"light": np.array([[light]])}, network.maps) for light in (0.2, 0.9)]
    output = network(torch.zeros(2, 6, 4, 4))["light"]
    kind.imitation(output, kind.imitated(brightness, kept)).backward()
    assert all(weight.grad is not None for weight in network.heads.parameters())


def test_a_new_kind_answers_travels_and_is_scored(brightness: Task, tmp_path: Path) -> None:
    tiny = write_tiny_bundle(tmp_path / "tiny")
    contract = tiny.manifest["contract"]
    contract = contract | {"tasks": [*contract["tasks"], LIGHT]}
    bundle = write_manifest(tiny.folder, {**tiny.manifest, "contract": contract})
    picture, truth = np.full((32, 64, 3), 51, np.uint8), Truth(classes={"light": "0.5"})
    results = ServerHalf(bundle).decode(EdgeHalf(bundle).encode(picture).payload, (64, 32))
    assert results_to_json(results, bundle.tasks)["light"] == pytest.approx(0.2, abs=0.01)

    assert result_topic(brightness) == "brightness/light"
    kind = mtl_split_ros.kinds.KINDS["brightness"]
    assert kind.to_result(kind.to_message(results["light"], Header()), brightness) == pytest.approx(results["light"])
    assert truth_messages(truth, Header())["ground_truth/brightness"].data == 0.5

    measurement = Measurement([brightness])
    measurement.add(truth, 7, results)
    assert measurement.summary()["brightness_error"] == pytest.approx(0.3, abs=0.01)
    agreement = Measurement([brightness])
    agreement.add(as_truth(results, [brightness]), 7, results)
    assert agreement.figures()["brightness_error"] == pytest.approx(0.0)
    assert annotate(picture, results, [brightness], "", (64, 32))[:32].min() == 255
