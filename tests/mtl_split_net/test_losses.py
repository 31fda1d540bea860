"""The tasks' losses are added up, with fixed or with learned weights."""

import pytest
import torch

from mtl_split_net.losses import LossSum


def test_losses_are_added_up_with_their_weights() -> None:
    losses = {"detection": torch.tensor(2.0), "weather": torch.tensor(3.0)}
    plain = LossSum({"detection": 1.0, "weather": 0.5}, learned=False)
    assert plain(losses).item() == 3.5
    assert not any(parameter.requires_grad for parameter in plain.parameters())


def test_learned_uncertainties_settle_where_each_loss_counts_the_same() -> None:
    """exp(-s) L + s / 2 is least where exp(-s) L is 1 / 2."""
    losses = {"detection": torch.tensor(20.0), "weather": torch.tensor(0.1)}
    learned = LossSum(dict.fromkeys(losses, 1.0), learned=True)
    optimizer = torch.optim.Adam(learned.parameters(), 0.1)
    for _ in range(400):
        optimizer.zero_grad()
        learned(losses).backward()
        optimizer.step()
    for log_variance, loss in zip(learned.log_variances, losses.values(), strict=True):
        assert (torch.exp(-log_variance) * loss).item() == pytest.approx(0.5, rel=0.02)
