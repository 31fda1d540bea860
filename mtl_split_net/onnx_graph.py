"""An ONNX file as a graph of tensors: where it can be cut in two, what lies on either side, and the two parts."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError, Message
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.external_data_helper import uses_external_data
from onnx.reference import ReferenceEvaluator
from onnx.utils import Extractor

from mtl_split_core.errors import InputError, in_one_line

_GRAPHS = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
_SHAPE_ARITHMETIC = {
    "Add",
    "Cast",
    "Concat",
    "Div",
    "Gather",
    "Identity",
    "Mul",
    "Slice",
    "Squeeze",
    "Sub",
    "Unsqueeze",
}
_LONGEST_SHAPE = 64
_MOST_WEIGHTS = 1 << 28


@dataclass(frozen=True)
class Cost:
    """One side of a cut.

    multiply_adds: of its convolutions and matrix products, for one picture; parameters: numbers in its constants,
    64-bit integers left out, which are shapes and indices.
    """

    multiply_adds: int
    parameters: int


class OnnxGraph:
    """One ONNX file, checked: its tensors, and the cuts among them.

    A cut is a tensor that every path from the inputs to the outputs passes; neither an input nor an output is one.
    Constants, and what is calculated from them alone, are on no path. A Shape node's result is: with a batch of any
    size it is not constant.

    model: what the file holds; inputs, outputs: names; cuts: names, from the inputs on.
    """

    def __init__(self, path: Path) -> None:
        """Load a file. The first size of an input, the batch, may be left open; shapes and costs are for a batch of 1.

        Raises InputError for a file that is missing or no valid ONNX model, that keeps weights in other files, has
        control flow or sparse weights, or inputs whose other sizes are not fixed.
        """
        self.path = path
        self.model = _load(path)
        graph = self.model.graph
        self._constants = {constant.name: constant for constant in graph.initializer}
        self.inputs = [value.name for value in graph.input if value.name not in self._constants]
        self.outputs = [value.name for value in graph.output]
        self._producers = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
        self._on_path = self._find_nodes_on_paths()
        self._values = _infer_values(self.model, self.inputs, path)
        self.cuts = list(self._find_cuts())

    def shape(self, tensor: str) -> tuple[int, ...]:
        """Return a tensor's shape for a batch of 1. Raises InputError where there is none, or ONNX cannot infer it."""
        self._check_known(tensor)
        return self._value(tensor)[1]

    def dtype(self, tensor: str) -> np.dtype:
        """Return a tensor's type of number. Raises InputError as `shape` does."""
        self._check_known(tensor)
        return helper.tensor_dtype_to_np_dtype(self._value(tensor)[0])

    def crossing(self, tensor: str) -> list[str]:
        """Return the names of the tensors that cross beside a tensor: calculated without it, and needed behind it.

        None for a cut. Raises InputError where there is no such tensor on a path from the inputs to the outputs.
        """
        self._check_known(tensor)
        nodes = self.model.graph.node
        if tensor not in self.inputs and self._producers.get(tensor) not in self._on_path:
            raise InputError(f"{tensor!r} of {self.path} is on no path from {self.inputs} to {self.outputs}")
        before, behind = self._sides(tensor)
        made = [*self.inputs, *(name for i in self._on_path if i in before for name in nodes[i].output)]
        needed = {*self.outputs, *(name for i in behind for name in nodes[i].input)}
        return [name for name in made if name in needed and name not in (tensor, "")]

    def frontier(self, tensor: str) -> list[str]:
        """Return a tensor and those that cross beside it: every path passes one of them, so they part the graph.

        Raises InputError where one of them is an input or an output, or as `crossing` does.
        """
        found = [tensor, *self.crossing(tensor)]
        if ends := [name for name in found if name in self.inputs or name in self.outputs]:
            raise InputError(
                f"{self.path} cannot be divided at {tensor!r}: {ends[0]!r} would cross, which is an input or an output;"
                " choose a tensor further inside"
            )
        return found

    def places(self, most: int) -> list[str]:
        """Return the tensors on the paths at which the graph can be parted with `most` tensors crossing at most."""
        names = [name for index in self._on_path for name in self.model.graph.node[index].output if name]
        found = []
        for name in names:
            crossing = [name, *self.crossing(name)]
            if len(crossing) <= most and not any(each in self.inputs or each in self.outputs for each in crossing):
                found.append(name)
        return found

    def costs(self, tensor: str) -> tuple[Cost, Cost]:
        """Return the costs before a cut, or a frontier, and behind it; what both sides need is counted on both.

        Raises InputError as `frontier` does, and where ONNX cannot tell a shape that the multiply-adds depend on.
        """
        self.frontier(tensor)
        before, behind = self._sides(tensor)
        return self._cost(before), self._cost(behind)

    @property
    def whole(self) -> Cost:
        """The cost of everything between the inputs and the outputs. Raises InputError as `costs` does."""
        return self._cost(self._on_path)

    def split(self, cut: str) -> tuple[ModelProto, ModelProto]:
        """Return the two parts as models: inputs to cut, and cut to outputs. Raises InputError where it is no cut."""
        self.check_cut(cut)
        return self.divide(cut)

    def divide(self, tensor: str) -> tuple[ModelProto, ModelProto]:
        """Return the two parts as models: inputs to a tensor's frontier, and that to the outputs.

        Raises InputError as `frontier` does.
        """
        frontier = self.frontier(tensor)
        # Its boundaries need a type; the file's own batch size, open or not, is kept.
        extractor = Extractor(onnx.shape_inference.infer_shapes(self.model, data_prop=True))
        try:
            parts = extractor.extract_model(self.inputs, frontier), extractor.extract_model(frontier, self.outputs)
            for part in parts:
                onnx.checker.check_model(part)
        except (ValueError, onnx.checker.ValidationError) as error:
            raise InputError(f"{self.path} cannot be cut at {tensor!r}: {in_one_line(error)}") from error
        return parts

    def check_cut(self, tensor: str) -> None:
        """Raise InputError where a tensor is no cut, with the names of those that cross beside it."""
        if tensor in self.cuts:
            return
        beside = self.crossing(tensor)
        verb = "crosses" if len(beside) == 1 else "cross"
        reason = f"{', '.join(map(repr, beside))} {verb} beside it" if beside else "it is an input or an output"
        raise InputError(f"{tensor!r} of {self.path} is no cut: {reason}; expected one of {', '.join(self.cuts)}")

    def _check_known(self, tensor: str) -> None:
        if tensor not in self._producers and tensor not in self.inputs and tensor not in self._constants:
            raise InputError(f"{self.path} has no tensor {tensor!r}; its cuts are {', '.join(self.cuts)}")

    def _value(self, tensor: str) -> tuple[int, tuple[int, ...]]:
        if tensor not in self._values:
            raise InputError(f"ONNX cannot infer the shape of {tensor!r} of {self.path}: simplify the file first")
        return self._values[tensor]

    def _find_nodes_on_paths(self) -> list[int]:
        """Indices of the nodes that some input reaches and that reach some output, in the file's topological order."""
        nodes = self.model.graph.node
        live, needed, found = set(self.inputs), set(self.outputs), []
        for node in nodes:
            if live.intersection(node.input):
                live.update(filter(None, node.output))
        for index in reversed(range(len(nodes))):
            if needed.intersection(nodes[index].output):
                needed.update(nodes[index].input)
                if live.intersection(nodes[index].input):
                    found.append(index)
        return found[::-1]

    def _find_cuts(self) -> Iterator[str]:
        # After the node that makes a cut, no other tensor is still to be used.
        nodes = [self.model.graph.node[index] for index in self._on_path]
        last_use = {name: place for place, node in enumerate(nodes) for name in node.input}
        last_use |= dict.fromkeys(self.outputs, len(nodes))
        pending = {name for name in self.inputs if name in last_use}
        for place, node in enumerate(nodes):
            pending.update(name for name in node.output if name in last_use)
            pending -= {name for name in node.input if last_use[name] == place}
            if len(pending) == 1 and not pending.issubset(self.outputs):
                yield from pending.intersection(node.output)

    def _sides(self, tensor: str) -> tuple[set[int], set[int]]:
        """Indices of the nodes that a tensor is calculated by, and of what else the outputs need.

        Only what is calculated from constants alone may be on both sides.
        """
        before = self._ancestors([tensor], None)
        return before, self._ancestors(self.outputs, tensor) - before.intersection(self._on_path)

    def _ancestors(self, tensors: Sequence[str], without: str | None) -> set[int]:
        """Indices of the nodes that some tensors are calculated by, none of those that only `without` needs."""
        found: set[int] = set()
        waiting = [*tensors]
        while waiting:
            name = waiting.pop()
            index = self._producers.get(name)
            if name != without and index is not None and index not in found:
                found.add(index)
                waiting += self.model.graph.node[index].input
        return found

    def _cost(self, indices: Iterable[int]) -> Cost:
        nodes = [self.model.graph.node[index] for index in indices]
        used = {name for node in nodes for name in node.input}
        constants = [self._constants[name] for name in used & self._constants.keys()]
        constants += [a.t for node in nodes if node.op_type == "Constant" for a in node.attribute if a.HasField("t")]
        numbers = sum(math.prod(constant.dims) for constant in constants if constant.data_type != TensorProto.INT64)
        return Cost(sum(map(self._multiply_adds, nodes)), numbers)

    def _multiply_adds(self, node: NodeProto) -> int:
        match node.op_type:
            case "Conv":
                return math.prod(self._value(node.output[0])[1]) * math.prod(self._value(node.input[1])[1][1:])
            case "ConvTranspose":
                return math.prod(self._value(node.input[0])[1]) * math.prod(self._value(node.input[1])[1][1:])
            case "MatMul":
                return math.prod(self._value(node.output[0])[1]) * self._value(node.input[0])[1][-1]
            case "Gemm":
                transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
                return math.prod(self._value(node.output[0])[1]) * self._value(node.input[0])[1][0 if transposed else 1]
        return 0


