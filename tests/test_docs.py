"""The pages on own tasks and data, and on own networks, followed as they are written."""

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

from .tiny_detector import CUT, HEIGHT, WIDTH, write_tiny_detector

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "own-tasks-and-data.md"


def code(language: str, page: Path = PAGE) -> list[str]:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    return [text for name, text in blocks if name == language]


def follow(page: Path) -> None:
    """Run the page's own commands, but for the demonstration, one more task and an exit, which are tested elsewhere."""
    for line in "".join(code("", page)).splitlines():
        if line.startswith("ros2_ws/run mtl-split") and not re.search("/more|mtl-split exit", line):
            processes = [] if line.split()[2] == "cuts" else ["--processes", "1"]
            main([*line.split()[2:], *processes])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny folder in BDD100K's format, with the page's own example as one more entry, whose picture is missing."""
    drawn = tmp_path_factory.mktemp("drawn")
    entries = json.loads(draw_pictures(drawn, 10, 3, (640, 360), processes=1).read_text())
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
    [recipe] = [block for block in code("yaml") if block.startswith("name:")]
    (folder / "recipe.yaml").write_text(recipe.replace("epochs: 20", "epochs: 1"))
    follow(PAGE)
    bundle = load_bundle(folder / "bundle")
    assert [task.name for task in bundle.tasks] == [task["name"] for task in yaml.safe_load(recipe)["tasks"]]
    assert bundle.manifest["measured"]["test.json"]["frames"] == 10
    picture = read_pictures(folder / "test.json")[0].read()
    results = ServerHalf(bundle, score_threshold=0.0).decode(EdgeHalf(bundle).encode(picture).payload, (640, 360))
    assert isinstance(results["detection"], Detections) and isinstance(results["weather"], Classification)


@pytest.mark.timeout(600)
def test_the_page_leads_from_an_onnx_file_to_a_bundle_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page's recipe is for the detector of these tests."""
    monkeypatch.chdir(tmp_path)
    page, data = DOCS / "own-network.md", tmp_path / "my_data"
    drawn = draw_pictures(tmp_path / "drawn", 10, 7, (WIDTH, HEIGHT), processes=1)
    shutil.copytree(drawn.parent, data)
    write_tiny_detector(data / "detector.onnx")
    [recipe] = code("yaml", page)
    (data / "recipe.yaml").write_text(recipe.replace("epochs: 20", "epochs: 4"))
    more = {"training": [{"pictures": "labels.json"}], "validation": [{"pictures": "labels.json"}], "epochs": 1}
    (data / "more.yaml").write_text(yaml.safe_dump(yaml.safe_load(recipe) | more))
    follow(page)
    assert CUT in capsys.readouterr().out
    bundle = load_bundle(data / "bundle")
    assert bundle.manifest["measured"]["labels.json"]["frames"] == 10 and bundle.cut == CUT
    picture = read_pictures(data / "labels.json")[0].read()
    results = ServerHalf(bundle, score_threshold=0.0).decode(EdgeHalf(bundle).encode(picture).payload, (WIDTH, HEIGHT))
    assert set(results["detection"].labels) <= {"car", "lorry"} and len(results["detection"].labels)
