"""From a bundle and labelled pictures to the page of rate against accuracy."""

import json
from pathlib import Path

import pytest

from mtl_split_lab.command import main
from mtl_split_lab.studies.rate_accuracy import Curve, bytes_at
from mtl_split_lab.studies.rate_accuracy_page import DATA, PAGE, PLOT


def curve(*points: tuple[float, float]) -> Curve:
    entries = {str(index): {"bytes": {"median": size}, "map50": map50} for index, (size, map50) in enumerate(points)}
    return Curve("street", "JPEG", entries)


def test_the_bytes_for_an_accuracy_are_read_off_the_curve() -> None:
    points = curve((10_000, 0.4), (1000, 0.2))
    assert bytes_at(points, 0.4) == pytest.approx(10_000)
    assert bytes_at(points, 0.3) == pytest.approx(1000 * 10**0.5)
    assert bytes_at(points, 0.1) == 1000
    assert bytes_at(points, 0.5) is None


def test_pictures_with_nothing_to_detect_are_refused_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").touch()
    (tmp_path / "empty.json").write_text('[{"name": "a.jpg", "attributes": {"weather": "clear"}}]')
    arguments = ["rate-accuracy", "--bundle", "street", "--data", str(tmp_path), "--run", str(tmp_path)]
    with pytest.raises(SystemExit, match="1"):
        main([*arguments, "--pictures", "empty.json"])
    assert "empty.json has nothing that street detects" in capsys.readouterr().err


@pytest.mark.timeout(300)
def test_the_page_has_every_way_to_send_a_picture(tmp_path: Path) -> None:
    arguments = ["rate-accuracy", "--pictures", "sim:7:4"]
    main([*arguments, "--run", str(tmp_path / "run"), "--out", str(tmp_path / "out"), "--processes", "1"])
    curves = {one["family"]: one["points"] for one in json.loads((tmp_path / "out" / DATA).read_text())}
    assert list(curves["split"]) == ["coarsest", "coarse", "default", "fine", "finest"]
    sizes = [point["bytes"]["median"] for point in curves["split"].values()]
    assert sizes == sorted(sizes) and sizes[-1] < 10_000
    assert all(point["frames"] == 4 for points in curves.values() for point in points.values())
    page = (tmp_path / "out" / PAGE).read_text()
    for words in ("| default |", "JPEG, scaled to 512x288, quality 90", "| H.264 intra |", "multiply-adds per frame"):
        assert words in page
    assert (tmp_path / "out" / PLOT).stat().st_size > 10_000
