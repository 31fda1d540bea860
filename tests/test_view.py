"""The files in view/ are of a form that their tools read, and name topics that there are."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from mtl_split_core.bundle import load_bundle
from mtl_split_ros.messages import result_topic

ROOT = Path(__file__).parents[1]
LAYOUT = json.loads((ROOT / "view" / "foxglove.json").read_text())
TASKS = load_bundle(ROOT / "models" / "street").tasks
TOPICS = {
    f"/{topic}"
    for topic in (
        "image_raw",
        "annotated/compressed",
        "bottleneck",
        "answer_info",
        "diagnostics",
        *map(result_topic, TASKS),
    )
}


def panels(layout: Any) -> Iterator[str]:
    """The panels in a split layout."""
    if isinstance(layout, str):
        yield layout
    else:
        yield from (*panels(layout["first"]), *panels(layout["second"]))


def test_the_layout_for_foxglove_shows_each_panel_once() -> None:
    assert sorted(panels(LAYOUT["layout"])) == sorted(LAYOUT["configById"])


def test_the_layout_for_foxglove_names_topics_that_there_are() -> None:
    made = set()
    for script in LAYOUT["userNodes"].values():
        [inputs] = re.findall(r'^export const inputs = \["(.*)"\];$', script["sourceCode"], re.MULTILINE)
        made |= set(re.findall(r'^export const output = "(.*)";$', script["sourceCode"], re.MULTILINE))
        assert inputs in TOPICS and f'Input<"{inputs}">' in script["sourceCode"]
    used = set(re.findall(r'"(/[\w/]+)', json.dumps(LAYOUT["configById"])))
    assert used <= TOPICS | made and made <= used
    assert used >= {"/image_raw", "/diagnostics", *(f"/{result_topic(t)}" for t in TASKS if t.kind == "classification")}


def test_the_configuration_for_rviz_names_topics_that_there_are() -> None:
    configuration = yaml.safe_load((ROOT / "view" / "mtl_split.rviz").read_text())
    displays = configuration["Visualization Manager"]["Displays"]
    assert {display["Topic"]["Value"] for display in displays} <= TOPICS
    assert {display["Class"] for display in displays} == {"rviz_default_plugins/Image"}
