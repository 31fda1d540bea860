"""The policies in security/ allow each node what it does over the network, and nothing else."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from threading import Event
from xml.etree import ElementTree

import pytest
import rclpy
from rclpy.node import Node
from vision_msgs.msg import Detection2DArray

from mtl_split_autoware.messages import AutowareMessages
from mtl_split_autoware.node import AutowareNode
from mtl_split_camera.node import CameraNode
from mtl_split_core.bundle import Bundle
from mtl_split_core.kinds import KINDS
from mtl_split_edge.node import EdgeNode
from mtl_split_lab.learning.division import divide
from mtl_split_lab.live.processes import free_domain
from mtl_split_lab.live.recorder import Recorder
from mtl_split_lab.live.recording import PictureStore
from mtl_split_lab.recordings.bag_recorder import BagRecorder
from mtl_split_middle.node import MiddleNode
from mtl_split_server.node import ServerNode
from mtl_split_watch.discovery import Found
from mtl_split_watch.node import WatchNode
from mtl_split_watch.site import Site
from mtl_split_watch.vehicle import Vehicle

from .mtl_split_autoware.test_labels import CLASSES
from .tiny_bundle import add_areas, write_tiny_bundle

FILES = sorted((Path(__file__).parents[1] / "security").glob("*.policy.xml"))
RIGHTS = ("publish", "subscribe", "reply", "request")
VEHICLE, MIDDLE, SERVER, OPERATOR, WATCH = (
    f"/mtl_split/{name}" for name in ("car1", "middle", "server", "operator", "watch")
)
# What comes with tasks that the bundle of these tests does not have.
OTHER_TASKS = {
    SERVER: {"publish": {"/detections/other", "/car1/detections/other"}},
    f"{VEHICLE}/edge": {"publish": {"/car1/detections/other"}},
    WATCH: {"subscribe": {"/detections/other", "/car1/detections/other"}},
    f"{VEHICLE}/recorder": {"subscribe": {"/car1/detections/other", "/car1/ground_truth/detections/other"}},
}

Names = dict[str, set[str]]
"""By right: full names of topics and services, or in a policy expressions with *."""


def read_policies() -> dict[str, Names]:
    """The names in each enclave's policy, made full as sros2 does it."""
    policies = {}
    for file in FILES:
        for enclave in ElementTree.parse(file).iter("enclave"):
            names: Names = defaultdict(set)
            for profile in enclave.iter("profile"):
                for rules in profile:
                    ((right, qualifier),) = rules.attrib.items()
                    assert right in RIGHTS and qualifier == "ALLOW"
                    names[right] |= {full_name(rule.text or "", profile.attrib) for rule in rules}
            policies[enclave.attrib["path"]] = names
    return policies


def full_name(name: str, profile: dict[str, str]) -> str:
    namespace = profile["ns"].rstrip("/")
    if name.startswith("/"):
        return name
    return f"{namespace}/{profile['node']}{name[1:]}" if name.startswith("~") else f"{namespace}/{name}"


POLICIES = read_policies()


@contextmanager
def running(create: Callable[[], Node], *arguments: str) -> Iterator[Node]:
    """A node in a domain of its own: the middleware remembers one of the same name for a while."""
    domain, claim = free_domain()
    with claim:
        rclpy.init(args=["--ros-args", "-p", "use_sim_time:=true", *arguments], domain_id=domain)
        node = create()
        try:
            yield node
        finally:
            node.destroy_node()
            rclpy.shutdown()


def names_of(create: Callable[[], Node], *arguments: str) -> Names:
    """What a node does over the network, as it tells itself."""
    with running(create, *arguments) as node:
        own = node.get_name(), node.get_namespace()
        used = {one.topic_name for one in node.subscriptions} | {one.topic_name for one in node.publishers}
        found: Names = {}
        while not used <= set().union(*found.values()):  # the middleware has to discover a node's own topics, too
            Event().wait(0.01)
            names = {
                "publish": node.get_publisher_names_and_types_by_node(*own),
                "subscribe": node.get_subscriber_names_and_types_by_node(*own),
                "reply": node.get_service_names_and_types_by_node(*own),
                "request": node.get_client_names_and_types_by_node(*own),
            }
            found = {right: {name for name, _ in pairs} for right, pairs in names.items()}
    return found


def watching(bundle: Bundle) -> WatchNode:
    """A watch node while somebody looks at two vehicles."""
    node = WatchNode()
    for namespace, compressed in (("", False), ("/car1", True), ("/car1", False), ("", True)):
        images = f"{namespace}/image_raw{'/compressed' if compressed else ''}"
        vehicle = Vehicle(node, namespace or "/", 15.0, lambda *_: None, lambda *_: None)
        vehicle.listen(Found(f"{namespace}/bottleneck", images, compressed, bundle.tasks))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Site, "is_watched", True)
        while not node.count_subscribers("/diagnostics"):
            rclpy.spin_once(node)
    return node


def together(parts: Sequence[Names]) -> Names:
    return {right: set().union(*(part.get(right, set()) for part in parts)) for right in RIGHTS}


