"""The wiring: what each process is given arrives in the node, and every vehicle gets its own edge and camera."""

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import rclpy
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.context import Context
from sensor_msgs.msg import Image

from mtl_split_autoware import node as autoware_node
from mtl_split_camera import node as camera_node
from mtl_split_core.control.policy import FIXED
from mtl_split_core.errors import InputError
from mtl_split_edge import node as edge_node
from mtl_split_lab.recordings import player as player_node
from mtl_split_middle import node as middle_node
from mtl_split_ros.graph import (
    CHOICES,
    MEASURED_SCORE,
    REMOTE,
    Options,
    Process,
    Value,
    autoware,
    bag_play_command,
    camera,
    demo,
    edge,
    edges,
    middle,
    replay,
    server,
    watch,
)
from mtl_split_ros.process import FAULT, UNUSABLE
from mtl_split_server import node as server_node
from mtl_split_watch import node as watch_node

from ..bags import write_bag

LAUNCH_FILES = sorted((Path(__file__).parents[2] / "launch").glob("*.launch.py"))

names = st.from_regex(r"[a-z](_?[a-z0-9]){0,5}", fullmatch=True)  # without "__", which ROS does not allow
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
    nodes = {"camera": camera_node, "edge": edge_node, "server": server_node, "player": player_node}
    nodes |= {"autoware": autoware_node, "middle": middle_node, "watch": watch_node}
    options = Options(
        autostart=False,
        bundle="street",
        key_file="keys",
        engine="auto",
        threads=2,
        transport="raw",
        operating_point="coarse",
        max_payload_bytes=900,
        score_threshold=0.5,
        tracking="none",
        further_bundles=("roads",),
        order="edf",
        deadline=0.1,
        least_share=0.2,
        middle=True,
    )
    processes = demo(options, "sim", ["car1"], "", rate=15.0, frames=3, width=640, height=360)
    processes += (edge(replace(options, transport=""), "/front/image_raw/compressed"),)
    processes += replay(options, "bag", "/image_raw", ["/image_raw"], rate=2.0, loop=True)
    processes += tuple(autoware(processes))
    processes += (watch(options, port=8081),)
    for process in processes:
        known = {*nodes[process.executable].PARAMETERS.defaults(), "use_sim_time"}
        assert process.parameters.keys() <= known, process.name


def test_the_choices_are_those_of_the_nodes() -> None:
    for node in (edge_node, server_node):
        for name, words in CHOICES.items():
            row = node.PARAMETERS.row(name)
            assert row is None or row.choices == words


def test_every_node_gets_what_concerns_it() -> None:
    both: dict[str, Any] = {"engine": "auto", "threads": 2}
    for_edge: dict[str, Any] = {"transport": "auto", "operating_point": "coarse"}
    for_server: dict[str, Any] = {"score_threshold": 0.4, "tracking": "none", "order": "edf", "deadline": 0.1}
    server_, edge_, camera_ = demo(Options(**both, **for_edge, **for_server, further_bundles=("roads",)), measured=True)
    assert server_.parameters == {"vehicles": [""], "further_bundles": ["roads"], **for_server, **both}
    assert edge_.parameters == {**for_edge, **both}
    assert camera_.parameters == {"wait_for_subscribers": 1}


def test_with_a_deadline_the_edges_publish_the_results_and_follow_the_objects() -> None:
    options = Options(
        answer_by=0.1, policy="ladder", score_threshold=0.4, tracking="bytetrack", cameras=("front", "rear")
    )
    server_, *edges_ = [process for process in demo(options, vehicles=["car1"]) if process.executable != "camera"]
    assert server_.parameters["results_namespace"] == REMOTE
    own = {"answer_by": 0.1, "local_suffix": True, "policy": "ladder", "score_threshold": 0.4, "tracking": "bytetrack"}
    assert [edge.parameters for edge in edges_] == [own, own]
    assert edges(options) == tuple(edge(each) for _, each in options.each_camera())
    for process in (edge(Options(answer_by=0.1)), server(Options(answer_by=0.1))):
        node = {"edge": edge_node, "server": server_node}[process.executable]
        assert process.parameters.keys() <= node.PARAMETERS.defaults().keys()
    edge_, server_ = edge(Options(answer_by=0.0)), server(Options(answer_by=0.0))
    assert (edge_.parameters, server_.parameters) == ({"answer_by": 0.0}, {})


