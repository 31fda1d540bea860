"""Subscriptions that are made anew where nothing arrives though somebody publishes.

Either the middleware is at fault, see shared_memory.py, or the publisher has nothing to say, such as a camera that is
paused. Which of the two it was shows only when messages arrive again.
"""

from __future__ import annotations  # rclpy's classes are generic from Kilted on

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import rclpy
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import QoSCompatibility, QoSProfile, qos_check_compatible
from rclpy.signals import SignalHandlerOptions
from rclpy.subscription import Subscription

from mtl_split_ros.diagnostics import Stream
from mtl_split_ros.qos import subscribe
from mtl_split_ros.shared_memory import tidy_shared_memory

SILENCE = 3.0
"""Seconds without a message after which a subscription that somebody publishes to is made anew."""

CURE = 2.0
"""Seconds within which messages arrive after that, if that is what helped."""

LOOK_INTERVAL = 0.5
"""Seconds between two looks at the subscriptions."""


class Participant:
    """A node of its own middleware participant, with nothing of its first one's but its executor."""

    def __init__(self, first: Node) -> None:
        """Create it beside a node that is spun."""
        self._context = Context()
        with tidy_shared_memory():
            rclpy.init(
                args=[],
                context=self._context,
                domain_id=first.context.get_domain_id(),
                signal_handler_options=SignalHandlerOptions.NO,
            )
            self.node = Node(
                f"{first.get_name()}_ear",
                namespace=first.get_namespace(),
                context=self._context,
                use_global_arguments=False,
                enable_rosout=False,
                start_parameter_services=False,
            )
        self._executor = first.executor
        assert self._executor is not None
        self._executor.add_node(self.node)

    def close(self) -> None:
        """Leave the middleware; its subscriptions go with it."""
        assert self._executor is not None
        self._executor.remove_node(self.node)
        self.node.destroy_node()
        self._context.try_shutdown()


@dataclass
class Watch:
    """When a subscription that nothing arrives on is to be made anew: after `SILENCE`, again, then after longer pauses.

    since: when the last message or attempt was, or who publishes changed.
    """

    since: float
    pause: float = SILENCE
    attempts: int = 0
    arrived: int = 0
    publishers: frozenset[bytes] = frozenset()

    def has_arrived(self, now: float, arrived: int) -> bool:
        """Whether messages have arrived since the last look; `arrived`: how many so far."""
        if arrived == self.arrived:
            return False
        self.arrived = arrived
        self._begin(now)
        return True

    def is_overdue(self, now: float, publishers: frozenset[bytes]) -> bool:
        """Whether to make the subscription anew, now that these publish: others begin a silence of their own."""
        if publishers != self.publishers:
            self.publishers = publishers
            self._begin(now)
        if not publishers or now - self.since < self.pause:
            return False
        self.since, self.pause = now, SILENCE * 2**self.attempts
        self.attempts += 1
        return True

    def _begin(self, now: float) -> None:
        self.since, self.pause, self.attempts = now, SILENCE, 0


@dataclass(eq=False)
class Ear:
    """One topic that is listened to; participant: None while it is the node's own."""

    kind: type[Any]
    topic: str
    callback: Callable[..., None]
    profile: QoSProfile
    stream: Stream
    subscription: Subscription[Any]
    participant: Participant | None = None
    watch: Watch = field(default_factory=lambda: Watch(time.monotonic()))


class Ears:
    """A node's subscriptions; one that is matched and silent is made anew, and then in a new participant.

    The node stays what it is meanwhile. As its publishers may just be silent, the pauses between two attempts double,
    and topics that are silent together share a participant.
    """

    def __init__(self, node: Node) -> None:
        """Begin without subscriptions; the node has to be spun."""
        self._node = node
        self._ears: list[Ear] = []
        self._newest: Participant | None = None
        self._timer = node.create_timer(LOOK_INTERVAL, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def subscribe(
        self, kind: type[Any], topic: str, callback: Callable[..., None], profile: QoSProfile, stream: Stream
    ) -> None:
        """Subscribe as `qos.subscribe` does; every message has to be counted as received in the stream."""
        subscription = subscribe(self._node, kind, topic, callback, profile, stream.warn)
        self._ears.append(Ear(kind, topic, callback, profile, stream, subscription))

    def close(self) -> None:
        """Unsubscribe from everything."""
        self._node.destroy_timer(self._timer)
        for ear in self._ears:
            self._unsubscribe(ear)
        for participant in {ear.participant for ear in self._ears if ear.participant}:
            participant.close()
        self._ears = []

    def _look(self) -> None:
        now = time.monotonic()
        for ear in self._ears:
            renewed, attempts = ear.watch.since, ear.watch.attempts
            if ear.watch.has_arrived(now, ear.stream.arrived):
                if attempts and now - renewed < CURE:
                    ear.stream.fail(f"nothing arrived on {ear.stream.topic} until {self._place(ear)}")
                continue
            found = self._node.get_publishers_info_by_topic(ear.stream.topic)
            fit = {
                bytes(one.endpoint_gid): f"{one.node_namespace.rstrip('/')}/{one.node_name}"
                for one in found
                if qos_check_compatible(one.qos_profile, ear.subscription.qos_profile)[0] != QoSCompatibility.ERROR
            }
            if ear.watch.is_overdue(now, frozenset(fit)):
                self._renew(ear)
                ear.stream.count("renewed")
                ear.stream.warn(
                    f"nothing arrives on {ear.stream.topic} though {', '.join(sorted(fit.values()))} publishes:"
                    f" {self._place(ear)}"
                )

    def _place(self, ear: Ear) -> str:
        return f"it was subscribed to anew{'' if ear.participant is None else ' in a new participant'}"

    def _renew(self, ear: Ear) -> None:
        self._unsubscribe(ear)
        left = ear.participant
        if ear.watch.attempts == 1 and left is None:
            ear.subscription = subscribe(self._node, ear.kind, ear.topic, ear.callback, ear.profile, ear.stream.warn)
            return
        if self._newest is None or left is self._newest:
            self._newest = Participant(self._node)
        ear.participant = self._newest
        # With the user's overrides of the profile.
        ear.subscription = self._newest.node.create_subscription(
            ear.kind, ear.stream.topic, ear.callback, ear.subscription.qos_profile
        )
        if left and not any(one.participant is left for one in self._ears):
            left.close()

    def _unsubscribe(self, ear: Ear) -> None:
        (ear.participant.node if ear.participant else self._node).destroy_subscription(ear.subscription)
