"""The kinds of files that others wrote: how each is damaged, and what reads it, or refuses it in one line.

Memory is bounded while something is read, so that a file that takes too much ends in MemoryError.
"""

import contextlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from hypothesis import strategies as st

from mtl_split_core.bundle import MANIFEST, load_bundle
from mtl_split_core.errors import InputError
from mtl_split_core.profile import load_profile
from mtl_split_lab.commands.planning import FLEET
from mtl_split_lab.data.pictures import LABELS, LabelledPicture, PictureFile, read_pictures
from mtl_split_lab.data.sources import find_pictures
from mtl_split_lab.planning.fleet import load_fleet
from mtl_split_lab.portion import Portion
from mtl_split_lab.recipe import RECIPES, load_recipe

from .damage import bounded_memory, damaged
from .mtl_split_core.test_profile import WRITTEN
from .mtl_split_lab.data.test_pictures import BDD100K, COCO
from .tiny_bundle import write_tiny_bundle

RECIPE_CONTENTS = [yaml.safe_load(path.read_text()) for path in sorted(RECIPES.glob("*.yaml"))]
ATTRIBUTES = {"a.png": {"weather": "rainy", "scene": "undefined"}, "b.png": {"weather": "clear"}}
ATTRIBUTES_FILE, TABLE_FILE, RECIPE_FILE, PROFILE_FILE = "attributes.json", "table.tsv", "recipe.yaml", "profile.json"
TABLE = "image_id\timage_path\tinformative\n1\timages/a.png\tyes\n2\timages/b.png\t\n3\timages/c.png\tno"


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    name: of the file in its folder; damaged: its contents, given the folder; read: reads it in the folder, and raises
    InputError, or AssertionError where what was read cannot be.
    """

    name: str
    damaged: Callable[[Path], st.SearchStrategy[bytes]]
    read: Callable[[Path], object]

    def is_refused(self, folder: Path, content: bytes) -> bool:
        """Write a content and read it."""
        file = folder / self.name
        file.write_bytes(content)
        try:
            with bounded_memory():
                self.read(folder)
        except InputError as error:
            assert "\n" not in str(error) and len(str(error)) < 3000 + 2 * len(str(file))
            return True
        return False


def prepare(parent: Path) -> Path:
    """Make a folder for all kinds: a bundle, labels, and pictures in the folder `images`."""
    folder = write_tiny_bundle(parent / "tiny").folder
    (folder / "images").mkdir()
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(folder / "images" / name), np.zeros((20, 20, 3), np.uint8))
    (folder / "good").write_bytes((folder / MANIFEST).read_bytes())
    return folder


def _damaged_manifests(folder: Path) -> st.SearchStrategy[bytes]:
    manifest = json.loads((folder / "good").read_text())
    return damaged([manifest, manifest["contract"]], json.dumps)


def _read_manifest(folder: Path) -> None:
    assert len(load_bundle(folder).contract.fingerprint) == 16


def _read_recipe(folder: Path) -> None:
    assert load_recipe(folder / RECIPE_FILE).tasks


def _read_profile(folder: Path) -> None:
    profile = load_profile(folder / PROFILE_FILE)
    assert np.isfinite([profile.whole, *(profile.edge(point) for point in profile.points)]).all()


def _read_fleet(folder: Path) -> None:
    shutil.copy(FLEET.with_name("street.json"), folder)
    assert load_fleet(folder / FLEET.name).fleet.machines


def _read_labels(folder: Path) -> None:
    _check_pictures(read_pictures(folder / LABELS), folder)


def _read_attributes(folder: Path) -> None:
    (folder / LABELS).write_text(json.dumps(BDD100K))
    _find(folder, Portion(LABELS, attributes=f"./{ATTRIBUTES_FILE}"))


def _read_table(folder: Path) -> None:
    _check_pictures(_find(folder, Portion(TABLE_FILE)), folder)


def _find(folder: Path, portion: Portion) -> Sequence[LabelledPicture]:
    return find_pictures(portion, folder, folder, (64, 48), processes=1)


def _check_pictures(pictures: Sequence[LabelledPicture], folder: Path) -> None:
    for picture in pictures:
        assert isinstance(picture, PictureFile)
        truth = picture.truth
        assert np.isfinite(truth.boxes).all() and len(truth.boxes) == len(truth.labels) == len(truth.ignore)
        assert picture.path.is_relative_to(folder) and ".." not in picture.path.parts
        with contextlib.suppress(InputError):
            picture.read()


def _always(contents: list[Any], write: Callable[[Any], str], _: Path) -> st.SearchStrategy[bytes]:
    return damaged(contents, write)


KINDS = {
    "manifests": Kind(MANIFEST, _damaged_manifests, _read_manifest),
    "recipes": Kind(RECIPE_FILE, partial(_always, RECIPE_CONTENTS, yaml.safe_dump), _read_recipe),
    "profiles": Kind(PROFILE_FILE, partial(_always, [WRITTEN], json.dumps), _read_profile),
    "fleets": Kind(FLEET.name, partial(_always, [yaml.safe_load(FLEET.read_text())], yaml.safe_dump), _read_fleet),
    "label files": Kind(LABELS, partial(_always, [BDD100K, COCO], json.dumps), _read_labels),
    "attribute files": Kind(ATTRIBUTES_FILE, partial(_always, [ATTRIBUTES], json.dumps), _read_attributes),
    "tables": Kind(TABLE_FILE, partial(_always, [TABLE], str), _read_table),
}
