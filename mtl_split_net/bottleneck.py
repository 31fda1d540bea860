"""The bottleneck: features squeezed into a few channels on the edge, quantised, and restored on the server."""

import torch
from torch import Tensor, nn

from mtl_split_core.payload import LARGEST_SYMBOL


def convolution(
    channels_in: int, channels_out: int, kernel: int = 1, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """A convolution, batch normalisation and Hardswish, as in MobileNetV3."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.Hardswish(),
    )


class Encoder(nn.Sequential):
    """Features (N, C, rH, rW) to latents (N, channels, H, W) of about zero mean and unit variance per channel."""

    def __init__(self, features: int, channels: int, reduction: int) -> None:
        """Squeeze `features` channels into `channels` at a resolution `reduction` times coarser."""
        super().__init__(
            convolution(features, 4 * features, max(3, 2 * reduction - 1), stride=reduction),
            nn.Conv2d(4 * features, channels, 1, bias=False),
            nn.BatchNorm2d(channels, affine=False),
        )


class Decoder(nn.Sequential):
    """Latents (N, channels, H, W) to restored features (N, C, rH, rW)."""

    def __init__(self, channels: int, features: int, reduction: int, width: int = 128) -> None:
        """Restore `features` channels, `reduction` times finer, through convolutions `width` wide."""
        super().__init__(
            convolution(channels, width, 3),
            convolution(width, width, 3),
            nn.Conv2d(width, reduction**2 * features, 1),
            nn.PixelShuffle(reduction),
        )


def quantise(latents: Tensor, step: float) -> Tensor:
    """Round latents to the multiples of `step` that fit the wire, as the payload does; gradients pass unchanged."""
    limit = LARGEST_SYMBOL * step
    clipped = latents.clamp(-limit, limit)
    rounded = torch.round(clipped / step) * step
    return clipped + (rounded - clipped).detach()
