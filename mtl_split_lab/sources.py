"""Where labelled pictures come from, in one word: a file of labels, or `sim:SEED:COUNT` for the simulated street."""

import re
from pathlib import Path

from mtl_split_core.errors import InputError
from mtl_split_core.scene import Size
from mtl_split_lab.pictures import LabelledPicture, read_pictures
from mtl_split_lab.simulated import draw_pictures


def find_pictures(source: str, data: Path, drawn: Path, size: Size, processes: int) -> list[LabelledPicture]:
    """Find the pictures of a source.

    A file of labels in BDD100K's format, in the folder `data`, has its pictures in the folder `images` beside it.
    `sim:SEED:COUNT` is that many pictures of the simulated streets from SEED on, letterboxed to `size`, which
    `processes` draw into the folder `drawn` unless they are there. Raises InputError for anything else.
    """
    if simulated := re.fullmatch(r"sim:(\d+):([1-9]\d*)", source):
        seed, count = map(int, simulated.groups())
        return read_pictures(draw_pictures(drawn / source.replace(":", "-"), count, seed, size, processes))
    labels = data / source
    if not labels.is_file():
        raise InputError(f"no pictures {source!r}: expected sim:SEED:COUNT or a file of labels in the folder {data}")
    return read_pictures(labels)
