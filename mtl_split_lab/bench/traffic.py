"""Messages that are sent at a steady pace, and when each of them was answered by every task."""

from __future__ import annotations  # rclpy has the type MessageInfo from Kilted on

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import rclpy
from rclpy.duration import Duration
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile

from mtl_split_core.bundle import Bundle
from mtl_split_lab.live.processes import ProcessError, Processes, claim_domain
from mtl_split_ros.graph import Process
from mtl_split_ros.kinds import KINDS as ROS_KINDS
from mtl_split_ros.messages import result_topic, stamp_of
from mtl_split_ros.qos import RESULT
from mtl_split_ros.shared_memory import tidy_shared_memory

if TYPE_CHECKING:
    from rclpy.subscription import MessageInfo

PATIENCE = 120.0
"""Seconds within which all nodes have to find each other."""

GRACE = 1.0
"""Seconds to wait for the last answers."""

Key = tuple[str, int]
"""A vehicle and a stamp in nanoseconds: one frame."""


@dataclass(frozen=True)
class Fate:
    """What became of one frame.

    latency: milliseconds from the stamp to the last task's answer, inf where one is missing; twice: whether a task
    answered it more than once.
    """

    vehicle: str
    stamp: int
    latency: float
    twice: bool


@dataclass(frozen=True)
class Outcome:
    """What became of frames.

    seconds: in which they were sent; sent: how many; latencies: milliseconds of those that every task answered;
    vehicles: the same of each vehicle.
    """

    seconds: float
    sent: int
    latencies: tuple[float, ...]
    vehicles: tuple[Outcome, ...] = ()

    @property
    def share(self) -> float:
        """The part of the frames that every task answered."""
        return len(self.latencies) / self.sent

    @property
    def rate(self) -> float:
        """Answered frames per second."""
        return len(self.latencies) / self.seconds

    def in_time(self, deadline: float) -> float:
        """The part of the frames that every task answered within so many milliseconds."""
        return sum(latency <= deadline for latency in self.latencies) / self.sent

    def percentile(self, percent: float) -> float:
        """The milliseconds within which so many of the answered frames were answered; not a number without any."""
        return float(np.percentile(self.latencies, percent)) if self.latencies else float("nan")


@contextmanager
def running(nodes: Sequence[Process]) -> Iterator[Processes]:
    """Run nodes in processes of their own, and rclpy in this one, in a ROS domain that nobody else uses.

    Raises ProcessError at the end where one did not end well.
    """
    with claim_domain(), TemporaryDirectory() as folder:
        processes = Processes(Path(folder))
        with tidy_shared_memory():
            rclpy.init()
        try:
            for node in nodes:
                processes.start(node)
            yield processes
            processes.check()
        finally:
            complaints = processes.stop()
            rclpy.shutdown()
        if complaints:
            raise ProcessError("; ".join(complaints))


