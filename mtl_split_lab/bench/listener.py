"""A process that writes down when it hears what: every frame of the camera, or every result of a server.

On a limited link a listener belongs to the side on which its topics are published, so that it adds no traffic.
"""

import argparse
from collections.abc import Mapping
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo

from mtl_split_core.bundle import Bundle, load_bundle
from mtl_split_core.share import bundle_folder
from mtl_split_lab.bench.answers import answered
from mtl_split_ros.kinds import KINDS as ROS_KINDS
from mtl_split_ros.messages import result_topic, stamp_of
from mtl_split_ros.process import run
from mtl_split_ros.qos import RESULT

if TYPE_CHECKING:
    from rclpy.subscription import MessageInfo

CAMERA_INFO = "camera_info"


class Listener(Node):
    """Writes a line `topic stamp arrival` for every message, times in nanoseconds."""

    def __init__(self, topics: Mapping[str, type[Any]], log: TextIO) -> None:
        """Subscribe to topics whose messages begin with a header."""
        super().__init__("listener")
        self.ended: Future[None] = Future()
        self._log = log
        for topic, kind in topics.items():
            self.create_subscription(kind, topic, partial(self._hear, topic), RESULT, raw=True)

    def _hear(self, topic: str, message: bytes, info: "MessageInfo") -> None:
        # When it arrived, not when this process had time for it.
        print(topic, stamp_of(message), info["received_timestamp"], file=self._log, flush=True)


def result_topics(bundle: Bundle) -> dict[str, type[Any]]:
    """Return the topics of all results, with their types."""
    return {result_topic(task): ROS_KINDS[task.kind].MESSAGE for task in bundle.tasks}


def read_log(path: Path) -> dict[str, dict[int, int]]:
    """Read what a listener has written so far, if it has begun: by topic, arrivals by stamp."""
    heard: dict[str, dict[int, int]] = {}
    for line in whole_lines(path):
        topic, stamp, arrival = line.split()
        heard.setdefault(topic, {})[int(stamp)] = int(arrival)
    return heard


def whole_lines(path: Path) -> list[str]:
    """Return the lines of a file that another process is writing, if it has begun, without one that is not finished."""
    lines = (path.read_text() if path.exists() else "").splitlines(keepends=True)
    return [line for line in lines if line.endswith("\n")]


def read_answers(path: Path, bundle: Bundle) -> dict[int, int]:
    """Read when each frame was answered, by what a listener to a bundle's results has written so far: see answered."""
    heard = read_log(path)
    return answered([heard.get(topic, {}) for topic in result_topics(bundle)])


def main() -> int:
    """Listen until told to stop; returns the exit code."""
    parser = argparse.ArgumentParser(prog="listener", description=__doc__)
    parser.add_argument("log", type=Path, help="file to write")
    parser.add_argument("--bundle", help="listen to the results of this bundle, not to the camera")
    options = parser.parse_args()
    bundle = options.bundle and load_bundle(bundle_folder(options.bundle))
    topics = result_topics(bundle) if bundle else {CAMERA_INFO: CameraInfo}
    with options.log.open("w") as log:
        return run(lambda: Listener(topics, log))


if __name__ == "__main__":
    raise SystemExit(main())
