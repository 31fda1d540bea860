"""The ways to send a drive's frames in order: our payloads, each alone, and video, which refers to earlier frames."""

import math
import os
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.video.frame import PictureType

from mtl_split_camera.sources import DEFAULT_RATE
from mtl_split_core.bundle import Bundle
from mtl_split_core.errors import InputError
from mtl_split_core.geometry import Letterbox
from mtl_split_core.halves import EdgeHalf
from mtl_split_core.scene import Floats, Image, Size
from mtl_split_lab.scoring.ways import Split, Way

PACKET = 1200
"""Bytes of a frame that fit into one Ethernet packet."""

FRAMES_TO_REPORT = 2
"""So many frames after a lost one comes the key frame that the server asks for.

The one in between is encoded before the report arrives.
"""

_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Link:
    """A link that loses packets and sends none of them again.

    loss: share of the packets that get lost, 0 to 1; first: the number of the drive's first frame among the frames of
    all drives.
    """

    loss: float = 0.0
    first: int = 0

    def delivers(self, frame: int, size: int) -> bool:
        """Say whether all packets of a drive's frame, 0, 1, ..., of `size` bytes arrive.

        Each frame has the same luck in all streams, and luck is spread evenly over the frames, so that a few hundred of
        them have their share of losses.
        """
        luck = (0.5 + (self.first + frame) * _GOLDEN) % 1
        return luck < (1 - self.loss) ** math.ceil(size / PACKET)


class Stream:
    """Something that carries one drive's frames, in order: a new one for every drive.

    family: what the points of one curve have in common; setting: what tells them apart.
    """

    family: str
    setting: str

    def __init__(self, link: Link) -> None:
        """Begin with the drive's first frame."""
        self._link = link
        self._count = 0

    @abstractmethod
    def send(self, edge: EdgeHalf, image: Image, wanted: bool) -> tuple[int, Floats | None]:
        """Send the next frame; returns its bytes and, if they are `wanted`, the latents.

        No latents where nothing arrived that can be decoded.
        """

    def _arrives(self, size: int) -> bool:
        self._count += 1
        return self._link.delivers(self._count - 1, size)


class Stills(Stream):
    """A way to send pictures, each of which stands alone."""

    def __init__(self, way: Way, link: Link) -> None:
        """Send every frame this way."""
        super().__init__(link)
        self.family, self.setting = way.family, way.setting
        self._way = way

    def send(self, edge: EdgeHalf, image: Image, wanted: bool) -> tuple[int, Floats | None]:
        """Send a frame; no other one depends on it."""
        size, latents = self._way.carry(edge, image)
        return size, latents if self._arrives(size) and wanted else None


@dataclass(frozen=True)
class VideoCodec:
    """A video codec at low delay: one frame in, one packet out, which refers to earlier frames alone.

    name: for people; encoder, decoder: FFmpeg's names; options: FFmpeg's for the encoder; crfs: constant rate factors,
    higher is coarser; the outer ones are too coarse or too fine for frames that are not scaled.
    """

    name: str
    encoder: str
    decoder: str
    options: Mapping[str, str]
    crfs: tuple[int, ...]


CODECS = (
    VideoCodec(
        "H.264", "libx264", "h264",
        # zerolatency: no B frames, no lookahead, no frames in parallel.
        {"preset": "medium", "tune": "zerolatency", "sc_threshold": "0", "forced-idr": "1"},
        (47, 42, 37, 32, 27, 22),
    ),
    VideoCodec(
        "H.265", "libx265", "hevc",
        # The slower presets take twice the time and, without lookahead, hardly fewer bytes.
        {
            "preset": "superfast", "tune": "zerolatency", "forced-idr": "1",
            "x265-params": "scenecut=0:pools=none:frame-threads=1:info=0:log-level=error",
        },
        (47, 42, 37, 32, 27, 22),
    ),
    VideoCodec(
        "AV1", "libsvtav1", "libdav1d",
        {"preset": "8", "svtav1-params": "rtc=1:pred-struct=1:lookahead=0:scd=0:lp=1"},
        (63, 55, 46, 37, 28, 20),
    ),
)  # fmt: skip


BYTES_PER_FRAME = (400, 1200, 4000)
"""Constant rates; the lowest is too low for frames that are not scaled."""

FRAMES_BUFFERED = 4
"""What a stream of constant rate may be ahead of its rate, in frames: the size of the encoder's buffer."""


