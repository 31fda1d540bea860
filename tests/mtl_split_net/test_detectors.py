"""Detectors' raw outputs become the boxes and scores that their papers say."""

import math

import pytest
import torch
from torch import Tensor

from mtl_split_core.errors import InputError
from mtl_split_net.detectors import COCO_LABELS, UNLIKELY, ImportedDetection, RawOutputs, find_detector

SIZE = (64, 96)
"""Height and width: 8 x 12, 4 x 6, 2 x 3 and 1 x 2 cells of the strides 8 to 64."""
CELLS = [(stride, x, y) for stride in (8, 16, 32, 64) for y in range(-(-64 // stride)) for x in range(-(-96 // stride))]


def random_rows(points: int, columns: int) -> Tensor:
    return torch.rand(2, points, columns, generator=torch.Generator().manual_seed(0))


def test_yolox_cell_by_cell() -> None:
    cells = [cell for cell in CELLS if cell[0] < 64]
    raw = random_rows(len(cells), 5 + 3)
    candidates = find_detector("yolox")([raw], SIZE)
    for point, (stride, column, row) in enumerate(cells):
        x, y, w, h, objectness, *scores = raw[1, point].tolist()
        centre, half = ((x + column) * stride, (y + row) * stride), (math.exp(w) * stride / 2, math.exp(h) * stride / 2)
        expected = [centre[0] - half[0], centre[1] - half[1], centre[0] + half[0], centre[1] + half[1]]
        assert candidates.boxes[1, point].tolist() == pytest.approx(expected, abs=1e-3)
        found = candidates.logits[1, point].sigmoid().tolist()
        assert found == pytest.approx([objectness * score for score in scores], rel=1e-4)


def test_nanodet_plus_cell_by_cell() -> None:
    raw = random_rows(len(CELLS), 3 + 32) * 4
    candidates = find_detector("nanodet-plus")([raw], SIZE)
    for point, (stride, column, row) in enumerate(CELLS):
        left, top, right, bottom = (
            sum(
                bin_ * share
                for bin_, share in enumerate(raw[1, point, 3 + 8 * side : 11 + 8 * side].softmax(0).tolist())
            )
            for side in range(4)
        )
        expected = [column - left, row - top, column + right, row + bottom]
        assert candidates.boxes[1, point].tolist() == pytest.approx([stride * side for side in expected], abs=1e-3)
    assert torch.equal(candidates.logits, raw[..., :3])


def test_boxes_in_both_layouts() -> None:
    boxes = torch.tensor([[[10.0, 20.0, 30.0, 60.0], [0.0, 0.0, 4.0, 2.0]]])
    scores = torch.tensor([[[0.9, 0.1], [0.2, 0.3]]])
    apart = find_detector("boxes")([boxes, scores], SIZE)
    middles = torch.tensor([[[20.0, 40.0, 20.0, 40.0], [2.0, 1.0, 4.0, 2.0]]])
    together = find_detector("boxes")([torch.cat([middles, scores], -1).transpose(1, 2)], SIZE)
    for candidates in (apart, together):
        torch.testing.assert_close(candidates.boxes, boxes)
        torch.testing.assert_close(candidates.logits.sigmoid(), scores)
        assert candidates.points.tolist() == [[[20.0, 40.0], [2.0, 1.0]]]


def test_detr_is_in_parts_of_the_input() -> None:
    logits = torch.tensor([[[2.0, -1.0]]])
    candidates = find_detector("detr")([logits, torch.tensor([[[0.5, 0.25, 0.5, 0.5]]])], SIZE)
    assert candidates.boxes.tolist() == [[[24.0, 0.0, 72.0, 32.0]]]
    assert torch.equal(candidates.logits, logits)


def test_labels_are_renamed_the_highest_wins_and_new_ones_begin_unlikely() -> None:
    theirs = ("person", "car", "bus", "truck")
    head = ImportedDetection(
        find_detector("yolox"), theirs, ("lorry", "car", "sign"), {"bus": "lorry", "truck": "lorry"}
    )
    points = sum(cell[0] < 64 for cell in CELLS)
    raw = RawOutputs([random_rows(points, 9)], SIZE)
    logits = head(raw).logits
    scores = find_detector("yolox")(*raw).logits
    torch.testing.assert_close(logits[..., 0], scores[..., 2:].amax(-1))
    torch.testing.assert_close(logits[..., 1], scores[..., 1])
    assert (logits[..., 2] == UNLIKELY).all()
    logits.sum().backward()
    assert head.correction.weight.grad is not None and (head.correction.weight.grad != 0).all()


def test_labels_and_outputs_that_do_not_fit_are_named() -> None:
    decode = find_detector("yolox")
    with pytest.raises(InputError, match=r"rename has \['buss'\], expected labels of the detector: car, bus"):
        ImportedDetection(decode, ("car", "bus"), ("lorry",), {"buss": "lorry"})
    with pytest.raises(InputError, match="it has none of the labels lorry: rename its own, car, bus"):
        ImportedDetection(decode, ("car", "bus"), ("lorry",), {})
    head = ImportedDetection(decode, ("car", "bus"), ("car",), {})
    points = sum(cell[0] < 64 for cell in CELLS)
    head.check(RawOutputs([random_rows(points, 7)], SIZE))
    with pytest.raises(InputError, match="126 points with 3 labels, the recipe's network names 2 labels"):
        head.check(RawOutputs([random_rows(points, 8)], SIZE))
    for outputs in ([random_rows(points + 1, 7)], [random_rows(points, 7)] * 2, [torch.zeros(2)]):
        with pytest.raises(InputError, match="are not those of such a detector"):
            head.check(RawOutputs(outputs, SIZE))


def test_boxes_that_the_file_has_decoded_and_scores_that_are_none_are_refused() -> None:
    head = ImportedDetection(find_detector("yolox"), ("car", "bus"), ("car",), {})
    decoded = random_rows(sum(cell[0] < 64 for cell in CELLS), 7)
    decoded[..., 2:4] *= 200
    with pytest.raises(InputError, match="infinite boxes or scores"):
        head.check(RawOutputs([decoded], SIZE))
    head = ImportedDetection(find_detector("boxes"), ("car", "bus"), ("car",), {})
    boxes = torch.rand(1, 5, 4)
    head.check(RawOutputs([boxes, torch.tensor([0.0, 1.0]).expand(1, 5, 2)], SIZE))
    with pytest.raises(InputError, match="infinite boxes or scores"):
        head.check(RawOutputs([boxes, torch.full((1, 5, 2), 3.0)], SIZE))


def test_a_detector_of_ones_own_is_found_and_others_are_refused() -> None:
    assert find_detector("mtl_split_net.detectors:decode_detr") is find_detector("detr")
    for name in ("ssd", "no_module:decode", "mtl_split_net.detectors:decode_ssd", "math:pi", ".x:y"):
        with pytest.raises(InputError, match=f"detector is '{name}', expected one of yolox, nanodet-plus, boxes, detr"):
            find_detector(name)


def test_coco_has_80_labels_in_the_usual_order() -> None:
    assert len(set(COCO_LABELS)) == 80
    assert [COCO_LABELS.index(label) for label in ("person", "car", "traffic light", "stop sign")] == [0, 2, 9, 11]
