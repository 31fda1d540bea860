"""Probabilities become one label for each pixel of the picture, whatever its size."""

import base64

import numpy as np
import pytest

from mtl_split_core.contract import parse_tasks
from mtl_split_core.geometry import LARGEST_SIDE, Letterbox
from mtl_split_core.kinds import segmentation
from mtl_split_core.label_map import MOST_PLACES, Segmentation, pack
from mtl_split_core.scene import Size, Task

TASK = Task("ground", "segmentation", ("background", "road", "grass"))


def answer(values: np.ndarray, size: Size) -> Segmentation:
    found = segmentation.result(TASK, {"ground": values.astype(np.float32)[None]}, 0.5, 0.5)
    return segmentation.to_picture(found, Letterbox(size, (64, 32)))


def test_the_most_likely_label_wins() -> None:
    values = np.zeros((3, 2, 4))
    values[0], values[1, :, 2:], values[2, 1, 3] = 0.4, 0.6, 0.9
    found = answer(values, (128, 64))
    numbers = found.indices()
    assert found.labels == TASK.labels and numbers.shape == (64, 128)
    assert (numbers[:, :48] == 0).all() and (numbers[:20, 80:] == 1).all() and (numbers[48:, 112:] == 2).all()


def test_the_bars_beside_the_picture_are_left_out() -> None:
    values = np.zeros((3, 32, 64))
    values[0, 8:24], values[1, :8], values[2, 24:] = 1, 1, 1  # the picture has rows 8 to 24
    assert (answer(values, (128, 32)).indices() == 0).all()


@pytest.mark.parametrize("size", [(LARGEST_SIDE, LARGEST_SIDE), (LARGEST_SIDE, 1), (1, 1)])
def test_a_picture_of_any_size_gets_a_result_of_bounded_size(size: Size) -> None:
    numbers = answer(np.zeros((3, 2, 4)), size).indices()
    assert 1 <= numbers.size <= min(MOST_PLACES, size[0] * size[1])


def test_in_words_it_is_the_share_of_the_picture_that_each_label_has() -> None:
    numbers = np.array([[0, 1, 1, 2]], np.uint8)
    assert (
        segmentation.in_words(Segmentation(("background", "road", "verge"), pack(numbers))) == "road 50 %, verge 25 %"
    )


def test_as_json() -> None:
    found = answer(np.zeros((3, 2, 4)), (8, 4))
    written = segmentation.to_json(found)
    again = Segmentation(tuple(written["labels"]), base64.b64decode(written["png"]))
    assert again.labels == found.labels and np.array_equal(again.indices(), found.indices())


def test_labels_beyond_what_a_byte_can_number_are_refused() -> None:
    entry = {"name": "ground", "kind": "segmentation", "labels": [f"label {number}" for number in range(256)]}
    with pytest.raises(ValueError, match="'ground' has 256 labels, expected at most 255"):
        parse_tasks([entry])
    assert len(parse_tasks([{**entry, "labels": entry["labels"][1:]}])[0].labels) == 255
