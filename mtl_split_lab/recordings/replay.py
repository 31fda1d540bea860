"""Replay without ROS running: every frame of some input, sent every way that is compared, scored and timed."""

import json
import platform
import statistics
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from mtl_split_core.bundle import EXIT, WHOLE, Bundle, load_bundle
from mtl_split_core.errors import BundleError, InputError
from mtl_split_core.halves import SCORE_THRESHOLD, EdgeHalf, ServerHalf
from mtl_split_core.scene import Image, Results, Task, Truth
from mtl_split_core.stopwatch import Stopwatch
from mtl_split_core.tracks import BYTETRACK, Tracks
from mtl_split_lab.cluster import Cluster, ClusterError, in_order
from mtl_split_lab.machine import machine
from mtl_split_lab.recordings.gallery import Gallery
from mtl_split_lab.recordings.inputs import Input
from mtl_split_lab.scoring.frames import NOTHING_KNOWN, Frame, as_truth, results_to_json
from mtl_split_lab.scoring.measurement import Compared, Measurement, compare
from mtl_split_lab.scoring.ways import Way, find_way

REPORT = "report.json"
FRAMES = "frames.jsonl"
PARTS = ("prepare", "compress", "prefix", "encode", "decode", "decompress", "suffix", EXIT, "post", "track")
"""A frame's way, on the edge and then on the server."""
NAMED = 5
"""Refused frames that are named."""


@dataclass(frozen=True)
class Answer:
    """What one way made of a frame: bytes sent, results, milliseconds by stage.

    compared, agreed: its results compared with the truth, and with those of the way WHOLE, but for the tasks whose
    objects are followed, which has to be done in order first.
    """

    size: int
    results: Results
    milliseconds: dict[str, float]
    compared: Compared = field(default_factory=dict)
    agreed: Compared = field(default_factory=dict)


@dataclass
class Replay:
    """What came out of the frames so far.

    tasks: of the bundle; ways: by name, as Measurement adds them up; agreement: by name, the same with the answers of
    the way WHOLE instead of the truth, without that way, and empty where it is not among them; tracks: by way; times:
    milliseconds by way and stage; at_once: frames that were at work at the same time; known: of how many frames there
    is a truth, by what it is of; refused: what was wrong with frames, or with one way for them; gallery: the frames as
    the first way answers them, with what WHOLE answered as the truth of those of which nothing is known; recording: the
    one that the last frame was of; interrupted: whether it ended before all frames were answered.
    """

    tasks: Sequence[Task]
    ways: dict[str, Measurement]
    agreement: dict[str, Measurement]
    tracks: dict[str, Tracks]
    times: dict[str, defaultdict[str, list[float]]]
    at_once: int
    gallery: Gallery
    recording: str = ""
    known: Counter[str] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)
    interrupted: bool = False

    def follow(self, frame: Frame, answers: Mapping[str, Answer | InputError]) -> dict[str, Answer | InputError]:
        """Return the answers to the next frame with identities, as the server's session gives them."""
        if frame.recording != self.recording:
            self.recording, self.tracks = frame.recording, {way: one.anew() for way, one in self.tracks.items()}
        return {
            way: self._followed(answer, self.tracks[way], frame.stamp)
            if isinstance(answer, Answer) and frame.stamp is not None
            else answer
            for way, answer in answers.items()
        }

    def _followed(self, answer: Answer, tracks: Tracks, stamp: int) -> Answer:
        stopwatch = Stopwatch()
        with stopwatch.stage("track"):
            results = tracks.follow(answer.results, stamp)
        return replace(answer, results=results, milliseconds=answer.milliseconds | stopwatch.milliseconds)

    def add(self, frame: Frame, answers: Mapping[str, Answer | InputError]) -> None:
        """Add a frame."""
        self.known.update(frame.known)
        whole = answers.get(WHOLE)
        reference = as_truth(whole.results, self.tasks) if isinstance(whole, Answer) else NOTHING_KNOWN
        followed = [task for task in self.tasks if any(task.name in one.followed for one in self.tracks.values())]
        for way, answer in answers.items():
            if isinstance(answer, InputError):
                self.refused.append(f"{frame.name}: {way}: {answer}")
                continue
            compared = answer.compared | compare(frame.truth, answer.results, followed)
            self.ways[way].add_compared(answer.size, compared)
            if way in self.agreement:
                agreed = answer.agreed | compare(reference, answer.results, followed)
                self.agreement[way].add_compared(answer.size, agreed)
            for stage, milliseconds in answer.milliseconds.items():
                self.times[way][stage].append(milliseconds)
        first = next(iter(answers.values()))
        if isinstance(first, Answer):
            self.gallery.add(frame if frame.known else replace(frame, truth=reference), first.results)

    def summary(self) -> dict[str, Any]:
        """Return the figures, ready for JSON."""
        ways = {}
        for name, measurement in tqdm(self.ways.items(), "scoring", unit="way"):
            times = self.times[name]
            stages = {stage: round(statistics.median(times[stage]), 3) for stage in PARTS if stage in times}
            ways[name] = measurement.summary() | {"stages_ms": stages, "total_ms": _spread(times)}
            if name in self.agreement:
                ways[name]["agreement"] = self.agreement[name].figures()
        return {
            "ways": ways,
            "frames_with_truth": dict(self.known),
            "refused": {"count": len(self.refused), "first": self.refused[:NAMED]},
            "interrupted": self.interrupted,
            "frames_at_once": self.at_once,
        }


