"""Whatever is put in any place of a file that others wrote: it is read, or refused in one line, in bounded memory.

`make fuzz` tries many more examples: FUZZ_EXAMPLES says how many.
"""

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mtl_split_core.bundle import MANIFEST, load_bundle
from mtl_split_core.errors import InputError
from mtl_split_lab.data.pictures import LABELS, PictureFile, read_pictures
from mtl_split_lab.data.sources import find_pictures
from mtl_split_lab.recipe import RECIPES, Portion, load_recipe

from .damage import bounded_memory, damaged
from .mtl_split_lab.data.test_pictures import BDD100K, COCO
from .tiny_bundle import write_tiny_bundle

few = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "40")),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
RECIPE_CONTENTS = [yaml.safe_load(path.read_text()) for path in sorted(RECIPES.glob("*.yaml"))]
ATTRIBUTES = {"a.png": {"weather": "rainy", "scene": "undefined"}, "b.png": {"weather": "clear"}}
TABLE = "image_id\timage_path\tinformative\n1\timages/a.png\tyes\n2\timages/b.png\t\n3\timages/c.png\tno"


def read_or_refuse(file: Path, content: bytes, read: Callable[[], Any]) -> Any:
    """What is read, or None."""
    file.write_bytes(content)
    try:
        with bounded_memory():
            return read()
    except InputError as error:
        assert "\n" not in str(error) and len(str(error)) < 3000 + 2 * len(str(file))
    return None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle, and pictures in the folder `images`."""
    folder = write_tiny_bundle(tmp_path_factory.mktemp("damaged") / "tiny").folder
    (folder / "images").mkdir()
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(folder / "images" / name), np.zeros((20, 20, 3), np.uint8))
    return folder


@pytest.fixture(scope="module")
def manifest(folder: Path) -> Any:
    """The bundle's manifest."""
    return json.loads((folder / MANIFEST).read_text())


@few
@given(st.data())
def test_manifests(folder: Path, manifest: Any, data: st.DataObject) -> None:
    content = data.draw(damaged([manifest, manifest["contract"]], json.dumps))
    bundle = read_or_refuse(folder / MANIFEST, content, lambda: load_bundle(folder))
    assert bundle is None or len(bundle.contract.fingerprint) == 16


@few
@given(damaged(RECIPE_CONTENTS, yaml.safe_dump))
def test_recipes(folder: Path, content: bytes) -> None:
    file = folder / "recipe.yaml"
    recipe = read_or_refuse(file, content, lambda: load_recipe(file))
    assert recipe is None or recipe.tasks


def check_pictures(pictures: list[PictureFile] | None, folder: Path) -> None:
    for picture in pictures or ():
        truth = picture.truth
        assert np.isfinite(truth.boxes).all() and len(truth.boxes) == len(truth.labels) == len(truth.ignore)
        assert picture.path.is_relative_to(folder) and ".." not in picture.path.parts
        with contextlib.suppress(InputError):
            picture.read()


@few
@given(damaged([BDD100K, COCO], json.dumps))
def test_labels(folder: Path, content: bytes) -> None:
    file = folder / LABELS
    check_pictures(read_or_refuse(file, content, lambda: read_pictures(file)), folder)


@few
@given(damaged([ATTRIBUTES], json.dumps))
def test_attributes(folder: Path, content: bytes) -> None:
    (folder / LABELS).write_text(json.dumps(BDD100K))
    portion = Portion(LABELS, attributes="./attributes.json")
    read_or_refuse(
        folder / "attributes.json", content, lambda: find_pictures(portion, folder, folder, (64, 48), processes=1)
    )


@few
@given(damaged([TABLE], str))
def test_tables(folder: Path, content: bytes) -> None:
    portion = Portion("table.tsv")
    found = read_or_refuse(
        folder / "table.tsv", content, lambda: find_pictures(portion, folder, folder, (64, 48), processes=1)
    )
    check_pictures(found, folder)
