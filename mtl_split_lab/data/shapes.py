"""3D Shapes, one of the data sets of MTL-Split's paper: its file, and a renderer of the same six factors.

Every picture shows one object in the corner of a room. The six factors are independent, and every combination is one
picture; combinations are numbered as in the original (Burgess and Kim 2018), orientation changing fastest.
"""

import colorsys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import h5py
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from mtl_split_core.errors import InputError
from mtl_split_core.scene import Floats, Image, Truth

TYPES = ("cube", "cylinder", "sphere", "capsule")
FACTORS = {
    "floor_hue": np.arange(10) / 10,
    "wall_hue": np.arange(10) / 10,
    "object_hue": np.arange(10) / 10,
    "size": np.linspace(0.75, 1.25, 8),
    "type": np.arange(len(TYPES)),
    "orientation": np.linspace(-30, 30, 15),
}
"""The factors' values, in the original's order: hues of 0 to 1, a scale, an index of TYPES, and degrees."""

COUNTS = tuple(map(len, FACTORS.values()))
SIDE = 64
"""Width and height of every picture in pixels."""


@dataclass(frozen=True, slots=True)
class ShapesPicture:
    """One combination of the factors, as indices of their values, drawn when it is read."""

    factors: tuple[int, ...]

    @property
    def truth(self) -> Truth:
        """All six factors as classes: the type by its name, the others by their index."""
        classes = {name: str(index) for name, index in zip(FACTORS, self.factors, strict=True)}
        return Truth(classes=classes | {"type": TYPES[int(classes["type"])]}, labelled=frozenset())

    @property
    def imitated(self) -> bool:
        """No: the truth is known."""
        return False

    def read(self) -> Image:
        """Draw the picture, uint8 (64, 64, 3)."""
        return draw(self.factors)


@dataclass(frozen=True, slots=True)
class StoredShapesPicture(ShapesPicture):
    """One picture of the original's file, as read_shapes has unpacked it."""

    file: Path
    index: int

    def read(self) -> Image:
        """Read the picture, uint8 (64, 64, 3). Raises InputError for a damaged file."""
        try:
            return np.array(np.lib.format.open_memmap(self.file, "r")[self.index])
        except (OSError, ValueError) as error:
            raise InputError(f"picture {self.index} of {self.file} is not readable: {error}") from error


def draw_shapes(sample: tuple[int, int] | None = None, part: str | None = None) -> list[ShapesPicture]:
    """All combinations of the factors, to be drawn when they are read.

    sample: a seed and a number: only so many at random; part: "train" or "test": only those that MTL-Split's paper
    trains on, or tests on, which are those with floor hue and wall hue both from index 5 on. Raises InputError for
    more pictures than there are.
    """
    factors = np.stack(np.unravel_index(np.arange(np.prod(COUNTS)), COUNTS), axis=1)
    pictures = [ShapesPicture(tuple(factors[index].tolist())) for index in _choose(factors, sample, part)]
    for geometry in {picture.factors[3:] for picture in pictures}:  # here, for all the processes that will read them
        _light(*geometry)
    return pictures


def read_shapes(
    path: Path, unpacked: Path, sample: tuple[int, int] | None = None, part: str | None = None
) -> list[StoredShapesPicture]:
    """The pictures of the original's file `3dshapes.h5`, as draw_shapes chooses them.

    They are written to the file `unpacked`, unless it is there: the original packs thousands of pictures together, so
    that one of them takes as long as all. Raises InputError for a file that is not the original's, and for more
    pictures than there are.
    """
    try:
        with h5py.File(path) as file:
            images = file["images"]
            factors = _find_factors(path, file["labels"][:], images.shape)
            chosen = _choose(factors, sample, part)
            if not unpacked.exists():
                _unpack(images, chosen, unpacked)
    except (OSError, KeyError) as error:
        raise InputError(f"{path} is no readable file with 3D Shapes' images and labels: {error}") from error
    return [
        StoredShapesPicture(tuple(indices), unpacked, place) for place, indices in enumerate(factors[chosen].tolist())
    ]


