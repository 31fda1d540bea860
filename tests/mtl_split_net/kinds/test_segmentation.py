"""The loss of a segmentation: what is known counts, thin areas as much as large ones."""

import numpy as np
import pytest
import torch

from mtl_split_core.label_map import UNKNOWN, Segmentation, pack
from mtl_split_core.scene import Task, Truth
from mtl_split_net.kinds.segmentation import SegmentationHead, answers, calibrated, loss, target

TASK = Task("road", "segmentation", ("background", "road"))


def truth(numbers: np.ndarray, labels: tuple[str, ...] = TASK.labels) -> Truth:
    return Truth(masks={"road": Segmentation(labels, pack(numbers.astype(np.uint8)))})


def sure(places: torch.Tensor) -> torch.Tensor:
    """Logits that say so."""
    return 40.0 * torch.stack([places == 0, places == 1], 1).float()


def test_masks_become_a_target_by_the_labels_names() -> None:
    numbers = np.array([[0, 1], [2, 1]])
    found = target(TASK, [truth(numbers, ("road", "background", "tram")), Truth()])
    assert found.tolist() == [[[1, 0], [UNKNOWN, 0]], [[UNKNOWN] * 2] * 2]
    assert target(TASK, [Truth()]).tolist() == [[[UNKNOWN]]]


def test_the_right_answer_has_no_loss_and_a_wrong_one_has() -> None:
    places = target(TASK, [truth(np.eye(8))])
    assert loss(sure(places), places).item() == pytest.approx(0, abs=1e-6)
    assert loss(sure(1 - places), places).item() > 10


def test_what_is_not_known_does_not_count() -> None:
    places = target(TASK, [truth(np.eye(8))])
    half = places.clone()
    half[:, 4:] = UNKNOWN
    logits = torch.randn(1, 2, 8, 8)
    other = logits.clone()
    other[:, :, 4:] = torch.randn(1, 2, 4, 8)
    assert loss(logits, half).item() == pytest.approx(loss(other, half).item())
    nothing = torch.full_like(places, UNKNOWN).requires_grad_(False)
    logits.requires_grad_(True)
    loss(logits, nothing).backward()
    assert logits.grad is not None and not logits.grad.any()


def test_a_thin_area_that_is_missed_costs_as_much_as_a_large_one() -> None:
    costs = []
    for columns in (2, 32):
        numbers = np.zeros((64, 64))
        numbers[:, :columns] = 1
        places = target(TASK, [truth(numbers)])
        logits = torch.zeros(1, 2, 64, 64)
        logits[:, 0] = 0.01  # hardly a cross-entropy, but nothing is found
        costs.append(loss(100 * logits, places).item() - torch.nn.functional.cross_entropy(100 * logits, places.long()))
    assert costs[0] == pytest.approx(costs[1], abs=0.25) and costs[0] > 0.3


def test_the_answer_has_a_quarter_of_the_input_s_resolution_and_sums_to_one() -> None:
    head = SegmentationHead(8, 3).eval()
    maps = [torch.randn(2, 8, 64 // stride, 128 // stride) for stride in (8, 16, 32)]
    with torch.no_grad():
        logits = head(maps)
    assert logits.shape == (2, 3, 16, 32)
    found = answers("road", calibrated(logits, torch.ones(3), torch.zeros(3)))["road"]
    assert torch.allclose(found, logits.softmax(1)) and torch.allclose(found.sum(1), torch.ones(2, 16, 32))
    raised = answers("road", calibrated(logits, torch.ones(3), torch.tensor([0.0, 50.0, 0.0])))["road"]
    assert (raised.argmax(1) == 1).all()
