"""`mtl-split record` keeps every message as it was sent, says what it kept, and cannot lose a bag silently."""

import itertools
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import rclpy
from mtl_split.msg import Bottleneck
from rclpy.executors import SingleThreadedExecutor
from rosbags.rosbag2 import Writer
from sensor_msgs.msg import Image
from vision_msgs.msg import LabelInfo, VisionClass

from mtl_split_core.bundle import Bundle
from mtl_split_core.errors import InputError
from mtl_split_lab.recordings.bag_recorder import BagRecorder
from mtl_split_lab.recordings.bags import open_bag
from mtl_split_lab.recordings.storage import STORAGES
from mtl_split_ros.qos import LATCHED, RESULT

from ...bags import header, read_messages
from ...processes import PATIENCE, Probe
from .test_bags import image

Record = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def record(domain: int, tmp_path: Path) -> Iterator[Record]:
    """Starts `mtl-split record`, and kills it after the test."""
    processes = []

    def start(*arguments: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", "mtl_split_lab.command", "record", str(tmp_path / "bag"), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "ROS_DOMAIN_ID": str(domain)},
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


@pytest.mark.parametrize("storage", STORAGES)
def test_a_bag_holds_what_was_sent(domain: int, probe: Probe, tmp_path: Path, bundle: Bundle, storage: str) -> None:
    written = tmp_path / "bag"
    rclpy.init(domain_id=domain)
    try:
        recorder = BagRecorder(written, bundle.tasks, storage=storage, namespace="car1")
        executor = SingleThreadedExecutor()
        executor.add_node(recorder)
        labels = LabelInfo(header=header(0), class_map=[VisionClass(class_id=0, class_name="red")])
        # Published before anybody listens.
        latched = probe.node.create_publisher(LabelInfo, "/car1/label_info/colour", LATCHED)
        latched.publish(labels)
        publishers = [
            probe.publisher(kind, f"/car1/{topic}", RESULT)
            for kind, topic in ((Image, "image_raw"), (Bottleneck, "bottleneck"))
        ]
        sent = [[image(number), Bottleneck(header=header(number), payload=[number])] for number in range(5)]
        # A subscription is known here before it is connected there, and what is best effort is then lost.
        tries = itertools.count()
        while not all(recorder.counts[publisher.topic] for publisher in publishers):
            for publisher, first in zip(publishers, sent[0], strict=True):
                if next(tries) % 20 < len(publishers):
                    publisher.publish(first)
            executor.spin_once(timeout_sec=0.05)
        for publisher, messages in zip(publishers, zip(*sent, strict=True), strict=True):
            for message in messages:
                publisher.publish(message)
                before = recorder.counts[publisher.topic]
                while recorder.counts[publisher.topic] == before:
                    executor.spin_once(timeout_sec=0.05)
        while not recorder.counts["/car1/label_info/colour"]:
            executor.spin_once(timeout_sec=0.05)
        executor.shutdown()
        recorder.destroy_node()
    finally:
        rclpy.shutdown()
    for publisher, expected in zip(publishers, zip(*sent, strict=True), strict=True):
        kept = read_messages(written, publisher.topic, publisher.msg_type)
        assert kept[kept.index(expected[1]) - 1 :] == list(expected)
    assert read_messages(written, "/car1/label_info/colour", LabelInfo) == [labels]
    with open_bag(written) as bag:
        assert bag.latched == {"/car1/label_info/colour", "/car1/label_info/detection"}


@pytest.mark.parametrize("storage", STORAGES)
def test_an_empty_bag_is_warned_of(record: Record, probe: Probe, storage: str) -> None:
    process = record("--namespace", "nobody", "--storage", storage)
    # Its last subscription; the probe has one, too.
    has_begun = lambda: probe.node.count_subscribers("/diagnostics") > 1  # noqa: E731
    probe.wait_for("the recorder", lambda: has_begun() or process.poll() is not None)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE)
    assert "the bag has no images: nothing came on /nobody/image_raw" in output


def test_the_camera_info_is_the_one_beside_the_images(record: Record, probe: Probe) -> None:
    process = record("--namespace", "car1", "--image-topic", "/camera/image_raw")
    probe.wait_for("the recorder", lambda: probe.node.count_subscribers("/camera/camera_info"))
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--namespace", "1 2"], "namespace is '1 2'"), (["--image-topic", "a b"], "image topic 'a b'")],
)
def test_names_that_cannot_be_leave_no_bag(record: Record, tmp_path: Path, arguments: list[str], words: str) -> None:
    process = record(*arguments)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1 and words in output and "Traceback" not in output
    assert not (tmp_path / "bag").exists()


def test_a_bag_that_cannot_be_completed_is_told(
    domain: int, tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Writer) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(Writer, "close", fail)
    rclpy.init(domain_id=domain)
    try:
        recorder = BagRecorder(tmp_path / "bag", bundle.tasks)
        recorder.destroy_node()
    finally:
        rclpy.shutdown()
    with pytest.raises(InputError, match="cannot write the bag: no space left on device"):
        recorder.ended.result(timeout=0)


def test_a_bag_that_cannot_be_begun_is_told(
    domain: int, tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    rclpy.init(domain_id=domain)
    try:
        with pytest.raises(InputError, match=r"cannot write the bag .*Not a directory"):
            (tmp_path / "file").touch()
            BagRecorder(tmp_path / "file" / "bag", bundle.tasks)
        monkeypatch.setattr(Writer, "add_connection", fail)
        with pytest.raises(InputError, match=r"cannot write the bag .*bag: database or disk is full"):
            BagRecorder(tmp_path / "bag", bundle.tasks, storage="sqlite3")
    finally:
        rclpy.shutdown()


def test_a_bag_that_is_there_is_not_overwritten(record: Record, tmp_path: Path) -> None:
    (tmp_path / "bag").mkdir()
    process = record()
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1 and "cannot write the bag" in output and "Traceback" not in output
