"""Figures of tracking computed by hand come out, and what is not to count does not."""

from dataclasses import replace

import numpy as np
import pytest

from mtl_split_core.scene import Detections, Truth
from mtl_split_lab.kinds.detection import columns, figures, join, score
from mtl_split_lab.kinds.identities import IdentityScore, score_identities

BOXES = np.array([[0, 0, 20, 20], [100, 0, 120, 20]], np.float32)
TRUTH = Truth(BOXES, ("car", "bus"), np.ones(2, np.float32), np.zeros(2, np.bool_), ids=("a", "b"))


def found(*ids: str, score: float = 0.9) -> Detections:
    return Detections(BOXES[: len(ids)], ("car", "bus")[: len(ids)], np.full(len(ids), score, np.float32), ids)


def test_what_is_followed_without_a_mistake() -> None:
    assert score_identities([(TRUTH, found("1", "2"))] * 4, 0.3) == IdentityScore(1.0, 1.0, 1.0, 1.0, 0)


def test_identities_that_are_exchanged_halfway() -> None:
    result = score_identities([(TRUTH, found("1", "2"))] * 2 + [(TRUTH, found("2", "1"))] * 2, 0.3)
    assert result is not None and result.idf1 == 0.5 and result.deta == 1.0 and result.switches == 2
    # Each of two objects shares two frames with each of two tracks: 2 / (4 + 4 - 2).
    assert result.assa == pytest.approx(1 / 3) and result.hota == pytest.approx(np.sqrt(1 / 3))


def test_objects_missed_and_tracks_of_nothing() -> None:
    missed = score_identities([(TRUTH, found("1"))] * 4, 0.3)
    assert missed is not None and missed.idf1 == pytest.approx(2 * 4 / (8 + 4))
    elsewhere = Detections(BOXES + 400, ("car", "bus"), np.ones(2, np.float32), ("3", "4"))
    more = score_identities([(TRUTH, join([found("1", "2"), elsewhere]))] * 4, 0.3)
    assert more is not None and more.idf1 == pytest.approx(2 * 8 / (8 + 16))


@pytest.mark.parametrize(
    ("truth", "detections"),
    [
        (replace(TRUTH, ignore=np.array([False, True])), found("1", "2")),  # and so is what lies in it
        (replace(TRUTH, ids=("a", "")), found("1", "2")),
        (replace(TRUTH, labelled=frozenset({"car"})), found("1", "2")),
        (Truth(BOXES[:1], ("bus",), np.ones(1, np.float32), np.zeros(1, np.bool_), ids=("a",)), found("1")),
        (replace(TRUTH, ignore=np.array([False, True])), found("1", "")),  # not followed
        (replace(TRUTH, ignore=np.array([False, True])), join([found("1"), found("2", "3", score=0.2)])),  # not shown
    ],
)  # fmt: skip
def test_what_does_not_count(truth: Truth, detections: Detections) -> None:
    assert score_identities([(truth, detections)] * 3, 0.3) == IdentityScore(1.0, 1.0, 1.0, 1.0, 0)


def test_without_identities_there_are_no_figures() -> None:
    unknown = replace(TRUTH, ids=())
    for truth, detections in ((unknown, found("1", "2")), (TRUTH, replace(found("1", "2"), ids=()))):
        assert score_identities([(truth, detections)], 0.3) is None
        assert "tracking" not in figures(score([(truth, detections)]))
    assert score_identities([(replace(TRUTH, ignore=np.ones(2, np.bool_)), found("1", "2"))], 0.3) is None
    assert score_identities([], 0.3) is None
    known = figures(score([(TRUTH, found("1", "2"))]))
    assert known["tracking"] == {"idf1": 1.0, "hota": 1.0, "deta": 1.0, "assa": 1.0, "switches": 0}
    assert columns(known)["IDF1"] == columns(known)["HOTA"] == 1.0
