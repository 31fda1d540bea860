"""What a bundle achieves on pictures whose truth is known, through both of its halves as the nodes run them."""

import logging
from collections.abc import Iterable
from typing import Any

import numpy as np

from mtl_split_core.bundle import Bundle
from mtl_split_core.errors import InputError
from mtl_split_core.halves import EdgeHalf, ServerHalf
from mtl_split_core.scene import Classification, Detections, Results, Truth
from mtl_split_lab.scoring.evaluation import (
    ClassificationScore,
    DetectionScore,
    join,
    score_classification,
    score_detections,
)
from mtl_split_lab.scoring.frames import Frame

SPREAD = {"median": 50, "p98": 98, "p99": 99, "max": 100}
"""Names of percentiles."""


class Measurement:
    """Results of pictures, as they come, and how many bytes each took."""

    def __init__(self) -> None:
        """Begin with none."""
        self._sizes: list[int] = []
        self._detections: list[tuple[Truth, Detections]] = []
        self._classes: dict[str, list[tuple[str, str]]] = {}

    @property
    def frames(self) -> int:
        """How many were added."""
        return len(self._sizes)

    def add(self, truth: Truth, size: int, results: Results) -> None:
        """Add one picture's."""
        self._sizes.append(size)
        found = [result for result in results.values() if isinstance(result, Detections)]
        if found and truth.labelled != frozenset():
            self._detections.append((truth, join(found)))
        for task, result in results.items():
            if isinstance(result, Classification) and task in truth.classes:
                self._classes.setdefault(task, []).append((truth.classes[task], result.best))

    def detection(self) -> DetectionScore:
        """Score all detections."""
        return score_detections([truth for truth, _ in self._detections], [found for _, found in self._detections])

    def classification(self) -> dict[str, ClassificationScore]:
        """Score every classification task that there is a truth of."""
        return {task: score_classification(*zip(*pairs, strict=True)) for task, pairs in self._classes.items()}

    def summary(self) -> dict[str, Any]:
        """Return accuracy and bytes, ready for JSON.

        map, map50 (None without an object to be found), the latter by size (COCO's: below 32 x 32 pixels, up to 96 x
        96, larger) and by label, accuracy by classification task, all 0 to 1, and how often which true label was
        answered as which; bytes per frame; how many frames.
        """
        score, classes = self.detection(), self.classification()
        maps = {"map50": score.map50, "map": score.map}
        return {
            "frames": self.frames,
            "bytes": {name: float(np.percentile(self._sizes or [0], share)) for name, share in SPREAD.items()},
            **{name: round(value, 4) if score.ap50 else None for name, value in maps.items()},
            "map50_by_size": {size: round(value, 4) for size, value in score.map50_by_size.items()},
            "ap50": {label: round(value, 4) for label, value in score.ap50.items()},
            "classification": {task: round(answers.accuracy, 4) for task, answers in classes.items()},
            "confusion": {task: answers.confusion for task, answers in classes.items()},
        }


def measure(bundle: Bundle, frames: Iterable[Frame]) -> dict[str, Any]:
    """Measure a bundle at its default operating point; see Measurement.summary. Damaged frames are left out."""
    edge, server = EdgeHalf(bundle), ServerHalf(bundle)
    measurement = Measurement()
    for frame in frames:
        try:
            image = frame.read()
        except InputError as error:
            logging.warning("left out: %s", error)
            continue
        payload = edge.encode(image).payload
        measurement.add(frame.truth, len(payload), server.decode(payload, (image.shape[1], image.shape[0])))
    return measurement.summary()
