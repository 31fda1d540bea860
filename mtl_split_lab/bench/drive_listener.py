"""A process beside an edge that answers by a deadline: it writes down what the edge sends, and what it tells of it.

It belongs to the vehicle's side of a link, and is not to be found from the other.
"""

import argparse
import json
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from diagnostic_msgs.msg import DiagnosticArray
from mtl_split.msg import AnswerInfo, Bottleneck
from rclpy.node import Node

from mtl_split_ros.diagnostics import nanoseconds
from mtl_split_ros.messages import stamp_of
from mtl_split_ros.process import run
from mtl_split_ros.qos import MANY, RESULT

if TYPE_CHECKING:
    from rclpy.subscription import MessageInfo


@dataclass(frozen=True)
class Told:
    """What an edge told of one answer: AnswerInfo.msg."""

    source: int
    operating_point: str
    age: float
    late: bool


@dataclass(frozen=True)
class Drive:
    """What an edge did for a while.

    begin: in nanoseconds; told: of each answer, by its image's stamp; sent: bytes of the messages that went out, copies
    included, by the image's stamp; before, after: what the edge told in /diagnostics, at first and at last.
    """

    begin: int
    told: Mapping[int, Told]
    sent: Mapping[int, int]
    before: Mapping[str, str]
    after: Mapping[str, str]

    def more(self, name: str) -> float:
        """Return by how much a number of the edge's diagnostics has grown."""
        return float(self.after.get(name, 0)) - float(self.before.get(name, 0))


class DriveListener(Node):
    """Writes a line of JSON for every message."""

    def __init__(self, log: TextIO) -> None:
        """Subscribe to what an edge publishes."""
        super().__init__("drive_listener")
        self.ended: Future[None] = Future()
        self._log = log
        self.create_subscription(AnswerInfo, "answer_info", self._hear_info, RESULT)
        self.create_subscription(Bottleneck, "bottleneck", self._hear_bottleneck, MANY, raw=True)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._hear_diagnostics, RESULT)

    def _hear_info(self, info: AnswerInfo) -> None:
        told = {"source": info.source, "operating_point": info.operating_point, "age": info.age, "late": info.late}
        self._write({"stamp": nanoseconds(info.header.stamp), "told": told})

    def _hear_bottleneck(self, message: bytes, info: "MessageInfo") -> None:
        self._write({"stamp": stamp_of(message), "bytes": len(message)})

    def _hear_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if "edge" in status.name:
                self._write({"stamp": time.time_ns(), "status": {value.key: value.value for value in status.values}})

    def _write(self, line: dict[str, Any]) -> None:
        print(json.dumps(line), file=self._log, flush=True)


def read_drive(path: Path, begin: int, end: int) -> Drive:
    """Read what a listener wrote of the images with stamps from `begin` up to but without `end`, in nanoseconds."""
    told: dict[int, Told] = {}
    sent: dict[int, int] = {}
    states: list[dict[str, str]] = []
    for line in map(json.loads, path.read_text().splitlines()):
        if not begin <= line["stamp"] < end:
            continue
        if "status" in line:
            states.append(line["status"])
        elif "told" in line:
            told[line["stamp"]] = Told(**line["told"])
        else:
            sent[line["stamp"]] = sent.get(line["stamp"], 0) + line["bytes"]
    return Drive(begin, told, sent, *((states[0], states[-1]) if states else ({}, {})))


def main() -> int:
    """Listen until told to stop; returns the exit code."""
    parser = argparse.ArgumentParser(prog="drive_listener", description=__doc__)
    parser.add_argument("log", type=Path, help="file to write")
    options = parser.parse_args()
    with options.log.open("w") as log:
        return run(lambda: DriveListener(log))


if __name__ == "__main__":
    raise SystemExit(main())