class AnyMessages(AutowareMessages):
    """The names of topics are the same, whatever their type, and Autoware's messages may not be installed."""

    array = Detection2DArray
    classes = CLASSES


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Names]:
    """What the nodes of each enclave do in all, with a task of each kind."""
    folder = tmp_path_factory.mktemp("security")
    bundle = add_areas(write_tiny_bundle(folder / "tiny"))
    divided, *_ = divide(write_tiny_bundle(folder / "divided"), "means")
    assert {task.kind for task in bundle.tasks} == KINDS.keys()
    car, network = ["-r", "__ns:=/car1"], ["-p", f"bundle:={bundle.folder}"]
    recorders: list[Callable[[], Node]] = [
        partial(Recorder, bundle, topic, PictureStore(folder)) for topic in ("", "image_raw/compressed")
    ]
    recorders += [
        partial(BagRecorder, folder / str(number), bundle.tasks, topic, namespace="car1")
        for number, topic in enumerate(("image_raw", "image_raw/compressed"))
    ]
    answers = ["-p", "answer_by:=0.1", "-p", "local_suffix:=true"]
    transports = ("raw", "compressed")
    edge = [names_of(EdgeNode, *car, *network, *answers, "-p", f"transport:={kind}") for kind in transports]
    recorder = [names_of(create, *car) for create in recorders]
    autoware = names_of(partial(AutowareNode, lambda: AnyMessages(None, None)), *car)
    camera = names_of(CameraNode, *car, "-p", "compressed:=true")
    vehicles = ["-p", 'vehicles:=["", car1]']
    sources = ("false", "true")
    server = [
        names_of(ServerNode, *network, *vehicles, "-p", "group:=fleet", "-p", f"from_middle:={each}")
        for each in sources
    ]
    middle = names_of(MiddleNode, "-p", f"bundle:={divided.folder}", *vehicles, "-p", "repair:=true")
    watch = names_of(partial(watching, bundle), "-p", "port:=0")
    return {
        f"{VEHICLE}/edge": together(edge),
        f"{VEHICLE}/autoware": autoware,
        f"{VEHICLE}/camera": camera,
        f"{VEHICLE}/recorder": together(recorder),
        MIDDLE: middle,
        SERVER: together(server),
        WATCH: watch,
    }


def allowing(right: str, name: str) -> set[str]:
    """The enclaves that have a right."""
    return {
        enclave
        for enclave, names in POLICIES.items()
        if any(fnmatchcase(name, expression) for expression in names[right])
    }


def test_every_node_may_do_what_it_does(done: dict[str, Names]) -> None:
    refused = [
        (enclave, right, name)
        for enclave, names in done.items()
        for right in RIGHTS
        for name in names[right]
        if enclave not in allowing(right, name)
    ]
    assert refused == []


def test_no_node_may_do_what_none_does(done: dict[str, Names]) -> None:
    assert POLICIES.keys() == {*done, OPERATOR}
    for enclave, names in done.items():
        names = together([names, OTHER_TASKS.get(enclave, {})])
        for right in RIGHTS:
            unused = {
                expression
                for expression in POLICIES[enclave][right]
                if not any(fnmatchcase(name, expression) for name in names[right])
            }
            assert unused == set(), f"{enclave} may {right} what it never does"


def test_nobody_speaks_for_another(done: dict[str, Names]) -> None:
    assert allowing("publish", "/car1/bottleneck") == {f"{VEHICLE}/edge"}
    assert allowing("publish", "/car1/image_raw") == {f"{VEHICLE}/camera"}
    assert allowing("publish", "/car1/detections") == {SERVER, f"{VEHICLE}/edge"}
    assert allowing("publish", "/car1/remote/detections") == allowing("publish", "/car1/answer") == {SERVER}
    assert allowing("subscribe", "/car1/answer") == {f"{VEHICLE}/edge"}
    assert allowing("publish", "/car2/bottleneck") == allowing("publish", "/clock") == set()
    assert allowing("subscribe", "/car2/bottleneck") == {MIDDLE, SERVER, WATCH}
    assert allowing("publish", "/car1/features") == {MIDDLE}


def test_only_an_operator_calls_services(done: dict[str, Names]) -> None:
    services = {name for names in done.values() for name in names["reply"]}
    assert {"/server/change_state", "/car1/edge/set_parameters"} <= services
    for service in services:
        assert allowing("request", service) == {OPERATOR}
        assert len(allowing("reply", service)) == 1


@pytest.mark.parametrize("other", ["van", "car1/front"])
def test_another_vehicle_and_each_of_several_cameras_is_another_word_in_the_file(other: str) -> None:
    [file] = [file for file in FILES if file.name == "vehicle.policy.xml"]
    policy = ElementTree.fromstring(file.read_text().replace("car1", other))
    for enclave in policy.iter("enclave"):
        assert enclave.attrib["path"].startswith(f"/mtl_split/{other}/")
        assert {profile.attrib["ns"] for profile in enclave.iter("profile")} == {f"/{other}"}
