"""The watch node: what all vehicles see and what their nodes complain of, as a page in the browser.

It subscribes to something only while somebody looks: at the page, or at a vehicle's `annotated/compressed`.
"""

from __future__ import annotations  # rclpy's classes are generic from Kilted on

import time
from concurrent.futures import Future
from dataclasses import dataclass
from ipaddress import ip_address

import cv2
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.node import Node
from rclpy.subscription import Subscription

from mtl_split_core.drawing import annotate, fit
from mtl_split_core.errors import InputError
from mtl_split_core.kinds import KINDS
from mtl_split_core.stopwatch import Stopwatch
from mtl_split_ros.images import to_picture
from mtl_split_ros.mailbox import Mailbox
from mtl_split_ros.messages import SOURCES
from mtl_split_ros.parameters import Parameter, Parameters
from mtl_split_ros.process import run
from mtl_split_ros.qos import RESULT, subscribe
from mtl_split_watch.board import Answered, Complaint, Picture, Sample
from mtl_split_watch.discovery import Found, find_vehicles
from mtl_split_watch.frames import Frame
from mtl_split_watch.site import Site
from mtl_split_watch.vehicle import Vehicle

LOOK_INTERVAL = 0.5
"""Seconds between two looks at who is there, and who looks."""

MOST_VEHICLES = 32
"""Vehicles that are watched at the same time."""

MOST_STATUSES = 500
"""Statuses of /diagnostics that are kept, the last ones."""

SILENCE = 5.0
"""Seconds after which a status is stale."""

MOST_CHARACTERS = 1000
"""Of a status that are shown."""

GONE = 60.0
"""Seconds after which a status is forgotten."""

PARAMETERS = Parameters(
    "watch",
    Parameter("address", "Where the page is served: 127.0.0.1 for this machine alone, 0.0.0.0 for all that reach it."),
    Parameter("port", "Port of the page; 0: any that is free.", range=(0, 65535)),
    Parameter("pictures_per_second", "Annotated pictures of each vehicle per second, at most.", range=(0.1, 60.0)),
    Parameter("width", "Width of a 16:9 picture on the page, in pixels; others get as many pixels.", range=(160, 3840)),
    Parameter("jpeg_quality", "Quality of the annotated pictures.", range=(1, 100)),
    Parameter("diagnostics_period", "Seconds between two reports on /diagnostics.", range=(0.1, 60.0)),
)


@dataclass(frozen=True)
class Heard:
    """A status of /diagnostics, and when it was heard (monotonic seconds)."""

    status: DiagnosticStatus
    at: float


