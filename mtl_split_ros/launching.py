"""Turns the wiring into launch descriptions; used by `launch/*.launch.py` only, since it needs the launch system."""

import difflib
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    LogInfo,
    OpaqueFunction,
    SetEnvironmentVariable,
    Shutdown,
    TimerAction,
)
from launch.events import matches_action
from launch.events.process import ProcessExited, ShutdownProcess
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchContext, LaunchDescription
from mtl_split_core.errors import InputError
from mtl_split_ros.fast_dds import environment
from mtl_split_ros.graph import CHOICES, Options, Process, autoware, bag_play_command, watch
from mtl_split_ros.process import UNUSABLE

PACKAGE = "mtl_split"

Build = Callable[[Options, Mapping[str, Any]], Iterable[Process]]

OPTIONS = ("namespace", "params_file", "log_level", "use_sim_time", "autostart", "bundle", "key_file", "enclave")
"""The arguments of every launch file."""

PART = ("engine", "threads")
"""The further arguments of launch files with a part of the network."""

HALF = (*PART, "score_threshold", "tracking", "answer_by")
"""The further arguments of launch files with an edge or a server, which publish results."""

EDGE = (*HALF, "transport", "operating_point", "max_payload_bytes", "policy")
"""The further arguments of launch files with an edge."""

SERVER = (*HALF, "further_bundles", "order", "deadline", "least_share")
"""The further arguments of launch files with a server."""

LAUNCHS_OWN = ("launch-prefix", "launch-prefix-filter")
"""What the launch system itself passes like an argument."""

RECORDER = "demo"
"""The executable that ends by itself, and with it everything else."""

PLAYER = "player"
"""The executable whose work `ros2 bag play` does where it is installed."""

RESPAWN_DELAY = 2.0
"""Seconds until a node that has ended starts again."""

PLAYER_DELAY = 5.0
"""Seconds until `ros2 bag play` starts, which does not know whom to wait for."""

# The launch system leaves its processes behind when it is ended by anything but SIGINT.
_PREFIX = ["setpriv --pdeathsig TERM ", LaunchConfiguration("launch-prefix", default="")]


