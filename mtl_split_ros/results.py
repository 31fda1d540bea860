"""The topics of one vehicle's results: published with the camera image's header, in every form that somebody wants."""

from __future__ import annotations  # rclpy's classes are generic from Kilted on

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy
from std_msgs.msg import Header

from mtl_split_core.errors import InputError
from mtl_split_core.scene import Results, Task
from mtl_split_core.tracks import TRACKING
from mtl_split_ros.kinds import KINDS
from mtl_split_ros.messages import result_topic
from mtl_split_ros.parameters import Parameter
from mtl_split_ros.qos import RESULT, advertise


def result_parameters(remark: str = "") -> tuple[Parameter, ...]:
    """Return the parameters of a node that publishes results; remark: what ends each description."""
    live = f"May be changed at any time.{remark}"
    follow = "How objects are followed from frame to frame: `id` of a detection is the same for the same object."
    return (
        Parameter("score_threshold", f"Lowest score of a published detection. {live}", range=(0.0, 1.0), live=True),
        Parameter(
            "overlap_threshold",
            f"Of two detections that overlap more, the better is kept. {live}",
            range=(0.0, 1.0),
            live=True,
        ),
        Parameter("tracking", f"{follow}{remark}", choices=TRACKING),
    )


@dataclass(frozen=True)
class _Output:
    """One topic with a task's results."""

    task: str
    publisher: Publisher[Any]
    write: Callable[[Any, Header], Any]

    @property
    def is_wanted(self) -> bool:
        """Whether somebody listens, or may get it later, by a user's override."""
        latched = self.publisher.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
        return latched or self.publisher.get_subscription_count() > 0


class ResultPublishers:
    """Publishes every task's results, in each form on a topic of its own, while somebody listens to that."""

    def __init__(self, node: Node, tasks: Sequence[Task], within: str = "") -> None:
        """Advertise the topics within a namespace, relative to the node's own.

        Raises InputError for one that ROS does not allow.
        """
        self._node = node
        self._outputs: list[_Output] = []
        prefix = f"{within.rstrip('/')}/" if within else ""
        try:
            for task in tasks:
                kind = KINDS[task.kind]
                self._advertise(task, kind.MESSAGE, prefix + result_topic(task), kind.to_message)
                for topic, form in kind.further_forms(task).items():
                    self._advertise(task, form.message, prefix + topic, form.write)
        except InputError:
            self.destroy()
            raise

    def _advertise(self, task: Task, message: type[Any], topic: str, write: Callable[[Any, Header], Any]) -> None:
        publisher = advertise(self._node, message, topic, RESULT, watch=False)
        self._outputs.append(_Output(task.name, publisher, write))

    def publish(self, results: Results, header: Header) -> None:
        """Publish the results for one image, of all tasks or some."""
        for output in self._outputs:
            if output.task in results and output.is_wanted:
                output.publisher.publish(output.write(results[output.task], header))

    def destroy(self) -> None:
        """Destroy the publishers."""
        for output in self._outputs:
            self._node.destroy_publisher(output.publisher)
        self._outputs = []
