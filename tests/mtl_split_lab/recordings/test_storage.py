"""Bags work at any path; what is no whole bag is named with its cure, and never read in part as if it were all."""

import os
import re
import shutil
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import lz4.frame
import pytest
from rclpy.serialization import serialize_message
from rosbags.rosbag2 import CompressionFormat, CompressionMode, ReaderError
from rosbags.rosbag2.storage_mcap import decompress
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2DArray

from mtl_split_core.bundle import Bundle
from mtl_split_core.errors import InputError
from mtl_split_lab.recordings import storage as bag_storage
from mtl_split_lab.recordings.bags import BagFrames, open_bag
from mtl_split_lab.recordings.definitions import message_class, message_types
from mtl_split_lab.recordings.inputs import open_input
from mtl_split_lab.recordings.storage import METADATA, STORAGES, BagWriter, storage_files, zstd

from ...bags import START, header, write_bag
from ...damage import MOST_GROWTH, bounded_memory
from .test_bags import image, truth

NAMES = (
    "rec #1",
    "a?b=c&d",
    "100%",
    "%23",
    "a b",
    "ü日",
    'it\'s "so"',
    "a\nb",
    "a:b",
    "[x]*",
    "-rf",
    "a;b",
    "~",
    "a\\b",
)


def frames(path: Path) -> int:
    return len(list(BagFrames(path, ())))


def drive(path: Path, storage: str = "mcap", count: int = 3) -> Path:
    return write_bag(path, [("/image_raw", image(number)) for number in range(count)], storage)


def error(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        frames(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_a_bag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storage: str, name: str) -> None:
    bag = drive(tmp_path / name / name, storage)
    [file] = storage_files(bag)
    assert {path.name for path in tmp_path.iterdir()} == {name} and file.stem == name
    monkeypatch.chdir(tmp_path)
    for path in (bag, file, Path(name, name), Path(f"/{bag}")):
        assert frames(path) == 3


def test_a_name_that_no_metadata_can_have_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot write the bag .*its name is not UTF-8"):
        BagWriter(tmp_path / os.fsdecode(b"\xff"), "mcap")
    bag = drive(tmp_path / "bag", "sqlite3")
    [file] = storage_files(bag)
    assert frames(file.rename(tmp_path / os.fsdecode(b"\xff.db3"))) == 3


@pytest.mark.parametrize("mode", ["wal", "persist"])
def test_what_a_killed_recorder_left_beside_its_database_is_not_left_out(tmp_path: Path, mode: str) -> None:
    [file] = storage_files(drive(tmp_path / "bag", "sqlite3"))
    killed = tmp_path / "killed.db3"
    with sqlite3.connect(file) as database:
        database.execute(f"PRAGMA journal_mode={mode}")
        database.execute("PRAGMA cache_spill=1")
        database.execute("PRAGMA cache_size=1")
        database.execute("INSERT INTO messages(topic_id, timestamp, data) SELECT topic_id, 0, data FROM messages")
        if mode == "wal":
            database.commit()
        for suffix in ("", "-wal", "-journal"):
            if Path(f"{file}{suffix}").exists():
                shutil.copyfile(f"{file}{suffix}", f"{killed}{suffix}")
        database.commit()
    database.close()
    assert f"{killed.name}-{'wal' if mode == 'wal' else 'journal'} has changes that are not in it yet" in error(killed)
    # The cure, as the sqlite3 command does it.
    database = sqlite3.connect(killed)
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
    assert frames(killed) == (6 if mode == "wal" else 3)


def test_a_journal_that_is_done_with_does_not_matter(tmp_path: Path) -> None:
    [file] = storage_files(drive(tmp_path / "bag", "sqlite3"))
    Path(f"{file}-journal").write_bytes(bytes(512))
    Path(f"{file}-wal").touch()
    assert frames(file) == 3


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("durability: volatile", "durability: transient_local"),
        ("name: /image_raw", "name: /other"),
        ("message_count: 3", "message_count: 4"),
        ("message_count: 3", "message_count: many"),
        ("message_count: 3", "message_count: null"),
        ("name: /image_raw", "name: 7"),
        ("storage_identifier: {storage}", "storage_identifier: ''"),
        ("version: 9", "version: 99"),
        ("serialization_format: cdr", "serialization_format: json"),
        ("RIHS01_d31d", "RIHS01_0000"),
        ("rosbag2_bagfile_information:", "x:"),
        ("rosbag2_bagfile_information:", "["),
        ("relative_file_paths:", "relative_file_paths: [..]\n  y:"),
    ],
)
def test_metadata_that_promise_what_is_not_there_are_named(
    tmp_path: Path, storage: str, before: str, after: str
) -> None:
    bag = write_bag_with_profiles(tmp_path / "bag", storage)
    metadata = (bag / METADATA).read_text()
    assert before.format(storage=storage) in metadata
    (bag / METADATA).write_text(metadata.replace(before.format(storage=storage), after))
    words = error(bag)
    [file] = storage_files(bag)
    assert f"give {file} alone" in words or ".." in after
    assert frames(file) == 3


