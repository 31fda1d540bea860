"""The wiring: what each process is given arrives in the node, and every vehicle gets its own edge and camera."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import rclpy
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.context import Context

from mtl_split_camera import node as camera_node
from mtl_split_core.errors import InputError
from mtl_split_edge import node as edge_node
from mtl_split_ros.graph import Options, Process, Value, camera, demo, edge, server
from mtl_split_server import node as server_node

LAUNCH_FILES = sorted((Path(__file__).parents[2] / "launch").glob("*.launch.py"))

names = st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True)
texts = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=12) | st.sampled_from(
    ["1", "1.5", "true", "no", "null", "a: b", "sim:3", "~/bundle", "#", "a b"]
)
values = (
    st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(-1e6, 1e6).map(lambda number: round(number, 3))
    | texts
    | st.lists(texts, min_size=1, max_size=3)
)


@pytest.fixture(scope="module")
def context() -> Iterator[Context]:
    context = Context()
    rclpy.init(context=context)
    yield context
    context.shutdown()


@settings(max_examples=25)
@given(name=names, namespace=names, parameters=st.dictionaries(names, values, max_size=4))
def test_the_command_line_brings_everything_into_the_node(
    context: Context, name: str, namespace: str, parameters: dict[str, Value]
) -> None:
    process = Process("edge", name, f"fleet/{namespace}", parameters, (("image_raw", "/front/image"),))
    node = rclpy.create_node(
        "unnamed",
        context=context,
        cli_args=process.ros_arguments(),
        automatically_declare_parameters_from_overrides=True,
        enable_rosout=False,
        start_parameter_services=False,
    )
    assert node.get_fully_qualified_name() == f"/fleet/{namespace}/{name}"
    assert node.resolve_topic_name("image_raw") == "/front/image"
    assert {name: node.get_parameter(name).value for name in parameters} == parameters
    node.destroy_node()


def test_every_parameter_is_one_that_its_node_declares() -> None:
    tables = {"camera": camera_node.PARAMETERS, "edge": edge_node.PARAMETERS, "server": server_node.PARAMETERS}
    options = Options(autostart=False, bundle="street")
    processes = demo(options, "sim", ["car1"], "", rate=15.0, frames=3, width=640, height=360)
    processes += (edge(options, "/front/image_raw/compressed"),)
    for process in processes:
        assert process.parameters.keys() <= tables[process.executable].defaults().keys()


def test_what_is_not_chosen_is_left_to_the_nodes_own_defaults() -> None:
    assert camera(Options(), source="", rate=None) == Process("camera", "camera")
    assert edge(Options()) == Process("edge", "edge")
    assert server(Options()) == Process("server", "server")


def test_every_vehicle_gets_an_edge_a_camera_and_a_recording_and_all_share_a_server() -> None:
    processes = demo(Options(namespace="fleet"), "sim", ["car1", "car2"], "out")
    assert [(process.name, process.namespace) for process in processes] == [
        ("server", "fleet"),
        ("edge", "fleet/car1"),
        ("camera", "fleet/car1"),
        ("recorder", "fleet/car1"),
        ("edge", "fleet/car2"),
        ("camera", "fleet/car2"),
        ("recorder", "fleet/car2"),
    ]
    assert processes[0].parameters["vehicles"] == ["car1", "car2"]
    assert [p.arguments[p.arguments.index("--out") + 1] for p in processes if p.name == "recorder"] == [
        "out/car1",
        "out/car2",
    ]


@pytest.mark.parametrize(
    ("topic", "own", "transport"),
    [("/front/image", "image_raw", None), ("/front/image/compressed", "image_raw/compressed", "compressed")],
)
def test_somebody_elses_camera_takes_the_place_of_ours(topic: str, own: str, transport: str | None) -> None:
    _, other = demo(Options(), f"topic:{topic}")
    assert other.executable == "edge"
    assert other.remappings == ((own, topic),)
    assert other.parameters.get("transport") == transport


def test_a_topic_without_a_name_is_refused() -> None:
    with pytest.raises(InputError, match="topic:"):
        demo(Options(), "topic:")


@pytest.mark.skipif(find_spec("launch_ros") is None, reason="the launch system is not installed")
@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.name)
def test_every_launch_file_describes_its_arguments_and_starts_nodes(path: Path) -> None:
    from launch.actions import DeclareLaunchArgument, OpaqueFunction
    from launch.launch_description_sources import get_launch_description_from_python_launch_file
    from launch_ros.actions import Node

    from launch import LaunchContext

    description = get_launch_description_from_python_launch_file(str(path))
    context = LaunchContext()
    nodes: list[object] = []
    for entity in description.entities:
        if isinstance(entity, DeclareLaunchArgument):
            assert entity.description
        result = entity.execute(context)
        if isinstance(entity, OpaqueFunction):
            nodes += result or []
    assert nodes
    assert all(isinstance(node, Node) for node in nodes)
