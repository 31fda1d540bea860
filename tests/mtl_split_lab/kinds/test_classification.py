"""Accuracy and confusion come out as counted by hand; a task whose true label is unknown is left out."""

import numpy as np

from mtl_split_core.scene import Classification, Task, Truth
from mtl_split_lab.kinds.classification import find_mistakes, pair, score, sheet

LABELS = ("night", "daytime")
NIGHT, DAYTIME = (Classification(LABELS, np.array(scores, np.float32)) for scores in ((0.9, 0.1), (0.2, 0.8)))


def test_right_answers_and_confusions_are_counted() -> None:
    pairs = [("night", "night"), ("night", "daytime"), ("daytime", "daytime"), ("daytime", "daytime")]
    scored = score([{"timeofday": one} for one in pairs])["timeofday"]
    assert scored.accuracy == 0.75
    assert scored.confusion == {"daytime": {"daytime": 2}, "night": {"daytime": 1, "night": 1}}
    assert (scored.recall("night"), scored.recall("daytime")) == (0.5, 1)


def test_an_unknown_label_is_neither_right_nor_wrong() -> None:
    truth, results = Truth(classes={"timeofday": "night"}), {"timeofday": DAYTIME, "weather": NIGHT}
    assert pair(truth, results) == {"timeofday": ("night", "daytime")} and find_mistakes(truth, results) == {
        "timeofday night taken for daytime": 1
    }
    assert pair(Truth(), results) is None and not find_mistakes(Truth(), results)


def test_a_label_that_never_was_true_has_no_accuracy() -> None:
    task = Task("timeofday", "classification", LABELS)
    shown = sheet(task, [NIGHT, DAYTIME], score([{"timeofday": ("night", "night")}]))
    assert shown.rows == [("night", 0.5, 1.0), ("daytime", 0.5, None), ("all", "", 1.0)]
