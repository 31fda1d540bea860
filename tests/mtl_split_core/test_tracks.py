"""An object keeps its identity over lost, late and doubtful frames, and nothing else of a result changes."""

import sys
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mtl_split_core.byte_track import MEMORY, MOST_FOLLOWED, MOST_TRACKS, ByteTracker
from mtl_split_core.errors import InputError
from mtl_split_core.kinds.detection import suppress
from mtl_split_core.scene import Classification, Detections, Task
from mtl_split_core.tracks import BYTETRACK, NONE, Tracks, needed_score

TASKS = (Task("detection", "detection", ("car", "truck")), Task("light", "classification", ("day", "night")))
FRAME = 10**9 // 15
"""Nanoseconds between two frames."""

CAR = (100.0, 200.0, 180.0, 250.0)
OTHER = (600.0, 210.0, 660.0, 260.0)


def found(*objects: tuple[Sequence[float], str, float]) -> Detections:
    """Detections of (box, label, score), best first."""
    boxes, labels, scores = zip(*objects, strict=True) if objects else ((), (), ())
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), tuple(labels), np.array(scores, np.float32))


def tracks(threshold: float = 0.3) -> Tracks:
    return Tracks(TASKS, BYTETRACK, threshold)


def moved(box: Sequence[float], frames: float) -> tuple[float, ...]:
    """Where a box is that moves by 6 pixels per frame."""
    return (box[0] + 6 * frames, box[1], box[2] + 6 * frames, box[3])


def ids(of: Tracks, frame: float, *objects: tuple[Sequence[float], str, float]) -> tuple[str, ...]:
    result: Detections = of.follow({"detection": found(*objects)}, 10**18 + round(frame * FRAME))["detection"]
    return result.ids


def test_an_identity_is_kept_over_lost_frames_other_labels_and_low_scores() -> None:
    own = tracks()
    first = ids(own, 0, (CAR, "car", 0.9), (OTHER, "car", 0.8))
    assert first == ("1000000000000-1", "1000000000000-2")
    for frame in range(1, 8):
        assert ids(own, frame, (moved(CAR, frame), "car", 0.9), (OTHER, "car", 0.8)) == first
    assert ids(own, 8, (moved(CAR, 8), "truck", 0.9), (OTHER, "car", 0.8)) == first
    assert ids(own, 9, (OTHER, "car", 0.8), (moved(CAR, 9), "car", 0.2)) == first[1:]  # 0.2 is not wanted
    assert ids(own, 10, (OTHER, "car", 0.8), (moved(CAR, 10), "car", 0.31)) == first[::-1]
    assert ids(own, 11) == ()
    # 0.6 s were lost, and it has moved by more than its width.
    assert ids(own, 20, (moved(CAR, 20), "car", 0.9), (OTHER, "car", 0.8)) == first
    third = (300.0, 300.0, 350.0, 340.0)
    assert ids(own, 21, (OTHER, "car", 0.9), (moved(CAR, 21), "car", 0.8), (third, "car", 0.5)) == (
        *first[::-1],
        "1000000000000-3",
    )


def test_frames_are_not_what_counts_but_the_time_between_them() -> None:
    """At any rate, and with frames lost at random, the same object is the same."""
    chance = np.random.default_rng(0)
    for kept in (1.0, 0.6, 0.3):
        own = tracks()
        seen = {ids(own, frame, (moved(CAR, frame), "car", 0.9)) for frame in range(90) if chance.random() < kept}
        assert len(seen) == 1


def test_what_is_doubtful_and_not_known_has_no_identity() -> None:
    own = tracks()
    assert ids(own, 0, (CAR, "car", 0.9), (OTHER, "car", 0.4)) == ("1000000000000-1", "")


def test_late_frames_change_nothing_and_a_clock_that_jumps_back_is_a_beginning() -> None:
    own = tracks()
    first = ids(own, 0, (CAR, "car", 0.9))
    assert ids(own, 3, (CAR, "car", 0.9)) == first
    assert ids(own, 2, (CAR, "car", 0.9)) == ("",)
    assert ids(own, 4, (CAR, "car", 0.9)) == first
    assert ids(own, 4, (CAR, "car", 0.9)) == first  # a camera without stamps of its own
    second = ids(own, -100, (CAR, "car", 0.9))
    third = ids(own, -50, (CAR, "car", 0.9))  # long after that
    assert len({first, second, third, ids(own.anew(), -49, (CAR, "car", 0.9))}) == 4
    assert ids(own, -49, (CAR, "car", 0.9)) == third