def _find_factors(path: Path, labels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The indices of the factors' values (N, 6) from the values themselves."""
    if labels.shape != (shape[0], len(FACTORS)) or shape[1:] != (SIDE, SIDE, 3):
        raise InputError(f"{path} has images {shape} and labels {labels.shape}, expected (N, 64, 64, 3) and (N, 6)")
    indices = np.zeros(labels.shape, int)
    for column, (name, values) in enumerate(FACTORS.items()):
        distances = np.abs(labels[:, column, None] - values)
        indices[:, column] = distances.argmin(axis=1)
        if len(strange := np.flatnonzero(~(distances.min(axis=1) < 1e-3))):
            row = strange[0]
            raise InputError(f"{path}: {name} of picture {row} is {labels[row, column]}, expected one of {values}")
    return indices


def _unpack(images: h5py.Dataset, chosen: np.ndarray, unpacked: Path) -> None:
    unpacked.parent.mkdir(parents=True, exist_ok=True)
    unfinished = unpacked.with_suffix(".unfinished")
    pictures = np.lib.format.open_memmap(unfinished, "w+", np.uint8, (len(chosen), SIDE, SIDE, 3))
    step = images.chunks[0] if images.chunks else 1000
    for start in tqdm(range(0, len(images), step), "unpacking 3D Shapes"):
        here = (chosen >= start) & (chosen < start + step)
        pictures[here] = images[start : start + step][chosen[here] - start, :, :, ::-1]
    pictures.flush()
    unfinished.rename(unpacked)


def _choose(factors: np.ndarray, sample: tuple[int, int] | None, part: str | None) -> np.ndarray:
    chosen = np.arange(len(factors))
    if part is not None:
        chosen = chosen[(factors[:, :2] >= 5).all(axis=1) == (part == "test")]
    if sample is None:
        return chosen
    seed, count = sample
    if count > len(chosen):
        raise InputError(f"3D Shapes has {len(chosen)} of these pictures, not {count}")
    return np.random.default_rng(seed).choice(chosen, count, replace=False)


def draw(factors: tuple[int, ...]) -> Image:
    """Draw one combination of the factors, given as the indices of their values: uint8 (64, 64, 3)."""
    *hues, size, kind, orientation = factors
    colours = [colorsys.hsv_to_rgb(FACTORS["object_hue"][hue], 0.9, 235)[::-1] for hue in hues]
    shares, gloss = _light(size, kind, orientation)
    return np.asarray(np.minimum(shares @ np.array(colours, np.float32) + gloss, 255), np.uint8)


# The object stands at the origin, z is up, and the room's corner is behind it. Lengths are in units of about the
# object's width.
_WALLS = np.array([[1, 1, 0], [-1, 1, 0]], np.float32) / np.float32(np.sqrt(2))
_WALL_DISTANCE = 2.5
_CAMERA_DISTANCE = 5.0
_CAMERA_HEIGHT = 2.3
_AIM = np.array([0, 0, 0.65], np.float32)
_HALF_VIEW = np.tan(np.radians(20))
_FORMS = ((0.52, 0.52, 0), (0.55, 0.6, 0), (0, 0, 0.65), (0, 0.4, 0.42))
"""For each of TYPES, half the width and the height of a box or an upright cylinder, and the radius that rounds it."""
_LAMP = np.array([-0.4, -0.35, 0.85], np.float32)


@cache  # 480 small arrays; hues only colour them
def _light(size: int, kind: int, orientation: int) -> tuple[Floats, Floats]:
    """How brightly floor, walls and object shine in each pixel, (64, 64, 3) from 0 to 1, and the gloss (64, 64, 1)."""
    scale, angle = FACTORS["size"][size], np.radians(FACTORS["orientation"][orientation])
    camera = np.array([_CAMERA_DISTANCE * np.sin(angle), -_CAMERA_DISTANCE * np.cos(angle), _CAMERA_HEIGHT], np.float32)
    rays = _rays(camera)
    layers = np.zeros((len(rays), 4), np.float32)

    with np.errstate(divide="ignore"):
        to_floor = -camera[2] / rays[:, 2]
        to_walls = (_WALL_DISTANCE - _WALLS @ camera) / (rays @ _WALLS.T)
    to_floor, to_walls = (np.where(lengths > 0, lengths, np.inf) for lengths in (to_floor, to_walls))
    floor = to_floor < to_walls.min(axis=1)
    ground = camera + rays[floor] * to_floor[floor, None]
    layers[floor, 0] = 1 - 0.6 * np.exp(-5 * np.maximum(_distance(ground, kind, scale), 0))
    layers[~floor, 1] = np.where(to_walls[~floor, 0] < to_walls[~floor, 1], 0.8, 0.95)

    hit, normals = _meet(camera, rays, kind, scale)
    bright = np.maximum(normals @ _LAMP, 0)
    halfway = _LAMP - rays[hit]
    halfway /= np.linalg.norm(halfway, axis=1, keepdims=True)
    layers[hit] = 0
    layers[hit, 2] = 0.35 + 0.6 * bright
    layers[hit, 3] = 90 * np.maximum((normals * halfway).sum(axis=1), 0) ** 40
    fine = layers.reshape(_FINE, _FINE, 4)
    smooth = np.asarray(cv2.resize(fine, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.float32)
    return smooth[..., :3], smooth[..., 3:]


_FINE = 2 * SIDE
"""Rays per side: four for each pixel, so that edges are smooth."""


def _rays(camera: Floats) -> Floats:
    """Unit vectors from the camera through the picture, (rays, 3), row by row."""
    forward = (_AIM - camera) / np.linalg.norm(_AIM - camera)
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    steps = (np.arange(_FINE) * 2 + 1) / _FINE - 1
    down, across = np.meshgrid(steps * _HALF_VIEW, steps * _HALF_VIEW, indexing="ij")
    rays = forward + across[..., None] * right - down[..., None] * np.cross(right, forward)
    return (rays / np.linalg.norm(rays, axis=-1, keepdims=True)).reshape(-1, 3).astype(np.float32)


def _meet(camera: Floats, rays: Floats, kind: int, scale: float) -> tuple[npt.NDArray[np.intp], Floats]:
    """Which rays meet the object, and the unit normals (hits, 3) of its surface there (sphere tracing, Hart 1996)."""
    ahead = rays @ (_AIM - camera)
    passing = camera + rays * ahead[:, None]
    near = np.flatnonzero(_distance(passing, kind, scale) < 0.3)
    points, directions = passing[near] - rays[near], rays[near]
    for _ in range(24):
        points += directions * _distance(points, kind, scale)[:, None]
    met = np.abs(_distance(points, kind, scale)) < 0.01
    points = points[met]
    steps = np.eye(3, dtype=np.float32) * 0.002
    normals = np.stack(
        [_distance(points + step, kind, scale) - _distance(points - step, kind, scale) for step in steps], axis=1
    )
    return near[met], normals / np.linalg.norm(normals, axis=1, keepdims=True)


def _distance(points: Floats, kind: int, scale: float) -> Floats:
    """The signed distance of points (N, 3) from the surface of the object."""
    width, height, radius = _FORMS[kind]
    x, y, z = (points - np.array([0, 0, (height + radius) * scale], np.float32)).T / np.float32(scale)
    sides = [np.abs(x), np.abs(y)] if TYPES[kind] == "cube" else [np.hypot(x, y)]
    beyond = np.stack([*(side - width for side in sides), np.abs(z) - height])
    outside = np.linalg.norm(np.maximum(beyond, 0), axis=0) + np.minimum(beyond.max(axis=0), 0)
    distance: Floats = (outside - radius) * np.float32(scale)
    return distance
