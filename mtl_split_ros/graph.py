"""The wiring: which nodes run with which parameters and remappings, as plain data.

`launch/*.launch.py` turn it into launch actions, `make demo` into plain processes.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rclpy.exceptions import InvalidNamespaceException, InvalidTopicNameException
from rclpy.validate_namespace import validate_namespace
from rclpy.validate_topic_name import validate_topic_name

from mtl_split_core.control.policy import FIXED
from mtl_split_core.errors import InputError

Value = bool | int | float | str | list[str]

DISCOVERY_RANGE = "ROS_AUTOMATIC_DISCOVERY_RANGE"
"""What says how far away ROS looks for others: on this machine (LOCALHOST) or in its network (SUBNET)."""

MEASURED_SCORE = 0.05
"""Lowest score of the detections in a demonstration: average precision needs the unsure ones too."""

MODULES = {"demo": "mtl_split_lab.live.demo", "player": "mtl_split_lab.recordings.player"}
"""The modules of the executables whose name does not tell it."""

BAG = "bag:"
"""A source "bag:PATH" is a rosbag, played by the player."""

TOPIC = "topic:"
"""A source "topic:NAME" is the topic of somebody else's camera; one that ends in /compressed carries JPEG or PNG."""

COMPRESSED = "/compressed"

CAMERA = "{camera}"
"""What stands for the name of each of several cameras in a topic, a source or an enclave."""

REMOTE = "remote"
"""Where, within a vehicle's namespace, the server's results arrive at an edge that publishes the final ones."""

CHOICES = {
    "engine": ("onnxruntime", "openvino", "auto"),
    "transport": ("auto", "raw", "compressed"),
    "tracking": ("bytetrack", "none"),
    "order": ("turn", "edf", "dysta"),
}
"""The parameters that have one of a few values; here too, because launch files load neither networks nor engines."""

RESPAWNED = ("edge", "middle", "server", "autoware")
"""The executables that a launch file starts again when they end through a fault."""

_MANAGED = ("use_sim_time", "autostart")
"""The parameters of every managed node."""


@dataclass(frozen=True)
class Process:
    """One node in a process of its own: an executable of this package and what it is given.

    enclave: the keys and permissions of DDS security, a folder of the keystore; empty: as set in the environment.
    Raises InputError for a namespace or an enclave that ROS does not allow.
    """

    executable: str
    name: str
    namespace: str = ""
    parameters: Mapping[str, Value] = field(default_factory=dict)
    remappings: tuple[tuple[str, str], ...] = ()
    arguments: tuple[str, ...] = ()
    params_file: str = ""
    log_level: str = ""
    enclave: str = ""

    def __post_init__(self) -> None:
        try:
            validate_namespace(f"/{self.namespace.strip('/')}")
        except InvalidNamespaceException as error:
            raise InputError(
                f"namespace is {self.namespace!r}, expected names of letters, digits and _, with / between them"
            ) from error
        try:
            validate_namespace(self.enclave or "/")
        except InvalidNamespaceException as error:
            raise InputError(f"enclave is {self.enclave!r}, expected a path such as /mtl_split/server") from error

    @property
    def module(self) -> str:
        """The Python module that is the executable."""
        return MODULES.get(self.executable, f"mtl_split_{self.executable}.node")

    @property
    def respawned(self) -> bool:
        """Whether a launch file starts it again when it ends through a fault."""
        return self.executable in RESPAWNED

    def ros_arguments(self) -> list[str]:
        """Return the command line that gives a node all this where no launch system does, from `--ros-args` on."""
        remappings = [("__node", self.name), ("__ns", f"/{self.namespace.strip('/')}"), *self.remappings]
        line = ["--ros-args"]
        for before, after in remappings:
            line += ["-r", f"{before}:={after}"]
        if self.params_file:
            line += ["--params-file", self.params_file]
        for name, value in self.parameters.items():
            line += ["-p", f"{name}:={json.dumps(value, ensure_ascii=False)}"]  # JSON is YAML
        return line + self.flags()

    def flags(self) -> list[str]:
        """Return the part of `ros_arguments` for which the launch system has no word of its own."""
        given = {"--log-level": self.log_level, "--enclave": self.enclave}
        return [part for flag, value in given.items() if value for part in (flag, value)]


