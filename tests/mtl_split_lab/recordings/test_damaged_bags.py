"""Whatever is changed in a bag, it is read or refused by name. FUZZ_EXAMPLES says how often; `make fuzz`: thousands."""

import os
from array import array
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rclpy.serialization import serialize_message
from rosbags.rosbag2 import CompressionFormat, CompressionMode
from sensor_msgs.msg import Image

from mtl_split_core.errors import InputError
from mtl_split_core.scene import Task
from mtl_split_lab.recordings.bags import BagFrames
from mtl_split_lab.recordings.definitions import message_types
from mtl_split_lab.recordings.storage import BagWriter
from mtl_split_ros.messages import type_name

from ...bags import START, header, write_bag
from .test_bags import truth

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "200"))
TASKS = (Task("detection", "detection", ("thing",)), Task("colour", "classification", ("red", "blue")))


def small(number: int) -> Image:
    """An image of few bytes, so that most of the changed ones say something else."""
    return Image(header=header(number), height=2, width=4, step=12, encoding="bgr8", data=array("B", range(24)))


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One of every storage, and one whose chunks are compressed."""
    folder = tmp_path_factory.mktemp("bags")
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
def changes(draw: st.DrawFn) -> list[tuple[str, float, bytes]]:
    """What is done to a file, where in it (0 to 1) and with what."""
    place = st.floats(0, 1, exclude_max=True)
    kinds = st.sampled_from(["overwrite", "overwrite", "overwrite", "insert", "remove", "truncate"])
    value = st.binary(min_size=1, max_size=8) | st.sampled_from([bytes(8), b"\xff" * 8, b"\xff\xff\xff\x7f"])
    return draw(st.lists(st.tuples(kinds, place, value), min_size=1, max_size=4))


def changed(data: bytes, what: list[tuple[str, float, bytes]]) -> bytes:
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


def read(path: Path) -> None:
    """Read everything that can be read of a bag. Raises InputError, in one line with the path, or nothing."""
    try:
        frames = list(BagFrames(path, TASKS))
    except InputError as error:
        assert str(path) in str(error) and "\n" not in str(error), str(error)
        return
    for frame in frames:
        try:
            frame.read()
        except InputError:
            continue


@pytest.mark.timeout(0)
@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_damaged_bag_is_read_or_refused(bags: list[Path], data: st.DataObject) -> None:
    bag = data.draw(st.sampled_from(bags))
    file = data.draw(st.sampled_from(sorted(bag.iterdir())))
    whole = file.read_bytes()
    file.write_bytes(changed(whole, data.draw(changes())))
    try:
        read(bag)
        if file.suffix in (".mcap", ".db3"):
            read(file)
    finally:
        file.write_bytes(whole)


def test_the_bags_are_whole_before(bags: list[Path]) -> None:
    for bag in bags:
        frames = list(BagFrames(bag, TASKS))
        assert len(frames) == 3 and all(frame.known for frame in frames)
