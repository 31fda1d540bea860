"""The edge's final answers: one per image by its deadline, the server's or the edge's own."""

from __future__ import annotations  # rclpy's classes are generic from Kilted on

import threading
import time
from collections import deque
from collections.abc import Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from mtl_split.msg import AnswerInfo
from rclpy.node import Node
from rclpy.subscription import Subscription
from std_msgs.msg import Header

from mtl_split_core.bundle import Bundle
from mtl_split_core.control.answers import SLACK, Answers
from mtl_split_core.control.link import Fate, Report
from mtl_split_core.errors import InferenceError, InputError
from mtl_split_core.halves import ServerHalf
from mtl_split_core.scene import Floats, Results, Size, Task
from mtl_split_core.tracks import Tracks, needed_score
from mtl_split_ros.diagnostics import Stream, nanoseconds
from mtl_split_ros.kinds import KINDS
from mtl_split_ros.messages import REMOTE, result_topic
from mtl_split_ros.qos import RESULT, advertise, subscribe
from mtl_split_ros.results import ResultPublishers

RECENT = 16
"""Own answers from which the time for the next is estimated."""


@dataclass(frozen=True)
class Frame:
    """What an own answer is made from, and what is told of the answer, whoever it is from.

    arrived: when the image did, by the monotonic clock; age: its age then, both in seconds; point: the name of the
    operating point that its bottleneck goes out at, empty where none does.
    """

    header: Header
    arrived: float
    age: float
    size: Size
    latents: Floats
    point: str


class Answering:
    """Publishes the results of every image once: see mtl_split_core.control.answers."""

    def __init__(self, node: Node, bundle: Bundle, values: dict[str, Any]) -> None:
        """Load the suffix and advertise; values: the edge's parameters. Raises BundleError and InputError."""
        if not values["local_suffix"]:
            raise InputError(
                f"answer_by is {values['answer_by']}, but local_suffix is false: the edge needs it to answer by itself"
                " when the server's answer does not come"
            )
        self._node = node
        self._cut = bundle.cut
        self._tasks = bundle.tasks
        self._answer_by: float = values["answer_by"]
        self._tracking: str = values["tracking"]
        self._tracks = Tracks(bundle.tasks, self._tracking, values["score_threshold"])
        self._half = ServerHalf(bundle, values["threads"], engine=values["engine"])
        self._times = deque([self._measure()], maxlen=RECENT)
        self._infos = advertise(node, AnswerInfo, "answer_info", RESULT, watch=False)
        self._results = ResultPublishers(node, bundle.tasks)

    def activate(self, stream: Stream) -> list[Future[None]]:
        """Subscribe to the server's results and start the thread for the edge's own; returns its future."""
        self._stream = stream
        self._tracks = self._tracks.anew()
        self._publishing = threading.Lock()
        self._answers: Answers[Frame] = Answers(frozenset(task.name for task in self._tasks))
        self._remote = [self._subscribe(task) for task in self._tasks]
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="answers")
        return [self._pool.submit(self._run)]

    def deactivate(self) -> None:
        """Unsubscribe, forget the frames that are not answered, and end the thread."""
        for subscription in self._remote:
            self._node.destroy_subscription(subscription)
        self._answers.close()
        self._pool.shutdown()

    def cleanup(self) -> None:
        """Release the publishers."""
        self._node.destroy_publisher(self._infos)
        self._results.destroy()

    def expect(self, frame: Frame, sequence: int | None) -> None:
        """Wait for the answer to an image whose bottleneck goes out with that number; None: it does not go out."""
        deadline = frame.arrived + self._answer_by - frame.age
        given_up = self._answers.expect(_key(frame.header), frame, deadline, sequence)
        self._stream.count("given_up", given_up)

    def settle(self, report: Report) -> None:
        """Take in what the server reports."""
        self._answers.settle(report.sequence, report.fate == Fate.ANSWERED)

    def _subscribe(self, task: Task) -> Subscription[Any]:
        topic = f"{REMOTE}/{result_topic(task)}"
        hear = partial(self._hear, task, self._node.resolve_topic_name(topic))
        return subscribe(self._node, KINDS[task.kind].MESSAGE, topic, hear, RESULT, self._stream.warn)

    def _hear(self, task: Task, topic: str, message: Any) -> None:
        try:
            result = KINDS[task.kind].to_result(message, task)
        except InputError as error:
            self._stream.refuse(error, topic)
            return
        complete = self._answers.hear(_key(message.header), task.name, result)
        if complete is not None:
            self._publish(*complete, AnswerInfo.SERVER)

    def _run(self) -> None:
        while (found := self._answers.take(time.monotonic, self._needed)) is not None:
            key, frame = found
            begun = time.monotonic()
            self._half.score_threshold = needed_score(self._tracking, self._node.get_parameter("score_threshold").value)
            self._half.overlap_threshold = self._node.get_parameter("overlap_threshold").value
            try:
                results = self._half.answer(frame.latents, frame.size)
            except InferenceError as error:
                self._stream.refuse(error)
                results = None
            self._times.append(time.monotonic() - begun)
            if self._answers.finish(key) and results is not None:
                self._stream.measured({"local": self._times[-1] * 1e3})
                self._publish(frame, results, AnswerInfo.WHOLE)

    def _needed(self) -> float:
        return max(self._times) + SLACK

    def _measure(self) -> float:
        """How many seconds an own answer takes."""
        latents = np.zeros(self._half.bundle.payload_format.shape, np.float32)
        begun = time.monotonic()
        self._half.answer(latents, self._half.bundle.input_size)
        return time.monotonic() - begun

    def _publish(self, frame: Frame, results: Results, source: int) -> None:
        # One at a time, because a tracker takes one frame after the other.
        with self._publishing:
            self._tracks.score_threshold = self._node.get_parameter("score_threshold").value
            results = self._tracks.follow(results, nanoseconds(frame.header.stamp))
            self._results.publish(results, frame.header)
        age = frame.age + time.monotonic() - frame.arrived
        late = age > self._answer_by
        self._infos.publish(
            AnswerInfo(
                header=frame.header,
                source=source,
                operating_point=frame.point,
                cut=self._cut,
                age=age,
                late=late,
            )
        )
        self._stream.count(f"answered/{_SOURCES[source]}")
        self._stream.count("late", late)


_SOURCES = {AnswerInfo.SERVER: "server", AnswerInfo.WHOLE: "whole"}

COUNTS = (*(f"answered/{name}" for name in _SOURCES.values()), "late", "given_up")
"""What is counted of an edge that gives final answers."""


def _key(header: Header) -> Hashable:
    return header.stamp.sec, header.stamp.nanosec, header.frame_id