def test_metadata_without_profiles_promise_in_vain(tmp_path: Path) -> None:
    bag = write_bag_with_profiles(tmp_path / "bag", "mcap")
    lines = (bag / METADATA).read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if "offered_qos_profiles" in line)
    last = next(number for number, line in enumerate(lines) if "serialization_format" in line)
    del lines[first:last]
    (bag / METADATA).write_text("\n".join(lines))
    assert "of 3 messages that it promises on '/image_raw', 3 cannot be read" in error(bag)


def write_bag_with_profiles(path: Path, storage: str) -> Path:
    from mtl_split_lab.recordings.bag_recorder import _offered
    from mtl_split_ros.qos import RESULT

    with BagWriter(path, storage) as bag:
        profiles = [_offered(RESULT)]
        connection = bag.add_connection(
            "/image_raw", "sensor_msgs/msg/Image", typestore=message_types(), offered_qos_profiles=profiles
        )
        for number in range(3):
            bag.write(connection, START + number, serialize_message(image(number)))
    return path


def empty(path: Path) -> None:
    path.write_bytes(b"")


def random_bytes(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 10)


def ros_1(path: Path) -> None:
    path.write_bytes(b"#ROSBAG V2.0\n" + bytes(5000))


def folder(path: Path) -> None:
    path.mkdir()


def pipe(path: Path) -> None:
    os.mkfifo(path)


def loop(path: Path) -> None:
    path.symlink_to(path)


def nowhere(path: Path) -> None:
    path.symlink_to(path.parent / "nowhere")


@pytest.mark.parametrize("suffix", [".mcap", ".db3", ".bag", ""])
@pytest.mark.parametrize("make", [empty, random_bytes, ros_1, folder, pipe, loop, nowhere])
def test_what_is_no_bag_at_all(tmp_path: Path, bundle: Bundle, suffix: str, make: Callable[[Path], None]) -> None:
    path = tmp_path / f"bag{suffix}"
    make(path)
    words = error(path)
    assert str(path) in words
    assert ("rosbags-convert" in words) == (make is ros_1)
    with pytest.raises(InputError):
        open_input(str(path), bundle.tasks, tmp_path, 1)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("make", [empty, random_bytes, folder, pipe, loop, nowhere])
@pytest.mark.parametrize("which", ["metadata", "messages"])
def test_a_bag_whose_files_are_none(tmp_path: Path, storage: str, make: Callable[[Path], None], which: str) -> None:
    bag = drive(tmp_path / "bag", storage)
    file = bag / METADATA if which == "metadata" else storage_files(bag)[0]
    file.unlink()
    make(file)
    assert str(bag) in error(bag)


def test_the_bag_of_a_killed_recorder_is_named_with_its_cure(tmp_path: Path, bundle: Bundle) -> None:
    bag = drive(tmp_path / "my bag")
    [file] = storage_files(bag)
    (bag / METADATA).unlink()
    assert f"it has no metadata.yaml, as after its recorder was killed; give {file} alone" in error(bag)
    with pytest.raises(InputError, match="it has no metadata"):
        open_input(str(bag), bundle.tasks, tmp_path, 1)
    assert frames(file) == 3
    file.write_bytes(file.read_bytes()[:-100])
    assert f"`mcap recover '{file}' -o WHOLE.mcap`" in error(file)


def test_types_that_are_defined_otherwise_are_not_read_as_ours(tmp_path: Path, bundle: Bundle) -> None:
    for storage in STORAGES:
        bag = tmp_path / storage
        with BagWriter(bag, storage) as writer:
            types = message_types()
            images = writer.add_connection("/image_raw", "sensor_msgs/msg/Image", typestore=types)
            definition, _ = types.generate_msgdef("vision_msgs/msg/Detection2DArray", ros_version=2)
            text = definition.replace("Detection2D[] detections", "Detection2D[<=5] detections")
            assert text != definition
            truths = writer.add_connection(
                "/ground_truth/detections", "vision_msgs/msg/Detection2DArray", msgdef=text, rihs01="RIHS01_00"
            )
            writer.write(images, START, serialize_message(image(0)))
            writer.write(truths, START, serialize_message(Detection2DArray(header=header(0))))
        for path in (bag, *storage_files(bag)):
            with pytest.raises(
                InputError, match=r"'/ground_truth/detections' is of another vision_msgs/msg/Detection2D"
            ):
                BagFrames(path, bundle.tasks)
            assert frames(path) == 1  # nobody asked for the truth


