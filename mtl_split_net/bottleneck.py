"""The bottleneck: features squeezed into a few channels on the edge and restored on the server."""

from torch import Tensor, nn


def convolution(
    channels_in: int, channels_out: int, kernel: int = 1, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """A convolution, batch normalisation and Hardswish, as in MobileNetV3."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.Hardswish(),
    )


def separable(width: int) -> nn.Sequential:
    """A convolution of 5 x 5 places in two steps, each channel alone first."""
    return nn.Sequential(convolution(width, width, 5, groups=width), convolution(width, width))


class Residual(nn.Module):
    """Adds a separable convolution's output to its input; at first it adds nothing."""

    def __init__(self, width: int) -> None:
        """Keep maps of `width` channels as wide as they are."""
        super().__init__()
        self.branch = separable(width)
        nn.init.zeros_(self.branch.get_parameter("1.1.weight"))

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (N, width, H, W) in and out."""
        added: Tensor = maps + self.branch(maps)
        return added


class Encoder(nn.Sequential):
    """Features (N, C, rH, rW) to latents (N, channels, H, W)."""

    def __init__(self, features: int, channels: int, reduction: int, width: int | None = None) -> None:
        """Squeeze `features` channels into `channels` at a resolution `reduction` times coarser.

        In between are `width` channels (None: four times the features').
        """
        width = width or 4 * features
        super().__init__(
            convolution(features, width, max(3, 2 * reduction - 1), stride=reduction),
            Residual(width),
            Residual(width),
            nn.Conv2d(width, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )


class Decoder(nn.Sequential):
    """Latents (N, channels, H, W) to restored features (N, C, rH, rW)."""

    def __init__(self, channels: int, features: int, reduction: int, width: int = 128) -> None:
        """Restore `features` channels, `reduction` times finer, through convolutions `width` wide."""
        super().__init__(
            convolution(channels, width, 3),
            convolution(width, width, 3),
            Residual(width),
            Residual(width),
            nn.Conv2d(width, reduction**2 * features, 1),
            nn.PixelShuffle(reduction),
        )
