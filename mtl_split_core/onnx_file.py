"""An ONNX file in memory, and the check that all of the network is in it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mtl_split_core.errors import BundleError


@dataclass(frozen=True)
class OnnxFile:
    """The bytes of an ONNX file; path: where they were read, which is only named in messages."""

    path: Path
    data: bytes

    def check_complete(self) -> None:
        """Raise BundleError where a tensor is stored in another file, whose contents no hash covers.

        Inference engines would read it, wherever it is.
        """
        try:
            complete = not _refers_to_files(memoryview(self.data))
        except ValueError as error:
            raise BundleError(f"{self.path} is no ONNX file: {error}") from error
        if not complete:
            raise BundleError(f"{self.path} has tensors in other files: export it without external data")


# What leads to tensors, in onnx.proto3: by message, the field numbers and the messages in them.
_MESSAGES: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse tensor", 23: "sparse tensor"},
    "sparse tensor": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_EXTERNAL_DATA = 13


def _refers_to_files(model: memoryview) -> bool:
    pending = [("model", model)]
    while pending:
        kind, message = pending.pop()
        for number, part in _length_delimited(message):
            if kind == "tensor" and number == _EXTERNAL_DATA:
                return True
            if number in _MESSAGES[kind]:
                pending.append((_MESSAGES[kind][number], part))
    return False


def _length_delimited(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield the number and the contents of all fields of a protobuf message that have a length."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        if tag >> 32:  # others read the lower bits alone, and so another field
            raise ValueError("it has a field with a number of more than 29 bits")
        match tag & 7:
            case 0:
                _, at = _varint(message, at)
            case 1:
                at += 8
            case 2:
                length, at = _varint(message, at)
                yield tag >> 3, message[at : at + length]
                at += length
            case 5:
                at += 4
            case wire_type:
                raise ValueError(f"it has a field of wire type {wire_type}")
    if at > len(message):
        raise ValueError("it is cut off")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("it is cut off")
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("it has a number of more than 64 bits")
