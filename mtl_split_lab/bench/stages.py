"""What the nodes of one machine tell of their stages, written down by a process that listens to nothing else there.

`python -m mtl_split_lab.bench.stages LOG`; where it is to hear no other machine's nodes, the discovery range says so.
"""

import argparse
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TextIO

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node

from mtl_split_lab.bench.listener import whole_lines
from mtl_split_ros.process import run
from mtl_split_ros.qos import RESULT

_STAGE = "stage_ms/"


def stages_of(message: DiagnosticArray) -> Iterator[tuple[str, str, float]]:
    """Yield the name of the node, a stage, and its median milliseconds since the report before."""
    for status in message.status:
        node = status.name.partition(":")[0].rpartition("/")[2]
        for value in status.values:
            if value.key.startswith(_STAGE) and value.value != "n/a":
                yield node, value.key.removeprefix(_STAGE), float(value.value)


class StageListener(Node):
    """Writes a line for every stage of every report: when it came, in nanoseconds, node, stage, milliseconds."""

    def __init__(self, log: TextIO) -> None:
        """Subscribe to the diagnostics."""
        super().__init__("stage_listener")
        self.ended: Future[None] = Future()
        self._log = log
        self.create_subscription(DiagnosticArray, "/diagnostics", self._hear, RESULT)

    def _hear(self, message: DiagnosticArray) -> None:
        for stage in stages_of(message):
            print(json.dumps([time.time_ns(), *stage]), file=self._log, flush=True)


def read_stages(path: Path, begin: int, end: int) -> dict[str, dict[str, float]]:
    """Return each node's stages, the median over the reports between two times in nanoseconds, in milliseconds."""
    heard: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for at, node, stage, milliseconds in map(json.loads, whole_lines(path)):
        if begin <= at < end:
            heard[node][stage].append(milliseconds)
    return {
        node: {stage: statistics.median(times) for stage, times in stages.items()} for node, stages in heard.items()
    }


def main() -> int:
    """Listen until told to stop; returns the exit code."""
    parser = argparse.ArgumentParser(prog="stages", description=__doc__)
    parser.add_argument("log", type=Path, help="file to write")
    options = parser.parse_args()
    with options.log.open("w") as log:
        return run(lambda: StageListener(log))


if __name__ == "__main__":
    raise SystemExit(main())
