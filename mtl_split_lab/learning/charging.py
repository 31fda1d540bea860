"""Which operating point each training picture is sent at, and how many bits it may take there."""

import torch
from torch import Tensor

from mtl_split_lab.recipe import Recipe

WINDOW_DENSITY = 1.8
"""How many times the bits per place of whole pictures the windows around the objects have."""
ANY_DENSITY = 1.15
"""The same of windows around the pictures' middles."""


def draw_points(recipe: Recipe, pictures: int, training: bool) -> Tensor:
    """Choose operating points by index: in training, for half of the pictures the default one, that most use."""
    names = list(recipe.operating_points)
    if not training:
        return torch.arange(pictures) % len(names)
    default = torch.full((pictures,), names.index("default"))
    return torch.where(torch.rand(pictures) < 0.5, default, torch.randint(len(names), (pictures,)))


def share_of_bits(recipe: Recipe, images: Tensor, density: float) -> float:
    """Say how many of a whole picture's bits such pictures (N, height, width, 3) may take, if they are windows.

    These have `density` times the bits per place of whole pictures.
    """
    width, height = recipe.input_size
    area = images.shape[1] * images.shape[2] / (width * height)
    return area * density if area < 1 else 1.0