class WatchNode(Node):
    """Serves the page, and publishes annotated pictures to whoever subscribes to them."""

    def __init__(self) -> None:
        """Begin to serve. Raises InputError for a parameter that cannot be, and a port that cannot be served on."""
        super().__init__("watch")
        PARAMETERS.declare(self)
        cv2.setNumThreads(1)
        self._values = PARAMETERS.read(self)
        self.ended: Future[None] = Future()
        self._area = self._values["width"] ** 2 * 9 // 16
        self._vehicles: dict[str, Vehicle] = {}
        self._left_out = 0
        self._refused: dict[str, Found] = {}
        self._statuses: dict[str, Heard] = {}
        self._listening: Subscription[DiagnosticArray] | None = None
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(LOOK_INTERVAL, self._look, clock=steady)
        self.create_timer(self._values["diagnostics_period"], self._report, clock=steady)
        self._site = Site(self._values["address"], self._values["port"])
        self._mailbox = Mailbox([self._draw], self._refuse)
        for work in (self._site.ended, *self._mailbox.ended):
            work.add_done_callback(self._end)
        self.get_logger().info(f"watch at {self._site.url}")
        if not _is_loopback(self._values["address"]):
            self.get_logger().warning(f"whoever reaches {self._site.url} sees the pictures of all vehicles")

    def destroy_node(self) -> None:
        """Close the pages' connections and destroy the node."""
        self._mailbox.close()
        self._site.close()
        for vehicle in self._vehicles.values():
            vehicle.close()
        super().destroy_node()

    def _end(self, work: Future[None]) -> None:
        if (error := work.exception()) and not self.ended.done():
            self.ended.set_exception(error)

    def _look(self) -> None:
        """Find out who is there and who looks, and listen to no more than they want to see."""
        found = find_vehicles(self)
        self._left_out = max(0, len(found) - MOST_VEHICLES)
        names = list(found)[:MOST_VEHICLES]
        for name in self._vehicles.keys() - names:
            self._vehicles.pop(name).close()
        self._refused = {name: refused for name, refused in self._refused.items() if found.get(name) == refused}
        looked_at = self._site.is_watched
        for name in names:
            if name not in self._refused:
                self._attend_to(name, found[name], looked_at)
        self._hear_statuses(looked_at)
        if looked_at:
            facts = {"domain": self.context.get_domain_id(), "namespace": self.get_namespace()}
            facts |= {"sources": list(SOURCES.values())}
            self._site.board.set_vehicles({name: self._vehicles[name].words for name in sorted(self._vehicles)}, facts)
            self._complain()
        else:
            self._site.board.set_vehicles({}, {})  # what was seen before a pause would pass for something new

    def _attend_to(self, name: str, found: Found, looked_at: bool) -> None:
        """Listen to a vehicle while somebody looks; what cannot be listened to is left alone until it changes."""
        try:
            if name not in self._vehicles:
                rate = self._values["pictures_per_second"]
                self._vehicles[name] = Vehicle(self, name, rate, self._show, self._plot)
            vehicle = self._vehicles[name]
            if looked_at or vehicle.has_subscribers:
                vehicle.listen(found)
                vehicle.show_unanswered()
            else:
                vehicle.rest()
        except InputError as error:
            self.get_logger().error(str(error))
            self._refused[name] = found
            if name in self._vehicles:
                self._vehicles.pop(name).close()

    def _hear_statuses(self, looked_at: bool) -> None:
        if looked_at and self._listening is None:
            warn = self.get_logger().warning
            self._listening = subscribe(self, DiagnosticArray, "/diagnostics", self._keep_statuses, RESULT, warn)
        elif not looked_at and self._listening is not None:
            self.destroy_subscription(self._listening)
            self._listening, self._statuses = None, {}

    def _keep_statuses(self, message: DiagnosticArray) -> None:
        now = time.monotonic()
        for status in message.status[:MOST_STATUSES]:
            self._statuses.pop(status.name, None)
            self._statuses[status.name] = Heard(status, now)
            if len(self._statuses) > MOST_STATUSES:
                del self._statuses[next(iter(self._statuses))]

    def _complain(self) -> None:
        now = time.monotonic()
        self._statuses = {name: heard for name, heard in self._statuses.items() if now - heard.at < GONE}
        complaints = [one for heard in self._statuses.values() if (one := _complaint(heard, now))]
        complaints.sort(key=lambda one: (-one.level, one.name))
        self._site.board.complain(complaints, len(self._statuses) - len(complaints))

    def _plot(self, vehicle: Vehicle, point: Sample | Answered) -> None:
        self._site.board.plot(vehicle.name, point)

    def _show(self, vehicle: Vehicle, frame: Frame) -> None:
        dropped = self._mailbox.put(vehicle, frame) is not None
        if vehicle.stream is not None:
            vehicle.stream.count("dropped", dropped)

    def _refuse(self, vehicle: Vehicle, error: InputError) -> None:
        if (stream := vehicle.stream) is not None:
            stream.refuse(error)

    def _draw(self, vehicle: Vehicle, frame: Frame) -> None:
        """Draw and hand out one picture; called by the mailbox's thread."""
        assert frame.message is not None
        tasks, stopwatch = tuple(vehicle.tasks.values()), Stopwatch()
        results = {task.name: frame.results[task.name] for task in tasks if task.name in frame.results}
        with stopwatch.stage("convert"):
            image = to_picture(frame.message)
        with stopwatch.stage("draw"):
            size = fit((image.shape[1], image.shape[0]), self._area)
            picture = annotate(image, results, tasks, _caption(frame, vehicle.latency(frame)), size)
        with stopwatch.stage("compress"):
            _, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, self._values["jpeg_quality"]])
        answers = {task.name: KINDS[task.kind].in_words(results[task.name]) for task in tasks if task.name in results}
        self._site.board.show(vehicle.name, Picture(jpeg.tobytes(), vehicle.start(frame), answers))
        vehicle.publish(frame.message.header, jpeg.tobytes())
        if (stream := vehicle.stream) is not None:
            stream.published(stopwatch.milliseconds, len(jpeg))

    def _report(self) -> None:
        name = self.get_fully_qualified_name()
        reports = []
        for vehicle in self._vehicles.values():
            if vehicle.stream is not None:
                status = vehicle.stream.report(name)
                # The account of the images themselves is the edge's.
                status.name = f"{name}: {vehicle.annotated_topic}"
                reports.append(status)
        looks = f"{len(reports)} of {len(self._vehicles)} vehicles are looked at" if reports else "nobody looks"
        own = DiagnosticStatus(level=DiagnosticStatus.OK, name=name, message=f"{self._site.url}: {looks}")
        if self._refused:
            own.level = DiagnosticStatus.ERROR
            own.message += f"; {', '.join(self._refused)} cannot be listened to, the log says why"
        if self._left_out:
            own.level = max(own.level, DiagnosticStatus.WARN)
            own.message += f"; {self._left_out} more than {MOST_VEHICLES} vehicles are left out: give further ones a"
            own.message += " watch node in their own namespace"
        report = DiagnosticArray(status=[own, *reports])
        report.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(report)


def _complaint(heard: Heard, now: float) -> Complaint | None:
    """What a status complains of, if anything; one that is not repeated is a complaint, too."""
    status, silent = heard.status, now - heard.at
    name, message, level = status.name[:MOST_CHARACTERS], status.message[:MOST_CHARACTERS], status.level[0]
    if silent > SILENCE:
        return Complaint(3, name, f"silent for {silent:.0f} s, before that: {message}")
    return Complaint(level, name, message) if level else None


def _caption(frame: Frame, latency: float | None) -> str:
    size = "no bottleneck" if frame.payload_bytes is None else f"{frame.payload_bytes:,} bytes"
    return f"{size}   {'no result' if latency is None else f'{latency:.0f} ms'}"


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def main() -> int:
    """Run the node; returns its exit code."""
    return run(WatchNode)


if __name__ == "__main__":
    raise SystemExit(main())
