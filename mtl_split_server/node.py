"""The server node: bottlenecks of any number of vehicles in, every task's results out."""

from __future__ import annotations  # rclpy's classes are generic from Kilted on

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import cv2
from mtl_split.msg import Answer, Bottleneck, Features, LinkReport
from rclpy.parameter import Parameter as RosParameter
from rclpy.publisher import Publisher
from std_msgs.msg import Header
from vision_msgs.msg import LabelInfo

from mtl_split_core.control.link import Fate
from mtl_split_core.errors import InputError
from mtl_split_core.halves import ServerHalf
from mtl_split_core.handover import PATIENCE, Handover
from mtl_split_core.serving import ORDERS, Choice, Schedule, Waiting, turn
from mtl_split_core.session import Arrival
from mtl_split_core.tracks import Tracks, needed_score
from mtl_split_ros.diagnostics import MOST_AHEAD, Stream, nanoseconds
from mtl_split_ros.lifecycle import COMMON_PARAMETERS
from mtl_split_ros.mailbox import Mailbox
from mtl_split_ros.messages import FEATURES, Sent, label_info
from mtl_split_ros.parameters import Parameter, Parameters
from mtl_split_ros.process import run
from mtl_split_ros.qos import LARGE, LATCHED, MANY, advertise
from mtl_split_ros.results import ResultPublishers, result_parameters
from mtl_split_ros.serving_node import ServingNode
from mtl_split_ros.vehicle import (
    COUNTS,
    ELSEWHERE,
    LEFT,
    REFUSALS,
    SIGNED_REFUSALS,
    OtherDivisionError,
    Receipt,
    TopicPublishers,
    Vehicle,
    check_vehicles,
    key_of,
    topic_within,
)
from mtl_split_server.group import Group
from mtl_split_server.suffixes import Suffixes, load_suffixes

MOST_SECONDS = 60.0
"""The longest age and deadline of a bottleneck."""

PARAMETERS = Parameters(
    "server",
    *COMMON_PARAMETERS,
    Parameter(
        "further_bundles",
        "Further bundles, named like `bundle`, that vehicles may use: each one's suffix is in memory, and the contract"
        " in a bottleneck says which one answers.",
    ),
    Parameter("vehicles", "Namespaces of the vehicles, relative to the server's; an empty one is the server's own."),
    Parameter(
        "group",
        "Servers of one group share their vehicles, and stand in for each other: see docs/several-machines.md; empty:"
        " this one serves all of its vehicles.",
    ),
    Parameter("workers", "Bottlenecks processed in parallel, at most one per vehicle.", range=(1, 64)),
    *result_parameters(),
    Parameter(
        "from_middle",
        "Leave the vehicles' bottlenecks to roadside units as long as these pass them on (`features`) within"
        f" {PATIENCE} s; false: take whichever comes first.",
    ),
    Parameter(
        "results_namespace",
        "Where within each vehicle's namespace the results are published; `remote` where the edges have answer_by and"
        " publish the final ones.",
    ),
    Parameter(
        "max_age",
        f"Drop bottlenecks of images older than this, in seconds, or stamped more than {MOST_AHEAD} s in the future; "
        "0 disables both limits.",
        range=(0.0, MOST_SECONDS),
    ),
    Parameter(
        "deadline",
        "Seconds from the stamp within which an answer is of use; a bottleneck that cannot be answered by then is given"
        " up at once, and the edge told; 0: no deadline.",
        range=(0.0, MOST_SECONDS),
    ),
    Parameter(
        "deadlines", "Vehicles with a deadline of their own, `NAMESPACE=SECONDS` each, the namespace as in `vehicles`."
    ),
    Parameter(
        "order",
        "Whose bottleneck is next where several wait: the vehicles in `turn`, the earliest deadline first (`edf`), or"
        " by remaining work and slack (`dysta`), which answers most in time. Without deadlines, all are `turn`.",
        choices=tuple(ORDERS),
    ),
    Parameter(
        "least_share",
        "The part of its bottlenecks that each vehicle gets answers to in time, wherever that is possible: vehicles"
        " below it come first.",
        range=(0.0, 1.0),
    ),
)


Served: TypeAlias = Vehicle[ResultPublishers]


@dataclass(frozen=True)
class Received:
    """A frame, its receipt, how it waits, its milliseconds on the way, and what its objects are followed with."""

    message: Sent
    receipt: Receipt
    waiting: Waiting[Served]
    link: float
    tracks: Tracks