@dataclass(frozen=True)
class Options:
    """What a user may choose for the nodes that it concerns; an empty or absent value leaves the node's own default.

    answer_by: seconds from an image's stamp to its answer, which is then the edge's to publish; 0 or absent: the
    server's. cameras: names of several cameras of each vehicle; each has its own edge, in a namespace inside the
    vehicle's, and is a vehicle of its own for the server. In `enclave`, `CAMERA` stands for the name. middle: whether a
    roadside unit is between vehicles and server.
    """

    namespace: str = ""
    params_file: str = ""
    log_level: str = ""
    use_sim_time: bool | None = None
    autostart: bool | None = None
    bundle: str = ""
    key_file: str = ""
    enclave: str = ""
    engine: str = ""
    threads: int | None = None
    transport: str = ""
    operating_point: str = ""
    max_payload_bytes: int | None = None
    score_threshold: float | None = None
    tracking: str = ""
    answer_by: float | None = None
    policy: str = ""
    further_bundles: tuple[str, ...] = ()
    order: str = ""
    deadline: float | None = None
    least_share: float | None = None
    middle: bool = False
    cameras: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.cameras)) < len(self.cameras):
            raise InputError(f"cameras is {list(self.cameras)}, expected each of them once")
        if self.policy and not self.answer_by:
            raise InputError(f"policy is {self.policy}, but the edge chooses by one only where answer_by is given, too")
        if self.operating_point and self.policy not in ("", FIXED):
            raise InputError(
                f"operating_point is {self.operating_point}, but with policy {self.policy} that chooses it: give one"
            )

    @property
    def results(self) -> dict[str, Value | None]:
        """The parameters of the node that publishes the final results."""
        return {"score_threshold": self.score_threshold, "tracking": self.tracking}

    def within(self, namespace: str) -> "Options":
        """Return the same options for a namespace inside this one."""
        return replace(self, namespace=_join(self.namespace, namespace))

    def each_camera(self) -> "list[tuple[str, Options]]":
        """Return the name and the options of every camera; without several, an empty name and the same options."""
        return [
            (name, replace(self.within(name), enclave=self.enclave.replace(CAMERA, name), cameras=()))
            for name in self.cameras or ("",)
        ]


def camera(options: Options, **parameters: Value | None) -> Process:
    """The camera of one vehicle, with its own parameters where they are given."""
    return _process("camera", options, {"use_sim_time": options.use_sim_time, **parameters})


def edges(options: Options, image_topic: str = "") -> tuple[Process, ...]:
    """The edge of each of a vehicle's cameras; `image_topic`: see `edge`, with `CAMERA` in it for the camera's name.

    Raises InputError for a topic that ROS does not allow, or that would be all cameras', and for what concerns results
    where the server publishes them.
    """
    for name, value in options.results.items():
        if value not in (None, "") and not options.answer_by:
            raise InputError(f"{name} is {value}, but without answer_by the results are the server's: give it to that")
    return tuple(edge(each, _of_camera("image_topic", image_topic, name)) for name, each in options.each_camera())


def edge(options: Options, topic: str = "", **parameters: Value | None) -> Process:
    """The edge of one camera; its images come from the camera beside it, or else from `topic`.

    parameters: its own, where they are given. Raises InputError for a topic that ROS does not allow, and for a
    transport that is not the topic's.
    """
    if topic:
        try:
            validate_topic_name(topic)
        except InvalidTopicNameException as error:
            raise InputError(f"the topic of images is {topic!r}, expected a name such as /front/image_raw") from error
    # Whichever of the two the transport is: of a topic of raw images, the compressed ones are where they always are.
    both = [("image_raw", topic), (f"image_raw{COMPRESSED}", f"{topic}{COMPRESSED}")]
    transport, remappings = options.transport, both if topic else []
    if topic.endswith(COMPRESSED):
        if transport not in ("", "compressed"):
            raise InputError(f"transport is {transport!r}, but the topic of images, {topic}, is one of compressed ones")
        transport, remappings = "compressed", [(image_topic(topic), topic)]
    given = {
        **_parameters_of_a_half(options),
        "transport": transport,
        "operating_point": options.operating_point,
        "max_payload_bytes": options.max_payload_bytes,
        "answer_by": options.answer_by,
        **(_answering(options) if options.answer_by else {}),
        **parameters,
    }
    return _process("edge", options, given, remappings)


