"""The player node: sends what a camera published into a rosbag again, byte by byte and at its old pace."""

from __future__ import annotations  # rclpy's classes are generic from Kilted on

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from builtin_interfaces.msg import Time as Stamp
from rclpy.duration import Duration
from rclpy.exceptions import InvalidTopicNameException
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.validate_topic_name import validate_topic_name
from rosgraph_msgs.msg import Clock
from std_msgs.msg import UInt64

from mtl_split_core.errors import InputError, in_one_line
from mtl_split_lab.recordings.bags import Bag, find_image_topic, find_topics, open_bag
from mtl_split_lab.recordings.definitions import message_class
from mtl_split_ros.audience import Audience
from mtl_split_ros.parameters import Parameter, Parameters
from mtl_split_ros.process import run
from mtl_split_ros.qos import LATCHED, advertise

TICK = 0.01
"""Seconds between two times on /clock."""

LONGEST_GAP = 60.0
"""Recorded seconds without a message that are waited for; longer gaps are shortened to SHORT_GAP."""

SHORT_GAP = 1.0

LAST_TIME = 2**31 * 10**9
"""The nanoseconds since 1970 that no stamp can say any more."""

PARAMETERS = Parameters(
    "player",
    Parameter("bag", "Folder of the bag, or one of its files alone."),
    Parameter("image_topic", "Where the images are; empty: the only ones there, or the only raw ones."),
    Parameter("topics", "What to send; empty: those images, their `camera_info`, and the truth."),
    Parameter("rate", "How many times as fast as it was recorded.", range=(0.01, 100.0)),
    Parameter("loop", "Begin again at the end; the stamps and the clock then jump back."),
    Parameter("clock", "Publish the bag's time on /clock, for nodes with `use_sim_time`."),
    Parameter("wait_for_subscribers", "Subscribers of the images to wait for before the start.", range=(0, 100)),
    Parameter("exit_at_end", "End the node when the bag has ended; false: stay until told to stop."),
)
CLOCK = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


class Pace:
    """When recorded messages are due, on the monotonic clock.

    What is late makes all that follows late, too: nothing ever goes out in a burst.
    """

    def __init__(self, rate: float, tell: Callable[[str], object]) -> None:
        """Begin now; rate: how many times as fast as recorded; tell: called with a sentence about a gap shortened."""
        self._rate = rate
        self._tell = tell
        self._shown = time.monotonic()
        self._last: int | None = None

    def due(self, recorded: int) -> float:
        """Return when to send the next message, recorded at these nanoseconds, the first one at once."""
        gap = 0.0 if self._last is None else (recorded - self._last) / 1e9
        if gap > LONGEST_GAP:
            self._tell(f"nothing was recorded for {gap:,.0f} s, which are shortened to {SHORT_GAP:g} s")
            gap = SHORT_GAP
        self._last = recorded
        self._shown += gap / self._rate
        return self._shown

    def sent(self, late: float) -> None:
        """Go on later; late: seconds from when the last message was due to when it was sent."""
        self._shown += max(0.0, late)


class PlayerNode(Node):
    """Publishes what is in a bag on the topics it was recorded from, and how many images that were on `end_of_stream`.

    See Pace for when.
    """

    def __init__(self) -> None:
        """Open the bag. Raises InputError for one that cannot be, and for a parameter that cannot be."""
        super().__init__("player")
        PARAMETERS.declare(self)
        self._values = PARAMETERS.read(self)
        if not self._values["bag"]:
            raise InputError("bag is '', expected the folder of a bag or one of its files")
        self._bag = Path(os.path.expanduser(self._values["bag"]))
        self._images = find_image_topic(self._bag, self._values["image_topic"])
        self.ended: Future[None] = Future()
        topics = [topic for topic in self._values["topics"] if topic] or find_topics(self._bag, self._images)
        with open_bag(self._bag) as bag:
            if missing := set(topics) - bag.types.keys():
                raise InputError(f"{self._bag} has no topic {sorted(missing)}, expected some of {sorted(bag.types)}")
            self._outputs = {topic: self._advertise(bag, topic) for topic in topics}
        if self._images not in topics:
            raise InputError(f"topics is {topics}, expected the images too: {self._images}")
        self._clock_publisher = advertise(self, Clock, "/clock", CLOCK) if self._values["clock"] else None
        self._end = advertise(self, UInt64, "end_of_stream", LATCHED)
        self._audience = Audience([self._outputs[self._images]], self._values["wait_for_subscribers"])
        self.get_logger().info(f"{self._bag}: {', '.join(sorted(self._outputs))}")
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="player")
        self._pool.submit(self._play).add_done_callback(self._finish)

    def destroy_node(self) -> None:
        """Stop and destroy the node."""
        self._stop.set()
        self._pool.shutdown()
        super().destroy_node()

    def _advertise(self, bag: Bag, topic: str) -> Publisher[Any]:
        try:
            kind = message_class(bag.types[topic])
        except InputError as error:
            raise InputError(f"{self._bag} has {topic!r}, whose {error}") from error
        try:
            validate_topic_name(topic)
        except InvalidTopicNameException as error:
            raise InputError(f"{self._bag} has a topic that ROS does not allow: {in_one_line(error)}") from error
        durability = DurabilityPolicy.TRANSIENT_LOCAL if topic in bag.latched else DurabilityPolicy.VOLATILE
        profile = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE, durability=durability)
        return advertise(self, kind, topic, profile)

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
        images, pace = 0, Pace(self._values["rate"], self.get_logger().warning)
        with open_bag(self._bag) as bag:
            for topic, recorded, data in bag.messages(self._outputs):
                if not 0 <= recorded < LAST_TIME:
                    raise InputError(
                        f"{self._bag} has a message on {topic} of {recorded} ns, expected a time from 1970 to 2038"
                    )
                due = pace.due(recorded)
                if not self._wait(due, recorded):
                    break
                pace.sent(time.monotonic() - due - TICK)
                self._outputs[topic].publish(data)
                images += topic == self._images
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
                for publisher in (*self._outputs.values(), self._end):
                    publisher.wait_for_all_acked(Duration(seconds=1))
                self.ended.set_result(None)


def main() -> int:
    """Run the player until it is told to stop or, if so asked, until the bag ends."""
    return run(PlayerNode)


if __name__ == "__main__":
    raise SystemExit(main())
