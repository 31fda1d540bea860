"""Rate against accuracy over drives: our payloads against video streams, with and without lost packets."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cache, partial
from itertools import accumulate
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from mtl_split_core.bundle import Bundle, load_bundle
from mtl_split_core.halves import EdgeHalf, ServerHalf
from mtl_split_core.scene import Detections, Floats, Image, Truth
from mtl_split_lab.cluster import in_order
from mtl_split_lab.data.drives import Drive
from mtl_split_lab.kinds import detection
from mtl_split_lab.scoring.frames import keep_known
from mtl_split_lab.scoring.streams import Link, Stream, all_streams
from mtl_split_lab.studies.rate_accuracy import BytesAndMap

LOSSES = (0.0, 0.01)
"""Shares of the packets that get lost."""


@dataclass(frozen=True)
class StreamPoint:
    """One setting of a family of streams.

    bytes: mean per frame, the first of each drive left out; map50: over the frames that are scored, 0 to 1, those
    without an answer included; answered: share of them that got one.
    """

    bytes: float
    map50: float
    answered: float


@dataclass(frozen=True)
class StreamCurve:
    """One family of streams on one source of drives, by setting.

    drives, scored: how many drives there are, and scored frames in them; loss: share of the packets that get lost.
    """

    source: str
    drives: int
    scored: int
    loss: float
    family: str
    points: dict[str, StreamPoint]

    @property
    def bytes_and_map(self) -> dict[str, BytesAndMap]:
        """Mean of the bytes, and mAP50, by setting."""
        return {setting: (point.bytes, point.map50) for setting, point in self.points.items()}


@dataclass(frozen=True)
class _Sent:
    """One drive as one stream. sizes: bytes of each frame; answers: of the frames that are scored, None without one."""

    sizes: list[int]
    answers: list[Detections | None]


_Key = tuple[float, str, str]
"""Loss, family, setting."""


def measure_streams(
    bundle: Bundle, sources: Mapping[str, Sequence[Drive]], pool: Executor, at_once: int
) -> list[StreamCurve]:
    """Send all drives of all sources as every stream over links of all LOSSES, and score what the server answers.

    pool: does the work, on so many drives at once; see mtl_split_lab.cluster.workers.
    """
    curves = []
    work = partial(_send_drive, bundle.folder)
    for source, drives in sources.items():
        begun = zip(accumulate((drive.length for drive in drives), initial=0), drives, strict=False)
        answers = in_order(pool, work, begun, lambda one: one, 2 * at_once)
        done = [answer() for _, answer in tqdm(answers, source, len(drives), unit="drive")]
        truths = [truth for drive_truths, _ in done for truth in drive_truths]
        keys = done[0][1].keys()
        sent = [[streams[key] for _, streams in done] for key in keys]
        points = in_order(pool, partial(_score, truths), sent, lambda one: one, 2 * at_once)
        families: dict[tuple[float, str], dict[str, StreamPoint]] = defaultdict(dict)
        for (loss, family, setting), (_, point) in zip(keys, points, strict=True):
            families[loss, family][setting] = point()
        curves += [
            StreamCurve(source, len(drives), len(truths), loss, family, of_family)
            for (loss, family), of_family in families.items()
        ]
    return curves


@cache
def _prepare(folder: Path) -> tuple[EdgeHalf, ServerHalf]:
    """Load what a process needs for all of its drives."""
    cv2.setNumThreads(1)
    bundle = load_bundle(folder)
    return EdgeHalf(bundle), ServerHalf(bundle)


def _send_drive(folder: Path, begun: tuple[int, Drive]) -> tuple[list[Truth], dict[_Key, _Sent]]:
    """Return the truth of the frames that are scored, and what became of the drive as every stream over every link."""
    first, drive = begun
    edge, _ = _prepare(folder)
    frames = list(drive.frames())
    images = [image for image, _ in frames]
    truths = [keep_known(truth, edge.bundle.tasks, Counter()) for _, truth in frames[drive.scored - 1 :: drive.scored]]
    found: dict[_Key, _Sent] = {}
    for loss in LOSSES:
        link = Link(loss, first)
        for stream in all_streams(edge.bundle, link):
            # As long as nothing is lost, a stream is the same on every link.
            sent = found.get((LOSSES[0], stream.family, stream.setting))
            if sent is None or not all(link.delivers(frame, size) for frame, size in enumerate(sent.sizes)):
                sent = _send(folder, stream, images, drive.scored)
            found[loss, stream.family, stream.setting] = sent
    return truths, found


def _send(folder: Path, stream: Stream, images: Sequence[Image], scored: int) -> _Sent:
    edge, server = _prepare(folder)
    sent = _Sent([], [])
    for index, image in enumerate(images):
        wanted = index % scored == scored - 1
        size, latents = stream.send(edge, image, wanted)
        sent.sizes.append(size)
        if wanted:
            sent.answers.append(None if latents is None else _detect(server, latents, image))
    return sent


def _detect(server: ServerHalf, latents: Floats, image: Image) -> Detections:
    results = server.answer(latents, (image.shape[1], image.shape[0]))
    return detection.join([result for result in results.values() if isinstance(result, Detections)])


def _score(truths: Sequence[Truth], drives: Sequence[_Sent]) -> StreamPoint:
    sizes = [size for drive in drives for size in drive.sizes[1:]]
    answers = [answer for drive in drives for answer in drive.answers]
    nothing = Detections(np.zeros((0, 4), np.float32), (), np.zeros(0, np.float32))
    found = [nothing if answer is None else answer for answer in answers]
    score = detection.score(list(zip(truths, found, strict=True)))
    return StreamPoint(float(np.mean(sizes)), score.map50, sum(answer is not None for answer in answers) / len(answers))
