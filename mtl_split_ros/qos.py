"""Quality of service: each kind of topic's profile, user overrides, a warning that names both sides of a mismatch."""

from __future__ import annotations  # rclpy's classes are generic from Kilted on

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any

from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.duration import Duration
from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.exceptions import InvalidParameterTypeException, NameValidationException
from rclpy.expand_topic_name import expand_topic_name
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import (
    DurabilityPolicy,
    LivelinessPolicy,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
    qos_policy_name_from_kind,
)
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo
from rclpy.validate_full_topic_name import validate_full_topic_name

from mtl_split_core.errors import InputError
from mtl_split_core.group import LEASE
from mtl_split_ros.security import permitted

NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
"""Images and bottlenecks: only the newest counts, and a lost one is not worth waiting for."""

MANY = QoSProfile(depth=64, reliability=ReliabilityPolicy.BEST_EFFORT)
"""Bottlenecks at the server, which looks at each of them: a flood of junk must not push the good ones out before."""

LARGE = QoSProfile(depth=4, reliability=ReliabilityPolicy.RELIABLE)
"""Features: of hundreds of packets each, one would be lost too often, so that lost ones are sent again."""

RECORDED = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
"""Images and bottlenecks where, unlike in the nodes, each of them is wanted and not only the newest."""

RESULT = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
"""Results and ground truth."""

LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
"""What a late subscriber has to get too, such as labels."""

ALIVE = QoSProfile(
    depth=64,
    reliability=ReliabilityPolicy.RELIABLE,
    liveliness=LivelinessPolicy.MANUAL_BY_TOPIC,
    liveliness_lease_duration=Duration(seconds=LEASE + 0.05),
)
"""What servers of a group tell each other; who publishes nothing for that long has died."""

Warn = Callable[[str], object]
Lost = Callable[[int], None]


def subscribe(
    node: Node,
    kind: type[Any],
    topic: str,
    callback: Callable[..., None],
    profile: QoSProfile,
    warn: Warn,
    raw: bool = False,
    lost: Lost | None = None,
    died: Callable[[], object] | None = None,
) -> Subscription[Any]:
    """Subscribe to a topic; `warn` is called with a sentence whenever a publisher's profile does not match.

    raw: the callback gets each message as the bytes that were sent; lost: is called with the number of messages that
    were published and did not arrive, as far as the middleware notices; died: is called when a publisher is gone, or
    has not asserted its liveliness for as long as the profile says. Raises InputError for a name that ROS does not
    allow, and for a user's override that cannot be.
    """
    own = copy(profile)  # rclpy writes the user's overrides into the profile it is given
    with _overrides(node, topic):
        return node.create_subscription(
            kind,
            topic,
            callback,
            own,
            event_callbacks=events(node, topic, own, warn, lost, died),
            qos_overriding_options=_overridable(),
            raw=raw,
        )


def events(
    node: Node,
    topic: str,
    own: QoSProfile,
    warn: Warn,
    lost: Lost | None,
    died: Callable[[], object] | None = None,
) -> SubscriptionEventCallbacks:
    """Return what rclpy is to call for a subscription with the profile `own` beside its callback; see `subscribe`."""

    def tell(policy: int) -> None:
        offers = node.get_publishers_info_by_topic(node.resolve_topic_name(topic))
        _tell(warn, node, topic, "requests", own, "offers", offers, policy)

    def change(event: Any) -> None:
        if died is not None and event.alive_count_change < 0:
            died()

    return SubscriptionEventCallbacks(
        incompatible_qos=_later(node, tell),
        liveliness=None if died is None else change,
        message_lost=None if lost is None else lambda event: lost(event.total_count_change),
    )


def advertise(node: Node, kind: type[Any], topic: str, profile: QoSProfile, watch: bool = True) -> Publisher[Any]:
    """Create a publisher; a subscription whose profile does not match is warned of in the node's log.

    watch: False leaves that to the subscriber's log. rclpy goes through all that is watched whenever a message arrives,
    which with hundreds of publishers would take as long as the network. Raises InputError for a name that ROS does not
    allow, and for a user's override that cannot be.
    """
    own = copy(profile)

    def tell(policy: int) -> None:
        requests = node.get_subscriptions_info_by_topic(node.resolve_topic_name(topic))
        _tell(node.get_logger().warning, node, topic, "offers", own, "requests", requests, policy)

    with _overrides(node, topic):
        return node.create_publisher(
            kind,
            topic,
            own,
            event_callbacks=PublisherEventCallbacks(
                incompatible_qos=_later(node, tell) if watch else None, use_default_callbacks=watch
            ),
            qos_overriding_options=_overridable(),
        )


def full_name(node: Node, topic: str) -> str:
    """Return the full name of a topic before remappings. Raises InputError for a name that ROS does not allow."""
    try:
        name = expand_topic_name(topic, node.get_name(), node.get_namespace())
        validate_full_topic_name(name)
    except (ValueError, NameValidationException) as error:
        # Further lines point at a letter, and some of the first tell where in ROS's source they come from.
        reason = str(error).splitlines()[0].partition(", at /")[0].rstrip(":")
        raise InputError(f"the topic {topic[:80]!r} has a name that ROS does not allow: {reason[:200]}") from error
    return name


def node_name(endpoint: TopicEndpointInfo) -> str:
    """Return the full name of the node that a publisher or a subscription belongs to."""
    return f"{endpoint.node_namespace.rstrip('/')}/{endpoint.node_name}"


def _later(node: Node, tell: Callable[[int], None]) -> Callable[[Any], None]:
    """Tell a mismatch's policy only when the other node's name is known too: DDS finds its topics first."""

    def found(event: Any) -> None:
        def call() -> None:
            node.destroy_timer(timer)
            tell(event.last_policy_kind)

        timer = node.create_timer(1.0, call, clock=Clock(clock_type=ClockType.STEADY_TIME))

    return found


def _overridable() -> QoSOverridingOptions:
    kinds = (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY, QoSPolicyKind.DURABILITY)
    return QoSOverridingOptions(kinds)


@contextmanager
def _overrides(node: Node, topic: str) -> Iterator[None]:
    """Raise InputError for what rclpy says of an override of an unknown name or a wrong type."""
    full_name(node, topic)
    try:
        with permitted(node.resolve_topic_name(topic)):
            yield
    except (RuntimeError, InvalidParameterTypeException) as error:
        raise InputError(f"qos_overrides of {node.resolve_topic_name(topic)}: {error}") from error


def _tell(
    warn: Warn,
    node: Node,
    topic: str,
    verb: str,
    own: QoSProfile,
    their_verb: str,
    others: list[TopicEndpointInfo],
    kind: int,
) -> None:
    """Warn of those whose policy is another, unless they have gone again."""
    policy = qos_policy_name_from_kind(kind).lower()
    others_words = [
        f"{node_name(other)} {their_verb} {_value(other.qos_profile, policy)}"
        for other in others
        if _value(other.qos_profile, policy) != _value(own, policy)
    ]
    if others_words:
        warn(
            f"{node.resolve_topic_name(topic)}: {policy} does not match, so nothing passes: "
            f"{node.get_fully_qualified_name()} {verb} {_value(own, policy)}, {', '.join(others_words)}"
        )


def _value(profile: QoSProfile, policy: str) -> str:
    value = getattr(profile, policy)
    return str(getattr(value, "name", value)).lower()
