"""The camera node as its neighbours see it: what it publishes, at which stamps, and how it ends."""

import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import UInt64
from vision_msgs.msg import Classification, Detection2DArray

from mtl_split_camera.street import Street
from mtl_split_ros.images import to_picture
from mtl_split_ros.kinds import classification, detection
from mtl_split_ros.qos import LATCHED, RESULT

from ..conftest import Start
from ..processes import Probe

EVERY_MESSAGE = QoSProfile(depth=100)
STREET = ("-p", "width:=320", "-p", "height:=180")


def nanoseconds(stamp: Time) -> int:
    return int(stamp.sec * 10**9 + stamp.nanosec)


def has_last(messages: list[Any], stamp: int) -> bool:
    return bool(messages) and nanoseconds(messages[-1].header.stamp) == stamp


def test_a_short_street_with_everything_that_is_known_of_it(probe: Probe, start: Start) -> None:
    images = probe.listen(Image, "/car1/image_raw", EVERY_MESSAGE)
    infos = probe.listen(CameraInfo, "/car1/camera_info", EVERY_MESSAGE)
    objects = probe.listen(Detection2DArray, "/car1/ground_truth/detections", EVERY_MESSAGE)
    weathers = probe.listen(Classification, "/car1/ground_truth/classification/weather", EVERY_MESSAGE)
    options = ("source:=sim:3", "rate:=5.0", "frames:=10", "frame_id:=front", "wait_for_subscribers:=1")
    camera = start("camera", *STREET, *(word for option in options for word in ("-p", option)), "-r", "__ns:=/car1")
    street = Street(3, (320, 180), 5.0)
    expected = list(islice(street, 10))

    def last_arrived() -> bool:
        return bool(images) and np.array_equal(to_picture(images[-1]), expected[-1][0])

    probe.wait_for("the last image", last_arrived)
    # Those published before the probe knew the camera as well as the camera the probe are lost.
    expected = expected[-len(images) :]
    stamps = [nanoseconds(image.header.stamp) for image in images]
    assert stamps == sorted(set(stamps))
    for image, (picture, _) in zip(images, expected, strict=True):
        assert np.array_equal(to_picture(image), picture)
        assert image.header.frame_id == "front"

    truths = {stamp: truth for stamp, (_, truth) in zip(stamps, expected, strict=True)}
    for messages in (objects, weathers, infos):
        probe.wait_for("the last of everything", partial(has_last, messages, stamps[-1]))
        messages[:] = [message for message in messages if nanoseconds(message.header.stamp) in truths]
    for message in objects:
        truth = truths[nanoseconds(message.header.stamp)]
        found = detection.to_result(message)
        assert found.labels == truth.labels
        np.testing.assert_allclose(found.boxes, truth.boxes, atol=1e-3)
        assert tuple(detection.id for detection in message.detections) == truth.ids
        assert [len(detection.results) for detection in message.detections] == [1 + ignore for ignore in truth.ignore]
    for message in weathers:
        assert classification.to_result(message).best == truths[nanoseconds(message.header.stamp)].classes["weather"]
    for info in infos:
        assert (info.width, info.height, info.k[2], info.k[5]) == (320, 180, 160.0, 90.0)
        assert info.k[0] == street.focal_length

    late = probe.listen(UInt64, "/car1/end_of_stream", LATCHED)
    probe.wait_for("the end of the stream, for a late subscriber", lambda: late)
    assert late[0].data == 10
    assert camera.runs
    assert camera.end(signal.SIGINT) == 0


def test_pictures_compressed_then_a_clean_end(probe: Probe, start: Start, tmp_path: Path) -> None:
    for name, grey in (("a.png", 50), ("c.png", 200)):
        cv2.imwrite(str(tmp_path / name), np.full((48, 64, 3), grey, np.uint8))
    (tmp_path / "b.png").write_bytes(b"damaged")
    compressed = probe.listen(CompressedImage, "/image_raw/compressed", EVERY_MESSAGE)
    infos = probe.listen(CameraInfo, "/camera_info", EVERY_MESSAGE)
    ends = probe.listen(UInt64, "/end_of_stream", LATCHED)
    options = (f"source:=images:{tmp_path}", "compressed:=true", "loop:=true", "frames:=20", "exit_at_end:=true")
    reported = ("-p", "wait_for_subscribers:=1", "-p", "diagnostics_period:=0.1")
    camera = start("camera", *(word for option in options for word in ("-p", option)), *reported)
    skipping = probe.status("/camera: /image_raw", lambda status, _: "pictures skipped" in status.message)
    assert int(skipping["skipped"]) and probe.statuses["/camera: /image_raw"].level == DiagnosticStatus.WARN
    probe.wait_for("the end of the stream", lambda: ends)
    assert ends[0].data == 20
    assert camera.end() == 0
    greys = [round(float(to_picture(message).mean())) for message in compressed]
    assert set(greys) == {50, 200}
    assert all(grey != following for grey, following in pairwise(greys))
    assert all(info.k[0] == 0 for info in infos), "a camera of which nothing is known is uncalibrated"
    assert str(tmp_path / "b.png") in camera.log


