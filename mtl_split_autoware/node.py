"""The node for Autoware: a vehicle's detections in, the same as Autoware's detector in pictures publishes them out."""

from __future__ import annotations  # rclpy's classes are generic from Kilted on

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from vision_msgs.msg import Detection2DArray

from mtl_split_autoware.labels import read_labels
from mtl_split_autoware.messages import AutowareMessages, find_messages
from mtl_split_autoware.regions import to_regions
from mtl_split_core.errors import InputError
from mtl_split_core.share import label_map_file
from mtl_split_core.stopwatch import Stopwatch
from mtl_split_ros.diagnostics import Stream
from mtl_split_ros.kinds import detection
from mtl_split_ros.lifecycle import LIFECYCLE_PARAMETERS, ManagedNode
from mtl_split_ros.parameters import Parameter, Parameters
from mtl_split_ros.process import run
from mtl_split_ros.qos import RESULT, advertise
from mtl_split_ros.subscriptions import Subscriptions

PARAMETERS = Parameters(
    "autoware",
    Parameter("label_map", "YAML file that says what each label is in Autoware; empty: config/autoware_labels.yaml."),
    *LIFECYCLE_PARAMETERS,
)

INPUT = "detections"
OBJECTS = "autoware/rois"
TRAFFIC_LIGHTS = "autoware/traffic_light_rois"

NEWEST_RELIABLE = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
"""As Autoware's detector publishes: its fusion of camera and lidar asks for best effort, its traffic lights do not."""


class AutowareNode(ManagedNode):
    """Publishes every picture's objects and traffic lights, also where there are none, with the picture's header."""

    _messages: AutowareMessages
    _inputs: Subscriptions

    def __init__(self, find: Callable[[], AutowareMessages] = find_messages) -> None:
        """Declare the parameters, then configure and activate where `autostart` says so; find: finds the messages."""
        super().__init__("autoware", PARAMETERS)
        self._find = find
        self.autostart()

    def configure(self, values: dict[str, Any]) -> None:
        """Look for the message packages, read the label map, and create the publishers."""
        self._messages = self._find()
        path = Path(values["label_map"]).expanduser() if values["label_map"] else label_map_file()
        self._labels = read_labels(path, self._messages.classes)
        self._objects, self._traffic_lights = map(self._advertise, (OBJECTS, TRAFFIC_LIGHTS))

    def _advertise(self, topic: str) -> Publisher[Any]:
        return advertise(self, self._messages.array, topic, NEWEST_RELIABLE)

    def activate(self) -> None:
        """Subscribe to the detections."""
        stream = Stream(
            self.resolve_topic_name(INPUT),
            stages=("convert", "publish"),
            errors=(InputError,),
            counts=("left_out",),
            clock=self.get_clock(),
            logger=self.get_logger(),
            facts={},
        )
        self._inputs = Subscriptions(self)
        self._inputs.subscribe(Detection2DArray, INPUT, partial(self._receive, stream), RESULT, stream)
        self.streams = [stream]

    def deactivate(self) -> None:
        """Unsubscribe."""
        self._inputs.close()

    def cleanup(self) -> None:
        """Release the publishers."""
        for publisher in (self._objects, self._traffic_lights):
            self.destroy_publisher(publisher)

    def _receive(self, stream: Stream, message: Detection2DArray) -> None:
        stream.received(message.header.stamp)
        stopwatch = Stopwatch()
        try:
            with stopwatch.stage("convert"):
                regions = to_regions(detection.to_result(message), self._labels)
        except InputError as error:
            stream.refuse(error)
            return
        with stopwatch.stage("publish"):
            self._objects.publish(self._messages.write(regions.objects, message.header))
            self._traffic_lights.publish(self._messages.write(regions.traffic_lights, message.header))
        for label, number in regions.left_out.items():
            stream.count("left_out", number)
            stream.count_of("left_out", label, number)
        stream.published(stopwatch.milliseconds)


def main() -> int:
    """Run the node; returns its exit code."""
    return run(AutowareNode)


if __name__ == "__main__":
    raise SystemExit(main())