def _load(path: Path) -> ModelProto:
    try:
        model = onnx.load(path, load_external_data=False)
    except (OSError, DecodeError) as error:
        raise InputError(f"{path} is no readable ONNX file: {in_one_line(error)}") from error
    if outside := [tensor.name for tensor in _find_tensors(model) if uses_external_data(tensor)]:
        raise InputError(
            f"{path} keeps {outside[0]!r} and {len(outside) - 1} more weights in other files: save it as one file, "
            "onnx.save(onnx.load(PATH), NEW_PATH)"
        )
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, UnicodeDecodeError) as error:  # the latter: a name that is no text
        raise InputError(f"{path} is no valid ONNX model: {in_one_line(error)}") from error
    for node in model.graph.node:
        if any(attribute.type in _GRAPHS for attribute in node.attribute):
            raise InputError(
                f"{path} has control flow, a node {node.op_type}: expected a graph without branches to choose"
            )
    if model.graph.sparse_initializer:
        raise InputError(f"{path} has sparse weights, expected dense ones")
    model.graph.name = "network"  # the old one need not even be text
    del model.graph.quantization_annotation[:]  # hints alone, which the extractor refuses
    return model


def _find_tensors(message: Message) -> Iterator[TensorProto]:
    """All tensors in a message, however deep."""
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if field.is_repeated else [value]:
                if isinstance(part, TensorProto):
                    yield part
                else:
                    yield from _find_tensors(part)


