"""The kinds of task as messages, one module each, and the table of them."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Protocol

from std_msgs.msg import Header

from mtl_split_core.scene import Task, Truth
from mtl_split_ros.kinds import classification, detection, segmentation
from mtl_split_ros.kinds.form import Form


class Kind(Protocol):
    """How the results and the truth of one kind of task travel: as messages of one type, which begin with a header."""

    @property
    def MESSAGE(self) -> type[Any]:
        """The type of its messages."""

    def topic(self, task: Task) -> str:
        """Return the relative name of the topic with a task's results."""

    def truth_topic(self, task: Task) -> str:
        """Return the relative name of the topic on which a camera publishes what a task is to answer."""

    def to_message(self, result: Any, header: Header) -> Any:
        """Write a result with its image's header."""

    def further_forms(self, task: Task) -> Mapping[str, Form]:
        """Return further forms in which results are published, by their topics' relative names."""

    def to_result(self, message: Any, task: Task) -> Any:
        """Read a task's result. Raises InputError for a message without a label, or with a number that is none."""

    def truth_messages(self, truth: Truth, header: Header) -> dict[str, Any]:
        """Write what is really in a picture, with scores of 1; by topic."""

    def to_truth(self, task: Task, message: Any, skipped: Counter[str]) -> Truth | None:
        """Read what a task is to answer; None where that is unknown. Count what is unusable by reason.

        `labelled` is None for a kind whose truth is boxes, and empty for any other.
        """


KINDS: dict[str, Kind] = {
    "detection": detection,
    "classification": classification,
    "segmentation": segmentation,
}
"""By Task.kind."""
