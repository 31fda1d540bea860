"""Pictures of the simulated street for training and evaluation, drawn once and kept in a folder in BDD100K's format."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
from tqdm import tqdm

from mtl_split_camera.street import DRIVABLE, LANE_MARKINGS, Street
from mtl_split_core.geometry import Letterbox
from mtl_split_core.label_map import pack, to_input
from mtl_split_core.scene import Image, Size, Truth
from mtl_split_lab.data.pictures import IMAGES, LABELS, MASKS, write_labels, write_picture

MASK_LABELS = {"drivable": DRIVABLE, "lane_markings": LANE_MARKINGS}
"""By segmentation task, whose masks are in the folder of its name."""

CAMERA_SIZE: Size = (1280, 720)
PICTURES_PER_STREET = 10
SECONDS_BETWEEN_PICTURES = 1.0


def street_pictures(seed: int) -> Iterator[tuple[Image, Truth]]:
    """Pictures of one street at the camera's size, far enough apart in time to differ."""
    street = Street(seed, CAMERA_SIZE)
    for _ in range(PICTURES_PER_STREET):
        yield next(street)
        street.skip(round(SECONDS_BETWEEN_PICTURES * 30) - 1)


def draw_pictures(folder: Path, count: int, first_seed: int, size: Size, processes: int) -> Path:
    """Draw `count` pictures into a folder, letterboxed to `size`, unless it is complete; returns its file of labels.

    Masks are beside them: `masks/<task>/<picture's name>.png`.
    """
    labels = folder / LABELS
    if labels.exists() and (folder / MASKS).is_dir():  # earlier versions drew none
        return labels
    for place in (IMAGES, *(f"{MASKS}/{task}" for task in MASK_LABELS)):
        (folder / place).mkdir(parents=True, exist_ok=True)
    seeds = range(first_seed, first_seed + -(-count // PICTURES_PER_STREET))
    with get_context("spawn").Pool(processes) as pool:
        drawn = pool.imap(partial(_draw_street, folder, size), seeds)
        truths = [entry for street in tqdm(drawn, "drawing streets", len(seeds), unit="street") for entry in street]
    write_labels(labels, truths[:count])
    return labels


def _draw_street(folder: Path, size: Size, seed: int) -> list[tuple[str, Truth]]:
    cv2.setNumThreads(1)
    letterbox = Letterbox(CAMERA_SIZE, size)
    truths = []
    for index, (image, truth) in enumerate(street_pictures(seed)):
        name = f"{seed}_{index}.jpg"
        write_picture(folder / IMAGES / name, letterbox.apply(image))
        for task, mask in truth.masks.items():
            file = (folder / MASKS / task / name).with_suffix(".png")
            file.write_bytes(pack(to_input(mask.indices(), letterbox)))
        truths.append((name, replace(truth, boxes=letterbox.to_input(truth.boxes))))
    return truths
