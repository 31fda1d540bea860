"""The results of all tasks come out of a few bytes as they went in, and nothing else does."""

import contextlib
import math
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_split_core.answer import MOST_BYTES, VERSION, AnswerError, pack_results, unpack_results
from mtl_split_core.geometry import Letterbox
from mtl_split_core.kinds import KINDS
from mtl_split_core.kinds.detection import MOST_DETECTIONS
from mtl_split_core.label_map import Segmentation, fit_places, pack, to_picture
from mtl_split_core.scene import Classification, Detections, Results, Task

TASKS = (
    Task("detection", "detection", ("car", "bus", "bicycle")),
    Task("weather", "classification", ("dry", "wet")),
    Task("areas", "segmentation", ("road", "other")),
)
INPUT = (64, 32)
sizes = st.tuples(st.integers(1, 400), st.integers(1, 400))


def some_results(size: tuple[int, int], seed: int = 0, found: int = 20) -> Results:
    """As the server's half has them: an area comes from the network's input."""
    rng, letterbox = np.random.default_rng(seed), Letterbox(size, INPUT)
    corners = np.sort(rng.random((found, 2, 2)), axis=1).reshape(-1, 4) * [*size, *size]
    scores = rng.random(2).astype(np.float32)
    coarse = rng.integers(0, 2, INPUT[::-1], np.uint8)
    return {
        "detection": Detections(
            corners.astype(np.float32),
            tuple(TASKS[0].labels[number] for number in rng.integers(0, 3, found)),
            rng.random(found).astype(np.float32),
        ),
        "weather": Classification(TASKS[1].labels, scores / scores.sum()),
        "areas": Segmentation(TASKS[2].labels, pack(to_picture(coarse, letterbox)), fit_places(size)),
    }


@given(sizes, st.integers(0, 9))
def test_what_goes_in_comes_out(size: tuple[int, int], seed: int) -> None:
    results, letterbox = some_results(size, seed), Letterbox(size, INPUT)
    again = unpack_results(TASKS, pack_results(TASKS, results, letterbox), letterbox)
    assert again.keys() == results.keys()
    np.testing.assert_allclose(again["detection"].boxes, results["detection"].boxes, atol=max(size) / 65535)
    np.testing.assert_allclose(again["detection"].scores, results["detection"].scores, atol=1 / 65535)
    assert again["detection"].labels == results["detection"].labels
    assert (again["weather"].scores == results["weather"].scores).all() and again["weather"].labels == ("dry", "wet")
    assert again["areas"] == results["areas"]


def test_nothing_found_is_an_answer_and_a_street_full_of_cars_takes_one_packet() -> None:
    letterbox = Letterbox((1280, 720), INPUT)
    empty = some_results((1280, 720), found=0)
    assert unpack_results(TASKS, pack_results(TASKS, empty, letterbox), letterbox)["detection"].labels == ()
    assert len(pack_results(TASKS, some_results((1280, 720), found=40), letterbox)) < 1200


def test_detections_below_a_score_are_left_out_and_nothing_else() -> None:
    results = some_results((100, 100))
    selected = {task.name: KINDS[task.kind].select(results[task.name], 0.5) for task in TASKS}
    kept = results["detection"].scores >= 0.5
    assert 0 < kept.sum() < 20 and (selected["detection"].scores == results["detection"].scores[kept]).all()
    assert selected["weather"] is results["weather"] and selected["areas"] is results["areas"]


BOX = np.zeros(12, np.uint8).tobytes()


def scores(*values: float) -> bytes:
    return np.array(values, "<f4").tobytes()


SCORES = scores(0.5, 0.5)
AREAS = pack(np.zeros((2, 2), np.uint8))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (b"", "no msgpack"),
        (7, "holds 7"),
        ([VERSION, [], 1], "holds a list|holds \\("),
        ([VERSION + 1, [BOX, SCORES, AREAS]], "version 2, expected 1"),
        ([True, [BOX, SCORES, AREAS]], "version True"),
        ([VERSION, [BOX, SCORES]], "2 parts"),
        ([VERSION, [BOX, SCORES, "text"]], "expected bytes for each of 3 tasks"),
        ([VERSION, [BOX[1:], SCORES, AREAS]], "detection has 11 bytes"),
        ([VERSION, [BOX * (MOST_DETECTIONS + 1), SCORES, AREAS]], "at most 500 detections"),
        ([VERSION, [b"\xff" * 12, SCORES, AREAS]], "label 65535, expected 0 to 2"),
        ([VERSION, [BOX, SCORES + SCORES, AREAS]], "weather has 16 bytes"),
        ([VERSION, [BOX, scores(0.5, math.nan), AREAS]], "expected 0 to 1"),
        ([VERSION, [BOX, scores(0.5, 1.5), AREAS]], "expected 0 to 1"),
        ([VERSION, [BOX, SCORES, b"no png"]], "no picture"),
        ([VERSION, [BOX, SCORES, AREAS[:-20]]], "truncated"),
        ([VERSION, [BOX, SCORES, pack(np.full((2, 2), 2, np.uint8))]], "number 2, expected 0 to 1"),
        ([VERSION, [BOX, SCORES, pack(np.zeros((99, 99), np.uint8))]], "at most 2048 pixels"),
    ],
)  # fmt: skip
def test_anything_else_is_refused_in_a_line(fields: Any, said: str) -> None:
    data = fields if isinstance(fields, bytes) else msgpack.packb(fields)
    with pytest.raises(AnswerError, match=said):
        unpack_results(TASKS, data, Letterbox((100, 100), INPUT))


def test_too_many_bytes_are_refused() -> None:
    with pytest.raises(AnswerError, match="expected at most"):
        unpack_results(TASKS, bytes(MOST_BYTES + 1), Letterbox((100, 100), INPUT))


@given(st.binary(max_size=200))
def test_no_bytes_do_anything_but_be_refused(data: bytes) -> None:
    letterbox = Letterbox((100, 100), INPUT)
    with contextlib.suppress(AnswerError):
        unpack_results(TASKS, data, letterbox)
    packed = pack_results(TASKS, some_results((100, 100)), letterbox)
    for damaged in (packed[: len(data)], packed[: len(data)] + data + packed[2 * len(data) :]):
        with contextlib.suppress(AnswerError):
            unpack_results(TASKS, damaged, letterbox)
