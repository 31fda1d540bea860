"""The ways to send a picture: our payloads, and what else a vehicle could do, with one network for all of them."""

from abc import abstractmethod
from collections.abc import Callable
from fractions import Fraction

import av
import cv2
import numpy as np
from backports import zstd

from mtl_split_core.bundle import EXIT, SUFFIX, WHOLE, Bundle
from mtl_split_core.errors import InputError
from mtl_split_core.geometry import Letterbox
from mtl_split_core.halves import EdgeHalf
from mtl_split_core.scene import Floats, Image, Size
from mtl_split_core.stopwatch import Stopwatch

ZSTD_LEVEL = 19

Codec = Callable[[Image, Stopwatch], tuple[int, Image]]
"""Compresses a picture and decompresses it again: the bytes, and what is left of the picture."""


class Way:
    """Something that carries pictures: so many bytes go over the link, and such latents come out of it.

    family: what the points of one curve have in common; setting: what tells them apart; role: of the bundle's file that
    answers from the latents.
    """

    family: str
    setting: str
    role: str = SUFFIX

    @abstractmethod
    def carry(self, edge: EdgeHalf, image: Image) -> tuple[int, Floats]:
        """Return the bytes and the latents, float32, that the server's half goes on with.

        The stages' times are in the edge's stopwatch afterwards.
        """


class Split(Way):
    """Our own payloads, at one operating point."""

    family = "split"

    def __init__(self, bundle: Bundle, point: int, most_bytes: int | None = None) -> None:
        """Encode at the operating point with this index, or coarser where that takes more than `most_bytes`."""
        self.setting = bundle.payload_format.operating_points[point].name
        self._point = point
        self._most_bytes = most_bytes

    def carry(self, edge: EdgeHalf, image: Image) -> tuple[int, Floats]:
        """Encode and decode."""
        payload = edge.encode(image, self._point, self._most_bytes).payload
        with edge.stopwatch.stage("decode"):
            return len(payload), edge.bundle.payload_format.unpack(payload)


class Uncompressed(Way):
    """Nothing is compressed: the whole network runs on the edge, or the picture's pixels are sent."""

    def __init__(self, family: str, bytes_per_pixel: int, role: str = SUFFIX) -> None:
        """Send so many bytes for each of the picture's pixels; the bundle's file of this role answers."""
        self.family = self.setting = family
        self.role = role
        self._bytes_per_pixel = bytes_per_pixel

    def carry(self, edge: EdgeHalf, image: Image) -> tuple[int, Floats]:
        """Run the prefix, wherever that is."""
        return image.shape[0] * image.shape[1] * self._bytes_per_pixel, edge.latents(image)


class NaiveSplit(Way):
    """The same latents, as they are or rounded to a number format."""

    family = "naive split"

    def __init__(self, setting: str, rounded: Callable[[Floats], tuple[bytes, Floats]]) -> None:
        """Send what `rounded` makes of latents: the bytes, and the latents that can be restored from them."""
        self.setting = setting
        self._rounded = rounded

    def carry(self, edge: EdgeHalf, image: Image) -> tuple[int, Floats]:
        """Send the latents."""
        sent, latents = self._rounded(edge.latents(image))
        return len(sent), latents


class Offloading(Way):
    """The picture itself, compressed with loss; the whole network runs on the server."""

    def __init__(self, codec: str, setting: str, compressed: Codec, size: Size | None = None) -> None:
        """Send pictures as they are, or first scaled to a network's input `size`."""
        self.family = codec if size is None else f"{codec}, scaled to {size[0]}x{size[1]}"
        self.setting = setting
        self._compressed = compressed
        self._size = size

    def carry(self, edge: EdgeHalf, image: Image) -> tuple[int, Floats]:
        """Compress the picture, and run the prefix on what is left of it."""
        if self._size is not None:
            image = Letterbox((image.shape[1], image.shape[0]), self._size).apply(image)
        size, received = self._compressed(image, edge.stopwatch)
        return size, edge.latents(received)


EXPECTED = "split, split:POINT, whole, exit, jpeg:QUALITY or raw"


def find_way(name: str, bundle: Bundle, max_payload_bytes: int) -> Way:
    """Return a way by its name.

    `split` (what an edge node sends: the default operating point, or a coarser one where that takes more than
    `max_payload_bytes`), `split:POINT` (whatever it takes), `whole` (the whole network on the edge: no picture is
    sent), `exit` (the same with the bundle's exit), `jpeg:QUALITY` (0 to 100) or `raw`; the last two have the whole
    network on the server. Raises InputError for
    anything else.
    """
    points = {point.name: index for index, point in enumerate(bundle.payload_format.operating_points)}
    match name.split(":"):
        case ["split"]:
            return Split(bundle, bundle.default_point, max_payload_bytes)
        case ["split", point] if point in points:
            return Split(bundle, points[point])
        case ["split", point]:
            raise InputError(f"the operating point of way {name!r} is {point!r}, expected one of {', '.join(points)}")
        case ["whole"]:
            return Uncompressed(WHOLE, bytes_per_pixel=0)
        case ["exit"] if EXIT in bundle.files:
            return Uncompressed(EXIT, bytes_per_pixel=0, role=EXIT)
        case ["exit"]:
            raise InputError(f"the bundle {bundle.name} has no exit: `mtl-split exit` gives it one")
        case ["raw"]:
            return Uncompressed("raw", bytes_per_pixel=3)
        case ["jpeg", quality] if quality.isdecimal() and int(quality) <= 100:
            return _jpeg(int(quality))
    raise InputError(f"way is {name!r}, expected {EXPECTED}")


