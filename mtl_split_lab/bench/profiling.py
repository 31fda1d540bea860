"""What each part of a bundle takes on this machine: a profile, measured part by part on simulated streets."""

import itertools
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

import cv2
import numpy as np

from mtl_split_camera.sources import SECONDS_PER_STREET, Streets
from mtl_split_core.bundle import EXIT, PREFIX, SUFFIX, WHOLE, Bundle
from mtl_split_core.choice import REFERENCE
from mtl_split_core.division import FEATURE_BYTES, MIDDLE, REST
from mtl_split_core.halves import EdgeHalf, MiddleHalf, ServerHalf
from mtl_split_core.profile import POST, PREPARE, DivisionCost, PointCost, Profile, Spread
from mtl_split_core.scene import Size
from mtl_split_core.stopwatch import Stopwatch, measure_in_turn
from mtl_split_lab.bench.usage import own_bytes
from mtl_split_lab.machine import machine
from mtl_split_lab.markdown import table

SIZE: Size = (1280, 720)
PICTURES = 30
"""Different pictures, one of each simulated street, over and over."""
CALLS = 100

RATE = 20.0
"""Calls per second at most: a processor that has rested, and done other things, is slower than one in a loop."""

Call = Callable[[], object]
Measure = Callable[[Mapping[str, Call]], dict[str, list[float]]]
T = TypeVar("T")


def measure_profile(
    bundle: Bundle,
    engine: str = REFERENCE,
    threads: int = 1,
    calls: int = CALLS,
    size: Size = SIZE,
    rate: float = RATE,
) -> Profile:
    """Measure every part of a bundle, all but its layers: each half `calls` times at every operating point.

    size: (width, height) of the camera's pictures; rate: of the calls per second at most, 0: as fast as they go, see
    RATE. The edge's and the server's parts are measured one after the other,
    as on two machines, and both in one go after that. Raises BundleError and InputError as the halves do.
    """
    cv2.setNumThreads(threads)
    measure = partial(measure_in_turn, rounds=calls, pause=1 / rate if rate else 0.0)
    before = own_bytes(os.getpid())
    edge = EdgeHalf(bundle, threads, engine)
    between = own_bytes(os.getpid())
    server = ServerHalf(bundle, threads, engine=engine)
    loaded = own_bytes(os.getpid())
    memory = {PREFIX: between - before, SUFFIX: loaded - between}
    small = ServerHalf(bundle, threads, engine=engine, role=EXIT) if EXIT in bundle.files else None
    if small:
        memory[EXIT] = own_bytes(os.getpid()) - loaded
    # Before anything is freed whose place they could take.
    divided, taken = _load_divided(bundle, engine, threads)
    if divided:
        memory |= {**taken, REST: taken[REST] - memory[SUFFIX]}
    pictures = [picture for picture, _ in itertools.islice(Streets(size, 1 / SECONDS_PER_STREET), min(PICTURES, calls))]
    points = [point.name for point in bundle.payload_format.operating_points]
    payloads = [[edge.encode(picture, point).payload for picture in pictures] for point in range(len(points))]

    encoding = [partial(edge.encode, operating_point=point) for point in range(len(points))]
    at_edge = _measure_stages(edge.stopwatch, [_of_each(pictures, call) for call in encoding], measure)
    decoding = partial(server.decode, size=size)
    at_server = _measure_stages(server.stopwatch, [_of_each(each, decoding) for each in payloads], measure)
    both = {WHOLE: _of_each(pictures, lambda picture: server.answer(edge.latents(picture), size))}
    times = {
        **{part: [ms for stages in at_edge for ms in stages[part]] for part in (PREPARE, PREFIX)},
        **{part: [ms for stages in at_server for ms in stages[part]] for part in (SUFFIX, POST)},
        **measure(both),
    }
    divisions = _measure_divisions(divided, payloads[bundle.default_point], size, measure) if divided else {}
    if small:
        latents = [edge.latents(picture) for picture in pictures]
        times |= measure({EXIT: _of_each(latents, partial(small.answer, size=size))})
    return Profile(
        bundle=bundle.name,
        fingerprint=bundle.fingerprint,
        contract=bundle.contract.fingerprint,
        engine=edge.choice.engine.name,
        threads=threads,
        machine=machine(),
        picture=size,
        calls=calls,
        parts={part: spread(values) for part, values in times.items()},
        points={
            name: PointCost(
                encode=spread(at_edge[point]["encode"]),
                decode=spread(at_server[point]["decode"]),
                bytes=spread([*map(len, payloads[point])]),
            )
            for point, name in enumerate(points)
        },
        memory={role: max(0, size) for role, size in memory.items()},
        divisions=divisions,
    )