@pytest.mark.parametrize("name", ["", "Image", "sensor_msgs/msg/No", "this/msg/Is", "os/path", "../msg/Image", "a/b"])
def test_nothing_but_types_of_messages_is_imported(name: str) -> None:
    assert message_class("sensor_msgs/msg/Image") is Image
    with pytest.raises(InputError, match=f"type '{name}' is not installed"):
        message_class(name)
    assert "this" not in sys.modules


def test_only_what_is_asked_for_is_read(tmp_path: Path) -> None:
    with open_bag(write_bag(tmp_path / "bag", [("/image_raw", image(0)), *truth(0)])) as bag:
        assert list(bag.messages(["/nowhere"])) == []
        assert [topic for topic, _, _ in bag.messages(["/image_raw"])] == ["/image_raw"]


def write_bomb(path: Path, plugin: str, mode: CompressionMode, messages: int = 1) -> Path:
    """A bag whose messages, all of the same time, have 2 MB each, but nearly none when they are compressed."""
    bag = BagWriter(path, plugin)
    bag.set_compression(mode, CompressionFormat.ZSTD)
    with bag:
        connection = bag.add_connection("/image_raw", "sensor_msgs/msg/Image", typestore=message_types())
        for _ in range(messages):
            bag.write(connection, START, serialize_message(Image(data=bytes(2_000_000))))
    assert sum(file.stat().st_size for file in path.iterdir()) < 100_000
    return path


def read_all(path: Path) -> int:
    with open_bag(path) as bag:
        return len(list(bag.messages(["/image_raw"])))


@pytest.mark.parametrize("most, messages", [(1_000_000, 1), (5_000_000, 3)])
def test_chunks_that_take_too_much_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, messages: int
) -> None:
    bomb = write_bomb(tmp_path / "bomb", "mcap", CompressionMode.STORAGE, messages)
    assert read_all(bomb) == messages
    monkeypatch.setattr(bag_storage, "MOST_BYTES", most)
    with pytest.raises(InputError, match=f"{re.escape(str(bomb))}: chunks of .* expected at most {most}: "):
        read_all(bomb)


@pytest.mark.parametrize("name, compress", [("zstd", zstd.compress), ("lz4", lz4.frame.compress)])
def test_a_chunk_that_decompresses_to_more_than_it_says(name: str, compress: Callable[[bytes], bytes]) -> None:
    bomb = compress(bytes(1 << 24)) * (2 * MOST_GROWTH >> 24)
    with bounded_memory(), pytest.raises(ReaderError, match="expected 1000 bytes, got 1001"):
        decompress(bomb, name, 1000, 0)
    with pytest.raises(InputError, match="expected at most"):
        decompress(bomb, name, bag_storage.MOST_BYTES + 1, 0)


@pytest.mark.parametrize("plugin", STORAGES)
def test_a_message_that_takes_too_much_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plugin: str) -> None:
    bomb = write_bomb(tmp_path / "bomb", plugin, CompressionMode.MESSAGE)
    assert read_all(bomb) == 1
    monkeypatch.setattr(bag_storage, "MOST_BYTES", 1_000_000)
    with pytest.raises(InputError, match="a message on '/image_raw' has more than 1000000 bytes"):
        read_all(bomb)


@pytest.mark.parametrize("plugin", STORAGES)
def test_a_compressed_file_that_takes_too_much_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plugin: str
) -> None:
    bomb = write_bomb(tmp_path / "bomb", plugin, CompressionMode.FILE)
    assert read_all(bomb) == 1
    monkeypatch.setattr(bag_storage, "MOST_OF_FREE", 0.0)
    with pytest.raises(InputError, match=r"zstd takes more than half of what is free in .*TMPDIR"):
        read_all(bomb)


def test_values_that_a_database_calculates(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", [("/image_raw", Image())], "sqlite3")
    [file] = storage_files(bag)
    with sqlite3.connect(file) as database:
        database.executescript(
            "ALTER TABLE messages RENAME TO old;"
            f"CREATE TABLE messages(id, topic_id, timestamp, data AS (zeroblob({bag_storage.MOST_BYTES + 1})));"
            "INSERT INTO messages SELECT id, topic_id, timestamp FROM old"
        )
    database.close()
    with pytest.raises(InputError, match="too big"), bounded_memory():
        read_all(bag)
