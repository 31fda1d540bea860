"""Calibrates the operating points: the steps with which pictures take as many bytes as they are to, and the tables."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from tqdm import trange

from mtl_split_core.payload import OperatingPoint, PayloadFormat
from mtl_split_lab.learning.entropy_tables import fit_tables
from mtl_split_net.rate import RateModel

MOST_ROUNDS = 6
TOLERANCE = 0.03
"""The medians are near enough if they are off by this part of what they are to be."""
DEFAULT = "default"
"""Name of the operating point that is used where none is named."""


def calibrate(rate: RateModel, latents: Tensor, aims: Mapping[str, int]) -> PayloadFormat:
    """Make the payload format of a trained network from many pictures' latents (N, channels, height, width).

    The learned steps are scaled until the median payload of these pictures takes as many bytes as `aims` says for
    the operating point of that name.
    """
    shape = (latents.shape[1], latents.shape[2], latents.shape[3])
    with torch.no_grad():
        learned = torch.exp(-rate.log_gains).numpy()
    scales = np.ones(len(aims))
    medians = np.array(list(aims.values()), float)
    for _ in trange(MOST_ROUNDS, desc="calibrating operating points"):
        # Nearly as many bits are saved by a step twice as coarse at every rate; what is missed, the next round sees.
        scales *= (medians / list(aims.values())) ** 0.8
        steps = (learned * scales[:, None]).astype(np.float32)
        symbols = [list(np.rint(latents.numpy() / step[:, None, None]).astype(np.int32)) for step in steps]
        points = tuple(OperatingPoint(name, step) for name, step in zip(aims, steps, strict=True))
        form = PayloadFormat(shape, points, fit_tables(symbols))
        medians = np.array(list(median_bytes(form, latents).values()))
        if np.allclose(medians, list(aims.values()), rtol=TOLERANCE):
            break
    return form


def median_bytes(form: PayloadFormat, latents: Tensor) -> dict[str, float]:
    """Return, by operating point, the bytes of the median payload of pictures' latents (N, channels, height, width)."""
    return {
        point.name: float(np.median([len(form.pack(picture, index)) for picture in latents.numpy()]))
        for index, point in enumerate(form.operating_points)
    }
