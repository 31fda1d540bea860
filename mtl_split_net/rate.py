"""The rate: how many bits the latents take at each operating point, as something that can be learned."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

FIRST_PRICE = 0.05
"""Of all bits of an operating point at its aim, in the unit of the tasks' losses."""
HIGHEST_PRICE = 4.0
"""However far from its aim, the rate does not drown what the tasks have to say."""
PRICE_CHANGE = 0.002
LEAST_SCALE = 0.02
SURPRISE = 0.002
SURPRISE_SCALE = 8.0
"""Nothing is impossible: with this probability a symbol comes from a wide distribution."""


class RateModel(nn.Module):
    """Per operating point, how coarsely each channel of the latents is rounded, and how likely its symbols then are.

    A symbol follows a Laplace distribution whose scale is linear in the magnitudes of the symbols around it: of all
    channels, and of its own. The coder's integer tables know more than that; this is what the network learns by. How
    coarse each channel is at each operating point is learned as well (gain units, Cui et al. 2021).
    """

    prices: Tensor
    _aims: Tensor

    def __init__(self, channels: int, places: int, sizes: Sequence[int]) -> None:
        """Expect latents of so many channels and places.

        `sizes` are the bytes that a picture is to take at each operating point, the fewest first.
        """
        super().__init__()
        aims = 8 * torch.tensor(sizes, dtype=torch.float32)
        self.register_buffer("_aims", aims, persistent=False)
        self.register_buffer("prices", torch.full((len(sizes),), FIRST_PRICE))
        # Beyond the lowest rates, one bit more halves the step.
        steps = 2.0 ** (1.5 - aims / (places * channels))
        self.log_gains = nn.Parameter(-steps.log()[:, None].repeat(1, channels))
        self.scales = nn.Parameter(torch.tensor([-3.0, -1.0, -1.0])[:, None, None].repeat(1, len(sizes), channels))

    def forward(self, latents: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Round latents (N, channels, H, W), each picture's at the operating point that `points` (N,) tells by index.

        Returns the latents as the server gets them, and each picture's bits (N,). Gradients pass the rounding
        unchanged; while training, the bits are those of values moved by noise instead of rounded (Ballé et al. 2017).
        """
        gains = self.log_gains.exp()[points][:, :, None, None]
        exact = latents * gains
        symbols = exact + (torch.round(exact) - exact).detach()
        values = exact + torch.rand_like(exact) - 0.5 if self.training else symbols
        likely = self._probabilities(symbols, values, points)
        return symbols / gains, -torch.log2(likely).sum(dim=(1, 2, 3))

    def charge(self, bits: Tensor, points: Tensor, share: float = 1.0) -> Tensor:
        """Return the loss that holds each operating point at its aim, for pictures' bits (N,).

        They may take this `share` of the bits that whole pictures may. While training, an operating point's price goes
        up as long as it takes too many bits, and down otherwise.
        """
        ratio = bits / (share * self._aims[points])
        loss = (self.prices[points] * ratio).mean()
        if self.training:
            with torch.no_grad():
                step = PRICE_CHANGE * ratio.clamp(min=0.1, max=10.0).log()
                self.prices *= torch.zeros_like(self.prices).index_add(0, points, step).exp()
                self.prices.clamp_(max=HIGHEST_PRICE)
        return loss

    def _probabilities(self, symbols: Tensor, values: Tensor, points: Tensor) -> Tensor:
        """How likely `values` are between all else, given the symbols around them."""
        magnitudes = symbols.abs()
        floor, of_all, of_own = functional.softplus(self.scales[:, points])[..., None, None]
        scale = (
            LEAST_SCALE + floor + of_all * _around(magnitudes.mean(dim=1, keepdim=True)) + of_own * _around(magnitudes)
        )
        distance = values.abs()
        surprise = _laplace(distance, torch.full_like(scale, SURPRISE_SCALE))
        return (1 - SURPRISE) * _laplace(distance, scale) + SURPRISE * surprise


def _laplace(distance: Tensor, scale: Tensor) -> Tensor:
    """How likely a Laplace distribution of `scale` is within 0.5 of something `distance` away from its middle."""
    near = torch.exp(-(distance - 0.5).abs() / scale)
    far = torch.exp(-(distance + 0.5) / scale)
    return torch.where(distance > 0.5, 0.5 * (near - far), 1 - 0.5 * (near + far))


def _around(values: Tensor) -> Tensor:
    """The mean over the eight places around each."""
    sums = functional.avg_pool2d(values, 3, stride=1, padding=1, divisor_override=1)
    return (sums - values) / 8
