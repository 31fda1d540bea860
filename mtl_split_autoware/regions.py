"""Detections as Autoware wants them: regions of whole pixels with the number of a class, traffic lights apart."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from mtl_split_autoware.labels import Labels
from mtl_split_core.scene import Detections

UNKNOWN = 0
"""The class of traffic lights, which ObjectClassification has none for; Autoware looks at their regions alone."""


@dataclass(frozen=True)
class Region:
    """A detection: the number of its class, its score, 0 to 1, and its place in whole pixels of the original picture.

    x and y are those of the upper left corner and at least 0, width and height are at least 1.
    """

    number: int
    score: float
    x: int
    y: int
    width: int
    height: int


@dataclass
class Regions:
    """What becomes of one picture's detections; left_out: how many have a label that is not in the map, by label."""

    objects: list[Region] = field(default_factory=list)
    traffic_lights: list[Region] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def to_regions(detections: Detections, labels: Labels) -> Regions:
    """Sort detections by what their labels are in Autoware, each part in the order of the detections.

    A region begins and ends at the whole pixel that is nearest to the box's edge, inside the picture on the left and
    at the top. It has at least one pixel, as Autoware takes one of none for something not found.
    """
    regions = Regions()
    edges = np.rint(np.maximum(detections.boxes, 0)).astype(int)
    sizes = np.maximum(edges[:, 2:] - edges[:, :2], 1)
    places = np.concatenate([edges[:, :2], sizes], axis=1).tolist()
    for label, score, place in zip(detections.labels, detections.scores.tolist(), places, strict=True):
        if label in labels.objects:
            regions.objects.append(Region(labels.objects[label], score, *place))
        elif label in labels.traffic_lights:
            regions.traffic_lights.append(Region(UNKNOWN, score, *place))
        else:
            regions.left_out[label] += 1
    return regions
