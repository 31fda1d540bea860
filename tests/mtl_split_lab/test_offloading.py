"""Every rival is what it says: as good as its setting allows, and counted to the byte."""

import numpy as np
import pytest

from mtl_split_camera.street import Street
from mtl_split_core.bundle import Bundle
from mtl_split_core.halves import EdgeHalf
from mtl_split_core.scene import Image
from mtl_split_lab.offloading import H264, links


@pytest.fixture(scope="module")
def picture() -> Image:
    return next(Street(1, (321, 181)))[0]


def test_links_bring_latents_near_the_edges_own(bundle: Bundle, picture: Image) -> None:
    edge = EdgeHalf(bundle)
    exact = edge.latents(picture)
    sizes: dict[str, list[int]] = {}
    for link in links(bundle):
        size, latents = link.carry(edge, picture)
        assert latents.shape == exact.shape and latents.dtype == np.float32, link.setting
        assert np.abs(latents - exact).mean() < 0.15 * exact.std() + 8, (link.family, link.setting)
        sizes.setdefault(link.family, []).append(size)
    assert list(sizes)[:2] == ["split", "naive split"]
    assert sizes["naive split"][-1] == 4 * exact.size and sizes["naive split"][-2] == 2 * exact.size
    for family in ("JPEG", "WebP", "H.264 intra", f"JPEG, scaled to {bundle.input_size[0]}x{bundle.input_size[1]}"):
        assert sizes[family] == sorted(sizes[family]) and sizes[family][0] < sizes[family][-1]


def test_a_float32_split_loses_nothing(bundle: Bundle, picture: Image) -> None:
    edge = EdgeHalf(bundle)
    [whole] = [link for link in links(bundle) if link.setting == "float32"]
    assert (whole.carry(edge, picture)[1] == edge.latents(picture)).all()


def test_h264_counts_single_pictures_and_shows_them(picture: Image) -> None:
    codec = H264(18)
    first, shown = codec(picture)
    again, _ = codec(picture)
    assert shown.shape == (180, 320, 3)
    assert np.abs(shown.astype(int) - picture[:180, :320]).mean() < 4
    # Every picture is a key frame: a second one takes as much as the first, to the rate control's wavering.
    assert again == pytest.approx(first, rel=0.05)
    assert H264(45)(picture)[0] < 0.2 * first
