"""The roadside unit's node: bottlenecks of vehicles in, features for the server out."""

from __future__ import annotations  # rclpy's classes are generic from Kilted on

import time
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from mtl_split.msg import Bottleneck, Features, LinkReport
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.parameter import Parameter as RosParameter
from rclpy.publisher import Publisher
from rclpy.subscription import Subscription
from rclpy.timer import Timer

from mtl_split_core.bundle import Bundle, load_bundle
from mtl_split_core.control.link import Fate
from mtl_split_core.control.unit import WHOLE, UnitController
from mtl_split_core.errors import InputError
from mtl_split_core.halves import MiddleHalf
from mtl_split_core.share import bundle_folder
from mtl_split_core.tracks import NONE, Tracks
from mtl_split_middle.costs import measure_costs
from mtl_split_ros.diagnostics import MOST_AHEAD, Stream
from mtl_split_ros.lifecycle import COMMON_PARAMETERS
from mtl_split_ros.mailbox import Mailbox
from mtl_split_ros.messages import FEATURES, ReportError, Sent, check_signature, sign, to_report
from mtl_split_ros.parameters import Parameter, Parameters
from mtl_split_ros.process import run
from mtl_split_ros.qos import LARGE, MANY, advertise, subscribe
from mtl_split_ros.serving_node import ServingNode
from mtl_split_ros.vehicle import (
    COUNTS,
    REFUSALS,
    SIGNED_REFUSALS,
    Receipt,
    TopicPublishers,
    Vehicle,
    check_vehicles,
    topic_within,
)

REPAIR_INTERVAL = 0.2
"""Seconds between two looks at whether the cut is still the right one."""

PARAMETERS = Parameters(
    "middle",
    *COMMON_PARAMETERS,
    Parameter("vehicles", "Namespaces of the vehicles, relative to the node's; an empty one is the node's own."),
    Parameter(
        "cut",
        "Where the suffix is divided: a cut among the bundle's divisions; empty: the first of them; `whole`: nowhere,"
        " bottlenecks are passed on to the server as they are. May be changed at any time.",
        live=True,
    ),
    Parameter(
        "repair",
        "Change `cut` by itself, from the next frame on, where another cut is clearly faster by what is measured of"
        " this machine, of the link to the server and of the server; `cut` is then where it begins.",
    ),
    Parameter(
        "backhaul",
        "With repair: Mbit/s that the link to the server is taken to carry while nothing has been measured of it.",
        range=(0.01, 1_000_000.0),
    ),
    Parameter("workers", "Bottlenecks processed in parallel, at most one per vehicle.", range=(1, 64)),
    Parameter(
        "max_age",
        f"Drop bottlenecks of images older than this, in seconds, or stamped more than {MOST_AHEAD} s in the future; "
        "0 disables both limits.",
        range=(0.0, 60.0),
    ),
)

_STAGES = ("link", "decode", "middle", "pack", "publish")

Served: TypeAlias = Vehicle["Publisher[Features]"]


@dataclass(frozen=True)
class Received:
    """A bottleneck, its receipt, and how many milliseconds it was on its way."""

    message: Sent
    receipt: Receipt
    link: float


