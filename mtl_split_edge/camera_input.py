"""The images of a camera, whatever it is: raw ones where they arrive, else compressed ones.

Most cameras run with the default settings of Fast DDS, with which nearly all raw images are lost without a word: their
fragments do not fit its shared memory. The middleware tells a subscription what it has lost. So images are requested
with best effort first; where they get lost, with reliability, so that fragments are sent again; where that is not
offered or does not help, compressed. What is left is told, with what to do about it.
"""

from __future__ import annotations  # rclpy's classes are generic from Kilted on

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from builtin_interfaces.msg import Time as Stamp
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.node import Node
from rclpy.qos import ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo
from sensor_msgs.msg import CompressedImage, Image

from mtl_split_core.errors import InputError
from mtl_split_ros.diagnostics import Stream
from mtl_split_ros.fast_dds import cure_of_losses
from mtl_split_ros.graph import CHOICES
from mtl_split_ros.images import CameraMessage
from mtl_split_ros.qos import NEWEST, node_name
from mtl_split_ros.subscriptions import Subscribed, Subscriptions

AUTO, RAW, COMPRESSED = TRANSPORTS = CHOICES["transport"]
"""Raw images where they arrive, else compressed ones; or one of the two alone."""

TOPICS = {RAW: (Image, "image_raw"), COMPRESSED: (CompressedImage, "image_raw/compressed")}
"""Message type and relative name, as image_transport has them."""

IMAGES_LOST = "images_lost"
"""The count of images that were published and did not arrive."""

MOST_LOST = 0.1
"""Share of lost images above which something is wrong."""

LEAST_LOST = 3
"""Lost images that say something."""

WINDOW = 5.0
"""Seconds after which images are counted anew."""

LOOK_INTERVAL = 0.2
"""Seconds between two looks at what arrived."""

PATIENCE = 2.0
"""Seconds of silence after which the other transport is tried."""


@dataclass
class Losses:
    """How many images arrived and got lost since a beginning, which is at most `WINDOW` seconds ago."""

    since: float
    arrived: int = 0
    lost: int = 0

    def judge(self, now: float, arrived: int, lost: int) -> bool | None:
        """Whether too many get lost, by the totals so far; None: not known yet."""
        lost_now, arrived_now = lost - self.lost, arrived - self.arrived
        too_many = lost_now >= LEAST_LOST and lost_now > MOST_LOST * (lost_now + arrived_now)
        if not too_many and now - self.since < WINDOW:
            return None
        self.since, self.arrived, self.lost = now, arrived, lost
        return too_many if lost_now + arrived_now else None


@dataclass(eq=False)
class Input:
    """One of the two topics while it is subscribed to.

    heard, first: when the last image arrived or got lost, or the subscription was made, and when the first arrived;
    mended: whether reliability was requested because images got lost.
    """

    subscribed: Subscribed = field(init=False)
    heard: float = field(default_factory=time.monotonic)
    first: float | None = None
    arrived: int = 0
    lost: int = 0
    mended: bool = False
    losses: Losses = field(default_factory=lambda: Losses(time.monotonic()))


