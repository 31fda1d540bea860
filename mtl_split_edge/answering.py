"""The edge's final answers: one per image by its deadline, the server's or the edge's own."""

from __future__ import annotations  # rclpy's classes are generic from Kilted on

import threading
import time
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from mtl_split.msg import Answer, AnswerInfo, Bottleneck
from rclpy.node import Node
from std_msgs.msg import Header

from mtl_split_core.answer import AnswerError, unpack_results
from mtl_split_core.bundle import EXIT, SUFFIX, Bundle
from mtl_split_core.control.answers import Answers, Due
from mtl_split_core.control.controller import Controller
from mtl_split_core.control.link import Fate, LinkState, Report
from mtl_split_core.control.policy import Action, Own
from mtl_split_core.errors import InferenceError, InputError
from mtl_split_core.geometry import Letterbox
from mtl_split_core.halves import ServerHalf
from mtl_split_core.kinds import KINDS
from mtl_split_core.scene import Floats, Results, Size
from mtl_split_core.signing import Keys
from mtl_split_core.tracks import Tracks, needed_score
from mtl_split_ros.diagnostics import Stream, nanoseconds
from mtl_split_ros.messages import SOURCES, check_signature
from mtl_split_ros.qos import MANY, RESULT, advertise, subscribe
from mtl_split_ros.results import ResultPublishers

_ROLES = {Own.EXIT: EXIT, Own.WHOLE: SUFFIX}

_SOURCES = {Own.EXIT: AnswerInfo.EXIT, Own.WHOLE: AnswerInfo.WHOLE}

AGAIN = "sent_again"

COUNTS = (*(f"answered/{name}" for name in SOURCES.values()), "late", "given_up", AGAIN)
"""What is counted of an edge that gives final answers."""


@dataclass(frozen=True)
class Frame:
    """What an own answer is made from, and what is told of the answer, whoever it is from.

    arrived: when the image did, by the monotonic clock; age: its age then, both in seconds; point: the name of the
    operating point that its bottleneck goes out at, empty where none does; bottleneck: that goes out; action: what was
    chosen; link: what was known of it then.
    """

    header: Header
    arrived: float
    age: float
    size: Size
    latents: Floats
    point: str
    bottleneck: Bottleneck | None
    action: Action
    link: LinkState


