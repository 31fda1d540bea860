"""Subscriptions that are made anew where nothing arrives though somebody publishes.

Either the middleware is at fault, see shared_memory.py, or the publisher has nothing to say, such as a camera that is
paused. Which of the two it was shows only when messages arrive again; of one that has sent none so far, it does not: it
may just have begun. Messages that the middleware knows to be lost are no silence, and nor is that of other machines,
whose link may be down: a subscription that is made anew meanwhile would have to be found when it is up again.
"""

from __future__ import annotations  # rclpy's classes are generic from Kilted on

import time
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import rclpy
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import QoSCompatibility, QoSProfile, ReliabilityPolicy, qos_check_compatible
from rclpy.signals import SignalHandlerOptions
from rclpy.subscription import Subscription

from mtl_split_ros.diagnostics import Stream
from mtl_split_ros.qos import Lost, events, node_name, subscribe
from mtl_split_ros.security import create_bare_node
from mtl_split_ros.shared_memory import tidy_shared_memory

SILENCE = 3.0
"""Seconds without a message after which a subscription that somebody publishes to is made anew."""

CURE = 2.0
"""Seconds within which messages arrive after that, if that is what helped."""

LONGEST_PAUSE = 60.0
"""Seconds between two attempts at most."""

HOST_BYTES = 4
"""How many bytes an identifier of Fast DDS begins with that it has in common with all of its machine: those that share
memory. Other middlewares, whose identifiers do not, are not at fault in this way.
"""

RENEWED = "_renewed"
"""What the name of the node in a new participant ends with."""

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
            self.node = create_bare_node(f"{first.get_name()}{RENEWED}", self._context, first.get_namespace())
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

    since: when the last message or attempt was, or who publishes changed; publishers: None while messages arrive: those
    who send them; known: whether any of theirs have arrived.
    """

    since: float
    pause: float = SILENCE
    attempts: int = 0
    arrived: int = 0
    publishers: frozenset[bytes] | None = frozenset()
    known: bool = False

    def has_arrived(self, now: float, arrived: int) -> bool:
        """Whether messages have arrived since the last look; `arrived`: how many so far."""
        if arrived == self.arrived:
            return False
        self.arrived = arrived
        self.publishers, self.known = None, True
        self._begin(now)
        return True

    def is_overdue(self, now: float, publishers: frozenset[bytes]) -> bool:
        """Whether to make the subscription anew, now that these publish: others begin a silence of their own."""
        before, self.publishers = self.publishers, publishers
        if before not in (None, publishers):
            self.known = False
            self._begin(now)
        if not publishers or now - self.since < self.pause:
            return False
        self.since, self.pause = now, min(SILENCE * 2**self.attempts, LONGEST_PAUSE)
        self.attempts += 1
        return True

    def _begin(self, now: float) -> None:
        self.since, self.pause, self.attempts = now, SILENCE, 0


@dataclass(eq=False)
class Subscribed:
    """One topic that is listened to; full_name: after remappings; participant: None while it is the node's own."""

    topic: str
    full_name: str
    kind: type[Any]
    callback: Callable[..., None]
    stream: Stream
    lost: Lost | None
    heard: Callable[[], int]
    subscription: Subscription[Any]
    participant: Participant | None = None
    watch: Watch = field(default_factory=lambda: Watch(time.monotonic()))


