"""Real nodes in processes of their own, and a probe that talks to them over DDS.

Nothing here sleeps: a probe spins until a condition holds, and fails with its name where it never does.
"""

import itertools
import os
import signal
import subprocess
import sys
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParameters
from rclpy.client import Client
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from mtl_split_core.scene import Image as Picture
from mtl_split_ros.shared_memory import tidy_shared_memory

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds after which a condition is taken never to hold; only a failing test waits that long."""


class NodeProcess:
    """One node, started as a user would."""

    def __init__(self, module: str, folder: Path, domain: int, *arguments: str, within: Sequence[str] = ()) -> None:
        """Start `python -m module --ros-args arguments`, with its log in `folder`; `within` goes before the command."""
        number = len(list(folder.glob("*.log")))
        self._log = folder / f"{module}-{number}.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [*within, sys.executable, "-m", module, "--ros-args", *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "ROS_DOMAIN_ID": str(domain), "ROS_LOG_DIR": str(folder / "ros")},
            )

    @property
    def pid(self) -> int:
        """The process number."""
        return self._process.pid

    @property
    def log(self) -> str:
        """Everything that the process has written so far."""
        return self._log.read_text()

    @property
    def runs(self) -> bool:
        """Whether the process has not ended yet."""
        return self._process.poll() is None

    def end(self, number: signal.Signals | None = None) -> int:
        """Send a signal, wait for the end and return the exit code; without one just wait."""
        if number is not None:
            self._process.send_signal(number)
        return self._process.wait(PATIENCE)

    def kill(self) -> None:
        """End the process without asking it."""
        self._process.kill()
        self._process.wait()


class Probe:
    """A node inside the test."""

    def __init__(self, domain: int) -> None:
        """Join a DDS domain."""
        self._context = Context()
        with tidy_shared_memory():  # killed nodes of earlier tests have left theirs
            rclpy.init(context=self._context, domain_id=domain)
            self.node = Node("probe", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self.statuses: dict[str, DiagnosticStatus] = {}
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._keep_statuses, 10)

    def close(self) -> None:
        """Leave the domain."""
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.shutdown()

    def wait_for(self, what: str, condition: Callable[[], T], seconds: float = PATIENCE) -> T:
        """Spin until the condition is true and return its value."""
        clock = self.node.get_clock()
        deadline = clock.now().nanoseconds + seconds * 1e9
        while not (value := condition()):
            if clock.now().nanoseconds > deadline:
                raise TimeoutError(f"{seconds} s passed without {what}; diagnostics: {self.statuses}")
            self._executor.spin_once(timeout_sec=0.05)
        return value

    def listen(self, kind: type[Any], topic: str, profile: QoSProfile) -> list[Any]:
        """Subscribe; the list that is returned grows with every message."""
        messages: list[Any] = []
        self.node.create_subscription(kind, topic, messages.append, profile)
        return messages

    def first(self, messages: list[Any]) -> Any:
        """Wait for the first message of a list that `listen` returned."""
        self.wait_for("a message", lambda: messages)
        return messages[0]

    def publisher(self, kind: type[Any], topic: str, profile: QoSProfile) -> Publisher[Any]:
        """Advertise, and wait until somebody subscribes."""
        publisher = self.node.create_publisher(kind, topic, profile)
        self.wait_for(f"a subscriber of {topic}", lambda: publisher.get_subscription_count())
        return publisher

    def exchange(self, publisher: Publisher[Any], message: Any, answers: list[Any]) -> Any:
        """Publish until a message with the same header is among the answers, and return that.

        Best effort may lose a message, and a subscription is known here before it is connected there.
        """
        tries = itertools.count()

        def answer() -> Any:
            if next(tries) % 10 == 0:
                publisher.publish(message)
            return next((answer for answer in answers if answer.header == message.header), None)

        return self.wait_for(f"an answer to {message.header}", answer)

    def publish_until(self, publisher: Publisher[Any], message: Any, name: str, key: str) -> None:
        """Publish until a count in the status of that name is no longer 0; best effort may lose a message."""
        tries = itertools.count()

        def counted() -> bool:
            if next(tries) % 10 == 0:
                publisher.publish(message)
            values = {value.key: value.value for value in self.statuses[name].values} if name in self.statuses else {}
            return int(values.get(key, 0)) > 0

        self.wait_for(f"a count of {key} in {name!r}", counted)

    def call(self, kind: type[Any], name: str, request: Any) -> Any:
        """Call a service and return its response."""
        client: Client[Any, Any] = self.node.create_client(kind, name)
        self.wait_for(f"the service {name}", client.service_is_ready)
        future = client.call_async(request)
        self.wait_for(f"a response of {name}", future.done)
        self.node.destroy_client(client)
        return future.result()

    def change_state(self, node: str, transition: int) -> bool:
        """Ask a node for a transition of its lifecycle; returns whether it succeeded."""
        request = ChangeState.Request(transition=Transition(id=transition))
        return bool(self.call(ChangeState, f"{node}/change_state", request).success)

    def set_parameter(self, node: str, name: str, value: Any) -> SetParametersResult:
        """Change a parameter of a node, as `ros2 param set` does."""
        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        result: SetParametersResult = self.call(SetParameters, f"{node}/set_parameters", request).results[0]
        return result

    def status(self, name: str, condition: Callable[[DiagnosticStatus, dict[str, str]], bool]) -> dict[str, str]:
        """Wait until the status of that name fulfils a condition on it and its values, and return the values."""

        def values() -> dict[str, str]:
            return {value.key: value.value for value in self.statuses[name].values}

        def fulfilled() -> bool:
            return name in self.statuses and condition(self.statuses[name], values())

        self.wait_for(f"the status {name!r} as expected", fulfilled)
        return values()

    def value(self, name: str, key: str, expected: str) -> None:
        """Wait until a value in the status of that name is as expected."""
        self.status(name, lambda _, values: values.get(key) == expected)

    def _keep_statuses(self, message: DiagnosticArray) -> None:
        self.statuses.update({status.name: status for status in message.status})


def header(second: int) -> Header:
    """A camera's header with a stamp of its own."""
    return Header(stamp=Time(sec=second, nanosec=123456789), frame_id=f"camera {second}")


def image_message(picture: Picture, second: int, encoding: str = "bgr8") -> Image:
    """A picture as the raw message of a camera."""
    height, width, channels = picture.shape
    step = width * channels
    data = array("B", picture.tobytes())
    return Image(header=header(second), width=width, height=height, step=step, encoding=encoding, data=data)


def plain(colour: tuple[int, int, int], width: int = 128, height: int = 64) -> Picture:
    """A picture of one colour, blue, green and red."""
    return np.full((height, width, 3), colour, np.uint8)
