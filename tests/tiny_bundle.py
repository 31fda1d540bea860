"""A bundle that loads in milliseconds and whose answers are plain to see.

`colour` is the strongest of the picture's three colours; `detection` finds one thing in the middle of the picture, with
the picture's brightness as its score, so nothing in a dark picture.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, checker, helper, load, numpy_helper, save

from mtl_split_core.bundle import EXIT, HALVES, PREFIX, SUFFIX, Bundle, write_manifest
from mtl_split_core.contract import Contract, format_contract
from mtl_split_core.entropy import GRIDS, TERMS, EntropyTables
from mtl_split_core.payload import OperatingPoint, PayloadFormat
from mtl_split_core.scene import Floats, Task
from mtl_split_lab.learning.entropy_tables import normalise

WIDTH, HEIGHT = 64, 32
FLAT_TABLES = EntropyTables(
    groups=((0, 1, 2),),
    weights=np.zeros((2, GRIDS, TERMS, 3), np.int64),
    thresholds=np.zeros(0, np.int64),
    frequencies=normalise(np.ones((1, 128), np.int64)),
)
"""Every symbol is as likely as any other: a payload's length hardly depends on the picture."""
COLOURS = ("blue", "green", "red")
THING = (16.0, 8.0, 48.0, 24.0)
"""The thing's box, x1, y1, x2, y2 in pixels of the input."""


def write_tiny_bundle(folder: Path, latent_space: str = "0123456789abcdef") -> Bundle:
    """Write the bundle; another latent space gives it another contract."""
    folder.mkdir(parents=True)
    save(_prefix(), folder / HALVES[PREFIX])
    save(_suffix(), folder / HALVES[SUFFIX])
    points = OperatingPoint("coarse", _steps(8.0)), OperatingPoint("fine", _steps(2.0))
    tasks = Task("detection", "detection", ("thing",)), Task("colour", "classification", COLOURS)
    contract = Contract((WIDTH, HEIGHT), PayloadFormat((3, 2, 4), points, FLAT_TABLES), tasks, latent_space)
    manifest = {
        "name": "tiny",
        "contract": format_contract(contract),
        "default_operating_point": "fine",
        "cut": "pool",
    }
    return write_manifest(folder, manifest)


def add_exit(bundle: Bundle) -> Bundle:
    """Let a tiny bundle have an exit, which answers as the suffix does, but with a box all over the picture."""
    model = load(bundle.path(SUFFIX))
    for constant in model.graph.initializer:
        if constant.name == "box":
            constant.CopyFrom(numpy_helper.from_array(np.array([[[0, 0, WIDTH, HEIGHT]]], np.float32), "box"))
    save(model, bundle.folder / "exit.onnx")
    return write_manifest(bundle.folder, bundle.manifest, {**HALVES, EXIT: "exit.onnx"})


def add_areas(bundle: Bundle) -> Bundle:
    """Let a tiny bundle also answer which of the three colours is the strongest at each place, as the task `areas`."""
    model = load(bundle.path(SUFFIX))
    # All branch off behind the input, so that the suffix can be divided beside it.
    for node in model.graph.node:
        node.input[:] = ["shared" if name == "latents" else name for name in node.input]
    model.graph.node.insert(0, helper.make_node("Identity", ["latents"], ["shared"]))
    model.graph.node.append(helper.make_node("Softmax", ["shared"], ["areas"], axis=1))
    model.graph.output.append(helper.make_tensor_value_info("areas", TensorProto.FLOAT, [1, 3, 2, 4]))
    save(model, bundle.path(SUFFIX))
    contract = replace(bundle.contract, tasks=(*bundle.tasks, Task("areas", "segmentation", COLOURS)))
    return write_manifest(bundle.folder, {**bundle.manifest, "contract": format_contract(contract)})


def add_work(bundle: Bundle) -> Bundle:
    """Let the tensor `brightness` of a tiny bundle take a few milliseconds, and change nothing else."""
    model = load(bundle.path(SUFFIX))
    [mean] = [node for node in model.graph.node if "brightness" in node.output]
    mean.output[0] = "rows.0"
    at = [*model.graph.node].index(mean) + 1
    work = [helper.make_node("Expand", ["rows.0", "sides"], ["rows.1"])]
    work += [helper.make_node("MatMul", [f"rows.{step}", "even"], [f"rows.{step + 1}"]) for step in (1, 2)]
    work.append(helper.make_node("ReduceMean", ["rows.3"], ["brightness"], keepdims=1))
    for number, node in enumerate(work):
        model.graph.node.insert(at + number, node)
    sides, even = np.array([256, 256], np.int64), np.full((256, 256), 1 / 256, np.float32)
    model.graph.initializer.extend([numpy_helper.from_array(sides, "sides"), numpy_helper.from_array(even, "even")])
    save(model, bundle.path(SUFFIX))
    return write_manifest(bundle.folder, bundle.manifest)


def _steps(step: float) -> Floats:
    return np.full(3, step, np.float32)


def _prefix() -> ModelProto:
    nodes = [
        helper.make_node("Cast", ["images"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["numbers"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["planes"], ["latents"], kernel_shape=[16, 16], strides=[16, 16]),
    ]
    image = helper.make_tensor_value_info("images", TensorProto.UINT8, [1, HEIGHT, WIDTH, 3])
    return _model("prefix", nodes, [image], {"latents": [1, 3, 2, 4]}, {})


def _suffix() -> ModelProto:
    nodes = [
        helper.make_node("GlobalAveragePool", ["latents"], ["means"]),
        helper.make_node("Flatten", ["means"], ["colours"]),
        helper.make_node("Softmax", ["colours"], ["colour"]),
        helper.make_node("ReduceMean", ["colours"], ["brightness"], keepdims=1),
        helper.make_node("Div", ["brightness", "white"], ["score"]),
        helper.make_node("Unsqueeze", ["score", "axis"], ["detection.scores"]),
        helper.make_node("Identity", ["box"], ["detection.boxes"]),
    ]
    latents = helper.make_tensor_value_info("latents", TensorProto.FLOAT, [1, 3, 2, 4])
    outputs = {"colour": [1, 3], "detection.scores": [1, 1, 1], "detection.boxes": [1, 1, 4]}
    constants = {
        "white": np.array([255], np.float32),
        "axis": np.array([2], np.int64),
        "box": np.array([[THING]], np.float32),
    }
    return _model("suffix", nodes, [latents], outputs, constants)


def _model(name: str, nodes: list, inputs: list, outputs: dict[str, list[int]], constants: dict) -> ModelProto:
    graph = helper.make_graph(
        nodes,
        name,
        inputs,
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape) for output, shape in outputs.items()],
        [numpy_helper.from_array(value, constant) for constant, value in constants.items()],
    )
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 17)])
    checker.check_model(model)
    return model


def add_last_step(bundle: Bundle, role: str, output: str, operator: str) -> Bundle:
    """Let an output of a half go through one more operator, such as Log, which is finite only of positive numbers."""
    model = load(bundle.path(role))
    for node in model.graph.node:
        if output in node.output:
            node.output[0] = "before"
    model.graph.node.append(helper.make_node(operator, ["before"], [output]))
    save(model, bundle.path(role))
    return write_manifest(bundle.folder, bundle.manifest)