Divided = tuple[MiddleHalf, ServerHalf]


def _load_divided(bundle: Bundle, engine: str, threads: int) -> tuple[Divided | None, dict[str, int]]:
    """Load what a divided bundle has on a roadside unit and on a server, with the bytes that each takes in memory."""
    if not bundle.divisions:
        return None, {}
    before = own_bytes(os.getpid())
    middle = MiddleHalf(bundle, threads, engine)
    between = own_bytes(os.getpid())
    server = ServerHalf(bundle, threads, engine=engine, divisions=bundle.divisions)
    return (middle, server), {MIDDLE: between - before, REST: own_bytes(os.getpid()) - between}


def _measure_divisions(
    divided: Divided, payloads: Sequence[bytes], size: Size, measure: Measure
) -> dict[str, DivisionCost]:
    """Return what each division costs, by its cut; payloads: of the pictures, which have a size."""
    middle, server = divided
    found = {}
    for division in middle.bundle.divisions:
        forward = partial(middle.forward, cut=division.cut)
        features = [forward(payload) for payload in payloads]
        rest = partial(server.decode, size=size, division=division.fingerprint)
        times = measure({MIDDLE: _of_each(payloads, forward), REST: _of_each(features, rest)})
        sizes = spread([*map(len, features)])
        raw = FEATURE_BYTES * division.numbers
        found[division.cut] = DivisionCost(spread(times[MIDDLE]), spread(times[REST]), sizes, raw)
    return found


def recording(stopwatch: Stopwatch, call: Call, stages: dict[str, list[float]]) -> Call:
    """Return a call that also adds the milliseconds of each of its stages to `stages`."""

    def recorded() -> None:
        call()
        for stage, milliseconds in stopwatch.milliseconds.items():
            stages[stage].append(milliseconds)

    return recorded


def spread(values: Sequence[float]) -> Spread:
    """Return the median and the 95th percentile."""
    return Spread(float(np.median(values)), float(np.percentile(values, 95)))


def format_profile(profile: Profile) -> str:
    """Write a profile as tables for people."""
    rows: list[tuple[str, Spread]] = list(profile.parts.items())
    for name, point in profile.points.items():
        rows += [(f"encode, {name}", point.encode), (f"decode, {name}", point.decode)]
    for cut, division in profile.divisions.items():
        rows += [(f"middle, {cut}", division.middle), (f"rest, {cut}", division.rest)]
    costs = [
        [
            name,
            f"{p.bytes.median:.0f}",
            f"{p.bytes.p95:.0f}",
            f"{profile.edge(name):.2f}",
            f"{profile.server(name):.2f}",
        ]
        for name, p in profile.points.items()
    ]
    about = f"{profile.bundle}, contract {profile.contract}, {profile.engine}, threads {profile.threads}"
    where = "{processor}, {cores} cores, {system}".format(**profile.machine)
    return "\n\n".join(
        [
            f"{about}\n{where}, pictures of {profile.picture[0]}x{profile.picture[1]}",
            table("part|median, ms|95 %, ms", [[n, f"{s.median:.2f}", f"{s.p95:.2f}"] for n, s in rows]),
            table("operating point|median, bytes|95 %, bytes|edge, ms|server, ms", costs),
            table("network|loaded, MB", [[role, f"{size / 1e6:.1f}"] for role, size in profile.memory.items()]),
        ]
    )


def _of_each(values: Sequence[T], call: Callable[[T], object]) -> Call:
    turn = itertools.cycle(values)
    return lambda: call(next(turn))


def _measure_stages(stopwatch: Stopwatch, calls: Sequence[Call], measure: Measure) -> list[dict[str, list[float]]]:
    """Return the milliseconds of the stages of each call; they are called in turn."""
    stages: list[dict[str, list[float]]] = [defaultdict(list) for _ in calls]
    recorded = zip(calls, stages, strict=True)
    measure({str(i): recording(stopwatch, *each) for i, each in enumerate(recorded)})
    return stages