class Answering:
    """Publishes the results of every image once: see mtl_split_core.control.answers.

    seconds: what an own answer takes, by network.
    """

    seconds: Mapping[Own, float]

    def __init__(self, node: Node, bundle: Bundle, values: dict[str, Any], keys: Keys | None) -> None:
        """Load the edge's own networks and advertise; values: the edge's parameters.

        Raises BundleError, and InputError where there is no network.
        """
        networks = [own for own in Own if (values["local_suffix"] if own is Own.WHOLE else EXIT in bundle.files)]
        if not networks:
            raise InputError(
                f"answer_by is {values['answer_by']}, but local_suffix is false and the bundle has no exit: the edge"
                " needs one of them to answer by itself when the server's answer does not come"
            )
        self._node = node
        self._bundle = bundle
        self._keys = keys
        self._answer_by: float = values["answer_by"]
        self._tracking: str = values["tracking"]
        self._tracks = Tracks(bundle.tasks, self._tracking, values["score_threshold"])
        self._halves = {
            own: ServerHalf(bundle, values["threads"], engine=values["engine"], role=_ROLES[own]) for own in networks
        }
        self.seconds = {own: _measure(half) for own, half in self._halves.items()}
        self._infos = advertise(node, AnswerInfo, "answer_info", RESULT, watch=False)
        self._results = ResultPublishers(node, bundle.tasks)

    def activate(
        self, stream: Stream, controller: Controller, session: int, send_again: Callable[[Frame], bool]
    ) -> list[Future[None]]:
        """Subscribe to the server's answers, start the threads for the edge's own and for asking again; returns theirs.

        send_again: publishes a frame's bottleneck once more, unless a newer one has gone out since, and then returns
        False.
        """
        self._stream, self._controller, self._session, self._send_again = stream, controller, session, send_again
        self._tracks = self._tracks.anew()
        self._publishing = threading.Lock()
        self._answers: Answers[Frame] = Answers()
        self._remote = subscribe(self._node, Answer, "answer", self._hear, MANY, stream.warn)
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="answers")
        return [self._pool.submit(self._run), self._pool.submit(self._run_again)]

    def deactivate(self) -> None:
        """Unsubscribe, forget the frames that are not answered, and end the threads."""
        self._node.destroy_subscription(self._remote)
        self._answers.close()
        self._pool.shutdown()

    def cleanup(self) -> None:
        """Release the publishers."""
        self._node.destroy_publisher(self._infos)
        self._results.destroy()

    def expect(self, frame: Frame) -> None:
        """Wait for the answer to an image, whose bottleneck goes out now if it has one."""
        deadline = frame.arrived + self._answer_by - frame.age
        sequence = None if frame.bottleneck is None else frame.bottleneck.sequence
        again_at = float("inf")
        if sequence is not None and not frame.action.at_once:
            again_at = self._controller.send_again_at(time.monotonic(), deadline, frame.link)
        given_up = self._answers.expect(
            _key(frame.header), frame, deadline, sequence, frame.action.own, frame.action.at_once, again_at
        )
        self._stream.count("given_up", given_up)

    def settle(self, report: Report) -> None:
        """Take in what the server reports."""
        self._answers.settle(report.sequence, report.fate == Fate.ANSWERED, time.monotonic())

    def _hear(self, message: Answer) -> None:
        if message.session != self._session:
            return
        frame, results = self._answers.frame_of(message.sequence), None
        try:
            if self._keys is not None:
                check_signature(message, self._keys, self._remote.topic_name)
            if frame is not None:
                letterbox = Letterbox(frame.size, self._bundle.input_size)
                results = unpack_results(self._bundle.tasks, message.results.tobytes(), letterbox)
        except InputError as error:
            self._stream.refuse(error, self._remote.topic_name)
            return
        # Too late for its frame, it still tells that the link carries something.
        self._controller.answered(message.sequence, time.monotonic())
        if frame is None or results is None:
            return
        if self._answers.hear(message.sequence):
            least = needed_score(self._tracking, self._node.get_parameter("score_threshold").value)
            tasks = self._bundle.tasks
            results = {task.name: KINDS[task.kind].select(results[task.name], least) for task in tasks}
            self._publish(frame, results, AnswerInfo.SERVER)

    def _run(self) -> None:
        answers, needed = self._answers, self._controller.needed
        while (due := answers.take(lambda: answers.begin(time.monotonic(), needed))) is not None:
            assert due.own is not None
            self._answer(due, due.own)

    def _run_again(self) -> None:
        answers = self._answers
        while (due := answers.take(lambda: answers.again(time.monotonic()))) is not None:
            if self._send_again(due.frame):
                self._stream.count(AGAIN)
                answers.ask_again(due.key, self._controller.send_again_at(time.monotonic(), due.deadline))

    def _answer(self, due: Due[Frame], chosen: Own) -> None:
        begun = time.monotonic()
        own = self._controller.network_for(chosen, due.deadline - begun)
        half = self._halves[own]
        half.score_threshold = needed_score(self._tracking, self._node.get_parameter("score_threshold").value)
        half.overlap_threshold = self._node.get_parameter("overlap_threshold").value
        try:
            results = half.answer(due.frame.latents, due.frame.size)
        except InferenceError as error:
            self._stream.refuse(error)
            results = None
        seconds = time.monotonic() - begun
        needed = self._controller.needed
        if self._answers.take(lambda: self._answers.finish(due.key, time.monotonic(), needed)) and results is not None:
            closed = time.monotonic()
            self._publish(due.frame, results, _SOURCES[own])
            seconds += time.monotonic() - closed
        self._controller.computed(own, seconds, time.monotonic())
        self._stream.measured({"local": seconds * 1e3})

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
                cut=self._bundle.cut,
                age=age,
                late=late,
            )
        )
        self._stream.count(f"answered/{SOURCES[source]}")
        self._stream.count("late", late)


ERRORS = (AnswerError,)
"""What can be wrong with what an edge receives that gives final answers."""


def _measure(half: ServerHalf) -> float:
    """How many seconds an own answer takes."""
    latents = np.zeros(half.bundle.payload_format.shape, np.float32)
    begun = time.monotonic()
    half.answer(latents, half.bundle.input_size)
    return time.monotonic() - begun


def _key(header: Header) -> Hashable:
    return header.stamp.sec, header.stamp.nanosec, header.frame_id
