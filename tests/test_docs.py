"""The page on own tasks and data, followed as it is written."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from mtl_split_core.bundle import load_bundle
from mtl_split_core.halves import EdgeHalf, ServerHalf
from mtl_split_core.scene import Classification, Detections
from mtl_split_lab.command import main
from mtl_split_lab.data.pictures import IMAGES, read_pictures
from mtl_split_lab.data.simulated import draw_pictures

PAGE = Path(__file__).parents[1] / "docs" / "own-tasks-and-data.md"


def code(language: str) -> list[str]:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return [text for name, text in blocks if name == language]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny folder in BDD100K's format, with the page's own example as one more entry, whose picture is missing."""
    drawn = tmp_path_factory.mktemp("drawn")
    entries = json.loads(draw_pictures(drawn, 10, 7, (640, 360), processes=1).read_text())
    folder = tmp_path_factory.mktemp("somewhere") / "my_data"
    shutil.copytree(drawn / IMAGES, folder / IMAGES)
    [example] = code("json")
    for name in ("train", "val", "test"):
        more = json.loads(example) if name == "train" else []
        (folder / f"{name}.json").write_text(json.dumps(entries + more))
    return folder


def test_the_example_entry_is_read_as_the_page_says(folder: Path) -> None:
    truth = read_pictures(folder / "train.json")[-1].truth
    assert truth.labels == ("car",) and truth.classes == {"weather": "rainy"} and truth.labelled is None


@pytest.mark.timeout(600)
def test_the_page_leads_to_a_bundle_that_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    [recipe] = code("yaml")
    (folder / "recipe.yaml").write_text(recipe.replace("epochs: 20", "epochs: 1"))
    for line in "".join(code("")).splitlines():
        if line.startswith("ros2_ws/run mtl-split"):
            main([*line.split()[2:], "--processes", "1"])
    bundle = load_bundle(folder / "bundle")
    assert [task.name for task in bundle.tasks] == [task["name"] for task in yaml.safe_load(recipe)["tasks"]]
    assert bundle.manifest["measured"]["test.json"]["frames"] == 10
    picture = read_pictures(folder / "test.json")[0].read()
    results = ServerHalf(bundle, score_threshold=0.0).decode(EdgeHalf(bundle).encode(picture).payload, (640, 360))
    assert isinstance(results["detection"], Detections) and isinstance(results["weather"], Classification)
