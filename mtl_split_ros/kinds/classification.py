"""Classifications as vision_msgs/Classification."""

from collections import Counter

import numpy as np
from std_msgs.msg import Header
from vision_msgs.msg import Classification as ClassificationMessage
from vision_msgs.msg import ObjectHypothesis

from mtl_split_core.errors import InputError
from mtl_split_core.scene import Classification, Task, Truth
from mtl_split_ros.kinds.form import Form

MESSAGE = ClassificationMessage


def topic(task: Task) -> str:
    """One topic for each task."""
    return f"classification/{task.name}"


def truth_topic(task: Task) -> str:
    """One topic for each task."""
    return _truth_topic(task.name)


def to_message(result: Classification, header: Header) -> ClassificationMessage:
    """Write all labels, best first."""
    order = np.argsort(-result.scores, kind="stable")
    hypotheses = [ObjectHypothesis(class_id=result.labels[i], score=float(result.scores[i])) for i in order]
    return ClassificationMessage(header=header, results=hypotheses)


def further_forms(task: Task) -> dict[str, Form]:
    """None."""
    return {}


def to_result(message: ClassificationMessage, task: Task | None = None) -> Classification:
    """Read a classification, whatever the task; its labels are in the order of the message, best first.

    Raises InputError for one without labels, or with a score that is no number.
    """
    scores = np.array([hypothesis.score for hypothesis in message.results], np.float32)
    if not len(scores) or not np.isfinite(scores).all():
        raise InputError(f"a classification has the scores {scores.tolist()!s:.80}, expected numbers")
    return Classification(tuple(hypothesis.class_id for hypothesis in message.results), scores)


def truth_messages(truth: Truth, header: Header) -> dict[str, ClassificationMessage]:
    """Write the true label of every task that has one."""
    one = np.ones(1, np.float32)
    return {
        _truth_topic(task): to_message(Classification((label,), one), header) for task, label in truth.classes.items()
    }


def to_truth(task: Task, message: ClassificationMessage, skipped: Counter[str]) -> Truth | None:
    """Read the true label. None if there is no label."""
    try:
        label = to_result(message).best
    except InputError:
        skipped["truths without a class"] += 1
        return None
    return Truth(classes={task.name: label}, labelled=frozenset())


def _truth_topic(task: str) -> str:
    return f"ground_truth/classification/{task}"
