"""The camera node: publishes a simulated street, a video, a folder of pictures, or what a real camera sees."""

import array
from collections import Counter, deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import cv2
import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, CompressedImage
from sensor_msgs.msg import Image as RawImage
from std_msgs.msg import Header, UInt64

from mtl_split_camera.live import LivePictures, without_password
from mtl_split_camera.sources import RATES, Frame, open_source
from mtl_split_core.scene import Image
from mtl_split_ros.audience import Audience
from mtl_split_ros.diagnostics import WANTED
from mtl_split_ros.messages import check_header, truth_messages
from mtl_split_ros.parameters import Parameter, Parameters
from mtl_split_ros.process import run
from mtl_split_ros.qos import LATCHED, RESULT, advertise

IMAGE = QoSProfile(depth=2, reliability=ReliabilityPolicy.RELIABLE)
"""What the camera offers is reliable, so that it matches every subscriber."""

FRAMES_AHEAD = 6
"""Frames that are drawn or read before their time; enough for the pause in which a new street is built."""

PARAMETERS = Parameters(
    "camera",
    Parameter(
        "source",
        "`sim` (a new simulated street every 2 s), `sim:SEED` (one street), `video:PATH`, `images:FOLDER` (JPEG and PNG"
        " by name, with subfolders), `v4l2:/dev/video0`, or the address of a stream (`rtsp://…`, `http://…`, …).",
    ),
    Parameter(
        "rate",
        "Frames per second, of a camera at most; 0: a camera's or a video's own, 15 for other sources.",
        range=(0.0, RATES[1]),
    ),
    Parameter("frames", "Frames after which the stream ends; 0: all there are.", range=(0, 2**53)),
    Parameter("loop", "Begin again at the end of a video or a folder."),
    Parameter("shuffle", "Show the pictures of a folder in a mixed order, which is the same every time."),
    Parameter("width", "Width of simulated images in pixels; also asked of a V4L2 device.", range=(64, 8192)),
    Parameter("height", "Height of simulated images in pixels; also asked of a V4L2 device.", range=(64, 8192)),
    Parameter("frame_id", "Frame of reference named in every header."),
    Parameter("compressed", "Publish `image_raw/compressed`, JPEG, as well."),
    Parameter("jpeg_quality", "Quality of the JPEG images.", range=(1, 100)),
    Parameter("wait_for_subscribers", "Subscribers of the images to wait for before the first frame.", range=(0, 100)),
    Parameter("exit_at_end", "End the node when the stream has ended; false: stay until told to stop."),
    Parameter("diagnostics_period", "Seconds between two reports on /diagnostics.", range=(0.1, 60.0)),
)


@dataclass(frozen=True)
class Prepared:
    """The messages of one frame, complete but for the stamp of the header that they share."""

    header: Header
    image: RawImage
    compressed: CompressedImage | None
    info: CameraInfo
    truth: dict[str, Any]


