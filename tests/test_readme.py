"""What the README says is what the code says; `ros2_ws/run python -m tests.test_readme` writes its parameters."""

import re
from pathlib import Path

from mtl_split_camera.node import PARAMETERS as CAMERA
from mtl_split_core.bundle import load_bundle
from mtl_split_edge.node import PARAMETERS as EDGE
from mtl_split_lab.recordings.player import PARAMETERS as PLAYER
from mtl_split_ros.messages import result_topic
from mtl_split_server.node import PARAMETERS as SERVER

from .test_package import WITHOUT_ROSDEP_KEY

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
BEGIN = "<!-- parameters: written by tests/test_readme.py -->\n"
END = "<!-- end of parameters -->\n"


def parameters() -> str:
    tables = {"Edge": EDGE, "Server": SERVER, "Camera": CAMERA, "Player": PLAYER}
    return "".join(f"\n**{name}**\n\n{table.markdown()}" for name, table in tables.items()) + "\n"


def test_parameters() -> None:
    written = README.read_text().partition(BEGIN)[2].partition(END)[0]
    assert written == parameters()


def test_every_topic_of_the_shipped_bundle_is_in_the_table() -> None:
    topics = set(re.findall(r"^\| `([^`]+)`", README.read_text(), re.MULTILINE))
    for task in load_bundle(ROOT / "models" / "street").tasks:
        assert {result_topic(task), result_topic(task).replace(task.name, "<task>")} & topics, task.name


def test_what_pip_installs_is_what_is_tested() -> None:
    (pinned,) = re.findall(r"pip install (\S+==.*)", README.read_text())
    assert {name.partition("==")[0] for name in pinned.split()} == set(WITHOUT_ROSDEP_KEY.values())
    locked = (ROOT / "requirements.lock").read_text().splitlines()
    assert {f"{pin} \\" for pin in pinned.split()} <= set(locked)


def test_every_file_that_is_linked_exists() -> None:
    for link in re.findall(r"\]\((?!http)([^)]+)\)", README.read_text()):
        assert (ROOT / link).exists(), link


if __name__ == "__main__":
    before, rest = README.read_text().split(BEGIN)
    README.write_text(before + BEGIN + parameters() + END + rest.split(END)[1])