def test_a_measured_edge_with_a_deadline_publishes_unsure_detections_too() -> None:
    for process in demo(Options(answer_by=0.1), measured=True)[:2]:
        assert process.parameters["score_threshold"] == MEASURED_SCORE


def test_an_operating_point_is_what_is_sent_at_whatever_the_default_policy() -> None:
    assert edge(Options(answer_by=0.1, operating_point="coarse")).parameters["policy"] == FIXED
    assert edge(Options(answer_by=0.1, operating_point="coarse", policy=FIXED)).parameters["policy"] == FIXED
    assert edge(Options(operating_point="coarse")).parameters == {"operating_point": "coarse"}
    with pytest.raises(InputError, match="operating_point is coarse, but with policy ladder that chooses it"):
        Options(answer_by=0.1, operating_point="coarse", policy="ladder")


def test_a_policy_without_a_deadline_is_refused() -> None:
    with pytest.raises(InputError, match="policy is ladder, but the edge chooses by one only where answer_by"):
        Options(policy="ladder")


@pytest.mark.parametrize("chosen", [{"score_threshold": 0.0}, {"tracking": "none"}])
def test_an_edge_without_a_deadline_takes_nothing_that_concerns_results(chosen: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="without answer_by the results are the server's"):
        edges(Options(**chosen))


def test_what_is_not_chosen_is_left_to_the_nodes_own_defaults() -> None:
    assert camera(Options(), source="", rate=None) == Process("camera", "camera")
    assert edge(Options()) == Process("edge", "edge")
    assert server(Options()) == Process("server", "server")


def test_the_nodes_are_started_again_and_what_ends_by_itself_is_not() -> None:
    processes = [*demo(Options(), out="out"), *replay(Options(), "bag", "/image_raw")]
    processes += [*autoware(processes), middle(Options())]
    assert {process.executable for process in processes if process.respawned} == {
        "edge",
        "middle",
        "server",
        "autoware",
    }
    assert {process.executable for process in processes if not process.respawned} == {"camera", "demo", "player"}


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


def test_autoware_gets_a_node_beside_every_edge_with_the_options_of_that() -> None:
    options = Options(namespace="fleet", use_sim_time=True, autostart=False, bundle="street", enclave="/a")
    first, second = autoware(demo(options, "topic:/image", ["car1", "car2"]))
    parameters = {"use_sim_time": True, "autostart": False}
    assert first == Process("autoware", "autoware", "fleet/car1", parameters, enclave="/a")
    assert second.namespace == "fleet/car2" and second.module == "mtl_split_autoware.node"
    assert autoware([server(options)]) == []


@pytest.mark.parametrize(
    ("topic", "remappings", "transport"),
    [
        ("/front/image", {"image_raw": "/front/image", "image_raw/compressed": "/front/image/compressed"}, None),
        ("/front/image/compressed", {"image_raw/compressed": "/front/image/compressed"}, "compressed"),
    ],
)
def test_somebody_elses_camera_takes_the_place_of_ours(
    topic: str, remappings: dict[str, str], transport: str | None
) -> None:
    """With a topic of raw images, `transport: compressed` of a params_file finds those beside them."""
    _, other = demo(Options(), f"topic:{topic}")
    assert other.executable == "edge"
    assert dict(other.remappings) == remappings
    assert other.parameters.get("transport") == transport


def test_a_transport_that_is_not_the_topics_is_refused() -> None:
    assert edge(Options(transport="compressed"), "/a/compressed").parameters["transport"] == "compressed"
    for transport in ("raw", "auto"):
        with pytest.raises(InputError, match=f"transport is '{transport}', but the topic of images, /a/compressed"):
            edge(Options(transport=transport), "/a/compressed")


