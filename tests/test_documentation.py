"""What README and docs/ say is what the code says.

`ros2_ws/run python -m tests.test_documentation` writes docs/parameters.md.
"""

import ast
import json
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from mtl_split_autoware.node import PARAMETERS as AUTOWARE
from mtl_split_camera.node import PARAMETERS as CAMERA
from mtl_split_core.bundle import load_bundle
from mtl_split_edge.node import PARAMETERS as EDGE
from mtl_split_lab.recordings.player import PARAMETERS as PLAYER
from mtl_split_middle.node import PARAMETERS as MIDDLE
from mtl_split_ros.messages import result_topic
from mtl_split_server.node import PARAMETERS as SERVER
from mtl_split_watch.node import PARAMETERS as WATCH

from .test_package import WITHOUT_ROSDEP_KEY

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
PARAMETERS = ROOT / "docs" / "parameters.md"
INTRODUCTION = """# Parameters

Written from the code by `ros2_ws/run python -m tests.test_documentation`.

Defaults are in [config/](../config); a `params_file` of the launch files, or `-p name:=value`, overrides them. They are
read when a node is configured, but for those that may be changed at any time with `ros2 param set`. A value that is not
allowed is refused in one line.
"""


def parameters() -> str:
    tables = {
        "Edge": EDGE,
        "Middle": MIDDLE,
        "Server": SERVER,
        "Camera": CAMERA,
        "Player": PLAYER,
        "Autoware": AUTOWARE,
        "Watch": WATCH,
    }
    return INTRODUCTION + "".join(f"\n## {name}\n\n{table.markdown()}" for name, table in tables.items())


def test_parameters() -> None:
    assert PARAMETERS.read_text() == parameters()


def test_readme_takes_ten_minutes() -> None:
    assert len(README.read_text().splitlines()) <= 150


def test_every_topic_of_the_shipped_bundle_is_in_the_table() -> None:
    topics = set(re.findall(r"^\| `([^`]+)`", README.read_text(), re.MULTILINE))
    for task in load_bundle(ROOT / "models" / "street").tasks:
        assert {result_topic(task), result_topic(task).replace(task.name, "<task>")} & topics, task.name


def test_what_pip_installs_is_what_is_tested() -> None:
    (pinned,) = re.findall(r"pip install (\S+==.*)", README.read_text())
    assert {name.partition("==")[0] for name in pinned.split()} == set(WITHOUT_ROSDEP_KEY.values())
    locked = (ROOT / "requirements.lock").read_text().splitlines()
    assert {f"{pin} \\" for pin in pinned.split()} <= set(locked)


def anchors(page: str) -> set[str]:
    """What a link can point to within a page: its headings as GitHub writes them."""
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\((?!http)([^)]+)\)", page.read_text()):
        name, _, anchor = link.partition("#")
        linked = page.parent / name if name else page
        assert linked.exists(), link
        assert not anchor or anchor in anchors(linked.read_text()), link


PARSERS: dict[str, Callable[[str], object]] = {
    "json": json.loads,
    "python": ast.parse,
    "xml": ElementTree.fromstring,
    "yaml": yaml.safe_load,
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_example_is_written_in_its_language(page: Path) -> None:
    for language, text in re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
        PARSERS[language](text)


def test_readme_leads_to_every_page() -> None:
    linked = set(re.findall(r"\]\((docs/\w[^)#]*\.md)", README.read_text()))
    assert linked >= {str(page.relative_to(ROOT)) for page in PAGES if page != README}


if __name__ == "__main__":
    PARAMETERS.write_text(parameters())