def default_ways(bundle: Bundle) -> list[str]:
    """Every operating point, the edge's own answers, and the pictures themselves at several qualities."""
    points = [f"split:{point.name}" for point in bundle.payload_format.operating_points]
    return ["split", *points, WHOLE, *([EXIT] if EXIT in bundle.files else []), "jpeg:10", "jpeg:30", "jpeg:90", "raw"]


def replay(
    bundle: Bundle,
    source: Input,
    ways: Sequence[str],
    out: Path,
    max_payload_bytes: int,
    at_once: int,
    stop: threading.Event,
    most: int | None = None,
    tracking: str = BYTETRACK,
    cluster: str = "",
) -> Replay:
    """Send the frames of `source`, `most` of them, every way, and write what came of each as a line of JSON into `out`.

    ways, max_payload_bytes: see mtl_split_lab.scoring.ways.find_way. `at_once` frames are at work at the same time, in
    threads, or in a cluster's processes, see mtl_split_lab.cluster.Cluster; only times depend on it: what has to be
    done in order (tracks, scores) is done here. It ends early when `stop` is set. tracking: one of
    mtl_split_core.tracks.TRACKING, for frames that follow each other in time. The lines have the results of the first
    way. Raises InputError for an unknown way, and where no frame can be used, and ClusterError.
    """
    measurements = {name: Measurement(bundle.tasks) for name in ways}
    tracks = {name: Tracks(bundle.tasks, tracking, SCORE_THRESHOLD) for name in ways}
    compared = {name: Measurement(bundle.tasks) for name in ways if WHOLE in ways and name != WHOLE}
    times: dict[str, defaultdict[str, list[float]]] = {name: defaultdict(list) for name in ways}
    for name in ways:
        find_way(name, bundle, max_payload_bytes)
    done = Replay(bundle.tasks, measurements, compared, tracks, times, at_once, Gallery(out, bundle.tasks))
    followed = {name for one in tracks.values() for name in one.followed}
    compared_at_once = tuple(task.name for task in bundle.tasks if task.name not in followed)
    answer = partial(_answer, _Job(bundle.folder, bundle.fingerprint, tuple(ways), max_payload_bytes, compared_at_once))
    pool: Executor = ThreadPoolExecutor(at_once)
    if cluster:
        pool = Cluster(cluster, at_once)
        done.at_once = at_once = pool.processes
    written = {ways[0]: bundle.tasks}
    out.mkdir(parents=True, exist_ok=True)
    (out / REPORT).unlink(missing_ok=True)
    expected = min(source.count or most or 0, most or source.count)
    with (
        pool,
        (out / FRAMES).open("w") as lines,
        tqdm(total=expected or None, desc="replay", unit="frame") as progress,
    ):
        for frame, pending in in_order(pool, answer, islice(source, most), _picture, 2 * at_once):
            try:
                answers = done.follow(frame, pending())
            except ClusterError:
                raise
            except InputError as error:
                done.refused.append(f"{frame.name}: {error}")
                line: dict[str, Any] = {"refused": str(error)}
            else:
                done.add(frame, answers)
                line = {"ways": {name: _to_json(one, written.get(name, ())) for name, one in answers.items()}}
            lines.write(json.dumps({"frame": frame.name, **line}) + "\n")
            progress.update()
            if stop.is_set():
                done.interrupted = progress.n != expected
                pool.shutdown(cancel_futures=True)
                break
    if not any(measurement.frames for measurement in done.ways.values()):
        raise InputError(f"no frame could be used: {done.refused[0] if done.refused else 'there are none'}")
    return done