def test_each_of_several_cameras_is_a_vehicle() -> None:
    options = Options(namespace="fleet", cameras=("front", "rear"))
    processes = demo(options, "v4l2:/dev/{camera}", ["car1", "car2"], "out")
    assert [(process.name, process.namespace) for process in processes[:4]] == [
        ("server", "fleet"),
        ("edge", "fleet/car1/front"),
        ("camera", "fleet/car1/front"),
        ("recorder", "fleet/car1/front"),
    ]
    assert processes[0].parameters["vehicles"] == ["car1/front", "car1/rear", "car2/front", "car2/rear"]
    cameras = [process for process in processes if process.executable == "camera"]
    assert [process.parameters["source"] for process in cameras] == ["v4l2:/dev/front", "v4l2:/dev/rear"] * 2
    assert [process.parameters["frame_id"] for process in cameras] == ["front", "rear"] * 2
    folders = [p.arguments[p.arguments.index("--out") + 1] for p in processes if p.name == "recorder"]
    assert folders == ["out/car1/front", "out/car1/rear", "out/car2/front", "out/car2/rear"]
    assert server(Options(cameras=("front", "rear"))).parameters["vehicles"] == ["front", "rear"]


def test_the_cameras_of_somebody_else_have_topics_of_their_own() -> None:
    options = Options(namespace="car1", cameras=("front", "rear"), enclave="/car1/{camera}/edge")
    both = edges(options, "/{camera}/color/image_raw")
    assert [process.namespace for process in both] == ["car1/front", "car1/rear"]
    assert [process.enclave for process in both] == ["/car1/front/edge", "/car1/rear/edge"]
    assert [dict(process.remappings)["image_raw"] for process in both] == [
        "/front/color/image_raw",
        "/rear/color/image_raw",
    ]
    assert edges(Options(), "/a") == (edge(Options(), "/a"),)
    assert [dict(process.remappings) for process in edges(options)] == [{}, {}]
    refused = [
        lambda: edges(options, "/front/image_raw"),
        lambda: edges(Options(), "/{camera}/image_raw"),
        lambda: demo(replace(options, enclave=""), "topic:/image_raw"),
        lambda: edges(Options(cameras=("front", "front"))),
        lambda: edges(Options(cameras=("front camera",))),
    ]
    words = [
        "expected {camera} in it",
        "cameras:=front,rear",
        "expected {camera} in it",
        "each of them once",
        "namespace",
    ]
    for refuse, expected in zip(refused, words, strict=True):
        with pytest.raises(InputError, match=expected):
            refuse()


def test_unsure_detections_are_published_for_a_recording_alone() -> None:
    assert "score_threshold" not in demo(Options())[0].parameters
    assert "score_threshold" not in replay(Options(), "my/bag", "/image_raw")[0].parameters
    for server_ in (demo(Options(), out="out")[0], demo(Options(), measured=True)[0]):
        assert server_.parameters["score_threshold"] == MEASURED_SCORE


def test_only_what_is_live_for_certain_has_a_limit_of_age() -> None:
    assert "max_age" not in demo(Options())[0].parameters
    for server_ in (demo(Options(), "topic:/front/image")[0], replay(Options(), "my/bag", "/image_raw")[0]):
        assert server_.parameters["max_age"] == 0.0


def test_both_halves_get_the_keys() -> None:
    given = [process.parameters.get("key_file") for process in demo(Options(key_file="keys"))]
    assert given == ["keys", "keys", None]


def test_every_node_is_in_the_enclave() -> None:
    processes = [*demo(Options(enclave="/mtl_split/demo"), "sim", ["car1"], "out"), edge(Options())]
    ends = [process.ros_arguments()[-2:] for process in processes]
    assert ends[:-1] == [["--enclave", "/mtl_split/demo"]] * 4 and "--enclave" not in ends[-1]
    assert Process("edge", "edge", enclave="/a").flags() == ["--enclave", "/a"]
    for enclave in ("mtl_split/server", "/mtl split", "/a/"):
        with pytest.raises(InputError, match="expected a path such as /mtl_split/server"):
            server(Options(enclave=enclave))


