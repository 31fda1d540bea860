"""The server's answer to one bottleneck in few bytes: the results of all tasks as one msgpack array.

[version, [result of each task]]; docs/wire-format.md tells every byte.
"""

from collections.abc import Sequence

import msgpack

from mtl_split_core.errors import InputError, brief
from mtl_split_core.geometry import Letterbox
from mtl_split_core.kinds import KINDS
from mtl_split_core.scene import Results, Task

VERSION = 1
MOST_BYTES = 1 << 20
"""Answers of more bytes are refused."""


class AnswerError(InputError):
    """An answer that no server with this contract sends."""


def pack_results(tasks: Sequence[Task], results: Results, letterbox: Letterbox) -> bytes:
    """Write the results of all tasks, of a picture of the letterbox' source size."""
    parts = [KINDS[task.kind].to_bytes(results[task.name], task, letterbox) for task in tasks]
    packed: bytes = msgpack.packb((VERSION, parts))
    return packed


def unpack_results(tasks: Sequence[Task], data: bytes, letterbox: Letterbox) -> Results:
    """Read the results of all tasks. Raises AnswerError for anything that `pack_results` does not write."""
    if len(data) > MOST_BYTES:
        raise AnswerError(f"an answer has {len(data):,} bytes, expected at most {MOST_BYTES:,}")
    try:
        fields = msgpack.unpackb(data, use_list=False)
    except (ValueError, msgpack.UnpackException) as error:
        raise AnswerError(f"an answer is no msgpack array: {error!r:.200}") from error
    if not isinstance(fields, tuple) or len(fields) != 2 or not isinstance(fields[1], tuple):
        raise AnswerError(f"an answer holds {brief(fields)}, expected a version and the results of each task")
    version, parts = fields
    if type(version) is not int or version != VERSION:
        raise AnswerError(f"an answer has version {brief(version)}, expected {VERSION}: update the older of the nodes")
    if len(parts) != len(tasks) or not all(type(part) is bytes for part in parts):
        raise AnswerError(f"an answer has {len(parts)} parts, expected bytes for each of {len(tasks)} tasks")
    try:
        return {
            task.name: KINDS[task.kind].from_bytes(part, task, letterbox)
            for task, part in zip(tasks, parts, strict=True)
        }
    except InputError as error:
        raise AnswerError(str(error)) from error