class Traffic(Node):
    """Sends messages of some vehicles, namespaces, and hears every result of theirs."""

    def __init__(
        self, bundle: Bundle, vehicles: Sequence[str], kind: type[Any], topic: str, profile: QoSProfile
    ) -> None:
        """Advertise messages of type `kind` for every vehicle, and subscribe to the results of all tasks."""
        super().__init__("traffic")
        self._tasks = len(bundle.tasks)
        self._senders = {vehicle: self.create_publisher(kind, _within(vehicle, topic), profile) for vehicle in vehicles}
        self._results = [_within(vehicle, result_topic(task)) for vehicle in vehicles for task in bundle.tasks]
        quiet = SubscriptionEventCallbacks(use_default_callbacks=False)
        for vehicle, task in itertools.product(vehicles, bundle.tasks):
            # As bytes: reading hundreds of results a second as Python's objects would take the nodes' processor time.
            self.create_subscription(
                ROS_KINDS[task.kind].MESSAGE,
                _within(vehicle, result_topic(task)),
                partial(self._hear, vehicle, result_topic(task)),
                RESULT,
                event_callbacks=quiet,
                raw=True,
            )
        self._sent: list[Key] = []
        self._arrivals: dict[Key, dict[str, list[float]]] = {}
        self._spinner = SingleThreadedExecutor()
        self._spinner.add_node(self)

    def connect(self, processes: Processes) -> None:
        """Wait until somebody listens to every vehicle and answers for every task.

        Raises ProcessError if one of the processes ends, or nobody comes.
        """
        deadline = time.monotonic() + PATIENCE
        while not self._connected():
            processes.check()
            if time.monotonic() > deadline:
                raise ProcessError(f"the nodes did not find each other within {PATIENCE:g} s")
            self._spinner.spin_once(timeout_sec=0.1)

    def exchange(
        self, messages: Mapping[str, Sequence[Any]], rate: float, seconds: float, jitter: float = 0.0
    ) -> Outcome:
        """Send every vehicle's messages over and over, `rate` per second each, and return what became of them.

        The vehicles take turns, evenly spread. A message gets the time of its turn as its stamp and, where it has one,
        the next sequence number. jitter: seconds by which messages are sent later than stamped, on average; they have
        an exponential distribution, the same in every call, and a vehicle's messages keep their order.
        """
        self._sent, self._arrivals = [], {}
        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(self._send, messages, rate, seconds, jitter)
            while not sending.done():
                self._spinner.spin_once(timeout_sec=0.1)
            took = sending.result()
        end = time.monotonic() + GRACE
        while time.monotonic() < end:
            self._spinner.spin_once(timeout_sec=0.1)
        seconds, fates = max(seconds, took), self.fates()
        own = ([fate for fate in fates if fate.vehicle == vehicle] for vehicle in messages)
        return replace(_outcome(seconds, fates), vehicles=tuple(_outcome(seconds, each) for each in own))

    def fates(self) -> list[Fate]:
        """What became of each frame of the last exchange, in the order in which they were sent."""
        arrivals = [(key, self._arrivals.get(key, {})) for key in self._sent]
        return [
            Fate(
                *key,
                max(map(max, times.values())) if len(times) == self._tasks else float("inf"),
                any(len(of_task) > 1 for of_task in times.values()),
            )
            for key, times in arrivals
        ]

    def _connected(self) -> bool:
        return all(publisher.get_subscription_count() for publisher in self._senders.values()) and all(
            self.count_publishers(topic) for topic in self._results
        )

    def _send(self, messages: Mapping[str, Sequence[Any]], rate: float, seconds: float, jitter: float) -> float:
        """Returns the seconds that it took, which are more where the messages are too large for that rate."""
        turns = [(vehicle, itertools.cycle(own)) for vehicle, own in messages.items()]
        period = 1.0 / (rate * len(turns))
        start = time.monotonic()
        for at, number in plan(round(seconds / period), len(turns), period, jitter):
            time.sleep(max(0.0, start + at - time.monotonic()))
            vehicle, own = turns[number % len(turns)]
            message = next(own)
            if hasattr(message, "sequence"):
                message.sequence = number // len(turns)
            late = time.monotonic() - (start + number * period) if jitter else 0.0
            stamp = self.get_clock().now() - Duration(nanoseconds=round(late * 1e9))
            message.header.stamp = stamp.to_msg()
            self._sent.append((vehicle, stamp.nanoseconds))
            self._senders[vehicle].publish(message)
        return time.monotonic() - start

    def _hear(self, vehicle: str, topic: str, message: bytes, info: MessageInfo) -> None:
        stamp = stamp_of(message)
        # When it arrived, not when this process had time for it.
        of_frame = self._arrivals.setdefault((vehicle, stamp), {})
        of_frame.setdefault(topic, []).append((info["received_timestamp"] - stamp) / 1e6)


def plan(count: int, vehicles: int, period: float, jitter: float) -> list[tuple[float, int]]:
    """Return when to send which message, in that order, in seconds; message i is due at i * period, see `exchange`."""
    chance = np.random.default_rng(0)
    at = np.arange(count) * period + (chance.exponential(jitter, count) if jitter else 0.0)
    for vehicle in range(vehicles):
        at[vehicle::vehicles] = np.maximum.accumulate(at[vehicle::vehicles])
    return sorted(zip(at.tolist(), range(count), strict=True))


def _outcome(seconds: float, fates: Sequence[Fate]) -> Outcome:
    return Outcome(seconds, len(fates), tuple(fate.latency for fate in fates if fate.latency < float("inf")))


def _within(vehicle: str, topic: str) -> str:
    return f"{vehicle}/{topic}" if vehicle else topic
