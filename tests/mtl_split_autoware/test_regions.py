"""Detections as regions of whole pixels: none is lost, none is invented, and none moves by more than half a pixel."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_split_autoware.labels import Labels
from mtl_split_autoware.regions import UNKNOWN, Region, Regions, to_regions
from mtl_split_core.scene import Detections

LABELS = Labels({"car": 1, "pedestrian": 7}, frozenset({"traffic light"}))

edges = st.tuples(st.floats(0, 4000, width=32), st.floats(0, 4000, width=32)).map(sorted)
found = st.tuples(
    edges, edges, st.sampled_from(["car", "pedestrian", "traffic light", "sign", "kite"]), st.floats(0, 1, width=32)
)


def detections(*rows: tuple[list[float], str, float]) -> Detections:
    boxes, labels, scores = zip(*rows, strict=True) if rows else ((), (), ())
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), labels, np.array(scores, np.float32))


def test_every_detection_has_its_place() -> None:
    regions = to_regions(
        detections(
            ([10.4, 20.6, 30.4, 50.6], "car", 0.5),
            ([0, 0, 1280, 720], "pedestrian", 0.25),
            ([700, 100, 710, 130], "traffic light", 0.75),
            ([1, 1, 2, 2], "sign", 0.5),
            ([1, 1, 2, 2], "sign", 0.5),
        ),
        LABELS,
    )
    assert regions.objects == [Region(1, 0.5, 10, 21, 20, 30), Region(7, 0.25, 0, 0, 1280, 720)]
    assert regions.traffic_lights == [Region(UNKNOWN, 0.75, 700, 100, 10, 30)]
    assert regions.left_out == {"sign": 2}


def test_no_detections_are_no_regions() -> None:
    assert to_regions(detections(), LABELS) == Regions()


@pytest.mark.parametrize(
    ("box", "place"),
    [
        ([5.2, 5.2, 5.4, 5.4], (5, 5, 1, 1)),  # less than a pixel
        ([-3.0, -2.0, 4.0, 6.0], (0, 0, 4, 6)),  # beyond the picture's edge
        ([9.0, 9.0, 7.0, 7.0], (9, 9, 1, 1)),  # the corners in the wrong order
    ],
)
def test_a_region_is_always_one_that_a_message_can_carry(box: list[float], place: tuple[int, ...]) -> None:
    [region] = to_regions(detections((box, "car", 0.5)), LABELS).objects
    assert (region.x, region.y, region.width, region.height) == place


@given(st.lists(found, max_size=8))
def test_none_is_lost_and_none_moves(rows: list[tuple[list[float], list[float], str, float]]) -> None:
    regions = to_regions(detections(*(([x[0], y[0], x[1], y[1]], label, score) for x, y, label, score in rows)), LABELS)
    numbers = {"car": 1, "pedestrian": 7}
    for kept, expected in (
        (regions.objects, [row for row in rows if row[2] in numbers]),
        (regions.traffic_lights, [row for row in rows if row[2] == "traffic light"]),
    ):
        assert len(kept) == len(expected)
        for region, (x, y, label, score) in zip(kept, expected, strict=True):
            assert (region.number, region.score) == (numbers.get(label, UNKNOWN), score)
            for start, size, (low, high) in ((region.x, region.width, x), (region.y, region.height, y)):
                assert abs(start - low) <= 0.5 and size >= 1
                assert abs(start + size - high) <= 0.5 or size == 1
    assert len(rows) == len(regions.objects) + len(regions.traffic_lights) + regions.left_out.total()