def _truth(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


def _level(text: str) -> str:
    return {level: level for level in ("debug", "info", "warn", "error", "fatal")}[text.lower()]


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise ValueError
    return names


def _path(text: str) -> str:
    return os.path.expanduser(text)


def _file(text: str) -> str:
    if not Path(_path(text)).is_file():
        raise ValueError
    return _path(text)


EXPECTED: dict[Callable[[str], Any], str] = {
    _truth: "true or false",
    _level: "debug, info, warn, error or fatal",
    _names: "names separated by commas",
    _file: "a file",
    float: "a number",
    int: "a whole number",
}
"""What a text must be that one of these can read; ValueError or KeyError where it is not."""


def _one_of(name: str) -> Callable[[str], str]:
    words = CHOICES[name]

    def read(text: str) -> str:
        return words[words.index(text)]

    EXPECTED[read] = " or ".join(words)
    return read


ARGUMENTS: dict[str, tuple[Callable[[str], Any], str]] = {
    "namespace": (str, "Namespace of the nodes; for an edge, that is the vehicle. Empty: the root."),
    "params_file": (_file, "ROS parameter file that overrides the defaults in share/mtl_split/config. Empty: none."),
    "log_level": (_level, "debug, info, warn, error or fatal. Empty: as set in the environment."),
    "use_sim_time": (_truth, "true: take the time from /clock. Empty: as in the parameter files."),
    "autostart": (
        _truth,
        "false: leave configuring and activating to a lifecycle manager. Empty: as in the parameter files.",
    ),
    "bundle": (str, "Name of a shipped bundle, or path of a bundle's folder. Empty: as in the parameter files."),
    "key_file": (
        _file,
        "Keys that bottlenecks are signed with, see docs/security.md. Empty: as in the parameter files.",
    ),
    "enclave": (
        str,
        "Enclave of the nodes: folder of the keystore with their keys and permissions, see docs/security.md; {camera} "
        "in it stands for the name of each of the cameras. Empty: as set in the environment.",
    ),
    "engine": (
        _one_of("engine"),
        "What runs the network; auto: the fastest installed. Empty: as in the parameter files.",
    ),
    "threads": (int, "Processor threads that inference may use, of each node. Empty: as in the parameter files."),
    "transport": (
        _one_of("transport"),
        "Images to take: raw, compressed, or auto: raw ones where they arrive. Empty: as in the parameter files.",
    ),
    "operating_point": (
        str,
        "Quality of the bottleneck, a name from the bundle, such as coarse. Empty: as in the parameter files.",
    ),
    "max_payload_bytes": (
        int,
        "A frame that takes more goes out at a coarser operating point. Empty: as in the parameter files.",
    ),
    "policy": (
        str,
        "With answer_by: what chooses how each image is sent and answered, predictive, ladder, fixed, exit, whole "
        "or learned:PATH, see docs/topics.md. Empty: as in the parameter files.",
    ),
    "score_threshold": (float, "Lowest score of a published detection. Empty: as in the parameter files."),
    "answer_by": (
        float,
        "Seconds from an image's stamp by which the edge publishes the one final answer, the server's or its own, see "
        "docs/topics.md; edge and server have to be given it. 0 or empty: the server publishes the answers.",
    ),
    "tracking": (
        _one_of("tracking"),
        "How objects are followed from frame to frame, if at all. Empty: as in the parameter files.",
    ),
    "further_bundles": (
        _names,
        "Names or folders of further bundles that vehicles may use, separated by commas. Empty: as in the parameter "
        "files.",
    ),
    "order": (
        _one_of("order"),
        "Whose bottleneck the server answers next where several wait. Empty: as in the parameter files.",
    ),
    "deadline": (
        float,
        "Seconds from an image's stamp within which the server's answer is of use; 0 is no deadline. Empty: as in the "
        "parameter files.",
    ),
    "least_share": (
        float,
        "The part of its bottlenecks, 0 to 1, that each vehicle gets answers to in time, wherever that is possible. "
        "Empty: as in the parameter files.",
    ),
    "middle": (
        _truth,
        "true: a roadside unit is between vehicles and server, see docs/middle.md. Empty: none.",
    ),
    "cut": (
        str,
        "Where the roadside unit divides the suffix: a cut of the bundle's divisions, or whole: nowhere. Empty: as in "
        "the parameter files.",
    ),
    "repair": (
        _truth,
        "true: the roadside unit changes its cut by itself where another one is faster, see docs/middle.md. Empty: as "
        "in the parameter files.",
    ),
    "watch": (_truth, "true: serve a page with what the vehicles see at http://127.0.0.1:8080/, see docs/watch.md."),
    "vehicles": (
        _names,
        "Namespaces of the vehicles, separated by commas. Empty: one, in the namespace itself; "
        "for the server alone as in the parameter files.",
    ),
    "group": (
        str,
        "Servers of one group share their vehicles and stand in for each other, see docs/several-machines.md. "
        "Empty: as in the parameter files.",
    ),
    "cameras": (
        _names,
        "Names of several cameras of each vehicle, such as front,rear: each has its own edge and results, in the "
        "namespace of its name inside the vehicle's. Empty: one camera, without a name.",
    ),
    "image_topic": (
        str,
        "Topic of the camera's images; one ending in /compressed carries JPEG or PNG; {camera} in it stands for the "
        "name of each of the cameras. Empty: image_raw; in a bag, the only one there is.",
    ),
    "source": (
        str,
        "sim, sim:SEED, video:PATH, images:FOLDER, v4l2:/dev/video0, the address of a stream (rtsp://…, http://…), or "
        "topic:NAME for a camera that runs already; {camera} in it stands for the name of each of the cameras.",
    ),
    "autoware": (
        _truth,
        "true: also publish the detections as Autoware takes them, see docs/autoware.md. Empty: do not.",
    ),
    "bag": (
        _path,
        "Rosbag to replay: its folder, or one of its files alone. Needs pip's rosbags. The namespace is that of its "
        "images, and use_sim_time true, unless they are given.",
    ),
    "loop": (_truth, "true: begin again at the end of the bag. Empty: as in the parameter files."),
    "rate": (
        float,
        "Frames per second of the camera, 0 is the source's own; of a bag, how many times as fast as it was recorded. "
        "Empty: as in the parameter files.",
    ),
    "frames": (int, "Frames after which the camera or the recording ends; 0 is all. Empty: as in the parameter files."),
    "out": (
        _path,
        "Folder for a recording with summary and video, for which pip has to install pycocotools and rosbags; "
        "everything ends with it, and detections are published from a score of 0.05 on, which average precision is "
        "made of. Empty: no recording, no end.",
    ),
}
"""How each argument is read and what it means."""


def describe(build: Build, *names: str) -> LaunchDescription:
    """Return a launch description of the processes that `build` makes of the options and the further arguments `names`.

    `build` finds an argument only where the user has given it.
    """

    def start(context: LaunchContext) -> Sequence[Action]:
        _refuse_unknown(context, (*OPTIONS, *names))
        given = {name: LaunchConfiguration(name).perform(context) for name in (*OPTIONS, *names)}
        values = {name: _read(name, text) for name, text in given.items() if text}
        chosen = [field.name for field in fields(Options) if field.name in values]
        options = Options(**{name: values.pop(name) for name in chosen})
        to_autoware = values.pop("autoware", False)
        watched = values.pop("watch", False)
        processes = list(build(options, values))
        processes += autoware(processes) if to_autoware else []
        processes += [watch(options, processes)] if watched else []
        recordings = sum(process.executable == RECORDER for process in processes)
        ours = recordings or options.enclave  # ROS's own player would be in no enclave
        play = _play_bag if not ours and shutil.which("ros2") and _is_installed("ros2bag") else _action

        def end_of_a_recording(*_: object) -> Action | None:
            nonlocal recordings
            recordings -= 1
            return None if recordings else Shutdown(reason="the recordings have ended")

        return [
            (play if process.executable == PLAYER else _action)(process, end_of_a_recording) for process in processes
        ]

    return LaunchDescription([
        *(SetEnvironmentVariable(name, value) for name, value in environment().items()),
        *(DeclareLaunchArgument(n, default_value="", description=ARGUMENTS[n][1]) for n in (*OPTIONS, *names)),
        OpaqueFunction(function=start),
    ])  # fmt: skip


def _refuse_unknown(context: LaunchContext, known: Sequence[str]) -> None:
    """Raise InputError for an argument of the command line that nobody reads, where it names this launch file.

    A launch file that includes this one may have arguments of its own.
    """
    path = Path(context.get_locals_as_dict().get("current_launch_file_path", ""))
    words = [word for word in sys.argv if ":=" not in word]
    if not any(Path(word).name == path.name and (word != path.name or PACKAGE in words) for word in words):
        return
    for word in context.argv:
        name, given, _ = word.partition(":=")
        if given and name not in (*known, *LAUNCHS_OWN):
            [nearest] = difflib.get_close_matches(name, known, 1, 0.0)
            raise InputError(f"there is no launch argument {name!r}; do you mean {nearest!r}? --show-args lists all")


def _is_installed(package: str) -> bool:
    try:
        get_package_prefix(package)
    except PackageNotFoundError:
        return False
    return True


def _play_bag(process: Process, _: Callable[..., Action | None]) -> Action:
    """ROS's own player; it does not tell a recording where the bag ends."""
    play = ExecuteProcess(cmd=bag_play_command(process), name="player", output="both", prefix=_PREFIX)
    return TimerAction(period=PLAYER_DELAY, actions=[play])


def _read(name: str, text: str) -> Any:
    read = ARGUMENTS[name][0]
    try:
        return read(text)
    except (KeyError, ValueError) as error:
        raise InputError(f"{name} is {text!r}, expected {EXPECTED[read]}") from error


def _action(process: Process, end_of_a_recording: Callable[..., Action | None]) -> Action:
    # Without its type a string would be read as YAML, and a bundle called "1" become a number.
    parameters = {name: ParameterValue(value, value_type=type(value)) if isinstance(value, str) else value
                  for name, value in process.parameters.items()}  # fmt: skip
    return Node(
        package=PACKAGE,
        executable=process.executable,
        name=process.name,
        exec_name=process.name,
        namespace=process.namespace,
        parameters=[source for source in (process.params_file, parameters) if source],
        remappings=process.remappings,
        arguments=process.arguments,
        ros_arguments=process.flags() or None,
        output="both",
        prefix=_PREFIX,
        respawn=process.respawned,
        respawn_delay=RESPAWN_DELAY,
        on_exit=end_of_a_recording if process.executable == RECORDER else give_up,
    )


def give_up(exited: ProcessExited, _: LaunchContext) -> Sequence[Action]:
    """Keep a process from being started again that would end the same way again."""
    if exited.returncode != UNUSABLE:
        return []
    return [
        LogInfo(msg=f"{exited.process_name} is not started again: it cannot use what it was given, as it says"),
        EmitEvent(event=ShutdownProcess(process_matcher=matches_action(exited.action))),
    ]
