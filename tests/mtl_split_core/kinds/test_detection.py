"""Non-maximum suppression keeps the best box of a label, and nothing beside the picture is a detection."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mtl_split_core.geometry import Letterbox
from mtl_split_core.kinds.detection import MOST_CANDIDATES, MOST_DETECTIONS, result, suppress, to_picture
from mtl_split_core.scene import Detections, Floats, Task


def test_of_boxes_with_one_label_that_overlap_the_best_is_kept() -> None:
    chance = np.random.default_rng(0)
    corners = chance.uniform(-50, 500, (200, 2))
    boxes = np.concatenate([corners, corners + chance.uniform(20, 200, (200, 2))], axis=1).astype(np.float32)
    scores = chance.uniform(0, 1, (200, 3)).astype(np.float32)
    found = suppress(("car", "bus", "truck"), boxes, scores, 0.3, 0.4)
    assert len(found.scores) > 20 and (np.diff(found.scores) <= 0).all()
    expected = []
    for index, label in enumerate(("car", "bus", "truck")):
        kept: list[int] = []
        for one in np.argsort(-scores[:, index]):
            if scores[one, index] >= 0.3 and all(overlap(boxes[one], boxes[other]) <= 0.4 for other in kept):
                kept.append(one)
        expected += [(label, float(scores[one, index]), tuple(boxes[one])) for one in kept]
    assert sorted(expected) == sorted(zip(found.labels, map(float, found.scores), map(tuple, found.boxes), strict=True))


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 0.7, 1.0])
def test_a_score_equal_to_the_threshold_is_kept(threshold: float) -> None:
    """As documented, it is the lowest score of a result."""
    boxes = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]], np.float32)
    scores = np.array([[threshold], [threshold], [np.nextafter(np.float32(threshold), np.float32(-1))]], np.float32)
    found = suppress(("car",), boxes, scores, threshold, 0.4)
    np.testing.assert_array_equal(found.boxes, boxes[:2])
    assert found.scores.tolist() == scores[:2, 0].tolist()


def test_of_many_candidates_the_best_are_looked_at() -> None:
    """Of equal ones, the first."""
    corners = np.stack([np.arange(MOST_CANDIDATES * 2) * 10.0, np.zeros(MOST_CANDIDATES * 2)], axis=1)
    boxes = np.concatenate([corners, corners + 5], axis=1).astype(np.float32)
    scores = np.full((len(boxes), 1), 0.5, np.float32)
    scores[-1] = 0.75
    found = suppress(("car",), boxes, scores, 0.5, 0.4)
    np.testing.assert_array_equal(found.boxes, np.concatenate([boxes[-1:], boxes[: MOST_DETECTIONS - 1]]))
    nothing = suppress(("car",), boxes, scores, 0.8, 0.4)
    assert nothing.boxes.shape == (0, 4) and nothing.labels == () and nothing.scores.shape == (0,)


def overlap(one: Floats, other: Floats) -> float:
    sides = np.clip(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0, None)
    areas = [(box[2:] - box[:2]).prod() for box in (one, other)]
    return float(sides.prod() / (sum(areas) - sides.prod()))


def test_boxes_are_mapped_clipped_and_left_out_beside_the_picture() -> None:
    """A square picture in the middle of an input that is twice as wide."""
    boxes = np.array([[40, 10, 60, 20], [20, 10, 40, 20], [2, 10, 20, 20]], np.float32)
    found = to_picture(
        Detections(boxes, ("car", "bus", "truck"), np.array([0.9, 0.8, 0.7], np.float32)),
        Letterbox((100, 100), (100, 50)),
    )
    assert found.boxes.tolist() == [[30, 20, 70, 40], [0, 20, 30, 40]]
    assert found.labels == ("car", "bus") and found.scores.tolist() == np.array([0.9, 0.8], np.float32).tolist()


def test_of_too_many_boxes_the_best_are_kept() -> None:
    count = 2 * MOST_DETECTIONS
    boxes = np.array([[20 * place, 0, 20 * place + 10, 10] for place in range(count)], np.float32)
    scores = np.random.default_rng(0).permutation(np.linspace(0.3, 0.9, count, dtype=np.float32))
    found = suppress(("car",), boxes, scores[:, None], 0.1, 0.5)
    assert found.scores.tolist() == sorted(scores.tolist(), reverse=True)[:MOST_DETECTIONS]


FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(arrays(np.float32, (12, 4), elements=FINITE), arrays(np.float32, (12, 2), elements=FINITE), st.floats(0, 1))
def test_whatever_finite_numbers_the_network_gives_boxes_are_in_the_picture(
    boxes: Floats, scores: Floats, threshold: float
) -> None:
    task = Task("detection", "detection", ("car", "bus"))
    outputs = {"detection.boxes": boxes[None], "detection.scores": scores[None]}
    found = to_picture(result(task, outputs, threshold, 0.5), Letterbox((1280, 720), (512, 288)))
    assert np.isfinite(found.boxes).all() and np.isfinite(found.scores).all()
    assert (found.boxes >= 0).all() and (found.boxes <= (1280, 720, 1280, 720)).all()
    assert (found.boxes[:, :2] < found.boxes[:, 2:]).all()