class MiddleNode(ServingNode["Publisher[Features]", Received]):
    """Runs the middle of the network on the vehicles' newest bottlenecks in turn, and sends the features on.

    What it sends of one vehicle keeps its order, whatever the cut: it is all on one topic. The server reports to the
    edge what becomes of it; this node reports what it drops itself.
    """

    _halves: list[MiddleHalf]
    _outputs: dict[str, Publisher[Features]]
    _reports: dict[str, Publisher[LinkReport]]
    _heard: list[Subscription[LinkReport]]
    _repair_timer: Timer

    def __init__(self) -> None:
        """Declare the parameters, then configure and activate where `autostart` says so."""
        super().__init__("middle", PARAMETERS)
        self._bundle: Bundle | None = None
        self._controller: UnitController | None = None
        self._repairs = 0
        self._outputs, self._reports = {}, {}
        self.check_changes(self._check)
        self.autostart()

    def configure(self, values: dict[str, Any]) -> None:
        """Load and warm up the middle of every division."""
        check_vehicles(self, values["vehicles"])
        bundle = load_bundle(bundle_folder(values["bundle"]))
        _check_cut(values["cut"], bundle)
        self._max_age: float = values["max_age"]
        self._keys = self.read_keys(values["key_file"])
        half = MiddleHalf(bundle, values["threads"], values["engine"], values["workers"])
        rate = values["backhaul"] * 1e6 / 8
        self._controller = UnitController(measure_costs(half, values), rate) if values["repair"] else None
        self.get_logger().info(f"bundle {bundle.name}, contract {bundle.contract.fingerprint}")
        self.get_logger().info(f"middle: {half.choice.words}")
        try:
            for vehicle in values["vehicles"]:
                self._outputs[vehicle] = advertise(self, Features, topic_within(vehicle, FEATURES), LARGE, watch=False)
                self._reports[vehicle] = advertise(
                    self, LinkReport, topic_within(vehicle, "link_report"), MANY, watch=False
                )
        except InputError:
            self.cleanup()
            raise
        self._halves = [half, *(half.twin() for _ in range(values["workers"] - 1))]
        self._bundle = bundle

    def activate(self) -> None:
        """Subscribe to what all vehicles send and start the workers, and with repair the looks at the cut."""
        self._heard = []
        super().activate()
        if self._controller:
            steady = Clock(clock_type=ClockType.STEADY_TIME)
            repair = partial(self._repair, self._controller)
            self._repair_timer = self.create_timer(REPAIR_INTERVAL, repair, clock=steady)

    def deactivate(self) -> None:
        """Unsubscribe, and stop the workers after the frames they are at."""
        if self._controller:
            self.destroy_timer(self._repair_timer)
        super().deactivate()

    def cleanup(self) -> None:
        """Release the network and the publishers."""
        for publisher in (*self._outputs.values(), *self._reports.values()):
            self.destroy_publisher(publisher)
        self._outputs, self._reports = {}, {}
        self._halves, self._bundle, self._controller = [], None, None

    def figures(self) -> Mapping[str, str]:
        """With repair: the cut at work, how often it was changed, and what each would take."""
        if self._controller is None:
            return {}
        facts = self._controller.facts(time.monotonic())
        return {"cut": self._cut, "repairs": str(self._repairs), **facts}

    def _serve_all(self) -> None:
        for namespace, output in self._outputs.items():
            self._serve(namespace, output)

    def _open_mailbox(self) -> Mailbox[Served, Received]:
        works = [partial(self._process, partial(self._send_on, half)) for half in self._halves]
        return Mailbox(works, lambda vehicle, error: vehicle.stream.refuse(error))

    def _serve(self, namespace: str, output: Publisher[Features]) -> None:
        assert self._bundle is not None
        topic = topic_within(namespace, "bottleneck")
        resolved = self.resolve_topic_name(topic)
        stream = Stream(
            resolved,
            stages=_STAGES,
            errors=(*REFUSALS, *([ReportError] if self._controller else ()), *(SIGNED_REFUSALS if self._keys else ())),
            counts=(*COUNTS, "passed_on"),
            clock=self.get_clock(),
            logger=self.get_logger(),
            facts=self._halves[0].choice.facts,
        )
        vehicle = Vehicle(
            namespace,
            resolved,
            {(self._bundle.contract.fingerprint, ""): self._bundle.payload_format},
            stream,
            output,
            self._reports[namespace],
            None,
            TopicPublishers(self, resolved, self._keys is not None),
            self._max_age,
            0.0,
            self._keys,
            Tracks(self._bundle.tasks, NONE, 0.0),
        )
        self._inputs.subscribe(Bottleneck, topic, partial(self._receive, vehicle), MANY, stream)
        if self._controller:
            hear, reports = partial(self._hear, self._controller, vehicle), topic_within(namespace, "link_report")
            self._heard.append(subscribe(self, LinkReport, reports, hear, MANY, stream.warn))
        self.streams.append(stream)
        self._vehicles.append(vehicle)

    def _unsubscribe(self) -> None:
        super()._unsubscribe()
        for subscription in self._heard:
            self.destroy_subscription(subscription)

    def _check(self, name: str, value: Any) -> None:
        """Refuse a cut that the bundle at work does not have."""
        if name == "cut" and self._bundle is not None:
            _check_cut(value, self._bundle)

    @property
    def _cut(self) -> str:
        """The cut for the next frame, by its name."""
        assert self._bundle is not None
        cut: str = self.get_parameter("cut").value
        return cut if cut == WHOLE else self._bundle.division(cut).cut

    def _hear(self, controller: UnitController, vehicle: Served, message: LinkReport) -> None:
        """Take in what the server reports of a frame; a report of this node's own is of none that it has sent on."""
        try:
            if self._keys is not None:
                check_signature(message, self._keys, vehicle.reports.topic_name)
            report = to_report(message)
        except InputError as error:
            vehicle.stream.refuse(error, vehicle.reports.topic_name)
            return
        controller.reported(vehicle.namespace, report, time.monotonic())

    def _repair(self, controller: UnitController) -> None:
        """Change the cut where another one is better by now; the parameter's event tells it."""
        cut = controller.choose(present := self._cut, time.monotonic())
        if cut != present:
            self.set_parameters([RosParameter("cut", value=cut)])
            self._repairs += 1
            self.get_logger().info(f"cut {present} → {cut}: {controller.facts(time.monotonic())}")

    def _accept(self, vehicle: Served, message: Sent, receipt: Receipt, link: float) -> Received:
        return Received(message, receipt, link)

    def _settle(self, vehicle: Served, received: Received, fate: Fate, begun: float) -> None:
        if fate != Fate.ANSWERED:  # or else the server reports it
            vehicle.report(received.receipt, fate, begun)

    def _send_on(self, half: MiddleHalf, vehicle: Served, received: Received) -> Fate:
        message, cut = received.message, self._cut
        # Again: it may have waited for its turn.
        if not vehicle.is_timely(message):
            return Fate.UNTIMELY
        half.stopwatch.milliseconds.clear()
        division, payload = "", message.payload
        if cut != WHOLE:
            division = half.bundle.division(cut).fingerprint
            payload = array("B", half.forward(payload.tobytes(), cut))
        with half.stopwatch.stage("publish"):
            features = Features(
                header=message.header,
                session=message.session,
                sequence=message.sequence,
                contract=message.contract,
                division=division,
                image_width=message.image_width,
                image_height=message.image_height,
                copies=vehicle.session.copies(message.session, message.sequence),
                payload=payload,
            )
            if self._keys is not None:
                sign(features, self._keys, vehicle.out.topic_name)
            if self._controller:
                now = time.monotonic()
                place = message.session, message.sequence
                took = now - received.receipt.arrived
                self._controller.sent(vehicle.namespace, *place, cut, len(payload), took, now)
            vehicle.out.publish(features)
        vehicle.stream.count("passed_on", not division)
        vehicle.stream.published({"link": received.link, **half.stopwatch.milliseconds}, len(payload))
        return Fate.ANSWERED


def _check_cut(cut: str, bundle: Bundle) -> None:
    bundle.division("" if cut == WHOLE else cut)


def main() -> int:
    """Run the node; returns its exit code."""
    return run(MiddleNode, over_link=True)


if __name__ == "__main__":
    raise SystemExit(main())
