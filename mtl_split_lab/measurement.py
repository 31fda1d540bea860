"""What a bundle achieves on pictures whose truth is known, through both of its halves as the nodes run them."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from mtl_split_core.bundle import Bundle
from mtl_split_core.halves import EdgeHalf, ServerHalf
from mtl_split_core.scene import Classification, Detections, Image, Truth
from mtl_split_lab.evaluation import score_classification, score_detections


def measure(bundle: Bundle, pictures: Iterable[tuple[Image, Truth]]) -> dict[str, Any]:
    """Return accuracy and payload bytes over some pictures, ready for JSON.

    map, map50, ap50 by label and accuracy by classification task, all 0 to 1; bytes per frame; how many pictures.
    """
    edge, server = EdgeHalf(bundle), ServerHalf(bundle)
    sizes: list[int] = []
    detections: list[tuple[Truth, Detections]] = []
    classes: dict[str, list[tuple[str, str]]] = {}
    for image, truth in pictures:
        payload = edge.encode(image)
        sizes.append(len(payload))
        for task, result in server.decode(payload, (image.shape[1], image.shape[0])).items():
            if isinstance(result, Detections):
                detections.append((truth, result))
            elif isinstance(result, Classification) and task in truth.classes:
                classes.setdefault(task, []).append((truth.classes[task], result.best))
    score = score_detections([truth for truth, _ in detections], [result for _, result in detections])
    return {
        "pictures": len(sizes),
        "map50": round(score.map50, 4),
        "map": round(score.map, 4),
        "ap50": {label: round(value, 4) for label, value in score.ap50.items()},
        "classification": {
            task: round(
                score_classification([truth for truth, _ in pairs], [answer for _, answer in pairs]).accuracy, 4
            )
            for task, pairs in classes.items()
        },
        "bytes_per_frame": {"median": float(np.median(sizes)), "max": max(sizes)},
    }
