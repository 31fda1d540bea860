"""Rate against accuracy: what each byte on the link buys, with our payloads and with what else could be sent."""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from mtl_split_core.bundle import Bundle, load_bundle
from mtl_split_core.errors import InputError
from mtl_split_core.halves import EdgeHalf, ServerHalf
from mtl_split_core.scene import Image
from mtl_split_core.stopwatch import Stopwatch
from mtl_split_lab.cluster import in_order
from mtl_split_lab.data.pictures import LabelledPicture
from mtl_split_lab.scoring.frames import keep_known
from mtl_split_lab.scoring.measurement import Compared, Measurement, compare
from mtl_split_lab.scoring.ways import Way, all_ways

UNCOMPRESSED = ("naive split", "float32")
"""The way that loses nothing: family and setting."""
SPLIT = "split"


BytesAndMap = tuple[float, float]
"""Bytes per frame and mAP50, 0 to 1, of one setting."""


@dataclass(frozen=True)
class Curve:
    """One family of ways to send a picture on one source of pictures: by setting, what Measurement.summary says."""

    source: str
    family: str
    points: dict[str, dict[str, Any]]

    @property
    def bytes_and_map(self) -> dict[str, BytesAndMap]:
        """Median of the bytes, and mAP50, by setting."""
        return {setting: (point["bytes"]["median"], point["map50"]) for setting, point in self.points.items()}


def measure_ways(
    bundle: Bundle, sources: Mapping[str, Sequence[LabelledPicture]], pool: Executor, at_once: int
) -> list[Curve]:
    """Send all pictures of all sources every way, and score what the server answers.

    pool: does the work, on so many pictures at once; see mtl_split_lab.cluster.workers.
    """
    names = [(way.family, way.setting) for way in all_ways(bundle)]
    curves = []
    work = partial(_answer, bundle.folder)
    for source, pictures in sources.items():
        measurements = {name: Measurement(bundle.tasks) for name in names}
        answers = in_order(pool, work, pictures, lambda picture: picture, 4 * at_once)
        for _, answered in tqdm(answers, source, len(pictures), unit="picture"):
            for name, (size, compared) in zip(names, answered(), strict=False):
                measurements[name].add_compared(size, compared)
        for family in dict.fromkeys(family for family, _ in names):
            points = {setting: measurements[family, setting].summary() for one, setting in names if one == family}
            curves.append(Curve(source, family, points))
    return curves


@cache
def _prepare(folder: Path) -> tuple[EdgeHalf, ServerHalf, list[Way]]:
    """Load what a process needs for all of its pictures."""
    cv2.setNumThreads(1)
    bundle = load_bundle(folder)
    return EdgeHalf(bundle), ServerHalf(bundle), all_ways(bundle)


def _answer(folder: Path, picture: LabelledPicture) -> list[tuple[int, Compared]]:
    """Return every way's bytes, and its results compared with the truth; none for a damaged picture."""
    edge, server, ways = _prepare(folder)
    try:
        image = picture.read()
    except InputError as error:
        logging.warning("left out: %s", error)
        return []
    tasks, size = edge.bundle.tasks, (image.shape[1], image.shape[0])
    truth = keep_known(picture.truth, tasks, Counter())
    carried = (way.carry(edge, image) for way in ways)
    return [(count, compare(truth, server.answer(latents, size), tasks)) for count, latents in carried]


def time_edge(bundle: Bundle, images: Sequence[Image], engine: str) -> tuple[str, dict[str, float]]:
    """Measure the edge's and the server's coding stages on one thread, and what compressing the pictures would cost.

    Returns the engine that was chosen, and the median milliseconds of each stage.
    """
    cv2.setNumThreads(1)
    edge = EdgeHalf(bundle, threads=1, engine=engine)
    times: dict[str, list[float]] = defaultdict(list)
    watch = Stopwatch()
    for image in images:
        payload = edge.encode(image).payload
        with watch.stage("decode"):
            bundle.payload_format.unpack(payload)
        with watch.stage("JPEG of quality 90 instead"):
            cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])
        for stage, milliseconds in (edge.stopwatch.milliseconds | watch.milliseconds).items():
            times[stage].append(milliseconds)
    return edge.choice.words, {stage: float(np.median(values)) for stage, values in times.items()}


def bytes_at(curve: Iterable[BytesAndMap], map50: float) -> float | None:
    """How many bytes a family needs for this mAP50; None where it never gets there.

    Between two settings, the logarithm of the bytes is interpolated.
    """
    points = sorted(curve)
    if points[0][1] >= map50:
        return points[0][0]
    for (low_bytes, low), (high_bytes, high) in pairwise(points):
        if low < map50 <= high:
            share = (map50 - low) / (high - low)
            return float(np.exp(np.log(low_bytes) + share * (np.log(high_bytes) - np.log(low_bytes))))
    return None


def beaten(points: Mapping[str, BytesAndMap]) -> set[str]:
    """Return the settings to which another one is preferable: no more bytes, no lower mAP50, and not both the same."""
    return {
        setting
        for setting, (size, map50) in points.items()
        if any(other != (size, map50) and other[0] <= size and other[1] >= map50 for other in points.values())
    }
