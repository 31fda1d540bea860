"""Salt-and-pepper noise: as MTL-Split's paper names it, and as its released code really makes it."""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from mtl_split_core.scene import Image, Truth
from mtl_split_lab.data.pictures import LabelledPicture


@dataclass(frozen=True)
class Noise:
    """Every value of a picture, each of its three colours on its own, may be overwritten.

    salt, pepper: the shares, 0 to 1, of the values that become 255 and 0.
    """

    name: str
    salt: float
    pepper: float

    def apply(self, image: Image, seed: int) -> Image:
        """Return a picture with this noise over it, drawn from `seed`."""
        draws = np.random.default_rng(seed).random(image.shape, np.float32)
        noisy = image.copy()
        noisy[draws < self.salt] = 255
        noisy[draws >= 1 - self.pepper] = 0
        return noisy


SALT_AND_PEPPER = Noise("salt and pepper, 8 % of the values", salt=0.04, pepper=0.04)

_NORMAL = NormalDist()
RELEASED = Noise("as the released code, 71 % of the values", salt=_NORMAL.cdf(0.08), pepper=1 - _NORMAL.cdf(0.92))
"""The released code draws normally, not uniformly, distributed numbers: below 0.08 is salt, above 0.92 is pepper."""


@dataclass(frozen=True)
class NoisyPicture:
    """A labelled picture with noise over it, the same whenever it is read."""

    picture: LabelledPicture
    noise: Noise
    seed: int

    @property
    def truth(self) -> Truth:
        """What is really in the picture."""
        return self.picture.truth

    @property
    def imitated(self) -> bool:
        """Whether a teacher's answers are to be learned as well."""
        return self.picture.imitated

    def read(self) -> Image:
        """Read the picture, uint8 (height, width, 3), and overwrite some of it. Raises InputError as the picture."""
        return self.noise.apply(self.picture.read(), self.seed)
