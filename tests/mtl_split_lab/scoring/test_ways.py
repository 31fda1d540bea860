"""Every way is what it says: as good as its setting allows, and counted to the byte."""

import numpy as np
import pytest

from mtl_split_camera.street import Street
from mtl_split_core.bundle import Bundle, load_bundle
from mtl_split_core.errors import InputError
from mtl_split_core.halves import EdgeHalf
from mtl_split_core.scene import Image
from mtl_split_core.share import bundle_folder
from mtl_split_core.stopwatch import Stopwatch
from mtl_split_lab.scoring.ways import H264, all_ways, find_way


@pytest.fixture(scope="module")
def picture() -> Image:
    return next(Street(1, (321, 181)))[0]


def test_all_bring_latents_near_the_edges_own(bundle: Bundle, picture: Image) -> None:
    edge = EdgeHalf(bundle)
    exact = edge.latents(picture)
    sizes: dict[str, list[int]] = {}
    for way in all_ways(bundle):
        size, latents = way.carry(edge, picture)
        assert latents.shape == exact.shape and latents.dtype == np.float32, way.setting
        assert np.abs(latents - exact).mean() < 0.15 * exact.std() + 8, (way.family, way.setting)
        sizes.setdefault(way.family, []).append(size)
    assert list(sizes)[:2] == ["split", "naive split"]
    assert sizes["naive split"][-1] == 4 * exact.size and sizes["naive split"][-2] == 2 * exact.size
    for family in ("JPEG", "WebP", "H.264 intra", f"JPEG, scaled to {bundle.input_size[0]}x{bundle.input_size[1]}"):
        assert sizes[family] == sorted(sizes[family]) and sizes[family][0] < sizes[family][-1]


def test_a_float32_split_loses_nothing(bundle: Bundle, picture: Image) -> None:
    edge = EdgeHalf(bundle)
    [whole] = [way for way in all_ways(bundle) if way.setting == "float32"]
    assert (whole.carry(edge, picture)[1] == edge.latents(picture)).all()


def test_h264_counts_single_pictures_and_shows_them(picture: Image) -> None:
    codec, watch = H264(18), Stopwatch()
    first, shown = codec(picture, watch)
    codec(picture[::-1, ::-1] // 2, watch)
    again, shown_again = codec(picture, watch)
    assert shown.shape == (180, 320, 3)
    assert np.abs(shown.astype(int) - picture[:180, :320]).mean() < 4
    # Whatever was encoded before: other processes may have had other pictures.
    assert again == first and np.array_equal(shown_again, shown)
    assert H264(45)(picture, watch)[0] < 0.2 * first


def test_ways_are_found_by_name(bundle: Bundle, picture: Image) -> None:
    edge = EdgeHalf(bundle)
    exact = edge.latents(picture)
    for name, size, stages in (
        ("whole", 0, {"prepare", "prefix"}),
        ("raw", picture.nbytes, {"prepare", "prefix"}),
        ("split", len(edge.encode(picture).payload), {"prepare", "prefix", "encode", "decode"}),
        ("split:coarse", len(edge.encode(picture, 0).payload), {"prepare", "prefix", "encode", "decode"}),
        ("jpeg:90", None, {"compress", "decompress", "prepare", "prefix"}),
    ):
        edge.stopwatch.milliseconds.clear()
        sent, latents = find_way(name, bundle, 10_000).carry(edge, picture)
        assert size in (sent, None) and edge.stopwatch.milliseconds.keys() == stages, name
        assert not name.startswith(("whole", "raw")) or (latents == exact).all()


@pytest.mark.parametrize("name", ["", "jpeg", "jpeg:101", "jpeg:-1", "split:best", "split:fine:1", "RAW", "whole:"])
def test_unknown_ways_are_refused_by_name(bundle: Bundle, name: str) -> None:
    with pytest.raises(InputError, match=f"{name!r}.*expected"):
        find_way(name, bundle, 10_000)


def test_a_split_keeps_to_its_most_bytes(picture: Image) -> None:
    street = load_bundle(bundle_folder("street"))
    edge = EdgeHalf(street)
    coarse, default = (len(edge.encode(picture, point).payload) for point in (1, 2))
    assert find_way("split", street, default - 1).carry(edge, picture)[0] == coarse < default
    assert find_way("split:default", street, default - 1).carry(edge, picture)[0] == default
