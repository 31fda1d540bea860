"""What ROS adds to the two halves: latency, processor time, the rate that the pair sustains, the edge node's overhead.

ros2_ws/run python -m mtl_split_lab.bench.nodes --out docs/results
"""

from __future__ import annotations  # rclpy has the type MessageInfo from Kilted on

import argparse
import os
import statistics
import time
from array import array
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticArray
from mtl_split.msg import Bottleneck
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from mtl_split_camera.street import Street
from mtl_split_core.bundle import Bundle, load_bundle
from mtl_split_core.scene import Image as Picture
from mtl_split_core.scene import Size
from mtl_split_core.share import bundle_folder
from mtl_split_lab.bench.stages import stages_of
from mtl_split_lab.bench.traffic import Outcome, Traffic, running
from mtl_split_lab.bench.usage import processor_seconds
from mtl_split_lab.live.processes import Processes
from mtl_split_lab.machine import machine_in_words
from mtl_split_lab.markdown import table
from mtl_split_ros.graph import Options, edge, server
from mtl_split_ros.messages import stamp_of
from mtl_split_ros.qos import RECORDED, RESULT

if TYPE_CHECKING:
    from rclpy.subscription import MessageInfo

SIZES: tuple[Size, ...] = ((640, 360), (1280, 720), (1920, 1080))
RATE = 15.0
"""Frames per second at which latency and processor time are measured."""

STEPS = (10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 60.0, 80.0, 100.0, 120.0)
"""Frames per second that are tried one after another until too many are dropped."""

ENOUGH = 0.95
"""A rate counts as sustained where this share of it is answered."""

PICTURES = 15
"""Different pictures of one simulated street, sent over and over."""

WARM_UP = 3.0
"""Seconds of traffic before what is measured."""

CAMERA = QoSProfile(depth=2)
"""As the camera node offers its images."""

EDGE_HALF = ("prepare", "prefix", "encode")
SERVER_HALF = ("decode", "suffix", "post")


@dataclass(frozen=True)
class Measured:
    """The pair at one size of pictures.

    outcome: at RATE; stages: each stage's median milliseconds; edge: milliseconds at the median from the edge node's
    callback to its publishing of the bottleneck; processor: milliseconds of processor time per frame by process;
    rates: the outcome at each step tried, the last of which is the first that was not sustained.
    """

    size: Size
    outcome: Outcome
    stages: dict[str, float]
    edge: float
    processor: dict[str, float]
    rates: dict[float, Outcome]

    def sum(self, stages: Sequence[str]) -> float:
        """The milliseconds of some stages together."""
        return sum(self.stages[stage] for stage in stages)

    @property
    def sustained(self) -> float:
        """The highest rate that was sustained; 0 if none was."""
        return max((rate for rate, outcome in self.rates.items() if outcome.rate >= ENOUGH * rate), default=0.0)


class Camera(Traffic):
    """Sends one vehicle's images and hears the results, the bottlenecks and the nodes' diagnostics."""

    def __init__(self, bundle: Bundle) -> None:
        """Advertise the images and subscribe to the rest."""
        super().__init__(bundle, [""], Image, "image_raw", CAMERA)
        self._published: list[float] = []
        self._stages: defaultdict[str, list[float]] = defaultdict(list)
        self.create_subscription(Bottleneck, "bottleneck", self._hear_bottleneck, RECORDED, raw=True)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._hear_diagnostics, RESULT)

    def exchange_images(self, images: Sequence[Image], rate: float, seconds: float) -> Outcome:
        """Send images at a rate; see `exchange`."""
        self._published.clear()
        self._stages.clear()
        return self.exchange({"": images}, rate, seconds)

    def stages(self) -> dict[str, float]:
        """Return each stage's median milliseconds over the frames since the last exchange began."""
        return {stage: statistics.median(times) for stage, times in self._stages.items()}

    def until_published(self) -> float:
        """Return the median milliseconds from the images' stamps to the edge's publishing of the bottlenecks."""
        return statistics.median(self._published)

    def _hear_bottleneck(self, message: bytes, info: MessageInfo) -> None:
        self._published.append((info["source_timestamp"] - stamp_of(message)) / 1e6)

    def _hear_diagnostics(self, message: DiagnosticArray) -> None:
        for _, stage, milliseconds in stages_of(message):
            self._stages[stage].append(milliseconds)


def main() -> None:
    """Measure the pair of nodes and write nodes.md."""
    parser = argparse.ArgumentParser(prog="nodes", description=main.__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("docs/results"), help="folder of the page")
    options = parser.parse_args()
    bundle = load_bundle(bundle_folder("street"))
    write_page(bundle, measure(bundle, SIZES, STEPS, options.seconds), options.out)


def measure(
    bundle: Bundle, sizes: Sequence[Size], steps: Sequence[float], seconds: float, warm_up: float = WARM_UP
) -> list[Measured]:
    """Measure the pair at each size of pictures.

    steps: frames per second to be tried, from the lowest on; seconds: of each measurement. Raises ProcessError where a
    node ends.
    """
    options = Options(bundle=str(bundle.folder))
    with running([edge(options), server(options)]) as processes:
        camera = Camera(bundle)
        camera.connect(processes)
        return [_measure_size(camera, processes, size, steps, seconds, warm_up) for size in sizes]


