"""Scores: the right count fully, the ignored and the unlabelled not at all, and figures computed by hand come out."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_split_core.scene import Detections, Task, Truth
from mtl_split_lab.kinds.average_precision import DetectionScore
from mtl_split_lab.kinds.detection import SHOWN_SCORE, as_truth, find_mistakes, score

CAR = (10, 10, 50, 40)
BUS = (100, 20, 180, 90)


def truth(*objects: tuple[tuple[float, ...], str], ignored: int = 0) -> Truth:
    """A truth of (box, label) pairs, the last `ignored` of which are to be ignored."""
    count = len(objects)
    return Truth(
        boxes=np.array([box for box, _ in objects], np.float32).reshape(-1, 4),
        labels=tuple(label for _, label in objects),
        visible=np.ones(count, np.float32),
        ignore=np.arange(count) >= count - ignored,
    )


def detections(*objects: tuple[tuple[float, ...], str, float]) -> Detections:
    """Detections of (box, label, score) triples."""
    return Detections(
        boxes=np.array([box for box, _, _ in objects], np.float32).reshape(-1, 4),
        labels=tuple(label for _, label, _ in objects),
        scores=np.array([score for _, _, score in objects], np.float32),
    )


def score_all(truths: Sequence[Truth], found: Sequence[Detections]) -> DetectionScore:
    return score(list(zip(truths, found, strict=True)))


boxes = st.tuples(st.integers(0, 500), st.integers(0, 300), st.integers(2, 200), st.integers(2, 200)).map(
    lambda box: (box[0], box[1], box[0] + box[2], box[1] + box[3])
)
pictures = st.lists(
    st.lists(st.tuples(boxes, st.sampled_from(["car", "bus", "rider"])), unique_by=lambda item: item, max_size=5),
    min_size=1,
    max_size=4,
).filter(any)


@given(pictures)
def test_perfect_detections_score_one(pictures: list[list[tuple[tuple[float, ...], str]]]) -> None:
    scored = score_all(
        [truth(*objects) for objects in pictures],
        [detections(*((box, label, 0.9) for box, label in objects)) for objects in pictures],
    )
    assert scored.map == pytest.approx(1)
    assert scored.map50 == pytest.approx(1)
    assert scored.ap50 == pytest.approx({label: 1 for objects in pictures for _, label in objects})


@given(pictures)
def test_results_agree_with_themselves(pictures: list[list[tuple[tuple[float, ...], str]]]) -> None:
    """Detections that are not shown are no objects of the reference."""
    task = Task("detection", "detection", ("car", "bus", "rider"))
    faint = ((0, 0, 7, 7), "car", SHOWN_SCORE / 2)
    found = [detections(*((box, label, 0.9) for box, label in objects), faint) for objects in pictures]
    references = [as_truth([task], {"detection": one}) for one in found]
    assert score_all(references, found).map == pytest.approx(1)
    assert [len(reference.labels) for reference in references] == [len(objects) for objects in pictures]
    pairs = zip(references, found, strict=True)
    assert not any(find_mistakes(reference, {"detection": one}) for reference, one in pairs)
    assert as_truth([task], {}).labelled == frozenset()


def test_nothing_found_scores_zero_and_nothing_to_find_scores_no_label() -> None:
    assert score_all([truth((CAR, "car"))], [detections()]).ap50 == {"car": 0}
    assert score_all([truth()], [detections((CAR, "car", 0.9))]).ap50 == {}


def test_an_ignored_object_neither_rewards_nor_punishes() -> None:
    objects = [truth((CAR, "car"), (BUS, "car"), ignored=1)]
    found = score_all(objects, [detections((CAR, "car", 0.8), (BUS, "car", 0.9))])
    missed = score_all(objects, [detections((CAR, "car", 0.8))])
    assert found == missed
    assert found.map == pytest.approx(1)


def test_a_label_that_has_only_ignored_objects_is_left_out() -> None:
    objects = [truth((CAR, "car"), (BUS, "bus"), ignored=1)]
    assert score_all(objects, [detections((CAR, "car", 0.8))]).ap50 == pytest.approx({"car": 1})


def test_detections_of_unlabelled_categories_do_not_count() -> None:
    everything = truth((CAR, "car"), (BUS, "bus"))
    only_cars = replace(truth((CAR, "car")), labelled=frozenset({"car"}))
    right = detections((CAR, "car", 0.8), (BUS, "bus", 0.8))
    wrong_bus = detections((CAR, "car", 0.8), (CAR, "bus", 0.9))
    assert score_all([everything, only_cars], [right, wrong_bus]).map == pytest.approx(1)
    assert score_all([everything, truth((CAR, "car"))], [right, wrong_bus]).ap50["bus"] == pytest.approx(0.5)


def test_a_small_example_agrees_with_the_hand() -> None:
    # Two cars; by falling score a hit, a miss, a hit: precision 1 up to recall 0.5 and 2/3 from there to 1.
    # COCO samples recall at 0, 0.01, ... 1: 51 samples of 1 and 50 of 2/3.
    far = (300, 300, 340, 340)
    objects = [truth((CAR, "car"), (BUS, "car"))]
    found = [detections((CAR, "car", 0.9), (far, "car", 0.8), (BUS, "car", 0.7))]
    assert score_all(objects, found).ap50["car"] == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_overlap_counts_from_one_half_to_95_percent_in_steps_of_5() -> None:
    # The box covers 72 of 100 columns: right at 0.50, 0.55, 0.60, 0.65 and 0.70, wrong at the five above.
    scored = score_all([truth(((0, 0, 100, 10), "car"))], [detections(((0, 0, 72, 10), "car", 0.9))])
    assert scored.map50 == pytest.approx(1)
    assert scored.map == pytest.approx(0.5)


def test_scoring_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    score_all([truth((CAR, "car"))], [detections((CAR, "car", 0.9))])
    assert capsys.readouterr() == ("", "")


def test_sizes_are_scored_on_their_own() -> None:
    small, large = (0, 0, 20, 20), (100, 100, 300, 300)
    objects = [truth((small, "car"), (large, "car"), (large, "bus"))]
    found = [detections((large, "car", 0.9), (large, "bus", 0.8))]
    scored = score_all(objects, found)
    assert scored.map50_by_size == pytest.approx({"small": 0, "large": 1})
    assert scored.map50 == pytest.approx((51 / 101 + 1) / 2)


def test_mistakes_of_a_frame() -> None:
    small = (CAR[0], CAR[1], CAR[0] + 4, CAR[1] + 4)
    objects = truth((CAR, "car"), (BUS, "bus"))
    for found, mistakes in (
        (detections((CAR, "car", 0.8), (BUS, "bus", 0.9)), {}),
        (detections((CAR, "car", 0.8), (BUS, "bus", 0.1)), {"missed bus": 1}),
        (detections((CAR, "car", 0.8), (CAR, "car", 0.7), (BUS, "bus", 0.9)), {"false car": 1}),  # found twice
        (detections((CAR, "bus", 0.8), (BUS, "bus", 0.9)), {"missed car": 1, "false bus": 1}),
        (detections(), {"missed car": 1, "missed bus": 1}),
    ):
        assert find_mistakes(objects, {"detection": found}) == mistakes
    ignored = truth((BUS, "bus"), (CAR, "car"), ignored=1)
    for found, mistakes in (
        (detections((small, "car", 0.8), (BUS, "bus", 0.9)), {}),  # inside what is to be ignored
        (detections((small, "bus", 0.8), (BUS, "bus", 0.9)), {"false bus": 1}),
    ):
        assert find_mistakes(ignored, {"detection": found}) == mistakes
    only_cars = replace(objects, labelled=frozenset({"car"}))
    assert not find_mistakes(only_cars, {"detection": detections((CAR, "car", 0.8), (CAR, "bus", 0.9))})
