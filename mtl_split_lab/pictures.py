"""Labelled pictures in BDD100K's format: a folder `images` and a JSON file of labels beside it."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mtl_split_core.errors import InputError
from mtl_split_core.scene import Image, Truth

LABELS = "labels.json"


@dataclass(frozen=True)
class LabelledPicture:
    """One picture's file and what is really in it."""

    path: Path
    truth: Truth

    def read(self) -> Image:
        """Read the picture: uint8 (height, width, 3) blue-green-red. Raises InputError for a damaged file."""
        image = cv2.imread(str(self.path), cv2.IMREAD_COLOR)
        if image is None:
            raise InputError(f"{self.path} is no readable picture")
        return np.asarray(image, np.uint8)


def read_pictures(labels: Path) -> list[LabelledPicture]:
    """Read a JSON file of labels whose pictures lie in the folder `images` beside it."""
    entries = json.loads(labels.read_text())
    return [LabelledPicture(labels.parent / "images" / entry["name"], _parse(entry)) for entry in entries]


def write_labels(labels: Path, truths: Iterable[tuple[str, Truth]]) -> None:
    """Write the labels of pictures, given as file names and truths."""
    labels.write_text(json.dumps([_format(name, truth) for name, truth in truths]))


def _parse(entry: dict[str, Any]) -> Truth:
    objects = [label for label in entry.get("labels") or () if "box2d" in label]
    corners = [[label["box2d"][key] for key in ("x1", "y1", "x2", "y2")] for label in objects]
    attributes = [label.get("attributes", {}) for label in objects]
    labelled = entry.get("labelled")
    return Truth(
        boxes=np.array(corners, np.float32).reshape(-1, 4),
        labels=tuple(label["category"] for label in objects),
        visible=np.array([attribute.get("visible", 1.0) for attribute in attributes], np.float32),
        ignore=np.array([attribute.get("ignore", False) for attribute in attributes], np.bool_),
        classes={task: label for task, label in entry.get("attributes", {}).items() if label != "undefined"},
        labelled=None if labelled is None else frozenset(labelled),
    )


def _format(name: str, truth: Truth) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": name, "attributes": truth.classes, "labels": []}
    for box, label, visible, ignore in zip(truth.boxes, truth.labels, truth.visible, truth.ignore, strict=True):
        corners = dict(zip(("x1", "y1", "x2", "y2"), np.round(box.astype(float), 2).tolist(), strict=True))
        attributes = {"visible": round(float(visible), 3), "ignore": bool(ignore)}
        entry["labels"].append({"category": label, "attributes": attributes, "box2d": corners})
    if truth.labelled is not None:
        entry["labelled"] = sorted(truth.labelled)
    return entry
