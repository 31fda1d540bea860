"""The player node: sends what a camera published into a rosbag again, byte by byte and at its old pace."""

from __future__ import annotations  # rclpy's classes are generic from Kilted on

import importlib
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from builtin_interfaces.msg import Time as Stamp
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosbags.interfaces import Connection, ConnectionExtRosbag2, QosDurability
from rosgraph_msgs.msg import Clock
from std_msgs.msg import UInt64

from mtl_split_core.errors import InputError
from mtl_split_lab.bags import IMAGE_TYPES, find_image_topic, open_bag
from mtl_split_ros.audience import Audience
from mtl_split_ros.parameters import Parameter, Parameters
from mtl_split_ros.process import run
from mtl_split_ros.qos import LATCHED, advertise

TICK = 0.01
"""Seconds between two times on /clock."""

PARAMETERS = Parameters(
    "player",
    Parameter("bag", "Folder of the bag, or one of its files alone."),
    Parameter("topics", "What to send; empty: images, `camera_info` and everything in a `ground_truth`."),
    Parameter("rate", "How many times as fast as it was recorded.", range=(0.01, 100.0)),
    Parameter("loop", "Begin again at the end; the stamps and the clock then jump back."),
    Parameter("clock", "Publish the bag's time on /clock, for nodes with `use_sim_time`."),
    Parameter(
        "wait_for_subscribers", "Subscribers of the images to wait for before the first message.", range=(0, 100)
    ),
    Parameter("exit_at_end", "End the node when the bag has ended; false: stay until told to stop."),
)


CLOCK = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


def find_topics(path: Path, wanted: Sequence[str] = ()) -> list[str]:
    """Return the topics of a bag that are to be sent: those wanted, or what a camera and a truth would have published.

    Not what the nodes that now run publish themselves. Raises InputError for a bag without images, and for a topic that
    is not in it.
    """
    find_image_topic(path)
    with open_bag(path) as bag:
        there = {one.topic: one.msgtype for one in bag.connections}
    chosen = [topic for topic in wanted if topic]
    if missing := set(chosen) - there.keys():
        raise InputError(f"{path} has no topic {sorted(missing)}, expected some of {sorted(there)}")
    return chosen or [
        topic
        for topic, kind in there.items()
        if kind in (*IMAGE_TYPES, "sensor_msgs/msg/CameraInfo") or "/ground_truth/" in topic
    ]


class PlayerNode(Node):
    """Publishes what is in a bag on the topics it was recorded from, and how many images that were on `end_of_stream`.

    What is late, because the machine is too slow, makes all that follows late, too: nothing ever goes out in a burst.
    """

    def __init__(self) -> None:
        """Open the bag. Raises InputError for one that cannot be, and for a parameter that cannot be."""
        super().__init__("player")
        PARAMETERS.declare(self)
        self._values = PARAMETERS.read(self)
        self._bag = Path(self._values["bag"]).expanduser()
        self.ended: Future[None] = Future()
        with open_bag(self._bag) as bag:
            topics = [one for one in bag.connections if one.topic in find_topics(self._bag, self._values["topics"])]
            self._outputs = {one.topic: self._advertise(one) for one in topics}
            self._images = {one.topic for one in topics if one.msgtype in IMAGE_TYPES}
        self._clock_publisher = advertise(self, Clock, "/clock", CLOCK) if self._values["clock"] else None
        self._end = advertise(self, UInt64, "end_of_stream", LATCHED)
        self._audience = Audience(
            [self._outputs[topic] for topic in self._images], self._values["wait_for_subscribers"]
        )
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="player")
        self._pool.submit(self._play).add_done_callback(self._finish)
        self.get_logger().info(f"{self._bag}: {', '.join(sorted(self._outputs))}")

    def destroy_node(self) -> None:
        """Stop and destroy the node."""
        self._stop.set()
        self._pool.shutdown()
        super().destroy_node()

    def _advertise(self, connection: Connection) -> Publisher[Any]:
        package, _, name = connection.msgtype.split("/")
        try:
            kind = getattr(importlib.import_module(f"{package}.msg"), name)
        except (ImportError, AttributeError) as error:
            raise InputError(f"{connection.topic} is of type {connection.msgtype}, which is not installed") from error
        offered = connection.ext.offered_qos_profiles if isinstance(connection.ext, ConnectionExtRosbag2) else []
        latched = bool(offered) and offered[0].durability == QosDurability.TRANSIENT_LOCAL
        durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
        profile = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE, durability=durability)
        return advertise(self, kind, connection.topic, profile)

    def _play(self) -> int:
        """Send everything, and return how many images that were."""
        images = 0
        while not self._audience.is_there():
            if self._stop.wait(0.05):
                return images
        while True:
            images += self._play_once()
            if self._stop.is_set() or not self._values["loop"]:
                return images

    def _play_once(self) -> int:
        images = 0
        with open_bag(self._bag) as bag:
            connections = [one for one in bag.connections if one.topic in self._outputs]
            start, shown = bag.start_time, time.monotonic()
            for connection, stamp, data in bag.messages(connections):
                due = shown + (stamp - start) / 1e9 / self._values["rate"]
                if not self._wait(due, stamp):
                    break
                shown += max(0.0, time.monotonic() - due - TICK)
                self._outputs[connection.topic].publish(data)
                images += connection.topic in self._images
        return images

    def _wait(self, due: float, stamp: int) -> bool:
        """Let the time of the bag pass until `stamp`, which is `due` on the monotonic clock; False: stop."""
        while True:
            left = due - time.monotonic()
            if self._clock_publisher is not None:
                now = stamp - round(max(left, 0.0) * 1e9 * self._values["rate"])
                self._clock_publisher.publish(Clock(clock=Stamp(sec=now // 10**9, nanosec=now % 10**9)))
            if left <= 0:
                return not self._stop.is_set()
            if self._stop.wait(min(left, TICK)):
                return False

    def _finish(self, played: Future[int]) -> None:
        if error := played.exception():
            self.ended.set_exception(error)
        elif not self._stop.is_set():
            self._end.publish(UInt64(data=played.result()))
            self.get_logger().info(f"{self._bag} has ended after {played.result()} images")
            if self._values["exit_at_end"]:
                self._end.wait_for_all_acked(Duration(seconds=1))
                self.ended.set_result(None)


def main() -> int:
    """Run the player until it is told to stop or, if so asked, until the bag ends."""
    return run(PlayerNode)


if __name__ == "__main__":
    raise SystemExit(main())