@dataclass(frozen=True)
class _Job:
    """What has to be loaded to answer frames: the bundle in a folder, with its fingerprint, and the ways.

    compared: the names of the tasks whose results are compared at once.
    """

    folder: Path
    fingerprint: str
    ways: tuple[str, ...]
    max_payload_bytes: int
    compared: tuple[str, ...]

    def load(self) -> tuple[EdgeHalf, dict[str, ServerHalf], dict[str, Way]]:
        """Return the edge's half, what answers by its role, and the ways by name.

        Raises ClusterError for a folder that is not the same on this machine.
        """
        cv2.setNumThreads(1)
        try:
            bundle = load_bundle(self.folder)
        except BundleError as error:
            raise ClusterError(f"on {platform.node()}: {error}") from error
        if bundle.fingerprint != self.fingerprint:
            raise ClusterError(f"on {platform.node()}, {self.folder} is another bundle: copy it to all machines")
        ways = {name: find_way(name, bundle, self.max_payload_bytes) for name in self.ways}
        answering = {role: ServerHalf(bundle, role=role) for role in {way.role for way in ways.values()}}
        return EdgeHalf(bundle), answering, ways


_loaded = threading.local()


def _picture(frame: Frame) -> tuple[Callable[[], Image], Truth]:
    return frame.read, frame.truth


def _answer(job: _Job, picture: tuple[Callable[[], Image], Truth]) -> dict[str, Answer | InputError]:
    """Answer a picture every way. Halves are not shared between threads, and are kept for the next picture."""
    if getattr(_loaded, "job", None) != job:
        _loaded.halves, _loaded.job = job.load(), job
    edge, answering, ways = _loaded.halves
    read, truth = picture
    image = read()
    answers = {name: _answer_way(edge, answering[way.role], way, image) for name, way in ways.items()}
    tasks = [task for task in edge.bundle.tasks if task.name in job.compared]
    whole = answers.get(WHOLE)
    reference = as_truth(whole.results, tasks) if isinstance(whole, Answer) else NOTHING_KNOWN
    return {
        name: _compare(answer, truth, NOTHING_KNOWN if name == WHOLE else reference, tasks)
        for name, answer in answers.items()
    }


def _compare(answer: Answer | InputError, truth: Truth, reference: Truth, tasks: Sequence[Task]) -> Answer | InputError:
    if isinstance(answer, InputError):
        return answer
    compared, agreed = (compare(one, answer.results, tasks) for one in (truth, reference))
    return replace(answer, compared=compared, agreed=agreed)


def _answer_way(edge: EdgeHalf, server: ServerHalf, way: Way, image: Image) -> Answer | InputError:
    edge.stopwatch.milliseconds = {}
    try:
        size, latents = way.carry(edge, image)
        results = server.answer(latents, (image.shape[1], image.shape[0]))
    except InputError as error:
        return error
    return Answer(size, results, edge.stopwatch.milliseconds | server.stopwatch.milliseconds)


def _to_json(answer: Answer | InputError, tasks: Sequence[Task]) -> dict[str, Any]:
    """Make an answer ready for JSON, with the results of these tasks, if any; their numbers are exact."""
    if isinstance(answer, InputError):
        return {"refused": str(answer)}
    times = {stage: round(milliseconds, 3) for stage, milliseconds in answer.milliseconds.items()}
    results = {"results": results_to_json(answer.results, tasks)} if tasks else {}
    return {"bytes": answer.size, "stages_ms": times, **results}


def _spread(times: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Percentiles of the milliseconds that all stages of a frame took together."""
    totals = [sum(stages) for stages in zip(*times.values(), strict=True)] or [0.0]
    return {name: round(float(np.percentile(totals, share)), 3) for name, share in (("p50", 50), ("p99", 99))}


def write_report(done: Replay, bundle: Bundle, source: Input, out: Path) -> dict[str, Any]:
    """Write the figures into the folder `out`, and return them."""
    report = {
        **done.summary(),
        "bundle": {"name": bundle.name, "fingerprint": bundle.fingerprint},
        "input": {"name": source.name, "frames": source.count, **source.facts, "skipped": dict(+source.skipped)},
        "machine": machine(),
    }
    (out / REPORT).write_text(json.dumps(report, indent=2) + "\n")
    return report
