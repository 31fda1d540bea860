"""The neck: the backbone's features at several scales, merged for the heads that need more than the coarsest."""

from collections.abc import Sequence

from torch import Tensor, nn

from mtl_split_net.bottleneck import convolution, separable

STRIDES = (8, 16, 32)
"""Input pixels per cell of the maps that the neck hands to a head."""


class Neck(nn.Module):
    """A feature pyramid (Lin et al. 2017): what the coarse scales understand is added to what the fine ones see.

    Features (N, channels of the scale, H/s, W/s) for the coarsest s in STRIDES in, maps (N, width, H/s, W/s) for all of
    them out: scales finer than any of the features are made from the coarser ones alone.
    """

    def __init__(self, channels: Sequence[int], width: int) -> None:
        """Merge features of so many `channels`, finest scale first, into maps of `width` channels."""
        super().__init__()
        self.lateral = nn.ModuleList(convolution(scale, width) for scale in channels)
        self.refine = nn.ModuleList(nn.Sequential(separable(width), separable(width)) for _ in STRIDES)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Merge the scales; see the class for the shapes."""
        laterals = [lateral(scale) for lateral, scale in zip(self.lateral, features, strict=True)]
        maps: list[Tensor] = []
        for refine in reversed(self.refine):
            parts = [laterals.pop()] if laterals else []
            if maps:
                parts.append(nn.functional.interpolate(maps[0], scale_factor=2.0, mode="nearest"))
            maps.insert(0, refine(sum(parts)))
        return maps
