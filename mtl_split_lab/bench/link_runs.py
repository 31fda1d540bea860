"""What a link does to the answers: a vehicle and a server in two network namespaces, the link slow or lossy."""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from tqdm import tqdm

from mtl_split_camera.sources import DEFAULT_RATE, SECONDS_PER_STREET, Streets
from mtl_split_core.bundle import Bundle
from mtl_split_core.scene import Size
from mtl_split_lab.adaptation.direction import Counts
from mtl_split_lab.bench.answers import DEADLINE, Answers, first_in_time, judge
from mtl_split_lab.bench.drive_listener import Drive, read_drive
from mtl_split_lab.bench.listener import CAMERA_INFO, read_answers, read_log
from mtl_split_lab.bench.namespaces import SERVER, VEHICLE, Condition, Link, lay_link
from mtl_split_lab.live.processes import ProcessError, Processes
from mtl_split_ros.graph import COMPRESSED, DISCOVERY_RANGE, Options, Value, camera, edge, image_topic, server

SPLIT, OFFLOADING, WHOLE = "split", "JPEG offloading", "whole on the edge"
"""Ways to divide the work: the pair; both halves on the server; both halves in the vehicle."""

BY_DEADLINE = "split, answered by the deadline"
"""The pair, and the edge answers by itself what the server does not answer within DEADLINE."""

SIZE = (1280, 720)

RATES = (0.25, 1.0, 5.0, 10.0, 50.0)
LOSSES = (0.01, 0.05, 0.2)
LOSSY_RATE = 10.0
"""Mbit/s of the link that loses frames."""

LOSSY_TIMES = 3
"""How much longer a lossy link is measured, as chance decides each frame there."""

QUALITIES = (5, 10, 20, 35, 60, 90)
HEADROOM = 1.25
"""Of the rate that pictures of the 98th percentile's bytes need: headers and discovery take some too."""

STREETS = 30
"""Simulated streets of whose pictures the bytes are taken."""

DISCOVERY = 20.0
"""Seconds after the first frame within which a first answer has to come in time; without one, the link is too slow."""

SETTLING = 2.0
"""Seconds after that answer that are not measured: discovery may have some messages left."""

LAST_ANSWERS = 3.0
"""Seconds to wait for answers after what is measured; longer than any queue."""

PATIENCE = 60.0
"""Seconds within which the camera's first frame has to come."""

DRIVE = "drive"
"""Name of the file with what an edge with a deadline did."""


@dataclass(frozen=True)
class Run:
    """One way over one link.

    way: its name; quality: of the JPEG pictures, None for other ways; condition: None if nothing goes over the link;
    discovery: seconds from the camera's first frame to the first that was answered in time, None if none soon was;
    sent: what the relay counted of everything that the vehicle sent, from the nodes' start to their end; drive: what an
    edge with a deadline did, and what it told of it, while it was measured.
    """

    way: str
    quality: int | None
    condition: Condition | None
    discovery: float | None
    answers: Answers
    sent: Counts
    drive: Drive | None = None


def measure_links(bundle: Bundle, seconds: float) -> Iterator[Run]:
    """Measure every way over every link, each for so many seconds, lossy ones longer.

    Raises NoLinkError where no link can be laid.
    """
    yield measure(bundle, WHOLE, Condition(LOSSY_RATE), seconds)
    sizes = jpeg_bytes(SIZE)
    conditions = [Condition(rate) for rate in RATES] + [Condition(LOSSY_RATE, loss) for loss in LOSSES]
    for condition in tqdm(conditions, "links", unit=" links", disable=None):
        long_enough = seconds * (LOSSY_TIMES if condition.loss else 1)
        yield measure(bundle, SPLIT, condition, long_enough)
        yield measure(bundle, OFFLOADING, condition, long_enough, choose_quality(sizes, condition.rate))


