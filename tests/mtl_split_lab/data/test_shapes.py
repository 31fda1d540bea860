"""3D Shapes: the renderer, the original's file, and the paper's split."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from mtl_split_core.errors import InputError
from mtl_split_lab.data.shapes import COUNTS, FACTORS, draw, draw_shapes, read_shapes

MIDDLE = tuple(count // 2 for count in COUNTS)


def test_the_same_factors_give_the_same_picture() -> None:
    image = draw(MIDDLE)
    assert image.shape == (64, 64, 3) and image.dtype == np.uint8
    assert all((picture.read() == draw(picture.factors)).all() for picture in draw_shapes((1, 5)))
    assert (draw(MIDDLE) == image).all()


@pytest.mark.parametrize("factor", range(6))
def test_each_factor_shows_in_the_picture(factor: int) -> None:
    """All values of one factor, the others as they are: no two pictures are alike."""
    pictures = [draw((*MIDDLE[:factor], index, *MIDDLE[factor + 1 :])) for index in range(COUNTS[factor])]
    assert len({picture.tobytes() for picture in pictures}) == COUNTS[factor]


def test_the_same_seed_draws_the_same_pictures() -> None:
    assert draw_shapes((1, 20)) == draw_shapes((1, 20)) != draw_shapes((2, 20))
    assert len({picture.factors for picture in draw_shapes((1, 20))}) == 20


def test_the_six_factors_are_six_tasks() -> None:
    (picture,) = [picture for picture in draw_shapes((0, 1))]
    assert picture.truth.classes.keys() == FACTORS.keys()
    names = dict(zip(FACTORS, picture.factors, strict=True))
    assert picture.truth.classes["type"] == ("cube", "cylinder", "sphere", "capsule")[names["type"]]
    assert picture.truth.classes["size"] == str(names["size"])
    assert picture.truth.labelled == frozenset()


def write_file(path: Path, numbers: np.ndarray, chunk: int | None = None, **changes: np.ndarray) -> Path:
    """A file like the original's with some of its pictures, each of them all of one colour."""
    factors = np.stack(np.unravel_index(numbers, COUNTS), axis=1)
    values = [list(FACTORS.values())[column][factors[:, column]] for column in range(6)]
    images = np.zeros((len(numbers), 64, 64, 3), np.uint8)
    images[..., 0] = np.arange(len(numbers))[:, None, None]
    with h5py.File(path, "w") as file:
        datasets: dict[str, np.ndarray] = {"images": images, "labels": np.stack(values, axis=1)}
        for name, data in (datasets | changes).items():
            file.create_dataset(name, data=data, chunks=chunk and (chunk, *data.shape[1:]))
    return path


def test_the_file_and_the_renderer_number_pictures_alike(tmp_path: Path) -> None:
    numbers = np.arange(0, 480_000, 4799)
    stored = read_shapes(write_file(tmp_path / "3dshapes.h5", numbers), tmp_path / "all.npy")
    everything = np.stack(np.unravel_index(numbers, COUNTS), axis=1)
    assert [picture.factors for picture in stored] == [tuple(factors) for factors in everything.tolist()]
    assert stored[7].truth.classes.keys() == FACTORS.keys()


@pytest.mark.parametrize("chunk", [None, 7])
def test_every_picture_of_the_file_is_its_own(tmp_path: Path, chunk: int | None) -> None:
    numbers = np.arange(0, 480_000, 4800)
    path = write_file(tmp_path / "3dshapes.h5", numbers, chunk)
    for _ in range(2):
        for picture in read_shapes(path, tmp_path / "some.npy", (1, 50)):
            number = np.ravel_multi_index(picture.factors, COUNTS)
            assert picture.read()[0, 0].tolist() == [0, 0, number // 4800]  # red comes last


def test_the_papers_split(tmp_path: Path) -> None:
    path = write_file(tmp_path / "3dshapes.h5", np.arange(0, 480_000, 4800))
    training, test = (read_shapes(path, tmp_path / f"{part}.npy", part=part) for part in ("train", "test"))
    assert len(training) == 75 and len(test) == 25
    assert all(picture.factors[0] >= 5 and picture.factors[1] >= 5 for picture in test)
    assert not {picture.factors for picture in training} & {picture.factors for picture in test}
    assert all(picture.factors[0] >= 5 and picture.factors[1] >= 5 for picture in draw_shapes((1, 20), "test"))
    assert not any(picture.factors[0] >= 5 and picture.factors[1] >= 5 for picture in draw_shapes((1, 20), "train"))


def test_more_pictures_than_there_are_are_refused(tmp_path: Path) -> None:
    path = write_file(tmp_path / "3dshapes.h5", np.arange(3))
    with pytest.raises(InputError, match="has 3 of these pictures, not 4"):
        read_shapes(path, tmp_path / "some.npy", (1, 4), "train")


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "3dshapes.h5"
    path.write_bytes(b"no HDF5")
    with pytest.raises(InputError, match="is no readable file with 3D Shapes' images and labels"):
        read_shapes(path, tmp_path / "some.npy")
    with pytest.raises(InputError, match=r"has images \(3, 64, 64, 3\) and labels \(2, 6\)"):
        read_shapes(write_file(path, np.arange(3), labels=np.zeros((2, 6))), tmp_path / "some.npy")
    with pytest.raises(InputError, match=r"size of picture 0 is 9, expected one of \[0.75"):
        read_shapes(write_file(path, np.arange(3), labels=np.full((3, 6), [0, 0, 0, 9, 0, -30])), tmp_path / "some.npy")


def test_a_file_that_goes_away_is_named_when_it_is_read(tmp_path: Path) -> None:
    (picture,) = read_shapes(write_file(tmp_path / "3dshapes.h5", np.arange(1)), tmp_path / "all.npy")
    (tmp_path / "all.npy").write_bytes(b"")
    with pytest.raises(InputError, match=r"picture 0 of .*all.npy is not readable"):
        picture.read()