class CameraNode(Node):
    """Publishes one frame per period of the node's clock, or each as it comes where the source is live.

    Frames are prepared ahead in a thread, so that a stamp is the moment of publication. A frame that is not ready in
    time, or a period that passes unused, is counted as missed; the stream then goes on a period later, never in a
    burst. The stamp of a live frame is the moment at which it came, and a thread publishes it at once; missed are then
    those that came while another was being published. A live source that is lost is opened again and again.
    """

    def __init__(self) -> None:
        """Open the source. Raises InputError for one that cannot be, and for a parameter that cannot be."""
        super().__init__("camera")
        PARAMETERS.declare(self)
        cv2.setNumThreads(1)  # one thread per frame is the least work, and the other cores are the network's
        self._values = PARAMETERS.read(self)
        check_header(Header(frame_id=self._values["frame_id"]))
        size = (self._values["width"], self._values["height"])
        source = open_source(
            self._values["source"],
            self._values["rate"],
            size,
            self._values["loop"],
            self._skip_picture,
            self._values["shuffle"],
        )
        self.ended: Future[None] = Future()
        self._focal_length = source.focal_length
        self._live, self._wanted_hz = source.live, source.rate
        self._counts = Counter(published=0, missed=0, skipped=0, reconnects=0)
        self._reported = self._counts.copy()
        self._last: int | None = None
        self._state, self._late = "waiting for the clock", True
        self._image = advertise(self, RawImage, "image_raw", IMAGE)
        self._compressed = (
            advertise(self, CompressedImage, "image_raw/compressed", IMAGE) if self._values["compressed"] else None
        )
        self._audience = Audience(
            [self._image, *([self._compressed] if self._compressed else [])], self._values["wait_for_subscribers"]
        )
        self._info = advertise(self, CameraInfo, "camera_info", RESULT)
        self._end = advertise(self, UInt64, "end_of_stream", LATCHED)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._frames = islice(source.frames, self._values["frames"] or None)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="frames")
        self._truth: dict[str, Publisher[Any]] = {}
        if self._live:
            self._pool.submit(self._relay, self._live).add_done_callback(self._fail)
        else:
            self._play(source.rate)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(self._values["diagnostics_period"], self._report, clock=steady)
        pace = f" at {source.rate:g} frames/s" if source.rate else ""
        self.get_logger().info(f"{without_password(self._values['source'])}{pace}")

    def destroy_node(self) -> None:
        """Stop preparing frames and destroy the node."""
        if self._live:
            self._live.close()
        self._pool.shutdown(cancel_futures=True)
        super().destroy_node()

    def _skip_picture(self, problem: str) -> None:
        self._counts["skipped"] += 1
        self.get_logger().warning(f"skipped: {problem}")

    def _play(self, rate: float) -> None:
        """Publish frames, which are there whenever they are asked for, at a steady pace."""
        self._period = round(1e9 / rate)
        self._ahead = deque(self._pool.submit(self._prepare_next) for _ in range(FRAMES_AHEAD))
        # Before anything else, so that an unreadable source ends the start and nobody finds the topics too late.
        first = self._ahead[0].result()
        for topic, message in (first.truth if first else {}).items():
            self._truth[topic] = advertise(self, type(message), topic, RESULT)
        self._pace = self.create_timer(self._period / 1e9, self._publish_next)

    def _relay(self, live: LivePictures) -> None:
        """Publish frames as they come; runs in the pool's thread."""
        for image in live:
            stamp = self.get_clock().now()
            if not self._counts["published"] and not self._audience.is_there():
                continue
            self._publish(self._prepare((image, None)), stamp)
            if self._counts["published"] == self._values["frames"]:
                live.close()
                self._live = None
                self._finish()

    def _fail(self, relayed: Future[None]) -> None:
        if not relayed.cancelled() and (error := relayed.exception()) and not self.ended.done():
            self.ended.set_exception(error)

    def _prepare_next(self) -> Prepared | None:
        frame = next(self._frames, None)
        return None if frame is None else self._prepare(frame)

    def _prepare(self, frame: Frame) -> Prepared:
        image, truth = frame
        header = Header(frame_id=self._values["frame_id"])
        height, width = image.shape[:2]
        raw = RawImage(header=header, height=height, width=width, encoding="bgr8", step=width * 3)
        raw.data = _bytes(image)
        return Prepared(
            header=header,
            image=raw,
            compressed=self._compress(image, header) if self._compressed else None,
            info=_camera_info(header, width, height, self._focal_length()),
            truth={} if truth is None else truth_messages(truth, header),
        )

    def _compress(self, image: Image, header: Header) -> CompressedImage:
        _, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, self._values["jpeg_quality"]])
        return CompressedImage(header=header, format="bgr8; jpeg compressed bgr8", data=_bytes(jpeg))

    def _publish_next(self) -> None:
        self._late = True
        if self._last is None and not self._audience.is_there():
            self._state = f"waiting for subscribers of {self.resolve_topic_name('image_raw')}"
            return
        if not self._ahead[0].done():
            self._state = "the next frame is not ready"
            return
        self._late = False
        prepared = self._ahead.popleft().result()
        if prepared is None:
            self._pace.cancel()
            self._finish()
            return
        self._ahead.append(self._pool.submit(self._prepare_next))
        now = self.get_clock().now()
        if self._last is not None:
            self._counts["missed"] += max(0, round((now.nanoseconds - self._last) / self._period) - 1)
        self._last = now.nanoseconds
        self._publish(prepared, now)
        self._state = "the next frame is not due yet"

    def _publish(self, prepared: Prepared, now: Time) -> None:
        prepared.header.stamp = now.to_msg()
        self._image.publish(prepared.image)
        if self._compressed:
            self._compressed.publish(prepared.compressed)
        self._info.publish(prepared.info)
        for topic, message in prepared.truth.items():
            self._truth[topic].publish(message)
        self._counts["published"] += 1

    def _finish(self) -> None:
        self._state = f"the stream has ended after {self._counts['published']} frames"
        self._end.publish(UInt64(data=self._counts["published"]))
        self.get_logger().info(self._state)
        if self._values["exit_at_end"]:
            self._end.wait_for_all_acked(Duration(seconds=1))
            self.ended.set_result(None)

    def _report(self) -> None:
        if self._live:
            self._counts["missed"], self._counts["reconnects"] = self._live.missed, self._live.reconnects
            self._state = self._live.state
        news = self._counts - self._reported
        self._reported = self._counts.copy()
        hertz = news["published"] / self._values["diagnostics_period"]
        message = f"{hertz:.1f} frames/s" if news["published"] else self._state
        if news["skipped"]:
            message += f", {news['skipped']} pictures skipped"
        nothing = self._late and not news["published"]
        status = DiagnosticStatus(
            level=DiagnosticStatus.WARN if nothing or news["skipped"] else DiagnosticStatus.OK,
            name=f"{self.get_fully_qualified_name()}: {self._image.topic_name}",
            message=message,
            values=[
                KeyValue(key="published_hz", value=f"{hertz:.1f}"),
                # A camera without a limit has whatever rate it has.
                *([KeyValue(key=WANTED, value=f"{self._wanted_hz:.1f}")] if self._wanted_hz else []),
                *(KeyValue(key=name, value=str(count)) for name, count in self._counts.items()),
            ],
        )
        report = DiagnosticArray(status=[status])
        report.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(report)


def _bytes(values: np.ndarray) -> "array.array[int]":
    """Copy bytes into what rclpy serialises without looking at each of them."""
    data = array.array("B")
    data.frombytes(np.ascontiguousarray(values).data.cast("B"))
    return data


def _camera_info(header: Header, width: int, height: int, focal_length: float | None) -> CameraInfo:
    """A pinhole camera without distortion; all zeros, which means uncalibrated, where the focal length is unknown."""
    info = CameraInfo(header=header, width=width, height=height)
    if focal_length is not None:
        x, y = width / 2, height / 2
        info.distortion_model = "plumb_bob"
        info.d = [0.0] * 5
        info.k = [focal_length, 0.0, x, 0.0, focal_length, y, 0.0, 0.0, 1.0]
        info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
        info.p = [focal_length, 0.0, x, 0.0, 0.0, focal_length, y, 0.0, 0.0, 0.0, 1.0, 0.0]
    return info


def main() -> int:
    """Run the camera node until it is told to stop or, if so asked, until its stream ends."""
    return run(CameraNode)


if __name__ == "__main__":
    raise SystemExit(main())
