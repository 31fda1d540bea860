"""An ONNX file has all of its tensors inside, wherever in the graph they are, or is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from mtl_split_core.errors import BundleError
from mtl_split_core.onnx_file import OnnxFile


def tensor(external: bool) -> TensorProto:
    found = numpy_helper.from_array(np.arange(300, dtype=np.float32), "numbers")
    if external:
        onnx.external_data_helper.set_external_data(found, "weights")
    return found


def as_initializer(values: TensorProto) -> onnx.GraphProto:
    return helper.make_graph([helper.make_node("Identity", ["numbers"], ["y"])], "g", [], [], [values])


def as_attribute(values: TensorProto) -> onnx.GraphProto:
    return helper.make_graph([helper.make_node("Constant", [], ["y"], value=values)], "g", [], [])


def in_a_branch(values: TensorProto) -> onnx.GraphProto:
    inner = {"then_branch": as_initializer(values), "else_branch": as_attribute(tensor(external=False))}
    return helper.make_graph([helper.make_node("If", ["x"], ["y"], **inner)], "g", [], [])


def as_sparse_tensor(values: TensorProto) -> onnx.GraphProto:
    indices = numpy_helper.from_array(np.arange(300), "indices")
    graph = as_initializer(tensor(external=False))
    graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [300]))
    return graph


@pytest.mark.parametrize("place", [as_initializer, as_attribute, in_a_branch, as_sparse_tensor])
def test_tensors_in_other_files_are_found(place: Callable[[TensorProto], onnx.GraphProto]) -> None:
    OnnxFile(Path("inside"), helper.make_model(place(tensor(external=False))).SerializeToString()).check_complete()
    outside = OnnxFile(Path("outside"), helper.make_model(place(tensor(external=True))).SerializeToString())
    with pytest.raises(BundleError, match=r"^outside has tensors in other files"):
        outside.check_complete()


def test_tensors_of_a_function_are_found() -> None:
    function = helper.make_function("own", "f", [], ["y"], as_attribute(tensor(external=True)).node, [])
    model = helper.make_model(helper.make_graph([], "g", [], []), functions=[function])
    with pytest.raises(BundleError, match="in other files"):
        OnnxFile(Path("f"), model.SerializeToString()).check_complete()


def test_a_field_that_others_read_as_external_data_is_no_other_one() -> None:
    """Its number has more bits than there are numbers: protobuf leaves out the upper ones."""
    values = tensor(external=True).SerializeToString()
    tag = bytes([13 << 3 | 2])
    hidden = values.replace(tag, bytes([tag[0] | 128, 128, 128, 128, 16]))
    graph = helper.make_graph([], "g", [], [], [tensor(external=False)]).SerializeToString()

    def message(number: int, content: bytes) -> bytes:
        length = len(content)
        return bytes([number << 3 | 2, length & 127 | 128, length >> 7]) + content

    model = message(7, graph + message(5, hidden))
    with pytest.raises(BundleError, match="more than 29 bits"):
        OnnxFile(Path("f"), model).check_complete()


@given(st.integers(1, 1500))
def test_a_file_that_was_cut_off_is_refused_or_complete(length: int) -> None:
    whole = helper.make_model(as_initializer(tensor(external=False))).SerializeToString()
    try:
        OnnxFile(Path("cut"), whole[:-length]).check_complete()
    except BundleError as error:
        assert "cut is no ONNX file" in str(error)


@given(st.binary())
def test_any_bytes_are_looked_through_or_refused(data: bytes) -> None:
    try:
        OnnxFile(Path("any"), data).check_complete()
    except BundleError as error:
        assert "any" in str(error)