def measure(
    bundle: Bundle,
    way: str,
    condition: Condition,
    seconds: float,
    quality: int | None = None,
    size: Size = SIZE,
    rate: float = DEFAULT_RATE,
    **parameters: Value,
) -> Run:
    """Measure one way over one link for so many seconds after discovery.

    quality: of the JPEG pictures where they are what is sent; size, rate: (width, height) and frames per second of the
    camera's pictures; parameters: of an edge with a deadline. A trace begins with what is measured. The answers of such
    an edge, and those over a trace, count when they are in the vehicle. Raises NoLinkError where no link
    can be laid, and ProcessError where a process ends that should not.
    """
    with lay_link(condition) as link, TemporaryDirectory() as folder:
        sent, results = Path(folder) / "sent", Path(folder) / "results"
        eyes: dict[str, Value] = {"source": "sim", "width": size[0], "height": size[1], "wait_for_subscribers": 1}
        eyes["rate"] = rate
        if quality is not None:
            eyes |= {"compressed": True, "jpeg_quality": quality}
        with _running(bundle, way, link, condition, eyes, parameters, sent, results) as processes:
            if not processes.wait_for(lambda: read_log(sent), PATIENCE):
                raise ProcessError(f"the camera sent no frame within {PATIENCE:g} s")
            # Until then, what is left in the link's queue of the nodes' discovery of each other delays every frame.
            known = processes.wait_for(lambda: first_in_time(read_answers(results, bundle)), DISCOVERY)
            processes.wait_for(lambda: None, SETTLING)
            begin = time.time_ns()
            if condition.trace:
                link.follow_trace()
            processes.wait_for(lambda: None, seconds + LAST_ANSWERS)
        stamps, end = read_log(sent)[CAMERA_INFO], begin + round(seconds * 1e9)
        return Run(
            way=way,
            quality=quality,
            condition=None if way == WHOLE else condition,
            discovery=None if known is None else (known - min(stamps)) / 1e9,
            answers=judge(stamps, read_answers(results, bundle), begin, end),
            sent=link.cut()[VEHICLE],
            drive=read_drive(sent.with_name(DRIVE), begin, begin + round(seconds * 1e9))
            if way == BY_DEADLINE
            else None,
        )


def jpeg_bytes(size: Size, streets: int = STREETS) -> dict[int, float]:
    """Return by quality the bytes within which 98 % of the pictures stay, one of each simulated street."""
    pictures = list(islice(Streets(size, 1 / SECONDS_PER_STREET), streets))
    return {
        quality: float(
            np.percentile(
                [len(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]) for image, _ in pictures], 98
            )
        )
        for quality in QUALITIES
    }


def choose_quality(sizes: Mapping[int, float], rate: float) -> int:
    """Return the best JPEG quality that a link of `rate` Mbit/s carries, or the lowest if it carries none.

    sizes: bytes of a picture by quality.
    """
    needed = {quality: size * 8e-6 * DEFAULT_RATE * HEADROOM for quality, size in sizes.items()}
    return max((quality for quality in sizes if needed[quality] <= rate), default=min(sizes))


@contextmanager
def _running(
    bundle: Bundle,
    way: str,
    link: Link,
    condition: Condition,
    eyes: Mapping[str, Value],
    parameters: Mapping[str, Value],
    sent: Path,
    results: Path,
) -> Iterator[Processes]:
    """Run the nodes and the listeners, each at its end of the link."""
    options = Options(bundle=str(bundle.folder), answer_by=DEADLINE if way == BY_DEADLINE else None)
    at_edge = link.within[SERVER if way == OFFLOADING else VEHICLE]
    at_server = link.within[VEHICLE if way == WHOLE else SERVER]
    topic = image_topic(COMPRESSED) if way == OFFLOADING else ""
    # A listener is no part of what is measured, so it is not to be found from the other end.
    listener = ["env", f"{DISCOVERY_RANGE}=LOCALHOST", sys.executable, "-m", "mtl_split_lab.bench.listener"]
    processes = Processes(sent.parent / "logs")
    try:
        processes.run("listener of the camera", [*link.within[VEHICLE], *listener, str(sent)])
        by_deadline = way == BY_DEADLINE
        at_consumer = link.within[VEHICLE] if condition.trace or by_deadline else at_server
        processes.run("listener", [*at_consumer, *listener, str(results), "--bundle", str(bundle.folder)])
        if by_deadline:
            drive = [*listener[:-1], "mtl_split_lab.bench.drive_listener", str(sent.with_name(DRIVE))]
            processes.run("listener of the drive", [*link.within[VEHICLE], *drive])
        # However late they are, answers are to be seen; but copies are to be known as such.
        processes.start(server(options, max_age=60.0 if by_deadline else 0.0), at_server)
        processes.start(edge(options, topic, **(parameters if by_deadline else {})), at_edge)
        # Who talks within the vehicle alone need not announce itself over the link.
        near = ["env", f"{DISCOVERY_RANGE}=LOCALHOST"] if by_deadline else []
        processes.start(camera(options, **eyes), [*link.within[VEHICLE], *near])
        yield processes
        processes.check()
    finally:
        complaints = processes.stop()
    if complaints:
        raise ProcessError("; ".join(complaints))
