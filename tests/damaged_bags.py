"""Damaged bags: how they are damaged, and that what reads one reads it or refuses it by name."""

import contextlib
from array import array
from pathlib import Path

from hypothesis import strategies as st
from rclpy.serialization import serialize_message
from rosbags.rosbag2 import CompressionFormat, CompressionMode
from sensor_msgs.msg import Image

from mtl_split_core.errors import InputError
from mtl_split_core.scene import Task
from mtl_split_lab.recordings.bags import BagFrames
from mtl_split_lab.recordings.definitions import message_types
from mtl_split_lab.recordings.storage import SUFFIXES, BagWriter
from mtl_split_ros.messages import type_name

from .bags import START, header, write_bag
from .damage import bounded_memory
from .mtl_split_lab.recordings.test_bags import truth

TASKS = (Task("detection", "detection", ("thing",)), Task("colour", "classification", ("red", "blue")))
Changes = list[tuple[str, float, bytes]]
"""What is done to a file, where in it (0 to 1) and with what."""


def small(number: int) -> Image:
    """An image of few bytes, so that most of the changed ones say something else."""
    return Image(header=header(number), height=2, width=4, step=12, encoding="bgr8", data=array("B", range(24)))


def write_bags(folder: Path) -> list[Path]:
    """Write one of every storage, and one whose chunks are compressed."""
    messages = [one for number in range(3) for one in [("/image_raw", small(number)), *truth(number)]]
    found = [write_bag(folder / storage, messages, storage) for storage in ("mcap", "sqlite3")]
    compressed = BagWriter(folder / "zstd", "mcap")
    compressed.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    with compressed:
        for topic in dict(messages):
            kind = type(dict(messages)[topic])
            connection = compressed.add_connection(topic, type_name(kind), typestore=message_types())
            for number, message in enumerate(message for name, message in messages if name == topic):
                compressed.write(connection, START + number, serialize_message(message))
    return [*found, folder / "zstd"]


@st.composite
def damages(draw: st.DrawFn, bags: list[Path]) -> tuple[Path, Path, Changes]:
    """A bag, one of its files, and what is done to it."""
    bag = draw(st.sampled_from(bags))
    place = st.floats(0, 1, exclude_max=True)
    kinds = st.sampled_from(["overwrite", "overwrite", "overwrite", "insert", "remove", "truncate"])
    value = st.binary(min_size=1, max_size=8) | st.sampled_from([bytes(8), b"\xff" * 8, b"\xff\xff\xff\x7f"])
    changes = draw(st.lists(st.tuples(kinds, place, value), min_size=1, max_size=4))
    return bag, draw(st.sampled_from(sorted(bag.iterdir()))), changes


def changed(data: bytes, what: Changes) -> bytes:
    for kind, share, value in what:
        place = int(share * len(data))
        before, after = data[:place], data[place:]
        match kind:
            case "overwrite":
                data = before + value + after[len(value) :]
            case "insert":
                data = before + value + after
            case "remove":
                data = before + after[len(value) :]
            case "truncate":
                data = before
    return data


def is_refused(bag: Path, file: Path, changes: Changes) -> bool:
    """Change a file of a bag, and read both; whether the bag was refused."""
    whole = file.read_bytes()
    file.write_bytes(changed(whole, changes))
    try:
        if file.suffix in SUFFIXES:
            _is_refused(file)
        return _is_refused(bag)
    finally:
        file.write_bytes(whole)


def _is_refused(path: Path) -> bool:
    """Read everything that can be read of a bag."""
    with bounded_memory():
        try:
            frames = list(BagFrames(path, TASKS))
        except InputError as error:
            assert str(path) in str(error) and "\n" not in str(error), str(error)
            return True
        for frame in frames:
            with contextlib.suppress(InputError):
                frame.read()
    return False
