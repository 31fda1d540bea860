"""The server node: bottlenecks of any number of vehicles in, every task's results out."""

from __future__ import annotations  # rclpy's classes are generic from Kilted on

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import cv2
from mtl_split.msg import Bottleneck, LinkReport
from rclpy.clock import JumpHandle, JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.parameter import Parameter as RosParameter
from rclpy.publisher import Publisher
from std_msgs.msg import Header
from vision_msgs.msg import LabelInfo

from mtl_split_core.bundle import load_bundle
from mtl_split_core.control.link import Fate
from mtl_split_core.errors import (
    InferenceError,
    InputError,
    PayloadError,
    ReplayError,
    SecondPublisherError,
    SignatureError,
    UnsignedError,
)
from mtl_split_core.halves import ServerHalf
from mtl_split_core.scene import Task
from mtl_split_core.share import bundle_folder
from mtl_split_core.tracks import TRACKING, Tracks, needed_score
from mtl_split_ros.diagnostics import MOST_AHEAD, Stream, nanoseconds
from mtl_split_ros.lifecycle import COMMON_PARAMETERS, ManagedNode
from mtl_split_ros.mailbox import Mailbox
from mtl_split_ros.messages import HeaderError, label_info
from mtl_split_ros.parameters import Parameter, Parameters
from mtl_split_ros.process import run
from mtl_split_ros.qos import LATCHED, MANY, advertise, full_name
from mtl_split_ros.results import ResultPublishers
from mtl_split_ros.subscriptions import Subscriptions
from mtl_split_server.vehicle import OtherContractError, Receipt, TopicPublishers, Vehicle

if TYPE_CHECKING:
    from rclpy.subscription import MessageInfo

PARAMETERS = Parameters(
    "server",
    *COMMON_PARAMETERS,
    Parameter("vehicles", "Namespaces of the vehicles, relative to the server's; an empty one is the server's own."),
    Parameter("workers", "Bottlenecks processed in parallel, at most one per vehicle.", range=(1, 64)),
    Parameter(
        "score_threshold",
        "Lowest score of a published detection. May be changed at any time.",
        range=(0.0, 1.0),
        live=True,
    ),
    Parameter(
        "overlap_threshold",
        "Of two detections that overlap more, the better is kept. May be changed at any time.",
        range=(0.0, 1.0),
        live=True,
    ),
    Parameter(
        "tracking",
        "How objects are followed from frame to frame: `id` of a detection is the same for the same object.",
        choices=TRACKING,
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
        range=(0.0, 60.0),
    ),
)


@dataclass(frozen=True)
class Received:
    """A bottleneck, its receipt, how many milliseconds it was on its way, and what its objects are followed with."""

    message: Bottleneck
    receipt: Receipt
    link: float
    tracks: Tracks


