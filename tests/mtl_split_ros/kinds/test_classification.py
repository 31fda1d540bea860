"""Classifications and true labels survive the way through their message, best first."""

from collections import Counter

import numpy as np
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from vision_msgs.msg import Classification as ClassificationMessage
from vision_msgs.msg import ObjectHypothesis

from mtl_split_core.errors import InputError
from mtl_split_core.scene import Classification, Task, Truth
from mtl_split_ros.kinds.classification import to_message, to_result, to_truth, truth_messages

from ...processes import header

LABELS = ("car", "traffic light", "dawn/dusk")
TASK = Task("weather", "classification", LABELS)


def test_a_result_comes_best_first() -> None:
    message = to_message(Classification(LABELS, np.array([0.25, 0.125, 0.625], np.float32)), header(2))
    read = to_result(deserialize_message(serialize_message(message), ClassificationMessage))
    assert message.header == header(2)
    assert read.labels == ("dawn/dusk", "car", "traffic light") and read.best == "dawn/dusk"
    assert read.scores.tolist() == [0.625, 0.25, 0.125]


def test_the_truth_of_each_task_has_a_topic_of_its_own() -> None:
    messages = truth_messages(Truth(classes={"weather": "clear", "timeofday": "dawn/dusk"}), header(3))
    prefix = "ground_truth/classification/"
    assert {topic: to_result(message).best for topic, message in messages.items()} == {
        prefix + "weather": "clear",
        prefix + "timeofday": "dawn/dusk",
    }
    read = to_truth(TASK, messages[prefix + "weather"], Counter())
    assert read and read.classes == {"weather": "clear"} and read.labelled == frozenset()


def test_without_a_class_nothing_is_known() -> None:
    skipped: Counter[str] = Counter()
    assert to_truth(TASK, ClassificationMessage(), skipped) is None and skipped == {"truths without a class": 1}


@pytest.mark.parametrize("scores", [[], [0.5, np.nan], [np.inf]])
def test_a_message_that_is_no_result_is_refused(scores: list[float]) -> None:
    message = ClassificationMessage(results=[ObjectHypothesis(class_id="a", score=score) for score in scores])
    with pytest.raises(InputError, match="a classification has the scores"):
        to_result(message)
    assert to_truth(TASK, message, Counter()) is None
