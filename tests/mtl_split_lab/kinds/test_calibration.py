"""After calibration a score is the share of such answers that are right, and the order of answers is the same."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_split_core.scene import Classification, Detections, Floats, Task, Truth
from mtl_split_lab.kinds import classification, detection
from mtl_split_lab.kinds.calibration import FEWEST, Flags, fit_logistic, logit

CARS = Task("detection", "detection", ("bus", "car"))
WEATHER = Task("weather", "classification", ("clear", "rainy", "foggy"))


def sigmoid(logits: np.ndarray) -> Floats:
    return (1 / (1 + np.exp(-logits))).astype(np.float32)


def test_scores_become_the_share_that_is_right() -> None:
    chance = np.random.default_rng(0)
    logits = chance.normal(-1, 2, 20_000)
    right = chance.random(20_000) < sigmoid(0.5 * logits - 1)
    fitted = fit_logistic(sigmoid(logits), right)
    assert fitted == pytest.approx((0.5, -1), abs=0.05)


@given(st.lists(st.tuples(st.floats(0, 1, width=32), st.booleans()), max_size=200))
def test_a_higher_score_stays_higher_whatever_is_right(answers: list[tuple[float, bool]]) -> None:
    scores = np.array([score for score, _ in answers], np.float32)
    right = np.array([flag for _, flag in answers], np.bool_)
    fitted = fit_logistic(scores, right)
    assert (fitted is None) == (min(right.sum(), (~right).sum()) < FEWEST)
    if fitted is not None:
        assert np.isfinite(fitted).all() and fitted[0] > 0


def pictures(count: int, right: Flags, score: float, label: str) -> list[tuple[Truth, Detections]]:
    """One object each, and one detection, on it where `right` says so."""
    box, elsewhere = np.array([[10, 10, 50, 50]], np.float32), np.array([[200, 10, 240, 50]], np.float32)
    one, no = np.ones(1, np.float32), np.zeros(1, np.bool_)
    return [
        (
            Truth(box, (label,), one, no, labelled=frozenset({"car"})),
            Detections(box if right[number] else elsewhere, (label,), np.array([score], np.float32)),
        )
        for number in range(count)
    ]


def test_a_label_that_is_seldom_there_is_corrected_as_all_are() -> None:
    right = np.arange(100) % 4 == 0
    answered = pictures(100, right, 0.75, "car")
    found = detection.calibrate(CARS, answered)
    corrected = sigmoid(found.scale * logit(np.array([0.75, 0.75], np.float32)) + found.offset)
    np.testing.assert_allclose(corrected, 0.25, atol=0.05)


def test_what_is_not_labelled_says_nothing() -> None:
    answered = pictures(100, np.zeros(100, np.bool_), 0.75, "bus")
    found = detection.calibrate(CARS, answered)
    assert found.scale.tolist() == [1, 1] and found.offset.tolist() == [0, 0]


def test_probabilities_that_are_too_sure_become_less_so() -> None:
    scores = np.array([0.98, 0.01, 0.01], np.float32)
    truths = ["clear", "clear", "rainy", "clear", "foggy"] * 20
    answered = [(Truth(classes={"weather": label}), Classification(WEATHER.labels, scores)) for label in truths]
    found = classification.calibrate(WEATHER, [*answered, (Truth(), answered[0][1])])
    softened = np.exp(found.scale * np.log(scores))
    assert softened[0] / softened.sum() == pytest.approx(0.6, abs=0.02)
    assert np.ptp(found.scale) == 0 and not found.offset.any()
    assert classification.calibrate(WEATHER, []).scale.tolist() == [1, 1, 1]