class Video(Stream):
    """Frames as a video stream; the whole network runs on the server.

    The first frame is a key frame, all others refer to earlier ones. A frame of which a packet is lost cannot be
    decoded, nor can those behind it, until the key frame that the server asks for: no periodic key frames or intra
    refresh have to be paid for while nothing is lost.
    """

    def __init__(
        self, codec: VideoCodec, link: Link, size: Size | None, *, crf: int | None = None, rate: int = 0
    ) -> None:
        """Encode frames as they are, or first scaled to a network's input `size`.

        crf: constant quality; None: constant rate, `rate` bytes per frame.
        """
        super().__init__(link)
        scaled = "" if size is None else f", scaled to {size[0]}x{size[1]}"
        self.family = f"{codec.name}, {'constant rate' if crf is None else 'constant quality'}{scaled}"
        self.setting = f"{rate:,} bytes per frame" if crf is None else f"crf {crf}"
        self._codec, self._size, self._crf, self._rate = codec, size, crf, rate
        self._encoder: av.VideoCodecContext | None = None
        self._decoder: av.VideoCodecContext = av.CodecContext.create(codec.decoder, "r")  # type: ignore[assignment]
        self._decoder.thread_count = 1
        self._intact = True
        self._key_in: int | None = None

    def send(self, edge: EdgeHalf, image: Image, wanted: bool) -> tuple[int, Floats | None]:
        """Encode a frame, decode what arrives, and run the prefix on it if that is wanted."""
        if self._size is not None:
            image = Letterbox((image.shape[1], image.shape[0]), self._size).apply(image)
        image = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]  # the colours are at half the resolution
        key = self._key_in == 0
        packet = self._encode(image, key)
        arrived = self._arrives(packet.size)
        self._intact = arrived and (self._intact or key)
        if self._key_in is not None:
            self._key_in = None if key else self._key_in - 1
        if not arrived and self._key_in is None:
            self._key_in = FRAMES_TO_REPORT - 1
        if not self._intact:
            return packet.size, None
        [frame] = self._decoder.decode(packet)
        return packet.size, edge.latents(np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)) if wanted else None

    def _encode(self, image: Image, key: bool) -> "av.Packet":
        height, width, _ = image.shape
        if self._encoder is None:
            self._encoder = self._open(width, height)
        if (self._encoder.width, self._encoder.height) != (width, height):
            raise InputError(
                f"frame {self._count} of a drive has {width}x{height} pixels, the ones before it "
                f"{self._encoder.width}x{self._encoder.height}: expected one camera's frames"
            )
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="bgr24").reformat(format="yuv420p")
        frame.pts = self._count
        frame.pict_type = PictureType.I if key else PictureType.NONE
        [packet] = self._encoder.encode(frame)
        if self._count == 0:
            _leave_real_time()
        return packet

    def _open(self, width: int, height: int) -> "av.VideoCodecContext":
        os.environ.setdefault("SVT_LOG", "0")  # otherwise it narrates
        encoder: av.VideoCodecContext = av.CodecContext.create(self._codec.encoder, "w")  # type: ignore[assignment]
        encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
        encoder.framerate = Fraction(DEFAULT_RATE)
        encoder.time_base = 1 / encoder.framerate
        encoder.gop_size, encoder.max_b_frames, encoder.thread_count = 1 << 20, 0, 1
        encoder.options = {**self._codec.options}
        if self._crf is None:
            encoder.bit_rate = round(self._rate * 8 * DEFAULT_RATE)
            buffer = self._rate * 8 * FRAMES_BUFFERED
            encoder.options |= {"maxrate": str(encoder.bit_rate), "bufsize": str(buffer)}
        else:
            encoder.options |= {"crf": str(self._crf)}
        return encoder


def _leave_real_time() -> None:
    """Undo what SVT-AV1 does where it may, as root: give the whole process real-time priority, before all others."""
    for thread in os.listdir("/proc/self/task"):
        os.sched_setscheduler(int(thread), os.SCHED_OTHER, os.sched_param(0))


def all_streams(bundle: Bundle, link: Link) -> Iterator[Stream]:
    """Every way to send a drive over a link, in families from few bytes to many.

    Each is made when it is asked for: all encoders at once would take gigabytes.
    """
    for point in range(len(bundle.payload_format.operating_points)):
        yield Stills(Split(bundle, point), link)
    for size in (None, bundle.input_size):
        for codec in CODECS:
            crfs, rates = (codec.crfs[1:-1], BYTES_PER_FRAME[1:]) if size is None else (codec.crfs, BYTES_PER_FRAME)
            for crf in crfs:
                yield Video(codec, link, size, crf=crf)
            for rate in rates:
                yield Video(codec, link, size, rate=rate)