def _jpeg(quality: int, size: Size | None = None) -> Way:
    return Offloading("JPEG", f"quality {quality}", _still(".jpg", cv2.IMWRITE_JPEG_QUALITY, quality), size)


def all_ways(bundle: Bundle) -> list[Way]:
    """Every way to send a picture that is compared for the bytes it takes, in families from few to many."""
    found: list[Way] = [Split(bundle, point) for point in range(len(bundle.payload_format.operating_points))]
    found += [
        NaiveSplit("8 bits, zstd", lambda latents: _as_bytes(latents, zip_them=True)),
        NaiveSplit("8 bits", lambda latents: _as_bytes(latents, zip_them=False)),
        NaiveSplit(
            "float16",
            lambda latents: (latents.astype(np.float16).tobytes(), latents.astype(np.float16).astype(np.float32)),
        ),
        NaiveSplit("float32", lambda latents: (latents.tobytes(), latents)),
    ]
    for size, jpegs, webps, crfs in (
        (None, (2, 5, 10, 20, 35, 60, 90), (1, 5, 20, 50, 90), (48, 43, 38, 32, 24)),
        (bundle.input_size, (2, 5, 10, 20, 35, 60, 90), (1, 5, 20, 50, 90), (46, 41, 36, 30, 22)),
    ):
        for quality in jpegs:
            found.append(_jpeg(quality, size))
        for quality in webps:
            found.append(
                Offloading("WebP", f"quality {quality}", _still(".webp", cv2.IMWRITE_WEBP_QUALITY, quality), size)
            )
        for crf in crfs:
            found.append(Offloading("H.264 intra", f"crf {crf}", H264(crf), size))
    return found


def _as_bytes(latents: Floats, zip_them: bool) -> tuple[bytes, Floats]:
    """Round each channel to 256 levels between its smallest and largest value, which are sent as well."""
    low = latents.min(axis=(1, 2), keepdims=True)
    step = np.maximum(latents.max(axis=(1, 2), keepdims=True) - low, 1e-6) / 255
    levels = np.rint((latents - low) / step).astype(np.uint8)
    body = zstd.compress(levels.tobytes(), ZSTD_LEVEL) if zip_them else levels.tobytes()
    return body + low.tobytes() + step.tobytes(), (levels * step + low).astype(np.float32)


def _still(suffix: str, flag: int, quality: int) -> Codec:
    def compressed(image: Image, stopwatch: Stopwatch) -> tuple[int, Image]:
        with stopwatch.stage("compress"):
            _, data = cv2.imencode(suffix, image, [flag, quality])
        with stopwatch.stage("decompress"):
            return len(data), np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)

    return compressed


class H264:
    """Pictures as key frames of H.264 streams; what is sent once per stream is not counted.

    Each picture has an encoder of its own: the rate control of a stream remembers its other pictures, so that the
    result would depend on which of them the same process had.
    """

    def __init__(self, crf: int) -> None:
        """Encode with x264 at a constant rate factor, 0 to 51; higher is coarser."""
        self._crf = crf

    def __call__(self, image: Image, stopwatch: Stopwatch) -> tuple[int, Image]:
        """Encode and decode one picture."""
        image = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]  # the colours are at half the resolution
        encoder = self._open(image.shape[1], image.shape[0])
        # The first packet also tells all about the encoder.
        _encode(encoder, image, 0)
        with stopwatch.stage("compress"):
            packet = _encode(encoder, image, 1)
        with stopwatch.stage("decompress"):
            decoder = av.CodecContext.create("h264", "r")
            decoder.extradata = encoder.extradata
            frames = [*decoder.decode(packet), *decoder.decode(None)]  # type: ignore[attr-defined]
            return packet.size, np.asarray(frames[0].to_ndarray(format="bgr24"), np.uint8)

    def _open(self, width: int, height: int) -> "av.VideoCodecContext":
        encoder: av.VideoCodecContext = av.CodecContext.create("libx264", "w")  # type: ignore[assignment]
        encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
        encoder.time_base = Fraction(1, 30)
        encoder.gop_size, encoder.thread_count = 1, 1
        encoder.flags |= av.codec.context.Flags.global_header
        encoder.options = {"crf": str(self._crf), "preset": "medium", "tune": "zerolatency"}
        return encoder


def _encode(encoder: "av.VideoCodecContext", image: Image, number: int) -> "av.Packet":
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="bgr24").reformat(format="yuv420p")
    frame.pts = number
    (packet,) = encoder.encode(frame)
    return packet