def _infer_values(model: ModelProto, inputs: list[str], path: Path) -> dict[str, tuple[int, tuple[int, ...]]]:
    """Return type and shape of all tensors for a batch of 1, as far as ONNX can tell them."""
    single = ModelProto()
    single.CopyFrom(model)
    del single.graph.value_info[:]
    for value in single.graph.input:
        sizes = value.type.tensor_type.shape.dim
        if value.name in inputs and sizes and not sizes[0].HasField("dim_value"):
            sizes[0].dim_value = 1
        if value.name in inputs and not all(size.dim_value > 0 for size in sizes):
            shape = [size.dim_param or size.dim_value or "?" for size in sizes]
            raise InputError(f"input {value.name!r} of {path} has shape {shape}, expected fixed sizes behind the first")
    folded = True
    while folded:
        try:
            single = onnx.shape_inference.infer_shapes(single, data_prop=True)
            found = _inferred(single.graph)
            folded = _fold_shapes(single, found)
        except (onnx.shape_inference.InferenceError, ValueError) as error:  # the latter: fewer numbers than it says
            raise InputError(f"{path} is no valid ONNX model: {in_one_line(error)}") from error
    return found


def _inferred(graph: GraphProto) -> dict[str, tuple[int, tuple[int, ...]]]:
    found = {constant.name: (constant.data_type, tuple(constant.dims)) for constant in graph.initializer}
    for value in [*graph.value_info, *graph.input, *graph.output]:
        kind = value.type.tensor_type
        if kind.HasField("shape") and all(size.HasField("dim_value") for size in kind.shape.dim):
            found[value.name] = kind.elem_type, tuple(size.dim_value for size in kind.shape.dim)
    return found


