"""The loss is cross-entropy over the pictures whose label is known."""

import torch

from mtl_split_net.kinds.classification import UNKNOWN, loss


def test_unknown_classes_are_left_out() -> None:
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, UNKNOWN, 2, UNKNOWN])
    expected = torch.nn.functional.cross_entropy(logits[[0, 2]], labels[[0, 2]])
    torch.testing.assert_close(loss(logits, labels), expected)
    assert loss(logits, torch.full((4,), UNKNOWN)) == 0
