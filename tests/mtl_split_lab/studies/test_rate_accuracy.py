"""From a bundle and labelled pictures to the page of rate against accuracy."""

import json
from pathlib import Path

import pytest

from mtl_split_core.bundle import Bundle
from mtl_split_lab.command import main
from mtl_split_lab.studies.drives import StreamCurve, StreamPoint
from mtl_split_lab.studies.drives_page import DRIVES_DATA, DRIVES_PLOT, format_drives
from mtl_split_lab.studies.rate_accuracy import beaten, bytes_at
from mtl_split_lab.studies.rate_accuracy_page import DATA, PAGE, PLOT


def test_the_bytes_for_an_accuracy_are_read_off_the_curve() -> None:
    points = [(10_000.0, 0.4), (1000.0, 0.2)]
    assert bytes_at(points, 0.4) == pytest.approx(10_000)
    assert bytes_at(points, 0.3) == pytest.approx(1000 * 10**0.5)
    assert bytes_at(points, 0.1) == 1000
    assert bytes_at(points, 0.5) is None


def test_a_setting_is_beaten_by_one_that_is_no_worse_in_anything() -> None:
    points = {"coarse": (300.0, 0.3), "same": (300.0, 0.3), "fine": (900.0, 0.5), "finest": (2000.0, 0.5)}
    assert beaten(points) == {"finest"}
    assert beaten({**points, "lucky": (300.0, 0.5)}) == {"coarse", "same", "fine", "finest"}


def test_video_is_compared_at_the_accuracy_of_each_of_our_settings(bundle: Bundle) -> None:
    def curve(loss: float, family: str, *points: tuple[float, float]) -> StreamCurve:
        settings = {str(number): StreamPoint(size, map50, 1.0) for number, (size, map50) in enumerate(points)}
        return StreamCurve("a street", 2, 30, loss, family, settings)

    curves = [
        curve(0.0, "split", (400, 0.3), (1000, 0.4), (1100, 0.39)),
        curve(0.0, "AV1, constant quality", (200, 0.2), (800, 0.4)),
        curve(0.0, "H.264, constant rate", (200, 0.1), (20_000, 0.45)),
        curve(0.01, "split", (1000, 0.4)),
        curve(0.01, "AV1, constant quality", (900, 0.35)),
    ]
    page = format_drives(bundle, curves)
    assert "| 0% | 0 | 400 | 30.0 | AV1, constant quality | 400 | 1.00 |" in page
    assert "| 0% | 1 | 1,000 | 40.0 | AV1, constant quality | 800 | 0.80 |" in page
    assert "| 0% | 2 † | 1,100 | 39.0 |" in page
    assert "| 1% | 0 | 1,000 | 40.0 | none: at most 35.0 | - | - |" in page


def test_pictures_with_nothing_to_detect_are_refused_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").touch()
    (tmp_path / "empty.json").write_text('[{"name": "a.jpg", "attributes": {"weather": "clear"}}]')
    arguments = ["rate-accuracy", "--bundle", "street", "--data", str(tmp_path), "--run", str(tmp_path)]
    with pytest.raises(SystemExit, match="1"):
        main([*arguments, "--pictures", "empty.json", "--drives", "sim:7:1:4"])
    assert "empty.json has nothing that street detects" in capsys.readouterr().err


@pytest.mark.timeout(300)
def test_the_page_has_every_way_to_send_a_picture(tmp_path: Path) -> None:
    arguments = ["rate-accuracy", "--pictures", "sim:7:4", "--drives", "sim:7:1:4"]
    main([*arguments, "--run", str(tmp_path / "run"), "--out", str(tmp_path / "out"), "--processes", "1"])
    curves = {one["family"]: one["points"] for one in json.loads((tmp_path / "out" / DATA).read_text())}
    assert list(curves["split"]) == ["coarsest", "coarse", "default", "fine"]
    sizes = [point["bytes"]["median"] for point in curves["split"].values()]
    assert sizes == sorted(sizes) and sizes[-1] < 4_000
    assert all(point["frames"] == 4 for points in curves.values() for point in points.values())
    streams = json.loads((tmp_path / "out" / DRIVES_DATA).read_text())
    assert {(curve["loss"], curve["scored"]) for curve in streams} == {(0.0, 1), (0.01, 1)}
    assert all(point["answered"] == 1 for curve in streams if not curve["loss"] for point in curve["points"].values())
    page = (tmp_path / "out" / PAGE).read_text()
    for words in (
        "| default |",
        "JPEG, scaled to 512x288, quality 90",
        "| H.264 intra |",
        "multiply-adds per frame",
        "### sim:7:1:4",
    ):
        assert words in page
    assert all((tmp_path / "out" / plot).stat().st_size > 10_000 for plot in (PLOT, DRIVES_PLOT))
