"""Pictures are kept or counted as lost, and a fault is told."""

import itertools
import resource
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from mtl_split_core.errors import InputError
from mtl_split_lab.live.recording import MOST_WAITING, PictureStore

NOISE = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)


def fill_the_disk(folder: Path) -> None:
    """Limit how many bytes a file of this process may have, as if there was no more room, and see what is kept."""
    store = PictureStore(folder)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    for stamp in range(MOST_WAITING):
        store.put(stamp, NOISE)
    store.finish()
    with pytest.raises(InputError, match="cannot keep the pictures: "):
        store.ended.result()
    kept = store.bytes_of
    assert 0 < len(kept) == MOST_WAITING - store.lost
    assert all(store.get(stamp).shape == NOISE.shape for stamp in kept)


def test_without_room_on_the_disk_what_was_kept_stays(tmp_path: Path) -> None:
    with get_context("spawn").Pool(1) as pool:
        pool.apply(fill_the_disk, (tmp_path,))


def test_a_picture_that_fails_leaves_its_room_to_others(tmp_path: Path) -> None:
    store = PictureStore(tmp_path)
    for stamp in range(MOST_WAITING):
        store.put(stamp, NOISE[:0])
    for offered in itertools.count(MOST_WAITING + 1):
        store.put(offered, NOISE)
        if store.lost < offered:
            break
    store.finish()
    assert isinstance(store.ended.exception(), InputError)