def test_a_bag_takes_the_place_of_a_camera_and_its_time_that_of_the_clock() -> None:
    server_, edge_, player, recorder = replay(Options(namespace="car1"), "my/bag", "/car1/front/image_raw", out="out")
    assert ("image_raw", "/car1/front/image_raw") in edge_.remappings
    assert player.module == "mtl_split_lab.recordings.player" and player.parameters["bag"] == "my/bag"
    assert {process.namespace for process in (server_, edge_, player, recorder)} == {"car1"}
    assert all(process.parameters["use_sim_time"] for process in (server_, edge_, recorder))
    assert player.parameters["clock"] and "use_sim_time" not in player.parameters
    assert recorder.arguments[recorder.arguments.index("--source") + 1] == "topic:/car1/front/image_raw"
    by_the_wall = replay(Options(use_sim_time=False), "my/bag", "/image_raw")
    assert len(by_the_wall) == 3 and by_the_wall[-1].parameters["clock"] is False


def test_who_watches_has_the_time_of_what_is_watched() -> None:
    live, played = demo(Options()), replay(Options(), "my/bag", "/image_raw")
    assert "use_sim_time" not in watch(Options(), live).parameters
    assert watch(Options(), played).parameters["use_sim_time"] is True


def test_ros_own_player_is_given_what_ours_would_be() -> None:
    player = replay(Options(), "my/bag", "/image_raw", ["/image_raw", "/camera_info"], rate=0.5, loop=True)[-1]
    command = "ros2 bag play my/bag --rate 0.5 --clock 100 --loop --topics /image_raw /camera_info"
    assert bag_play_command(player) == command.split()
    with pytest.raises(InputError, match="loop is true and out is given"):
        replay(Options(), "my/bag", "/image_raw", out="out", loop=True)


def test_a_topic_without_a_name_is_refused() -> None:
    with pytest.raises(InputError, match="topic:"):
        demo(Options(), "topic:")


WITH_LAUNCH = pytest.mark.skipif(find_spec("launch_ros") is None, reason="the launch system is not installed")