def _answering(options: Options) -> dict[str, Value | None]:
    # Whoever asks for an operating point wants no other.
    policy = options.policy or (FIXED if options.operating_point else "")
    return {"local_suffix": True, "policy": policy, **options.results}


def server(options: Options, vehicles: Sequence[str] = (), **parameters: Value | None) -> Process:
    """The server of some vehicles, namespaces inside the server's own; none given: as in its parameters.

    Of several cameras each is a vehicle.
    """
    given: dict[str, Value | None] = {
        **_parameters_of_a_half(options),
        "vehicles": _names(options, vehicles),
        "from_middle": options.middle or None,
        **options.results,
        "results_namespace": REMOTE if options.answer_by else None,
        "further_bundles": list(options.further_bundles) or None,
        "order": options.order,
        "deadline": options.deadline,
        "least_share": options.least_share,
        **parameters,
    }
    return _process("server", options, given)


def middle(options: Options, vehicles: Sequence[str] = (), **parameters: Value | None) -> Process:
    """The roadside unit of some vehicles; vehicles: as for `server`; parameters: its own, where they are given."""
    given = {**_parameters_of_a_half(options), "vehicles": _names(options, vehicles), **parameters}
    return _process("middle", options, given)


def _names(options: Options, vehicles: Sequence[str]) -> list[str] | None:
    """The namespaces of vehicles for whom takes their frames; None: as in its parameters."""
    if not vehicles and not options.cameras:
        return None
    return [_join(vehicle, camera) for vehicle in vehicles or ("",) for camera in options.cameras or ("",)]


def watch(options: Options, watched: Iterable[Process] = (), **parameters: Value | None) -> Process:
    """The page in the browser, of all vehicles in the options' namespace or below; its time is that of what it watches.

    parameters: the watch node's.
    """
    simulated = any(process.parameters.get("use_sim_time") for process in watched) or options.use_sim_time
    return _process("watch", options, {"use_sim_time": simulated, **parameters})


def demo(
    options: Options,
    source: str = "",
    vehicles: Sequence[str] = (),
    out: str = "",
    measured: bool = False,
    **parameters: Value | None,
) -> tuple[Process, ...]:
    """Everything on one machine: a server and, for every camera of every vehicle, a camera and an edge.

    With the option `middle` also a roadside unit.

    source: as the camera's parameter, or "topic:NAME", which starts no camera, with `CAMERA` in it for the camera's
    name; out: a folder for every camera's recording (empty: none is made); measured: whether the caller makes one, see
    MEASURED_SCORE; parameters: the camera's. Without vehicles there is one, in the namespace itself. Raises InputError
    for names that cannot be, before anything is started.
    """
    vehicles = list(vehicles) or [""]
    if len(set(vehicles)) < len(vehicles):
        raise InputError(f"vehicles is {vehicles}, expected each of them once")
    # What somebody else plays may be a recording, whose stamps are old.
    max_age = 0.0 if topic_of(source) else None
    options = _measured(options, measured or bool(out))
    processes = [server(options, vehicles, max_age=max_age)]
    processes += [middle(options, vehicles, max_age=max_age)] if options.middle else []
    for vehicle in vehicles:
        for name, own in options.within(vehicle).each_camera():
            seen = _of_camera("source", source, name) if topic_of(source) else source.replace(CAMERA, name)
            topic = topic_of(seen)
            processes.append(edge(own, topic))
            if not topic:
                listeners = 2 if out else 1
                given = {"frame_id": name, "wait_for_subscribers": listeners, **parameters}
                processes.append(camera(own, source=seen, **given))
            if out:
                processes.append(_recorder(own, seen, _join(out, vehicle, name), parameters.get("frames")))
    return tuple(processes)


