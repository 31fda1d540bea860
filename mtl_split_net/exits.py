"""An exit: a small network that answers all tasks from the latents, in the suffix's place, at a fraction of its cost.

After ME-FEEL (Tang et al. 2021). Nearly everything is calculated at the latents' own resolution; what has to be finer
is unfolded from its channels in the last step (Shi et al. 2016).
"""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from torch.nn import functional

from mtl_split_core.payload import Shape
from mtl_split_core.scene import Size, Task
from mtl_split_net.bottleneck import Residual, convolution
from mtl_split_net.exit_maps import ExitMaps
from mtl_split_net.kinds import KINDS
from mtl_split_net.network import Outputs

WIDTH = 192
"""Channels of the maps."""
STRIDE = 16
"""Input pixels per cell: latents that are finer are made as coarse as that."""


class Exit(nn.Module):
    """Latents to every task's outputs, as mtl_split_net.network.Suffix has them."""

    def __init__(
        self, tasks: Sequence[Task], input_size: Size, latent_shape: Shape, shapes: Mapping[str, Sequence[int]]
    ) -> None:
        """Answer `tasks` from latents of `latent_shape`, which whole pictures of `input_size` have.

        shapes: of the suffix's outputs, by name.
        """
        super().__init__()
        self.tasks = tuple(tasks)
        channels, rows, columns = latent_shape
        reduction = max(1, STRIDE * columns // input_size[0])
        self.maps = ExitMaps(WIDTH, -(-rows // reduction), -(-columns // reduction), input_size)
        self.fine = nn.Sequential(
            convolution(channels, WIDTH, max(3, 2 * reduction - 1), reduction), Residual(WIDTH), Residual(WIDTH)
        )
        self.coarse = nn.Sequential(
            convolution(WIDTH, WIDTH, 5, 2, groups=WIDTH), convolution(WIDTH, WIDTH), Residual(WIDTH), Residual(WIDTH)
        )
        self.merged = nn.Sequential(Residual(WIDTH), Residual(WIDTH))
        self.heads = nn.ModuleList(KINDS[task.kind].exit_head(task, shapes, self.maps) for task in tasks)

    def forward(self, latents: Tensor) -> Outputs:
        """Latents (N, channels, height, width) in, every task's raw outputs out."""
        fine = self.fine(latents)
        coarse = self.coarse(fine)
        merged = self.merged(fine + functional.interpolate(coarse, size=fine.shape[2:], mode="nearest"))
        return {task.name: head([merged, coarse]) for task, head in zip(self.tasks, self.heads, strict=True)}