def test_the_pace_is_that_of_the_nodes_clock_and_a_gap_is_not_caught_up(probe: Probe, start: Start) -> None:
    images = probe.listen(Image, "/image_raw", EVERY_MESSAGE)
    clock = probe.node.create_publisher(Clock, "/clock", 10)
    start("camera", *STREET, "-p", "rate:=10.0", "-p", "use_sim_time:=true", "-p", "diagnostics_period:=0.1")

    def advance_until(count: int, milliseconds: int, step: int) -> int:
        """Let the clock run until `count` images are there; returns its time."""

        def there() -> bool:
            nonlocal milliseconds
            milliseconds += step
            message = Clock()
            message.clock.sec, message.clock.nanosec = milliseconds // 1000, milliseconds % 1000 * 1_000_000
            clock.publish(message)
            return len(images) >= count

        probe.wait_for(f"{count} images", there)
        return milliseconds

    now = advance_until(3, 5_000, 10)
    before = len(images)
    now = advance_until(before + 2, now + 60_000, 10)
    stamps = [nanoseconds(image.header.stamp) / 1e6 for image in images]
    assert all(5_000 < stamp <= now for stamp in stamps)
    after_the_gap = [stamp for stamp in stamps if stamp > 60_000]
    assert after_the_gap[1] - after_the_gap[0] >= 30, "a burst would follow at once"
    missed = probe.status("/camera: /image_raw", lambda status, values: int(values["missed"]) > 0)["missed"]
    assert int(missed) >= 590
    assert len(images) < 100


@pytest.mark.parametrize(
    ("option", "words", "level"),
    [
        ("rate:=0.2", "the next frame is not due yet", DiagnosticStatus.OK),
        ("use_sim_time:=true", "waiting for the clock", DiagnosticStatus.WARN),
    ],
)
def test_why_no_frame_comes_is_told(option: str, words: str, level: bytes, probe: Probe, start: Start) -> None:
    camera = start("camera", *STREET, "-p", option, "-p", "diagnostics_period:=0.1")
    probe.status("/camera: /image_raw", lambda status, _: (status.message, status.level) == (words, level))
    assert camera.end(signal.SIGTERM) == 0


def test_the_first_frame_waits_for_its_audience(probe: Probe, start: Start) -> None:
    camera = start("camera", *STREET, "-p", "wait_for_subscribers:=1", "-p", "diagnostics_period:=0.1")
    status = probe.status("/camera: /image_raw", lambda status, values: "waiting" in status.message)
    assert status["published"] == "0"
    assert probe.statuses["/camera: /image_raw"].level == DiagnosticStatus.WARN
    images = probe.listen(Image, "/image_raw", EVERY_MESSAGE)
    probe.wait_for("the first frames", lambda: len(images) > 2)
    probe.status("/camera: /image_raw", lambda status, _: status.level == DiagnosticStatus.OK)
    assert camera.end(signal.SIGTERM) == 0


@pytest.mark.parametrize(
    ("parameter", "named"),
    [
        ("source:=video:/no/such/video.mp4", "/no/such/video.mp4"),
        ("source:=images:/no/such/folder", "/no/such/folder"),
        ("rate:=-1.0", "-1.0"),
    ],
)
def test_what_cannot_be_shown_is_named_in_one_line(parameter: str, named: str, start: Start) -> None:
    camera = start("camera", "-p", parameter)
    assert camera.end() == 1
    assert named in camera.log
    assert len(camera.log.splitlines()) == 1


def damaged_pictures(folder: Path) -> str:
    (folder / "a.png").write_bytes(b"damaged")
    return f"images:{folder}"


def video_without_frames(folder: Path) -> str:
    path = folder / "empty.avi"
    cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 15.0, (64, 48)).release()
    return f"video:{path}"


@pytest.mark.parametrize("write", [damaged_pictures, video_without_frames])
def test_a_source_without_a_readable_frame_ends_the_start(
    write: Callable[[Path], str], start: Start, tmp_path: Path
) -> None:
    source = write(tmp_path)
    camera = start("camera", "-p", f"source:={source}")
    assert camera.end() == 1
    assert source.partition(":")[2] in camera.log.splitlines()[-1]
    assert camera.log.count("FATAL") == 1 and "Traceback" not in camera.log