def test_vehicles_share_nothing() -> None:
    one, other, alone = tracks(), tracks(), tracks()
    for frame in range(5):
        mine = ids(one, frame, (moved(CAR, frame), "car", 0.9))
        ids(other, frame, (OTHER, "car", 0.9), (moved(CAR, -frame), "car", 0.8))
        assert mine == ids(alone, frame, (moved(CAR, frame), "car", 0.9))


def test_without_tracking_results_stay_as_they_are() -> None:
    results = {"detection": found((CAR, "car", 0.01)), "light": Classification(("day",), np.ones(1, np.float32))}
    for tracking in (NONE, BYTETRACK):
        followed = Tracks(TASKS, tracking, 0.0).follow(results, 0)
        assert followed["light"] is results["light"]
        assert (followed["detection"] is results["detection"]) == (tracking == NONE)
    assert needed_score(NONE, 0.3) == 0.3 and needed_score(BYTETRACK, 0.05) == 0.05
    assert needed_score(BYTETRACK, 0.3) == 0.1


corners = arrays(np.float32, (12, 2, 2), elements=st.integers(0, 300).map(float))
scores = arrays(np.float32, (12, 2), elements=st.integers(0, 20).map(lambda part: np.float32(part / 20)))


@given(frames=st.lists(st.tuples(corners, scores), min_size=1, max_size=6), threshold=st.sampled_from([0.05, 0.3, 0.9]))
def test_only_identities_are_added_and_they_depend_on_no_threshold(
    frames: list[tuple[np.ndarray, np.ndarray]], threshold: float
) -> None:
    """As published with tracking, as without, and as offline, where every score counts."""
    published, offline = tracks(threshold), tracks(0.05)
    labels = TASKS[0].labels
    for number, (pairs, score) in enumerate(frames):
        boxes = np.sort(pairs, axis=1).reshape(-1, 4) + np.array([0, 0, 1, 1], np.float32)
        plain = suppress(labels, boxes, score, threshold, 0.6)
        wide = suppress(labels, boxes, score, needed_score(BYTETRACK, threshold), 0.6)
        result = published.follow({"detection": wide}, number * FRAME)["detection"]
        np.testing.assert_array_equal(result.boxes, plain.boxes)
        np.testing.assert_array_equal(result.scores, plain.scores)
        assert result.labels == plain.labels and len(result.ids) == len(result.labels)
        known = [one for one in result.ids if one]
        assert len(set(known)) == len(known)
        every = offline.follow({"detection": suppress(labels, boxes, score, 0.05, 0.6)}, number * FRAME)["detection"]
        assert result.ids == every.take(np.flatnonzero(every.scores >= threshold)).ids


def test_another_score_threshold_changes_no_identity() -> None:
    own = tracks(0.3)
    strong, weak = (CAR, "car", 0.9), (OTHER, "car", 0.5)
    first = ids(own, 0, strong, weak)
    assert len(first) == 2
    own.score_threshold = 0.8
    assert ids(own, 1, strong, weak) == first[:1]
    own.score_threshold = 0.3
    assert ids(own, 2, strong, weak) == first
    own.score_threshold = 0.8
    assert own.anew().score_threshold == 0.8 and len(ids(own.anew(), 3, strong, weak)) == 1


@given(stamps=st.lists(st.integers(-(2**31) * 10**9, 2**32 * 10**9), max_size=20))
def test_any_stamps(stamps: list[int]) -> None:
    own = tracks()
    for stamp in stamps:
        result = own.follow({"detection": found((CAR, "car", 0.9))}, stamp)["detection"]
        assert len(result.ids) == 1


def test_what_is_remembered_is_bounded() -> None:
    chance = np.random.default_rng(0)
    tracker = ByteTracker(0.0, lambda: "one")
    for frame in range(20):
        left_top = chance.uniform(0, 8000, (400, 2))
        boxes = np.concatenate([left_top, left_top + chance.uniform(1e-3, 90, (400, 2))], axis=1).astype(np.float32)
        result = tracker.follow(Detections(boxes, ("car",) * 400, np.full(400, 0.9, np.float32)), frame * FRAME)
        assert result.ids.count("one") == MOST_FOLLOWED
        assert len(tracker._seen) <= MOST_TRACKS + MOST_FOLLOWED
    tracker.follow(found(), 20 * FRAME + MEMORY + 1)
    assert not tracker._seen


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "edgefirst.tracker", None)
    with pytest.raises(InputError, match=r"tracking is 'bytetrack', which needs edgefirst-tracker, .* pip install"):
        tracks()
    Tracks(TASKS, NONE, 0.3)