class CameraInput:
    """Subscribes to a camera, in the executor of a node that is spun."""

    def __init__(
        self,
        node: Node,
        transport: str,
        receive: Callable[[CameraMessage], None],
        stream: Stream,
        facts: dict[str, str],
    ) -> None:
        """Subscribe as `transport` says.

        receive: is called with every image, and counts it in the stream; facts: "transport" is kept up to date there.
        Raises InputError as `qos.subscribe` does.
        """
        self._node = node
        self._transport = transport
        self._receive = receive
        self._stream = stream
        self._facts = facts
        self._subscriptions = Subscriptions(node)
        self._inputs: dict[str, Input] = {}
        self._latest: tuple[str, Stamp] | None = None
        self._given_up: frozenset[bytes] = frozenset()
        try:
            self._open(RAW if transport == AUTO else transport)
        except InputError:
            self._subscriptions.close()
            raise
        self._timer = node.create_timer(LOOK_INTERVAL, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def close(self) -> None:
        """Unsubscribe from everything."""
        self._node.destroy_timer(self._timer)
        self._subscriptions.close()

    def _open(self, name: str) -> None:
        kind, topic = TOPICS[name]
        one = Input()
        one.subscribed = self._subscriptions.subscribe(
            kind,
            topic,
            partial(self._take, name, one),
            NEWEST,
            self._stream,
            partial(self._miss, one),
            lambda: one.arrived + one.lost,
        )
        self._inputs[name] = one
        self._tell()

    def _close(self, name: str) -> None:
        self._subscriptions.unsubscribe(self._inputs.pop(name).subscribed)
        self._tell()

    def _tell(self) -> None:
        names = [f"{name}, requested reliably" if one.mended else name for name, one in self._inputs.items()]
        self._facts["transport"] = "; ".join(names)

    def _take(self, name: str, one: Input, message: Any) -> None:
        one.heard = time.monotonic()
        one.first = one.first or one.heard
        one.arrived += 1
        # While both topics are subscribed to, an image may come twice.
        before, self._latest = self._latest, (name, message.header.stamp)
        if before is None or before[0] == name or before[1] != message.header.stamp:
            self._receive(message)

    def _miss(self, one: Input, number: int) -> None:
        one.heard = time.monotonic()
        one.lost += number
        self._stream.count(IMAGES_LOST, number)

    def _look(self) -> None:
        try:
            self._judge(time.monotonic())
        except InputError as error:  # a user's override of the other topic's profile, or no permission for it
            self._stream.hinder(str(error))

    def _judge(self, now: float) -> None:
        for name, one in list(self._inputs.items()):
            too_many = one.losses.judge(now, one.arrived, one.lost)
            if too_many:
                self._mend(name, one)
            elif too_many is False:
                self._stream.hinder("")
            elif one.mended and now - one.heard > PATIENCE and not self._all_reliable(name):
                self._request(one, ReliabilityPolicy.BEST_EFFORT)  # of another camera, which offers no more than that
        if self._transport == AUTO:
            self._choose(now)

    def _choose(self, now: float) -> None:
        """Subscribe to compressed images where no raw ones come, and to raw ones alone where they do."""
        raw, compressed = self._inputs.get(RAW), self._inputs.get(COMPRESSED)
        if raw and now - raw.heard <= PATIENCE and (raw.arrived or raw.lost):
            if compressed and raw.arrived:
                self._close(COMPRESSED)
            return
        publishers = frozenset(bytes(one.endpoint_gid) for one in self._publishers(RAW))
        elsewhere = bool(self._publishers(COMPRESSED))
        if raw is None and publishers and (publishers != self._given_up or not elsewhere):
            self._open(RAW)
        elif raw and compressed and compressed.first and now - max(raw.heard, compressed.first) > PATIENCE:
            self._give_up_raw(publishers)
        elif raw and not compressed and elsewhere and (not publishers or now - raw.heard > PATIENCE):
            self._open(COMPRESSED)

    def _give_up_raw(self, publishers: frozenset[bytes]) -> None:
        """Do without raw images until they have other publishers."""
        self._given_up = publishers
        self._close(RAW)

    def _mend(self, name: str, one: Input) -> None:
        """Do what helps where images get lost, and tell what would where nothing is left to do."""
        publishers = self._publishers(name)
        cameras = ", ".join(sorted({node_name(publisher) for publisher in publishers})) or "a camera"
        lost = f"images on {one.subscribed.full_name} get lost on their way from {cameras}"
        if not one.mended and self._all_reliable(name):
            self._request(one, ReliabilityPolicy.RELIABLE)
            self._node.get_logger().warning(f"{lost}: they are now requested reliably")
            return
        cure = cure_of_losses(cameras)
        compressed = self._node.resolve_topic_name(TOPICS[COMPRESSED][1])
        if name == RAW and self._transport == AUTO and self._publishers(COMPRESSED):
            if COMPRESSED not in self._inputs:
                self._open(COMPRESSED)
            self._give_up_raw(frozenset(bytes(publisher.endpoint_gid) for publisher in publishers))
            self._node.get_logger().warning(f"{lost}: those on {compressed} are taken; for raw ones, {cure}")
            return
        others = {
            (AUTO, RAW): f", or let it publish {compressed}",
            (RAW, RAW): f", or take those on {compressed} by transport:=compressed",
        }
        self._stream.hinder(f"{lost}: {cure}{others.get((self._transport, name), '')}")

    def _request(self, one: Input, reliability: ReliabilityPolicy) -> None:
        self._subscriptions.change_reliability(one.subscribed, reliability)
        one.mended = reliability == ReliabilityPolicy.RELIABLE
        one.losses = Losses(time.monotonic(), one.arrived, one.lost)
        self._tell()

    def _publishers(self, name: str) -> list[TopicEndpointInfo]:
        return self._node.get_publishers_info_by_topic(self._node.resolve_topic_name(TOPICS[name][1]))

    def _all_reliable(self, name: str) -> bool:
        offered = [publisher.qos_profile.reliability for publisher in self._publishers(name)]
        return bool(offered) and all(one == ReliabilityPolicy.RELIABLE for one in offered)
