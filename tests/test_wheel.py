"""The wheel alone: `mtl-split` where there is what the wheel's metadata names, and so neither ROS nor torch.

The libraries are not installed anew but linked from where the tests run, in their versions. What is proven is that the
wheel holds the files it needs, that the extras name everything that is imported, and that nothing needs ROS unseen; not
that pip finds the libraries, or that other versions of them do.
"""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from packaging.requirements import Requirement

from mtl_split_core.bundle import load_bundle
from mtl_split_core.share import bundle_folder

from .test_docs import code

ROOT = Path(__file__).parents[1]
Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: building leaves its own files behind."""
    tree, built = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("built")
    for path in [*ROOT.glob("mtl_split_*"), ROOT / "models"]:
        shutil.copytree(path, tree / path.name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, tree)
    pip("wheel", "--no-build-isolation", "--no-deps", "--no-index", "--wheel-dir", str(built), str(tree))
    [wheel] = built.iterdir()
    return wheel


# A workspace that is sourced would be found, too, and in it another mtl_split.
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "AMENT", "ROS"))}


def pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, env=CLEAN, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stdout + done.stderr


def required(wheel: Path, extra: str) -> set[str]:
    """The names of all distributions that the wheel needs with an extra, and that these need in turn."""
    [metadata] = importlib.metadata.distributions(path=[str(wheel)])
    found: set[str] = set()
    waiting = [(requirement, extra) for requirement in metadata.requires or []]
    while waiting:
        text, wanted = waiting.pop()
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": wanted}):
            continue
        if requirement.name not in found:
            found.add(requirement.name)
            needed = importlib.metadata.requires(requirement.name) or []
            waiting += [(one, other) for one in needed for other in requirement.extras or {""}]
    return found


def link(names: set[str], folder: Path) -> Path:
    """Link what is installed of these distributions into a folder for PYTHONPATH."""
    folder.mkdir()
    for name in names:
        distribution = importlib.metadata.distribution(name)
        files = {file.parts[0] for file in distribution.files or [] if file.parts[0] not in ("..", "__pycache__")}
        if not files:  # a system's package does not say what it has
            (folder / "system.pth").write_text(f"{distribution.locate_file('')}\n")
        for file in files:
            if not (folder / file).exists():
                (folder / file).symlink_to(str(distribution.locate_file(file)))
    return folder


class Environment:
    """A virtual environment with the wheel; libraries: what `run` finds beside it."""

    def __init__(self, wheel: Path, folder: Path) -> None:
        self._folder = folder
        venv.create(folder / "venv")
        pip("--python", str(folder / "venv"), "install", "--no-deps", "--no-index", str(wheel))
        self.libraries = {extra: link(required(wheel, extra), folder / f"with-{extra}") for extra in ("", "replay")}

    def run(self, extra: str, program: str, *arguments: str, place: Path | None = None) -> Done:
        """Run a program of the environment with the libraries of an extra; "": with those that come without any."""
        return subprocess.run(
            [self._folder / "venv" / "bin" / program, *arguments],
            env=CLEAN | {"PYTHONPATH": str(self.libraries[extra])},
            cwd=place or self._folder, capture_output=True, text=True,
        )  # fmt: skip

    def complaint(self, extra: str, *arguments: str) -> str:
        """The only line of an mtl-split that fails."""
        done = self.run(extra, "mtl-split", *arguments)
        assert done.returncode == 1, done.stderr
        [line] = done.stderr.splitlines()
        return line


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment(wheel, tmp_path_factory.mktemp("environment"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(2):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((90, 160, 3), 60 * number, np.uint8))
    return folder


def files_of(wheel: Path) -> Iterator[str]:
    with zipfile.ZipFile(wheel) as archive:
        yield from archive.namelist()


def test_it_holds_the_packages_the_bundles_and_the_recipes(wheel: Path) -> None:
    files = set(files_of(wheel))
    python = [
        path.relative_to(ROOT) for path in ROOT.glob("mtl_split_*/**/*") if path.suffix in (".py", ".yaml", ".json")
    ]
    assert {str(path) for path in python} <= files
    shared = {name.partition("/data/share/mtl_split/")[2] for name in files} - {""}
    assert shared == {str(path.relative_to(ROOT)) for path in ROOT.glob("models/*/*")}


def test_neither_ros_nor_torch_comes_unasked(wheel: Path) -> None:
    assert not {"torch", "rosbags"} & required(wheel, "")
    assert "rosbags" in required(wheel, "replay") and "torch" not in required(wheel, "replay")
    assert required(wheel, "replay") | {"torch", "lightning"} <= required(wheel, "train")
    assert not any(name.startswith("ros-") for name in required(wheel, "train"))


def test_pictures_are_replayed_through_both_halves(environment: Environment, pictures: Path, tmp_path: Path) -> None:
    assert "replay" in environment.run("", "mtl-split", "--help").stdout
    for bundle in ("street", "roads"):
        arguments = "--bundle", bundle, "--ways", "split,whole", "--out", str(tmp_path)
        done = environment.run("replay", "mtl-split", "replay", str(pictures), *arguments)
        assert done.returncode == 0, done.stderr
        assert "2 of 2 frames" in done.stdout and "agreement is not accuracy" in done.stdout
        assert load_bundle(bundle_folder(bundle)).fingerprint in (tmp_path / "report.json").read_text()


def test_the_halves_are_a_library(environment: Environment, pictures: Path, tmp_path: Path) -> None:
    """The page's own program."""
    [program] = code("python", ROOT / "docs" / "without-ros.md")
    shutil.copy(pictures / "1.png", tmp_path / "street.jpg")
    done = environment.run("", "python", "-c", program, place=tmp_path)
    assert re.match(r"\d+ bytes: (clear|rainy|foggy|overcast)", done.stdout), done.stderr


def test_what_is_not_installed_is_named_with_its_cure(environment: Environment, pictures: Path, tmp_path: Path) -> None:
    assert "needs the Python package" in environment.complaint("", "replay", str(pictures))
    assert "pip install '.[replay]'" in environment.complaint("", "replay", str(pictures))
    for learning in (("train",), ("backbones",), ("export", "--bundle", "here")):
        assert "pip install '.[train]'" in environment.complaint("replay", *learning)
    (tmp_path / "metadata.yaml").touch()
    for command in (("replay", str(tmp_path)), ("record", "bag")):
        assert f"{command[0]} needs ROS 2 for this" in environment.complaint("replay", *command)
