"""Intersection over union as it is worked out by hand, and what of a truth counts."""

from collections import Counter

import numpy as np
import pytest

from mtl_split_core.canvas import Canvas
from mtl_split_core.geometry import Letterbox
from mtl_split_core.kinds import segmentation as core
from mtl_split_core.label_map import UNKNOWN, Segmentation, pack
from mtl_split_core.scene import Task, Truth
from mtl_split_lab.kinds.segmentation import (
    accuracy,
    as_truth,
    columns,
    figures,
    find_mistakes,
    keep_known,
    labels_in,
    pair,
    score,
    sheet,
    sheets,
)

TASK = Task("road", "segmentation", ("background", "road", "grass"))


def mask(numbers: list[list[int]], labels: tuple[str, ...] = TASK.labels) -> Segmentation:
    return Segmentation(labels, pack(np.array(numbers, np.uint8)))


def truth(numbers: list[list[int]], labels: tuple[str, ...] = TASK.labels) -> Truth:
    return Truth(masks={"road": mask(numbers, labels)})


def test_over_all_places_of_all_pictures() -> None:
    pairs = [
        pair(truth([[0, 0, 1, 1]]), {"road": mask([[0, 1, 1, 1]])}),
        pair(truth([[1, 1, UNKNOWN, 0]]), {"road": mask([[1, 0, 1, 0]])}),
    ]
    found = score([one for one in pairs if one])
    # Background: 2 of 4 places; road: 3 of 5; grass neither is there nor was it answered.
    assert found["road"].iou == {"background": 2 / 4, "road": 3 / 5}
    assert accuracy(found, "road") == pytest.approx((2 / 4 + 3 / 5) / 2)
    assert figures(found)["miou"] == {"road": pytest.approx(0.55)}
    assert columns(figures(found)) == {"road, mIoU": pytest.approx(0.55)}
    [table] = sheets({"split": figures(found), "whole": figures({})})
    assert table.head == ["label", "split", "whole"] and table.rows == [["background", 0.5, None], ["road", 0.6, None]]


def test_at_the_truth_s_resolution_and_by_the_labels_names() -> None:
    answer = {"road": mask([[0, 0, 1, 1]] * 2)}
    found = pair(truth([[1, 0]], ("road", "background")), answer)
    assert found is not None and score([found])["road"].iou == {"background": 1.0, "road": 1.0}
    assert pair(Truth(), answer) is None and score([]) == {}
    nothing = pair(truth([[UNKNOWN]]), answer)
    assert nothing is not None and score([nothing]) == {}


def test_results_agree_with_themselves() -> None:
    answer = {"road": mask([[0, 1, 1, 1]])}
    found = pair(as_truth([TASK], answer), answer)
    assert found is not None and score([found])["road"].miou == 1


def test_labels_that_are_off_are_mistakes() -> None:
    answer = {"road": mask([[0, 0, 0, 1]])}
    assert find_mistakes(truth([[0, 0, 1, 1]]), answer) == {}
    assert find_mistakes(truth([[0, 1, 1, 1]]), answer) == {"road background off": 1, "road road off": 1}
    assert find_mistakes(Truth(), answer) == {}


def test_of_a_truth_counts_what_the_bundle_knows() -> None:
    known, skipped = truth([[0, 1]]), Counter[str]()
    assert labels_in(TASK, known) == set(TASK.labels) and labels_in(TASK, Truth()) == set()
    assert keep_known(known, [TASK], skipped) == known and not +skipped
    assert keep_known(truth([[0, 1]], ("sky", "water")), [TASK], skipped).masks == {}
    assert skipped == {"masks without a label that the bundle knows": 1}
    assert keep_known(known, [], Counter()).masks == {}


def test_a_table_for_people() -> None:
    results = [mask([[0, 1, 1, 1]])]
    found = pair(truth([[0, 0, 1, 1]]), {"road": results[0]})
    assert found is not None
    assert sheet(TASK, results, score([found])).rows == [
        ("background", 0.25, 0.5),
        ("road", 0.75, pytest.approx(2 / 3)),
        ("grass", 0.0, None),
        ("all", "", pytest.approx((0.5 + 2 / 3) / 2)),
    ]
    assert sheet(TASK, [], {}).rows[-1] == ("all", "", None)


def test_labels_are_coloured_and_the_truth_is_outlined() -> None:
    def draw(truth: Truth | None) -> np.ndarray:
        canvas = Canvas(np.full((80, 160, 3), 100, np.uint8), Letterbox((16, 8), (160, 80)), 1.0)
        numbers = np.zeros((8, 16), np.uint8)
        numbers[:, 4:8], numbers[:, 12:] = 1, 2
        core.draw(canvas, [TASK], {"road": Segmentation(TASK.labels, pack(numbers))}, truth)
        return canvas.picture

    plain = draw(None)
    colours = [plain[40, column].tolist() for column in (20, 60, 100, 140)]
    assert colours[0] == colours[2] == [100, 100, 100] and colours[1] != colours[3]
    assert [100, 100, 100] not in (colours[1], colours[3])
    outlined = draw(truth([[0, 0, 0, 1]]))
    assert (outlined[30:50, 115:125].max(axis=(1, 2)) > 180).all()
    assert np.array_equal(outlined[:, :100], plain[:, :100])
