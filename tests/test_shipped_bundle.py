"""What comes with the package is ours: trained on from networks of others, every weight of it, and named so."""

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from mtl_split_core.bundle import Bundle, load_bundle
from mtl_split_lab.learning.beginning import BEGAN_WITH
from mtl_split_lab.learning.exits import EXIT_FILE
from mtl_split_lab.learning.weights import read_weights

ROOT = Path(__file__).parents[1]
ROADS = ROOT / "models" / "roads"
PRETRAINED = ROOT.parent / "shared" / "pretrained"
MOST_BYTES = 16_000_000
MOST_EXIT_BYTES = 2_500_000


@pytest.fixture(scope="module")
def roads() -> Bundle:
    return load_bundle(ROADS)


@pytest.mark.parametrize("bundle", ["roads", "street"])
def test_it_is_small(bundle: str) -> None:
    sizes = {file.name: file.stat().st_size for file in (ROOT / "models" / bundle).iterdir()}
    assert sizes.pop(EXIT_FILE) <= MOST_EXIT_BYTES and sum(sizes.values()) <= MOST_BYTES


@pytest.mark.parametrize(
    "file", sorted((ROOT / "models").glob("*/*.onnx")), ids=lambda file: f"{file.parent.name}-{file.name}"
)
def test_no_file_tells_where_it_was_made(file: Path) -> None:
    assert b"stack_trace" not in file.read_bytes() and str(Path.home()).encode() not in file.read_bytes()


def test_it_and_the_notice_say_what_it_began_with(roads: Bundle) -> None:
    began = roads.manifest[BEGAN_WITH]
    assert began["licence"] == "Apache-2.0" and "RangiLyu/nanodet" in began["source"] and len(began["sha256"]) == 64
    assert "NanoDet-Plus-m (RangiLyu/nanodet, Apache License" in " ".join((ROOT / "NOTICE").read_text().split())


def test_no_weight_of_the_network_that_it_began_with_is_left(roads: Bundle) -> None:
    """Every array of that network against every array of ours of the same shape."""
    file = PRETRAINED / roads.manifest[BEGAN_WITH]["file"]
    if not file.is_file():
        pytest.skip(f"{file.name} is not here: it is no part of this project")
    assert hashlib.sha256(file.read_bytes()).hexdigest() == roads.manifest[BEGAN_WITH]["sha256"]
    ours = [weights.numpy() for weights in read_weights(ROADS).values()]
    theirs = [numpy_helper.to_array(constant) for constant in onnx.load(file).graph.initializer]
    compared = 0
    for weights in theirs:
        if weights.dtype != np.float32 or weights.size < 24:  # the normalisation's constants, and shapes
            continue
        same_shape = [other for other in ours if other.shape == weights.shape]
        assert same_shape
        for other in same_shape:
            assert np.mean((other == weights) & (weights != 0)) < 0.001
        compared += 1
    assert compared > 100
