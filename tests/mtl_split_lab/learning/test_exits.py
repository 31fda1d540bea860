"""Any finished bundle gets an exit by one command, from pictures without labels, and knows what it is worth."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from mtl_split_core.bundle import EXIT, Bundle, load_bundle, write_manifest
from mtl_split_core.errors import InputError
from mtl_split_core.halves import EdgeHalf, ServerHalf
from mtl_split_core.scene import Image, Truth
from mtl_split_lab.command import main
from mtl_split_lab.data.pictures import IMAGES, LABELS, write_labels, write_picture
from mtl_split_lab.learning.curves import read_losses
from mtl_split_lab.learning.exits import draw_lessons
from mtl_split_lab.learning.unlabelled import find_unlabelled
from mtl_split_lab.portion import Portion

from ...tiny_bundle import COLOURS, HEIGHT, THING, WIDTH, write_tiny_bundle

pytestmark = pytest.mark.timeout(600)


def vivid(colour: int, chance: np.random.Generator) -> Image:
    picture = chance.integers(0, 90, (HEIGHT, WIDTH, 3), np.uint8)
    picture[..., colour] += np.uint8(150)
    return picture


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of one colour each: unlabelled ones, and others whose colour and thing are known."""
    folder = tmp_path_factory.mktemp("data")
    chance = np.random.default_rng(0)
    (folder / "seen").mkdir()
    (folder / IMAGES).mkdir()
    truths = []
    for number in range(24):
        write_picture(folder / "seen" / f"{number}.png", vivid(number % 3, chance))
    for number in range(12):
        write_picture(folder / IMAGES / f"{number}.png", vivid(number % 3, chance))
        box, one = np.array([THING], np.float32), np.ones(1, np.float32)
        truth = Truth(box, ("thing",), one, np.zeros(1, np.bool_), {"colour": COLOURS[number % 3]})
        truths.append((f"{number}.png", truth))
    write_labels(folder / LABELS, truths)
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle that says what it is tested on."""
    bundle = write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")
    return write_manifest(bundle.folder, {**bundle.manifest, "recipe": {"testing": [{"pictures": LABELS}], "old": 1}})


@pytest.fixture(scope="module")
def run(tiny: Bundle, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exit")
    where = ["--run", str(folder), "--data", str(data), "--processes", "1", "--accelerator", "cpu"]
    main(["exit", "--bundle", str(tiny.folder), "--pictures", "images:seen", *where, "--count", "192", "--epochs", "6"])
    return folder


def test_it_answers_as_the_suffix_does(tiny: Bundle, run: Path, data: Path) -> None:
    bundle = load_bundle(tiny.folder)
    assert bundle.contract.fingerprint == tiny.contract.fingerprint
    assert all(bundle.files[role] == file for role, file in tiny.files.items())
    edge, server, own = EdgeHalf(bundle), ServerHalf(bundle), ServerHalf(bundle, role=EXIT)
    for number in range(12):
        image = cv2.imread(str(data / IMAGES / f"{number}.png"))
        assert image is not None
        latents = edge.latents(image.astype(np.uint8))
        assert own.answer(latents, (WIDTH, HEIGHT))["colour"].best == COLOURS[number % 3]
        found = own.answer(latents, (WIDTH, HEIGHT))["detection"]
        right = server.answer(latents, (WIDTH, HEIGHT))["detection"]
        np.testing.assert_allclose(found.scores[0], right.scores[0], atol=0.2)
        np.testing.assert_allclose(found.boxes[0], right.boxes[0], atol=8)
    losses = read_losses(run)
    assert losses["validation/loss"][5] < losses["validation/loss"][0]


def test_the_manifest_says_what_every_answer_is_worth(
    tiny: Bundle, run: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = load_bundle(tiny.folder)
    assert bundle.values is not None
    assert bundle.values.server == {"coarse": 1.0, "fine": 1.0} and bundle.values.own["whole"] == 1.0
    assert bundle.values.own[EXIT] > 0.7
    assert bundle.manifest[EXIT]["learned_from"] == ["images:seen"] and bundle.manifest[EXIT]["parameters"] > 10_000
    assert bundle.manifest["measured_own"][LABELS][EXIT]["classification"] == {"colour": 1.0}
    out = run / "replay"
    main(["replay", str(data / LABELS), "--bundle", str(bundle.folder), "--ways", "exit,whole", "--out", str(out)])
    report = json.loads((out / "report.json").read_text())["ways"]
    assert report[EXIT]["classification"] == {"colour": 1.0} and report[EXIT]["bytes"]["max"] == 0
    assert EXIT in report[EXIT]["stages_ms"] and "suffix" not in report[EXIT]["stages_ms"]


def test_without_pictures_or_an_exit_it_says_what_to_do(
    tiny: Bundle, tmp_path: Path, data: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_tiny_bundle(tmp_path / "tiny")
    for command, complaint in (
        (["exit", "--bundle", str(bundle.folder)], "does not say what it was trained on: --pictures names some"),
        (["exit", "--bundle", str(bundle.folder), "--pictures", "none.json"], "no pictures 'none.json'"),
        (["replay", str(data / LABELS), "--bundle", str(bundle.folder), "--ways", "exit"], "gives it one"),
    ):
        with pytest.raises(SystemExit):
            main(command)
        assert complaint in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["exit", "--bundle", str(bundle.folder), "--pictures", str(data / LABELS), "--run", str(run)])
    assert "holds the training of another exit" in capsys.readouterr().err
    write_manifest(bundle.folder, {**bundle.manifest, "recipe": {"testing": 3}})
    with pytest.raises(SystemExit):
        main(["exit", "--bundle", str(bundle.folder), "--pictures", "images:seen"])
    assert "testing" in capsys.readouterr().err


def test_every_source_teaches_as_much_and_damaged_pictures_nothing(tiny: Bundle, tmp_path: Path) -> None:
    sources = []
    for name, level, count in (("dark", 0, 1), ("bright", 200, 9)):
        (tmp_path / name).mkdir()
        for number in range(count):
            write_picture(tmp_path / name / f"{number}.png", np.full((HEIGHT, WIDTH, 3), level, np.uint8))
        sources.append(find_unlabelled([Portion(f"images:{name}")], tmp_path, tmp_path / "run", (WIDTH, HEIGHT), 1))
    lessons = draw_lessons(tiny, sources, 20)
    assert sum(lesson.latents.mean() < 1 for lesson in lessons) == 10
    for picture in (tmp_path / "run").rglob("*.png"):
        picture.write_bytes(b"no picture")
    with pytest.raises(InputError, match="no picture can be read"):
        draw_lessons(tiny, sources, 4)