@WITH_LAUNCH
@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("score_treshold:=0.5", "no launch argument 'score_treshold'; do you mean 'score_threshold'"),
        ("transport:=pigeon", "transport is 'pigeon', expected auto or raw or compressed"),
        ("threads:=many", "threads is 'many', expected a whole number"),
    ],
)
def test_a_launch_argument_that_cannot_be_is_refused(
    argument: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    [path] = [path for path in LAUNCH_FILES if path.name == "demo.launch.py"]
    monkeypatch.setattr(sys, "argv", ["ros2", "launch", "mtl_split", path.name, argument])
    with pytest.raises(InputError, match=words):
        described(path, argument)


@WITH_LAUNCH
@pytest.mark.parametrize(("code", "starts"), [(UNUSABLE, 1), (FAULT, 2)])
def test_what_cannot_use_what_it_was_given_is_not_started_again(
    code: int, starts: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from launch import LaunchDescription, LaunchService
    from mtl_split_ros import launching

    # A node that notes its start, and ends for good at the second one.
    note = f"echo >> {tmp_path}/starts; exit $([ $(wc -l < {tmp_path}/starts) = 2 ] && echo {UNUSABLE} || echo {code})"
    monkeypatch.setattr(launching, "RESPAWN_DELAY", 0.1)
    monkeypatch.setattr(launching, "_PREFIX", f"sh -c '{note}' ")
    node = launching._action(server(Options()), lambda: None)
    service = LaunchService(noninteractive=True)
    service.include_launch_description(LaunchDescription([node]))
    service.run()
    assert (tmp_path / "starts").read_text().count("\n") == starts


@WITH_LAUNCH
def test_a_launch_file_that_includes_ours_may_have_arguments_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    [path] = [path for path in LAUNCH_FILES if path.name == "edge.launch.py"]
    for argv in (["ros2", "launch", "vehicle.launch.py"], ["ros2", "launch", "vehicle", "edge.launch.py"]):
        monkeypatch.setattr(sys, "argv", [*argv, "colour:=red"])
        assert len(described(path, "colour:=red", "cameras:=front,rear")) == 2


def described(path: Path, *arguments: str) -> list[Any]:
    """What a launch file starts, given arguments on the command line."""
    from launch.actions import OpaqueFunction
    from launch.launch_description_sources import get_launch_description_from_python_launch_file

    from launch import LaunchContext

    context = LaunchContext(argv=arguments)
    context.extend_locals({"current_launch_file_path": str(path)})
    context.launch_configurations.update(argument.split(":=") for argument in arguments)
    nodes: list[Any] = []
    for entity in get_launch_description_from_python_launch_file(str(path)).entities:
        result = entity.execute(context)
        if isinstance(entity, OpaqueFunction):
            nodes += result or []
    return nodes


@WITH_LAUNCH
@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.name)
def test_every_launch_file_describes_its_arguments_and_starts_nodes(path: Path, tmp_path: Path) -> None:
    from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction, TimerAction
    from launch.launch_description_sources import get_launch_description_from_python_launch_file

    from launch import LaunchContext

    description = get_launch_description_from_python_launch_file(str(path))
    context = LaunchContext()
    context.launch_configurations["enclave"] = "/mtl_split/all"
    if path.name.startswith("replay"):
        context.launch_configurations["bag"] = str(write_bag(tmp_path / "bag", [("/image_raw", Image())]))
    nodes: list[Any] = []
    for entity in description.entities:
        if isinstance(entity, DeclareLaunchArgument):
            assert entity.description
        result = entity.execute(context)
        if isinstance(entity, OpaqueFunction):
            nodes += result or []
    assert nodes
    assert all(isinstance(node, ExecuteProcess | TimerAction) for node in nodes)
    for node in nodes:
        words = [getattr(substitution, "text", "") for part in node.cmd for substitution in part]
        assert words[words.index("--enclave") + 1] == "/mtl_split/all"


@WITH_LAUNCH
def test_every_launch_line_of_the_documentation_has_arguments_that_there_are() -> None:
    from launch.launch_description_sources import get_launch_description_from_python_launch_file

    known = {
        path.name: {
            argument.name
            for argument in get_launch_description_from_python_launch_file(str(path)).get_launch_arguments()
        }
        for path in LAUNCH_FILES
    }
    root = LAUNCH_FILES[0].parents[1]
    pages = [root / "README.md", *(root / "docs").glob("*.md")]
    lines = [
        line for page in pages for line in re.findall(r"^ros2 launch mtl_split (.*)$", page.read_text(), re.MULTILINE)
    ]
    assert len(lines) > 10
    for line in lines:
        file, *words = line.partition("#")[0].split()
        assert {word.partition(":=")[0] for word in words} <= known[file], line


def test_a_roadside_unit_is_between_the_vehicles_and_a_server_that_takes_no_bottlenecks_itself() -> None:
    server_, middle_, *others = demo(Options(namespace="fleet", middle=True), "topic:/image", ["car1", "car2"])
    assert server_.parameters["from_middle"] is True and middle_.executable == middle_.name == "middle"
    assert middle_.parameters["vehicles"] == server_.parameters["vehicles"] == ["car1", "car2"]
    assert middle_.parameters["max_age"] == server_.parameters["max_age"] == 0.0
    assert {process.executable for process in others} == {"edge"}
    assert "from_middle" not in demo(Options())[0].parameters
    cameras = middle(Options(cameras=("front", "rear")), ["car1"], cut="whole")
    assert cameras.parameters == {"vehicles": ["car1/front", "car1/rear"], "cut": "whole"}