class ServerNode(ServingNode[ResultPublishers, Received]):
    """Decodes the newest bottlenecks of the vehicles in an order, and publishes the results with the image's header."""

    _suffixes: Suffixes
    _results: dict[str, ResultPublishers]
    _labels: dict[str, dict[str, Publisher[LabelInfo]]]
    _labelled: dict[str, str]
    _reports: dict[str, Publisher[LinkReport]]
    _answers: dict[str, Publisher[Answer]]
    _tracks: dict[str, Tracks]
    _schedule: Schedule[Served]

    def __init__(self) -> None:
        """Declare the parameters, then configure and activate where `autostart` says so."""
        super().__init__("server", PARAMETERS)
        self._labels, self._labelled = {}, {}
        self._schedule = Schedule(turn)
        self._group: Group | None = None
        self.add_post_set_parameters_callback(self._tell_threshold)
        self.autostart()

    def configure(self, values: dict[str, Any]) -> None:
        """Load and warm up the bundles' suffixes, and publish every task's labels for every vehicle."""
        check_vehicles(self, values["vehicles"])
        self._deadlines = read_deadlines(values)
        self._max_age: float = values["max_age"]
        self._from_middle: bool = values["from_middle"]
        self._order, self._least_share, self._workers = values["order"], values["least_share"], values["workers"]
        self._group_name: str = values["group"]
        self._keys = self.read_keys(values["key_file"])
        threshold, self._tracking = values["score_threshold"], values["tracking"]
        cv2.setNumThreads(values["threads"])
        self._suffixes = suffixes = load_suffixes(values)
        self._tracks = {vehicle: Tracks(suffixes.tasks, self._tracking, threshold) for vehicle in values["vehicles"]}
        for contract, half in suffixes.halves.items():
            self.get_logger().info(f"bundle {half.bundle.name}, contract {contract}")
            self.get_logger().info(f"suffix: {half.choice.words}")
        self._results, self._reports, self._answers = {}, {}, {}
        # Until a vehicle sends a bottleneck, its labels are those of the first bundle.
        self._labelled = dict.fromkeys(values["vehicles"], next(iter(suffixes.halves)))
        try:
            for vehicle in values["vehicles"]:
                self._advertise(vehicle, values["results_namespace"])
        except InputError:
            self.cleanup()
            raise
        self._tell_labels(values["vehicles"])

    def _advertise(self, vehicle: str, within: str) -> None:
        tasks = self._suffixes.tasks
        self._results[vehicle] = ResultPublishers(self, tasks, topic_within(vehicle, within))
        self._labels[vehicle] = {
            task.name: advertise(
                self, LabelInfo, topic_within(vehicle, f"label_info/{task.name}"), LATCHED, watch=False
            )
            for task in tasks
        }
        self._reports[vehicle] = advertise(self, LinkReport, topic_within(vehicle, "link_report"), MANY, watch=False)
        self._answers[vehicle] = advertise(self, Answer, topic_within(vehicle, "answer"), MANY, watch=False)

    def _tell_labels(self, vehicles: Iterable[str]) -> None:
        header, threshold = Header(stamp=self.get_clock().now().to_msg()), self.get_parameter("score_threshold").value
        for vehicle in vehicles:
            for task in self._suffixes.tasks_of(self._labelled[vehicle]):
                self._labels[vehicle][task.name].publish(label_info(task, header, threshold))

    def _tell_threshold(self, changes: list[RosParameter[Any]]) -> None:
        if any(change.name == "score_threshold" for change in changes):
            self._tell_labels(self._labels)

    def cleanup(self) -> None:
        """Release the network and the publishers."""
        labels = (publisher for own in self._labels.values() for publisher in own.values())
        for publisher in (*labels, *self._reports.values(), *self._answers.values()):
            self.destroy_publisher(publisher)
        for results in self._results.values():
            results.destroy()
        del self._suffixes
        self._labels = {}

    def figures(self) -> Mapping[str, str]:
        """What became of all vehicles' bottlenecks."""
        return self._schedule.facts()

    def _serve_all(self) -> None:
        self._schedule = Schedule(ORDERS[self._order], self._least_share, self._workers)
        for namespace, results in self._results.items():
            self._serve(namespace, results)
        if self._group_name:
            streams = {vehicle.topic: vehicle.stream for vehicle in self._vehicles}
            self._group = Group(self, self._group_name, streams, self._keys)
            self.streams.append(self._group.stream)

    def _open_mailbox(self) -> Mailbox[Served, Received]:
        works = [partial(self._process, partial(self._answer, self._suffixes.twins())) for _ in range(self._workers)]
        schedule = self._schedule

        def choose(waiting: Mapping[Served, Received]) -> Choice[Served]:
            return schedule.choose([received.waiting for received in waiting.values()], time.monotonic())

        return Mailbox(works, lambda vehicle, error: vehicle.stream.refuse(error), choose, self._give_up)

    def _serve(self, namespace: str, results: ResultPublishers) -> None:
        topic, features = topic_within(namespace, "bottleneck"), topic_within(namespace, FEATURES)
        resolved = self.resolve_topic_name(topic)
        signatures = SIGNED_REFUSALS if self._keys else ()
        divisions = [OtherDivisionError] if self._suffixes.divided else []
        stream = Stream(
            self.resolve_topic_name(features) if self._from_middle else resolved,
            stages=("link", "decode", "suffix", "post", "answer", "track", "publish"),
            errors=(*REFUSALS, *divisions, *signatures),
            counts=(*COUNTS, "hopeless", ELSEWHERE, *([LEFT] if self._from_middle else [])),
            clock=self.get_clock(),
            logger=self.get_logger(),
            facts=self._suffixes.facts,
            figures=lambda: self._schedule.facts(vehicle),
        )
        publishers = TopicPublishers(self, resolved, self._keys is not None)
        vehicle = Vehicle(
            namespace,
            resolved,
            self._suffixes.formats,
            stream,
            results,
            self._reports[namespace],
            self._answers[namespace],
            publishers,
            self._max_age,
            self._deadlines[namespace],
            self._keys,
            self._tracks[namespace].anew(),
            features_topic=self.resolve_topic_name(features),
            handover=Handover() if self._from_middle else None,
            serves=partial(self._serves, resolved),
        )
        receive = partial(self._receive, vehicle)
        arrived = partial(_arrived, stream)
        self._inputs.subscribe(Bottleneck, topic, receive, MANY, stream, heard=arrived)
        if self._from_middle or self._suffixes.divided:
            self._inputs.subscribe(Features, features, receive, LARGE, stream)
        self.streams.append(stream)
        self._vehicles.append(vehicle)

    def _serves(self, topic: str, arrival: Arrival) -> bool:
        return self._group is None or self._group.serves(topic, arrival)

    def _unsubscribe(self) -> None:
        if self._group:
            self._group.leave()
            self._group = None
        super()._unsubscribe()

    def _accept(self, vehicle: Served, message: Sent, receipt: Receipt, link: float) -> Received:
        if message.contract != self._labelled[vehicle.namespace]:
            self._labelled[vehicle.namespace] = message.contract
            self._tell_labels([vehicle.namespace])
        waiting = vehicle.wait(message, receipt)
        self._schedule.arrive(waiting)
        return Received(message, receipt, waiting, link, vehicle.session.tracks)

    def _give_up(self, vehicle: Served, received: Received) -> None:
        vehicle.stream.count("hopeless")
        self._settle(vehicle, received, Fate.HOPELESS, time.monotonic())

    def _settle(self, vehicle: Served, received: Received, fate: Fate, begun: float) -> None:
        """Report what became of a bottleneck, and note it; `begun`: when the work on it began."""
        vehicle.report(received.receipt, fate, begun)
        if fate == Fate.ANSWERED:
            self._schedule.answered(received.waiting, begun, time.monotonic())
        elif fate != Fate.HOPELESS:
            self._schedule.missed(vehicle)

    def _answer(self, halves: Mapping[str, ServerHalf], vehicle: Served, received: Received) -> Fate:
        message, payload = received.message, received.message.payload.tobytes()
        half = halves[message.contract]
        # Again: it may have waited for its turn.
        if not vehicle.is_timely(message):
            return Fate.UNTIMELY
        threshold = self.get_parameter("score_threshold").value
        half.score_threshold = needed_score(self._tracking, threshold)
        half.overlap_threshold = self.get_parameter("overlap_threshold").value
        _, division = key_of(message)
        size = message.image_width, message.image_height
        results = half.decode(payload, size, division)
        # And again: on a busy machine it may have taken long.
        if not vehicle.is_timely(message):
            return Fate.UNTIMELY
        stopwatch = half.stopwatch
        with stopwatch.stage("answer"):
            vehicle.answer(received.receipt, half.bundle, results, size)
        with stopwatch.stage("track"):
            received.tracks.score_threshold = threshold
            results = received.tracks.follow(results, nanoseconds(message.header.stamp))
        with stopwatch.stage("publish"):
            vehicle.out.publish(results, message.header)
        vehicle.stream.published({"link": received.link, **stopwatch.milliseconds}, len(payload))
        return Fate.ANSWERED


def _arrived(stream: Stream) -> int:
    return stream.arrived + stream.total(LEFT)


def read_deadlines(values: Mapping[str, Any]) -> dict[str, float]:
    """Return every vehicle's deadline in seconds. Raises InputError for one that is no such time, or of no vehicle."""
    deadlines = dict.fromkeys(values["vehicles"], values["deadline"])
    for entry in filter(None, values["deadlines"]):
        vehicle, _, text = entry.rpartition("=")
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if vehicle not in deadlines or not 0 <= seconds <= MOST_SECONDS:
            raise InputError(
                f"deadlines has {entry!r}, expected NAMESPACE=SECONDS with one of {', '.join(map(repr, deadlines))} and"
                f" 0 to {MOST_SECONDS:g}"
            )
        deadlines[vehicle] = seconds
    return deadlines


def main() -> int:
    """Run the node; returns its exit code."""
    return run(ServerNode, over_link=True)


if __name__ == "__main__":
    raise SystemExit(main())