def replay(
    options: Options,
    bag: str,
    image_topic: str,
    topics: Sequence[str] = (),
    out: str = "",
    measured: bool = False,
    **parameters: Value | None,
) -> tuple[Process, ...]:
    """Everything that replays one vehicle's bag live: a server, an edge, and a player instead of the camera.

    The vehicle is the namespace of the options, and the nodes take the time from the bag unless the options say
    otherwise. bag: its path; image_topic: of the images in it; topics: what of it to send (none: as in the player's
    parameters); out: a folder for a recording (empty: none is made); measured: as in `demo`; parameters: further ones
    of the player's. Raises InputError for a recording of a bag that is played in a loop, which would never end.
    """
    if out and parameters.get("loop"):
        raise InputError("loop is true and out is given, but a recording ends with the bag")
    if options.use_sim_time is None:
        options = replace(options, use_sim_time=True)
    options = _measured(options, measured or bool(out))
    own: dict[str, Value | None] = {"bag": bag, "image_topic": image_topic, "topics": list(topics) or None}
    own |= {"clock": options.use_sim_time, "wait_for_subscribers": 2 if out else 1, **parameters}
    processes = [
        # The stamps of a recording may be from another clock than the times at which it was recorded.
        server(options, max_age=0.0),
        edge(options, image_topic),
        _process("player", options, own),
    ]
    if out:
        processes.append(_recorder(options, f"{TOPIC}{image_topic}", out, None))
    return tuple(processes)


def autoware(processes: Iterable[Process]) -> list[Process]:
    """What hands the detections to Autoware: a node beside every edge among the processes."""
    return [
        replace(
            process,
            executable="autoware",
            name="autoware",
            parameters={name: process.parameters[name] for name in _MANAGED if name in process.parameters},
            remappings=(),
        )
        for process in processes
        if process.executable == "edge"
    ]


def _measured(options: Options, measured: bool) -> Options:
    return replace(options, score_threshold=MEASURED_SCORE) if measured and options.score_threshold is None else options


def _join(*parts: str) -> str:
    return "/".join(part for part in parts if part)


def _of_camera(what: str, name: str, camera: str) -> str:
    """Return the name of a topic with a camera's name in it."""
    if name and camera and CAMERA not in name:
        raise InputError(
            f"{what} is {name!r}, expected {CAMERA} in it, which stands for the name of each of the cameras"
        )
    if CAMERA in name and not camera:
        raise InputError(f"{what} is {name!r}, but there are no cameras that {CAMERA} stands for: cameras:=front,rear")
    return name.replace(CAMERA, camera)


def bag_play_command(player: Process) -> list[str]:
    """Return the command line with which ROS's own player sends what a player of ours would."""
    given: Mapping[str, Any] = player.parameters
    command = ["ros2", "bag", "play", given["bag"], "--rate", str(given.get("rate", 1.0))]
    command += ["--clock", "100"] if given["clock"] else []
    command += ["--loop"] if given.get("loop") else []
    return [*command, "--topics", *given["topics"]]


def topic_of(source: str) -> str:
    """Return the topic that a source names; empty for a source that the camera node plays."""
    topic = source.removeprefix(TOPIC) if source.startswith(TOPIC) else ""
    if source.startswith(TOPIC) and not topic:
        raise InputError(f"source is {source!r}, expected topic:NAME")
    return topic


def image_topic(topic: str) -> str:
    """Return the name under which the nodes know a topic of images: raw, or compressed where it ends in /compressed."""
    return f"image_raw{COMPRESSED}" if topic.endswith(COMPRESSED) else "image_raw"


def _recorder(options: Options, source: str, out: str, frames: Value | None) -> Process:
    arguments = ["--attach", "--out", out, "--frames", str(frames or 0)]
    arguments += ["--source", source] if source else []
    arguments += ["--bundle", options.bundle] if options.bundle else []
    process = _process("demo", options, {"use_sim_time": options.use_sim_time})
    return replace(process, name="recorder", arguments=tuple(arguments))


def _parameters_of_a_half(options: Options) -> dict[str, Value | None]:
    return {
        "use_sim_time": options.use_sim_time,
        "autostart": options.autostart,
        "bundle": options.bundle,
        "key_file": options.key_file,
        "engine": options.engine,
        "threads": options.threads,
    }


def _process(
    executable: str,
    options: Options,
    parameters: Mapping[str, Value | None],
    remappings: Sequence[tuple[str, str]] = (),
) -> Process:
    given = {name: value for name, value in parameters.items() if value is not None and value != ""}
    return Process(
        executable=executable,
        name=executable,
        namespace=options.namespace,
        enclave=options.enclave,
        parameters=given,
        remappings=tuple(remappings),
        params_file=options.params_file,
        log_level=options.log_level,
    )
