"""What the network is trained for: the tasks' losses, added up."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class LossSum(nn.Module):
    """The tasks' losses added up: plainly, as MTL-Split does, or weighted by learned uncertainties.

    Each loss L of weight w counts as exp(-s) w L + s / 2 with the logarithm s of the task's variance (Kendall et al.
    2018). Plainly, every s stays 0.
    """

    def __init__(self, weights: Mapping[str, float], learned: bool) -> None:
        """Add up the losses of tasks by name, of these `weights`; `learned` tells whether their uncertainties are."""
        super().__init__()
        self._weights = dict(weights)
        self.log_variances = nn.Parameter(torch.zeros(len(self._weights)), learned)

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Losses by task in, one loss out."""
        weighted = torch.stack([weight * losses[name] for name, weight in self._weights.items()])
        return (torch.exp(-self.log_variances) * weighted + self.log_variances / 2).sum()
