"""The server's part in a group of servers that stand in for each other: see mtl_split_core.group."""

from __future__ import annotations  # rclpy's classes are generic from Kilted on

import socket
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

from mtl_split.msg import ServerState
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.node import Node

from mtl_split_core.errors import InputError, SignatureError, UnsignedError
from mtl_split_core.group import BEAT, MOST_VEHICLES, GroupError, Member, Place, Server
from mtl_split_core.session import Arrival
from mtl_split_core.signing import Keys
from mtl_split_ros.diagnostics import Stream
from mtl_split_ros.messages import check_signature, sign, state_message, to_state
from mtl_split_ros.qos import ALIVE, advertise, subscribe


class Group:
    """Tells the other servers that this one is alive, hears them, and says which vehicles this one serves.

    All of it happens in the executor, so that a server whose executor is stuck falls silent.
    """

    def __init__(self, node: Node, name: str, streams: dict[str, Stream], keys: Keys | None) -> None:
        """Join the group of that name; streams: by the resolved names of the vehicles' topics; keys: None: no signing.

        Raises InputError for a name that is not to be part of a topic's.
        """
        self._node, self._streams, self._keys = node, streams, keys
        if len(streams) > MOST_VEHICLES:
            raise InputError(f"a server of a group has {len(streams)} vehicles, expected at most {MOST_VEHICLES}")
        me = Server(f"{socket.gethostname()}:{node.get_fully_qualified_name()}", time.time_ns())
        self._member = Member(me, list(streams), time.monotonic())
        self._served: list[str] = []
        self._facts: dict[str, str] = {}
        topic = f"servers/{name}"
        try:
            self._publisher = advertise(node, ServerState, topic, ALIVE, watch=False)
        except InputError as error:
            raise InputError(f"group is {name!r}, expected letters, digits and _: {error}") from error
        self.topic = self._publisher.topic_name
        self.stream = Stream(
            self.topic,
            stages=(),
            errors=(GroupError, *((UnsignedError, SignatureError) if keys else ())),
            counts=(),
            clock=node.get_clock(),
            logger=node.get_logger(),
            facts=self._facts,
        )
        self._subscription = subscribe(
            node, ServerState, topic, self._hear, ALIVE, self.stream.warn, died=partial(self._act, Member.look)
        )
        self._timer = node.create_timer(BEAT, self._tell, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._describe()

    def serves(self, vehicle: str, arrival: Arrival) -> bool:
        """Whether a bottleneck that has just arrived is this server's to answer; if so, it counts as taken."""
        return self._member.takes(vehicle, Place(arrival.session, arrival.sequence), time.monotonic())

    def leave(self) -> None:
        """Leave the vehicles to the others, and fall silent."""
        self._member.leave()
        self._tell()
        self._node.destroy_timer(self._timer)
        self._node.destroy_subscription(self._subscription)
        self._node.destroy_publisher(self._publisher)

    def _tell(self) -> None:
        message = state_message(self._member.tell(time.monotonic()))
        if self._keys is not None:
            sign(message, self._keys, self.topic)
        self._publisher.publish(message)
        self._describe()

    def _hear(self, message: ServerState) -> None:
        if (message.server, message.session) == self._member.me:
            return
        self.stream.count("received")
        try:
            if self._keys is not None:
                check_signature(message, self._keys, self.topic)
            state = to_state(message)
            self._act(lambda member, now: member.hear(state, now))
        except InputError as error:
            self.stream.refuse(error)

    def _act(self, act: Callable[[Member, float], bool]) -> None:
        """Let something happen to the member, and tell the others at once what it does now, if that is new."""
        if act(self._member, time.monotonic()):
            self._tell()

    def _describe(self) -> None:
        """Say in the diagnostics who is alive, and which server has which vehicle and why."""
        member = self._member
        holders = {vehicle: member.holders(vehicle) for vehicle in self._streams}
        counts = Counter(holder for found in holders.values() for holder in found)
        self._facts.clear()
        for server in member.alive:
            state = "takes vehicles" if server in member.ready else "takes no vehicles (yet)"
            self._facts[f"server/{server.name}"] = f"{state}, serves {counts[server]}"
        for vehicle, stream in self._streams.items():
            self._facts[f"vehicle/{vehicle}"] = words = _words(member, vehicle, holders[vehicle])
            stream.rest("" if member.me in holders[vehicle] else words)
        served = [vehicle for vehicle, found in holders.items() if member.me in found]
        words = f"serves {len(served)} of {len(holders)} vehicles, servers alive: {len(member.alive)}"
        self.stream.rest(words)
        if served != self._served:
            self._served = served
            self._node.get_logger().info(f"{words}: {', '.join(served) or 'none'}")


def _words(member: Member, vehicle: str, holders: list[Server]) -> str:
    """Say which server has a vehicle, and why."""
    wanted = member.wanted(vehicle)
    if wanted is None:
        return "no server takes vehicles yet"
    share = f"in the share of {wanted.name}, of {len(member.ready)}"
    if holders == [wanted]:
        return f"served by {wanted.name}: {share}"
    return f"changes hands from {' and '.join(holder.name for holder in holders) or 'nobody'}: {share}"