def test_a_source_that_becomes_unreadable_ends_the_node(probe: Probe, start: Start, tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    cv2.imwrite(str(picture), np.zeros((48, 64, 3), np.uint8))
    camera = start("camera", "-p", f"source:=images:{tmp_path}", "-p", "loop:=true")
    images = probe.listen(Image, "/image_raw", EVERY_MESSAGE)
    probe.wait_for("the first image", lambda: images)
    picture.unlink()
    assert camera.end() == 1
    assert camera.log.count("FATAL") == 1 and "Traceback" not in camera.log


def test_whoever_waits_for_the_first_frame_gets_its_truth(probe: Probe, start: Start) -> None:
    objects = probe.listen(Detection2DArray, "/ground_truth/detections", RESULT)
    infos = probe.listen(CameraInfo, "/camera_info", RESULT)
    start("camera", *STREET, "-p", "wait_for_subscribers:=1")
    names = ("detections", "classification/timeofday", "classification/weather", "classification/scene")
    publishers = partial(map, probe.node.count_publishers, [f"/ground_truth/{name}" for name in names])
    probe.wait_for("the topics of the truth", lambda: all(publishers()))
    assert not infos
    probe.listen(Image, "/image_raw", EVERY_MESSAGE)
    probe.wait_for("the first frame", lambda: infos and objects)
    assert objects[0].header == infos[0].header


def test_a_frame_of_reference_that_the_other_nodes_would_refuse_ends_the_start(start: Start) -> None:
    camera = start("camera", "-p", f"frame_id:={257 * 'x'}")
    assert camera.end() == 1
    assert "frame_id has 257 bytes" in camera.log and "Traceback" not in camera.log


class MjpegServer:
    """A network camera that sends a few grey pictures to everybody who asks, and then ends the connection."""

    def __init__(self, pictures: int) -> None:
        jpeg = cv2.imencode(".jpg", np.full((48, 64, 3), 120, np.uint8))[1].tobytes()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode()
                with suppress(ConnectionError):
                    for _ in range(pictures):
                        self.wfile.write(head + jpeg + b"\r\n")
                        threading.Event().wait(0.02)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://user:secret@127.0.0.1:{self._server.server_port}/stream"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def test_a_stream_that_is_lost_is_opened_again_and_then_waited_for(probe: Probe, start: Start) -> None:
    server = MjpegServer(30)
    camera = start("camera", "-p", f"source:={server.address}", "-p", "diagnostics_period:=0.1")
    images = probe.listen(Image, "/image_raw", EVERY_MESSAGE)
    probe.status("/camera: /image_raw", lambda _, values: int(values["reconnects"]) > 0)
    before = len(images)
    probe.wait_for("images of it", lambda: len(images) > before)
    assert all(abs(float(to_picture(image).mean()) - 120) < 2 for image in images)
    stamps = [nanoseconds(image.header.stamp) for image in images]
    assert stamps == sorted(set(stamps))
    server.close()
    probe.status("/camera: /image_raw", lambda status, _: "next attempt in" in status.message)
    assert probe.statuses["/camera: /image_raw"].level == DiagnosticStatus.WARN
    assert "secret" not in probe.statuses["/camera: /image_raw"].message and "secret" not in camera.log
    assert camera.end(signal.SIGTERM) == 0


def test_so_many_frames_of_a_stream(probe: Probe, start: Start) -> None:
    server = MjpegServer(1000)
    ends = probe.listen(UInt64, "/end_of_stream", LATCHED)
    options = (f"source:={server.address}", "frames:=5", "exit_at_end:=true", "wait_for_subscribers:=1")
    camera = start("camera", *(word for option in options for word in ("-p", option)))
    images = probe.listen(Image, "/image_raw", EVERY_MESSAGE)
    assert camera.end() == 0
    probe.wait_for("the end", lambda: ends and len(images) == 5)
    assert ends[0].data == 5
    server.close()


def test_a_device_that_is_not_there_is_waited_for(probe: Probe, start: Start) -> None:
    camera = start("camera", "-p", "source:=v4l2:/dev/video97", "-p", "diagnostics_period:=0.1")
    probe.status("/camera: /image_raw", lambda status, _: "/dev/video97 cannot be opened" in status.message)
    assert camera.end(signal.SIGTERM) == 0
    assert len(camera.log.splitlines()) == 1