class Subscriptions:
    """A node's subscriptions; one that is matched and silent is made anew, and then in a new participant.

    The node stays what it is meanwhile. As its publishers may just be silent, the pauses between two attempts double,
    and topics that are silent together share a participant.
    """

    def __init__(self, node: Node) -> None:
        """Begin without subscriptions; the node has to be spun."""
        self._node = node
        self._subscriptions: list[Subscribed] = []
        self._newest: Participant | None = None
        self._timer = node.create_timer(LOOK_INTERVAL, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def subscribe(
        self,
        kind: type[Any],
        topic: str,
        callback: Callable[..., None],
        profile: QoSProfile,
        stream: Stream,
        lost: Lost | None = None,
        heard: Callable[[], int] | None = None,
    ) -> Subscribed:
        """Subscribe as `qos.subscribe` does.

        heard: tells how many messages have arrived, or are known to be lost, so far; None: what the stream has counted.
        """
        subscription = subscribe(self._node, kind, topic, callback, profile, stream.warn, lost=lost)
        heard = heard or (lambda: stream.arrived)
        full_name = self._node.resolve_topic_name(topic)
        self._subscriptions.append(Subscribed(topic, full_name, kind, callback, stream, lost, heard, subscription))
        return self._subscriptions[-1]

    def unsubscribe(self, one: Subscribed) -> None:
        """Listen to that topic no more."""
        self._subscriptions.remove(one)
        self._unsubscribe(one)
        self._leave(one.participant)

    def change_reliability(self, one: Subscribed, reliability: ReliabilityPolicy) -> None:
        """Subscribe anew, now requesting lost messages again, or no longer."""
        profile = copy(one.subscription.qos_profile)
        profile.reliability = reliability
        self._unsubscribe(one)
        self._resubscribe(one, profile)

    def close(self) -> None:
        """Unsubscribe from everything."""
        self._node.destroy_timer(self._timer)
        for one in self._subscriptions:
            self._unsubscribe(one)
        for participant in {one.participant for one in self._subscriptions if one.participant}:
            participant.close()
        self._subscriptions = []

    def _look(self) -> None:
        now = time.monotonic()
        for one in self._subscriptions:
            renewed, has_helped = one.watch.since, one.watch.attempts > 0 and one.watch.known
            if one.watch.has_arrived(now, one.heard()):
                if has_helped and now - renewed < CURE:
                    one.stream.fail(f"nothing arrived on {one.full_name} until {self._place(one)}")
                continue
            hosts = self._hosts(one.full_name)
            fit = {
                gid: node_name(other)
                for other in self._node.get_publishers_info_by_topic(one.full_name)
                if (gid := bytes(other.endpoint_gid))[:HOST_BYTES] in hosts
                and qos_check_compatible(other.qos_profile, one.subscription.qos_profile)[0] != QoSCompatibility.ERROR
            }
            if one.watch.is_overdue(now, frozenset(fit)):
                self._renew(one)
                one.stream.count("renewed")
                one.stream.warn(
                    f"nothing arrives on {one.full_name} though {', '.join(sorted(fit.values()))} advertises it:"
                    f" {self._place(one)}"
                )

    def _hosts(self, topic: str) -> set[bytes]:
        """How the identifiers of this machine begin, by those of the node's own subscription, once that is known."""
        own = self._node.get_fully_qualified_name()
        found = self._node.get_subscriptions_info_by_topic(topic)
        return {bytes(one.endpoint_gid)[:HOST_BYTES] for one in found if node_name(one) in (own, own + RENEWED)}

    def _place(self, one: Subscribed) -> str:
        return f"it was subscribed to anew{'' if one.participant is None else ' in a new participant'}"

    def _renew(self, one: Subscribed) -> None:
        self._unsubscribe(one)
        left = one.participant
        if one.watch.attempts > 1 or left:
            if self._newest is None or left is self._newest:
                self._newest = Participant(self._node)
            one.participant = self._newest
        self._resubscribe(one, one.subscription.qos_profile)
        if left is not one.participant:
            self._leave(left)

    def _unsubscribe(self, one: Subscribed) -> None:
        (one.participant.node if one.participant else self._node).destroy_subscription(one.subscription)

    def _resubscribe(self, one: Subscribed, profile: QoSProfile) -> None:
        """Subscribe anew; the profile has the user's overrides in it."""
        node, topic = (one.participant.node, one.full_name) if one.participant else (self._node, one.topic)
        callbacks = events(node, topic, profile, one.stream.warn, one.lost)
        one.subscription = node.create_subscription(one.kind, topic, one.callback, profile, event_callbacks=callbacks)

    def _leave(self, participant: Participant | None) -> None:
        if participant and not any(one.participant is participant for one in self._subscriptions):
            if participant is self._newest:
                self._newest = None
            participant.close()