class ServerNode(ManagedNode):
    """Decodes the newest bottlenecks of the vehicles in turn, and publishes the results with the image's header."""

    _halves: list[ServerHalf]
    _results: dict[str, ResultPublishers]
    _labels: list[tuple[Publisher[LabelInfo], Task]]
    _reports: dict[str, Publisher[LinkReport]]
    _tracks: dict[str, Tracks]
    _mailbox: Mailbox[Vehicle, Received]
    _inputs: Subscriptions
    _vehicles: list[Vehicle]
    _jumps: JumpHandle

    def __init__(self) -> None:
        """Declare the parameters, then configure and activate where `autostart` says so."""
        super().__init__("server", PARAMETERS)
        self._labels = []
        self.add_post_set_parameters_callback(self._tell_threshold)
        self.autostart()

    def configure(self, values: dict[str, Any]) -> None:
        """Load and warm up the bundle's suffix, and publish every task's labels for every vehicle."""
        self._check_vehicles(values["vehicles"])
        self._max_age: float = values["max_age"]
        self._keys = self.read_keys(values["key_file"])
        bundle = load_bundle(bundle_folder(values["bundle"]))
        threshold, self._tracking = values["score_threshold"], values["tracking"]
        self._tracks = {vehicle: Tracks(bundle.tasks, self._tracking, threshold) for vehicle in values["vehicles"]}
        cv2.setNumThreads(values["threads"])
        workers = values["workers"]
        half = ServerHalf(bundle, values["threads"], engine=values["engine"], at_once=workers)
        self._halves = [half, *(half.twin() for _ in range(workers - 1))]
        self._bundle = bundle
        self.get_logger().info(f"bundle {bundle.name}, contract {bundle.contract.fingerprint}")
        self.get_logger().info(f"suffix: {half.choice.words}")
        self._results, self._reports = {}, {}
        try:
            for vehicle in values["vehicles"]:
                self._advertise(vehicle, values["results_namespace"])
        except InputError:
            self.cleanup()
            raise
        self._tell_labels()

    def _check_vehicles(self, vehicles: list[str]) -> None:
        try:
            topics = {full_name(self, _topic(vehicle, "bottleneck")) for vehicle in vehicles}
        except InputError as error:
            raise InputError(f"vehicles expects names of namespaces: {error}") from error
        if not vehicles or len(topics) < len(vehicles):
            raise InputError(f"vehicles is {vehicles}, expected at least one, and each of them once")

    def _advertise(self, vehicle: str, within: str) -> None:
        self._results[vehicle] = ResultPublishers(self, self._bundle.tasks, _topic(vehicle, within))
        for task in self._bundle.tasks:
            labels = advertise(self, LabelInfo, _topic(vehicle, f"label_info/{task.name}"), LATCHED, watch=False)
            self._labels.append((labels, task))
        self._reports[vehicle] = advertise(self, LinkReport, _topic(vehicle, "link_report"), MANY, watch=False)

    def _tell_labels(self) -> None:
        header, threshold = Header(stamp=self.get_clock().now().to_msg()), self.get_parameter("score_threshold").value
        for publisher, task in self._labels:
            publisher.publish(label_info(task, header, threshold))

    def _tell_threshold(self, changes: list[RosParameter[Any]]) -> None:
        if any(change.name == "score_threshold" for change in changes):
            self._tell_labels()

    def activate(self) -> None:
        """Subscribe to the bottlenecks of all vehicles and start the workers."""
        self._inputs, self._vehicles = Subscriptions(self), []
        try:
            for namespace, results in self._results.items():
                self._serve(namespace, results)
        except InputError:
            self._unsubscribe()
            raise
        works = [partial(self._process, half) for half in self._halves]
        self._mailbox = Mailbox(works, lambda vehicle, error: vehicle.stream.refuse(error))
        self.end_with(self._mailbox.ended)
        back = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True)
        self._jumps = self.get_clock().create_jump_callback(back, post_callback=self._forget_stamps)

    def deactivate(self) -> None:
        """Unsubscribe, and stop the workers after the bottlenecks they are at."""
        self._jumps.unregister()
        self._unsubscribe()
        self._mailbox.close()

    def cleanup(self) -> None:
        """Release the network and the publishers."""
        for publisher in (*(publisher for publisher, _ in self._labels), *self._reports.values()):
            self.destroy_publisher(publisher)
        for results in self._results.values():
            results.destroy()
        self._halves, self._labels = [], []

    def _serve(self, namespace: str, results: ResultPublishers) -> None:
        topic = _topic(namespace, "bottleneck")
        resolved = self.resolve_topic_name(topic)
        signatures = (UnsignedError, SignatureError, ReplayError) if self._keys else ()
        stream = Stream(
            resolved,
            stages=("link", "decode", "suffix", "post", "track", "publish"),
            errors=(PayloadError, OtherContractError, HeaderError, SecondPublisherError, InferenceError, *signatures),
            counts=("dropped", "lost", "repeated", "too_old", "in_future", "out_of_order"),
            clock=self.get_clock(),
            logger=self.get_logger(),
            facts=self._halves[0].choice.facts,
        )
        publishers = TopicPublishers(self, resolved, self._keys is not None)
        tracks = self._tracks[namespace].anew()
        reports = self._reports[namespace]
        vehicle = Vehicle(
            resolved, self._bundle, stream, results, reports, publishers, self._max_age, self._keys, tracks
        )
        self._inputs.subscribe(Bottleneck, topic, partial(self._receive, vehicle), MANY, stream)
        self.streams.append(stream)
        self._vehicles.append(vehicle)

    def _unsubscribe(self) -> None:
        self._inputs.close()
        self.streams = []

    def _forget_stamps(self, _: TimeJump) -> None:
        for vehicle in self._vehicles:
            vehicle.session.forget_stamps()

    def _receive(self, vehicle: Vehicle, message: Bottleneck, info: MessageInfo) -> None:
        receipt = vehicle.take(message, info)
        if receipt is None:
            return
        link = (info["received_timestamp"] - info["source_timestamp"]) / 1e6
        replaced = self._mailbox.put(vehicle, Received(message, receipt, link, vehicle.session.tracks))
        if replaced is not None:
            vehicle.stream.count("dropped")
            vehicle.report(replaced.receipt, Fate.REPLACED, time.monotonic())

    def _process(self, half: ServerHalf, vehicle: Vehicle, received: Received) -> None:
        begun, fate = time.monotonic(), Fate.FAILED
        try:
            fate = self._answer(half, vehicle, received)
        finally:
            vehicle.report(received.receipt, fate, begun)

    def _answer(self, half: ServerHalf, vehicle: Vehicle, received: Received) -> Fate:
        message, payload = received.message, received.message.payload.tobytes()
        # Again: it may have waited for its turn.
        if not vehicle.is_timely(message):
            return Fate.UNTIMELY
        threshold = self.get_parameter("score_threshold").value
        half.score_threshold = needed_score(self._tracking, threshold)
        half.overlap_threshold = self.get_parameter("overlap_threshold").value
        results = half.decode(payload, (message.image_width, message.image_height))
        # And again: on a busy machine it may have taken long.
        if not vehicle.is_timely(message):
            return Fate.UNTIMELY
        stopwatch = half.stopwatch
        with stopwatch.stage("track"):
            received.tracks.score_threshold = threshold
            results = received.tracks.follow(results, nanoseconds(message.header.stamp))
        with stopwatch.stage("publish"):
            vehicle.results.publish(results, message.header)
        vehicle.stream.published({"link": received.link, **stopwatch.milliseconds}, len(payload))
        return Fate.ANSWERED


def _topic(namespace: str, name: str) -> str:
    return f"{namespace.rstrip('/')}/{name}" if namespace else name


def main() -> int:
    """Run the node; returns its exit code."""
    return run(ServerNode)


if __name__ == "__main__":
    raise SystemExit(main())
