"""What the package says about itself: versions, dependencies, the direction of imports, and the messages' types."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from ament_index_python.packages import get_package_prefix, get_package_share_directory
from setuptools import find_packages

from .installing import install_locked

ROOT = Path(__file__).parent.parent
PACKAGE_XML = ElementTree.parse(ROOT / "package.xml").getroot()
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

# Which of the project's packages each of them may import.
MAY_IMPORT = {
    "mtl_split_core": set(),
    "mtl_split_net": {"mtl_split_core"},
    "mtl_split_ros": {"mtl_split_core"},
    "mtl_split_edge": {"mtl_split_core", "mtl_split_ros"},
    "mtl_split_middle": {"mtl_split_core", "mtl_split_ros"},
    "mtl_split_server": {"mtl_split_core", "mtl_split_ros"},
    "mtl_split_camera": {"mtl_split_core", "mtl_split_ros"},
    "mtl_split_autoware": {"mtl_split_core", "mtl_split_ros"},
    "mtl_split_watch": {"mtl_split_core", "mtl_split_ros"},
    "mtl_split_lab": {"mtl_split_core", "mtl_split_net", "mtl_split_ros", "mtl_split_camera"},
}
ON_THE_VEHICLE = [
    f"mtl_split_{name}" for name in ("core", "ros", "edge", "middle", "server", "camera", "watch", "autoware")
]
# Engines that a machine may have or not; what they need is imported when they are asked for.
OPTIONAL = {"openvino"}
# By what is imported, what pip installs.
WITHOUT_ROSDEP_KEY = {"constriction": "constriction", "edgefirst": "edgefirst-tracker"}
ROSDEP_KEYS = {
    "aiohttp": "python3-aiohttp",
    "cv2": "python3-opencv",
    "msgpack": "python3-msgpack",
    "numpy": "python3-numpy",
    "onnxruntime": "python3-onnxruntime-pip",
    "simplejpeg": "python3-simplejpeg-pip",
    "yaml": "python3-yaml",
}

# Measured on vision_msgs 4.1.1 itself, with Kilted's generators.
VISION_MSGS_TYPE_HASHES = {
    "BoundingBox2D": "RIHS01_008eacbb0cf8f26e83795547bed013eec3675485ef386ec056d80eaaf1c1ce2f",
    "Classification": "RIHS01_f74db28d0eaef3afb78f48bf2161cd709a1383a0309d3454383b25be11345143",
    "Detection2D": "RIHS01_0d12b69df5c593b3455b7346fac8205437a7d4bcb09b9e0e0b2dde787ded38ea",
    "Detection2DArray": "RIHS01_214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968",
    "LabelInfo": "RIHS01_3d37df4015cdf660cc851c51897f2acd957e1ca6205ba0a99aebffb9406b0783",
    "ObjectHypothesis": "RIHS01_51da43cec11c01957a64d1e05a24acd18aae7745ec30b74348ad5f6d634f7f90",
    "ObjectHypothesisWithPose": "RIHS01_41c12344c0396c48b81df12467c192d99b2a0eb1463c5c37194e4223251c80bc",
    "Point2D": "RIHS01_eab0e83f44ab4de92ceaf76dd7d0e7638f2bdd1d16ffbe16c7a136c48e407247",
    "Pose2D": "RIHS01_b0b5d1d7b4c20dd4fcde3ed1d4b289a919290572007d67a97043814db25d3648",
    "VisionClass": "RIHS01_1e4a11f0fed50b5623cb8ff26ca0e37952a48a9c074d16f804b44e9164c2037a",
}


def imports(folder: str) -> set[str]:
    """Top-level names of everything that the Python files of a folder import, the standard library left out."""
    names: set[str] = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names.add(node.module)
    return {name.split(".")[0] for name in names} - sys.stdlib_module_names


def test_the_workflow_runs_the_scripts_and_pins_what_others_wrote() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step["uses"]) for step in steps if "uses" in step)
    scripts = [ROOT / step["run"] for step in steps if "run" in step]
    assert {script.name for script in scripts} == {"run", "distribution"}
    assert all(os.access(script, os.X_OK) for script in scripts)


def test_one_version_everywhere() -> None:
    newest = re.search(r"^(\d+\.\d+\.\d+) \(", (ROOT / "CHANGELOG.rst").read_text(), re.MULTILINE)
    assert newest is not None
    assert PACKAGE_XML.findtext("version") == PYPROJECT["project"]["version"] == newest[1]


def test_no_link_leads_back_to_a_folder_above_it() -> None:
    made = {".git", ".venv", "build", "install", "log"}
    for folder, names, _ in os.walk(ROOT):
        names[:] = [name for name in names if name not in made]
        for path in (Path(folder, name) for name in names):
            assert path.resolve() not in path.parents, f"{path} leads whoever copies the tree in circles"


def test_colcon_finds_the_package_in_the_workspace_although_it_is_outside() -> None:
    command = ["colcon", "--log-base", os.devnull, "list"]
    listed = subprocess.run(command, cwd=ROOT / "ros2_ws", capture_output=True, text=True, check=True).stdout
    assert [line.split()[:2] for line in listed.splitlines()] == [["mtl_split", ".."]]


def test_every_package_is_installed_by_colcon_and_by_pip() -> None:
    folders = {path.parent for path in ROOT.glob("mtl_split_*/**/*.py")}
    packages = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    by_pip = find_packages(str(ROOT), include=PYPROJECT["tool"]["setuptools"]["packages"]["find"]["include"])
    by_colcon = re.search(r"foreach\(package ([a-z ]+)\)", (ROOT / "CMakeLists.txt").read_text())
    assert by_colcon is not None
    assert packages == set(by_pip)
    assert {name for name in packages if "." not in name} == {f"mtl_split_{name}" for name in by_colcon[1].split()}


@pytest.mark.parametrize(
    ("executable", "module"), re.findall(r"set\((\S+)_module (\S+)\)", (ROOT / "CMakeLists.txt").read_text())
)
def test_every_executable_calls_the_main_of_a_module(executable: str, module: str) -> None:
    installed = Path(get_package_prefix("mtl_split")) / "lib" / "mtl_split" / executable
    assert os.access(installed, os.X_OK)
    assert f"from {module} import main" in installed.read_text()
    source = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text())
    assert "main" in {node.name for node in source.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_point_one_way(package: str) -> None:
    ours = {name for name in imports(package) if name.startswith("mtl_split_")}
    assert ours - {package} <= MAY_IMPORT[package]


def test_the_rooms_of_the_lab_import_only_those_that_the_documentation_names_after_them() -> None:
    named = re.findall(r"^\| `([a-z]+)/` \|", (ROOT / "docs" / "structure.md").read_text(), re.MULTILINE)
    assert set(named) == {path.parent.name for path in (ROOT / "mtl_split_lab").glob("*/__init__.py")}
    for index, room in enumerate(named):
        sources = [path.read_text() for path in (ROOT / "mtl_split_lab" / room).glob("*.py")]
        imported = {name for source in sources for name in re.findall(r"mtl_split_lab\.(\w+)\.\w+ import", source)}
        assert imported <= set(named[index:]), room


def test_the_core_needs_no_ros_at_all() -> None:
    assert (
        imports("mtl_split_core")
        <= {"mtl_split_core", "constriction", "cv2", "edgefirst", "msgpack", "numpy", "onnxruntime", "simplejpeg"}
        | OPTIONAL
    )


def test_package_xml_names_every_dependency_of_the_vehicle() -> None:
    named = {element.text for tag in ("depend", "exec_depend") for element in PACKAGE_XML.iter(tag)}
    imported = set().union(*map(imports, [*ON_THE_VEHICLE, "launch"]))
    needed = {name for name in imported - OPTIONAL - WITHOUT_ROSDEP_KEY.keys() if not name.startswith("mtl_split")}
    assert {ROSDEP_KEYS.get(name, name) for name in needed} <= named


def test_the_lock_file_pins_every_dependency_and_names_no_source() -> None:
    lines = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
    form = re.compile(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*( ; [^\\]+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?")
    assert [line for line in lines if form.fullmatch(line) is None] == []
    pins = install_locked.read_lock("\n".join(lines))
    assert all(hashes for _, hashes in pins.values())
    pinned = pins.keys()
    requirements = [requirement for group in PYPROJECT["dependency-groups"].values() for requirement in group]
    names = {install_locked.normalised(re.split(r"[\[;]", requirement)[0]) for requirement in requirements}
    assert names <= pinned


def test_what_a_vehicle_needs_may_be_put_into_any_product() -> None:
    page = (ROOT / "docs" / "licences.md").read_text()
    pins = install_locked.read_lock((ROOT / "requirements.lock").read_text())
    sections = {
        title: re.findall(r"^\| (\S+) \| (\S+) \| (.+) \|$", rows, re.MULTILINE)
        for title, rows in re.findall(r"^## (\w+)\n\n(.*?)\n\n", page, re.MULTILINE | re.DOTALL)
    }
    for rows in sections.values():
        for name, version, _ in rows[1:]:
            assert pins[install_locked.normalised(name)][0] == version.split("+")[0], "run `make licences`"
    on_the_vehicle = {install_locked.normalised(name): licence for name, _, licence in sections["vehicle"]}
    groups = PYPROJECT["dependency-groups"]
    assert {install_locked.normalised(name) for name in groups["vehicle"]} <= on_the_vehicle.keys()
    assert not any("GPL" in licence or "GNU" in licence for licence in on_the_vehicle.values())
    assert "av" not in on_the_vehicle


@pytest.mark.parametrize("name", VISION_MSGS_TYPE_HASHES)
def test_vision_msgs_is_the_same_on_the_wire_wherever_it_comes_from(name: str) -> None:
    description = json.loads((Path(get_package_share_directory("vision_msgs")) / "msg" / f"{name}.json").read_text())
    hashes = {entry["type_name"]: entry["hash_string"] for entry in description["type_hashes"]}
    assert hashes[f"vision_msgs/msg/{name}"] == VISION_MSGS_TYPE_HASHES[name]