def _fold_shapes(model: ModelProto, found: Mapping[str, tuple[int, tuple[int, ...]]]) -> bool:
    """Calculate what is known of shapes by now, which ONNX's own inference does for few operators; False: nothing."""
    graph, opsets = model.graph, {opset.domain: opset.version for opset in model.opset_import}
    constants = {constant.name: constant for constant in graph.initializer}
    constants |= {
        n.output[0]: a.t for n in graph.node if n.op_type == "Constant" for a in n.attribute if a.name == "value"
    }
    known = {
        name: numpy_helper.to_array(constant)
        for name, constant in constants.items()
        if constant.data_type == TensorProto.INT64 and math.prod(constant.dims) <= _LONGEST_SHAPE
    }
    folded = False
    for node in graph.node:
        if node.op_type == "Shape" and node.input[0] in found:
            bounds = {attribute.name: attribute.i for attribute in node.attribute}
            shape = found[node.input[0]][1]
            value: Any = np.array(shape[bounds.get("start", 0) : bounds.get("end", len(shape))], np.int64)
        elif node.op_type in _SHAPE_ARITHMETIC and all(name in known for name in node.input if name):
            evaluator = ReferenceEvaluator(node, opsets=opsets)
            try:
                [value] = evaluator.run(None, {name: known[name] for name in node.input if name})
            except (IndexError, TypeError, ValueError, RuntimeError):
                continue  # the shape stays unknown
        else:
            continue
        [name] = node.output
        known[name] = value
        node.CopyFrom(helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.asarray(value))))
        folded = True
    return folded


def forget_metadata(path: Path, kept: Collection[str] = ()) -> None:
    """Remove the notes that torch's exporter leaves in a file, where each operator stands in whose source for example.

    Those with the keys `kept` stay.
    """
    model = onnx.load(path)
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        notes = [note for note in part.metadata_props if note.key in kept]
        del part.metadata_props[:]
        part.metadata_props.extend(notes)
        part.doc_string = ""
    onnx.save(model, path)


def without_weights(path: Path) -> bytes:
    """Return an ONNX file without the values of its weights: what it calculates, not what it has learned.

    Raises InputError as OnnxGraph does.
    """
    model = _load(path)
    for weight in _weights(model):
        weight.ClearField("raw_data")
        weight.ClearField("float_data")
    return model.SerializeToString()


def fill_in(data: bytes) -> bytes:
    """Turn what `without_weights` returned into a valid ONNX file: zeros for all weights. Raises InputError else."""
    try:
        model = onnx.load_from_string(data)
    except DecodeError as error:
        raise InputError(f"{len(data)} bytes are no ONNX file: {in_one_line(error)}") from error
    if (values := sum(math.prod(weight.dims) for weight in _weights(model))) > _MOST_WEIGHTS:
        raise InputError(f"the weights are {values} numbers, expected at most {_MOST_WEIGHTS}")
    for weight in _weights(model):
        weight.raw_data = bytes(math.prod(weight.dims) * 4)
    return model.SerializeToString()


def _weights(model: ModelProto) -> Iterator[TensorProto]:
    """The constants that are learned: floating-point, and more than a few numbers."""
    constants = [
        *model.graph.initializer,
        *(a.t for node in model.graph.node for a in node.attribute if a.HasField("t")),
    ]
    yield from (c for c in constants if c.data_type == TensorProto.FLOAT and math.prod(c.dims) > _LONGEST_SHAPE)