def _measure_size(
    camera: Camera, processes: Processes, size: Size, steps: Sequence[float], seconds: float, warm_up: float
) -> Measured:
    images = [image_message(picture) for picture, _ in islice(Street(0, size), PICTURES)]
    camera.exchange_images(images, RATE, warm_up)
    before = _processor_seconds(processes)
    outcome = camera.exchange_images(images, RATE, seconds)
    processor = {
        name: (after - before[name]) / outcome.sent * 1e3 for name, after in _processor_seconds(processes).items()
    }
    stages, published = camera.stages(), camera.until_published()
    rates: dict[float, Outcome] = {}
    for rate in steps:
        rates[rate] = camera.exchange_images(images, rate, seconds / 2)
        if rates[rate].rate < ENOUGH * rate:
            break
    return Measured(size, outcome, stages, published - stages["image_transport"], processor, rates)


def image_message(picture: Picture) -> Image:
    """Return a picture as the raw message of a camera, with a header that is yet to be filled in."""
    height, width = picture.shape[:2]
    data = array("B")
    data.frombytes(picture.tobytes())
    return Image(header=Header(), height=height, width=width, encoding="bgr8", step=3 * width, data=data)


def _processor_seconds(processes: Processes) -> dict[str, float]:
    seconds = {name: processor_seconds(processes.pid(name)) for name in ("edge", "server")}
    return seconds | {"camera": time.process_time()}


def write_page(bundle: Bundle, measured: Sequence[Measured], out: Path) -> None:
    """Write the page into the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "nodes.md").write_text(
        _PAGE.format(
            bundle=f"{bundle.name} ({bundle.fingerprint})",
            rate=f"{RATE:g}",
            cores=len(os.sched_getaffinity(0)),
            enough=f"{ENOUGH:.0%}",
            latency=_latency_table(measured),
            edge=_edge_table(measured),
            processor=_processor_table(measured),
            rates=_rates_table(measured),
            machine=machine_in_words(),
        )
    )


def _latency_table(measured: Sequence[Measured]) -> str:
    head = (
        "pictures|answered|p50, ms|p99, ms|edge half|server half|image on its way|conversion|bottleneck on its way|rest"
    )
    rows = []
    for one in measured:
        parts = [
            one.sum(EDGE_HALF),
            one.sum(SERVER_HALF),
            *(one.stages[s] for s in ("image_transport", "convert", "link")),
        ]
        p50 = one.outcome.percentile(50)
        figures = [p50, one.outcome.percentile(99), *parts, p50 - sum(parts)]
        rows.append([_size(one), f"{one.outcome.share:.1%}", *(f"{figure:.1f}" for figure in figures)])
    return table(head, rows)


def _edge_table(measured: Sequence[Measured]) -> str:
    head = "pictures|callback to publish, ms|of it conversion|prepare + prefix + encode|ratio|ratio without conversion"
    rows = []
    for one in measured:
        half, convert = one.sum(EDGE_HALF), one.stages["convert"]
        times = [f"{figure:.2f}" for figure in (one.edge, convert, half)]
        rows.append([_size(one), *times, f"{one.edge / half:.2f}", f"{(one.edge - convert) / half:.2f}"])
    return table(head, rows)


def _processor_table(measured: Sequence[Measured]) -> str:
    rows = [[_size(one), *(f"{one.processor[name]:.1f}" for name in ("edge", "server", "camera"))] for one in measured]
    return table("pictures|edge|server|camera and listener", rows)


def _rates_table(measured: Sequence[Measured]) -> str:
    steps = sorted({rate for one in measured for rate in one.rates})
    rows = []
    for one in measured:
        shares = [f"{one.rates[rate].share:.1%}" if rate in one.rates else "" for rate in steps]
        rows.append([_size(one), f"{one.sustained:g}", *shares])
    return table("|".join(["pictures", "sustained", *(f"at {rate:g}" for rate in steps)]), rows)


def _size(one: Measured) -> str:
    return "{}x{}".format(*one.size)


_PAGE = """# The nodes

What ROS adds to the two halves. One edge and one server node in processes of their own with their default parameters,
{bundle}, and a camera that sends pictures of the simulated street from memory, so that drawing them costs nothing; all
on the same {cores} cores, over Fast DDS.

## From the camera's stamp to the last result

At {rate} frames/s. The stages are medians, and the rest is what they leave of p50: handing over between threads and
processes, writing and sending the results. A frame counts as answered if the results of every task have come.

{latency}

## The edge node's own overhead

From the callback with the camera's message to the publishing of the bottleneck, against the three stages of `EdgeHalf`
in the same frames.

{edge}

## Processor time

Milliseconds per frame by process, at {rate} frames/s.

{processor}

## Rates

The highest of some frame rates at which the pair still answers {enough} of the frames, and the share answered at each
of those that were tried.

{rates}

`make bench` makes this page. Measured on: {machine}.
"""

if __name__ == "__main__":
    main()
