"""Turns the wiring into launch descriptions; used by `launch/*.launch.py` only, since it needs the launch system."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from launch.action import Action
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchContext, LaunchDescription
from mtl_split_core.errors import InputError
from mtl_split_ros.graph import ENVIRONMENT, Options, Process

Build = Callable[[Options, Mapping[str, Any]], Iterable[Process]]

OPTIONS = ("namespace", "params_file", "log_level", "use_sim_time", "autostart", "bundle")
"""The arguments of every launch file."""


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise InputError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


ARGUMENTS: dict[str, tuple[Callable[[str], Any], str]] = {
    "namespace": (str, "Namespace of the nodes; for an edge, that is the vehicle. Empty: the root."),
    "params_file": (str, "ROS parameter file that overrides the defaults in share/mtl_split/config. Empty: none."),
    "log_level": (str, "debug, info, warn, error or fatal. Empty: as set in the environment."),
    "use_sim_time": (_truth, "true: take the time from /clock. Empty: as in the parameter files."),
    "autostart": (
        _truth,
        "false: leave configuring and activating to a lifecycle manager. Empty: as in the parameter files.",
    ),
    "bundle": (str, "Name of a shipped bundle, or path of a bundle's folder. Empty: as in the parameter files."),
    "vehicles": (_names, "Namespaces of the vehicles, separated by commas. Empty: as in the parameter files."),
    "image_topic": (
        str,
        "Topic of the camera's images; one ending in /compressed carries JPEG or PNG. Empty: image_raw.",
    ),
    "source": (str, "sim, sim:SEED, video:PATH, images:FOLDER, or topic:NAME for a camera that runs already."),
    "rate": (float, "Frames per second of the camera; 0 is the source's own. Empty: as in the parameter files."),
    "frames": (int, "Frames after which the camera ends; 0 is all. Empty: as in the parameter files."),
    "out": (
        str,
        "Folder for a recording with summary and video; everything ends with it. Empty: no recording, no end.",
    ),
}
"""How each argument is read and what it means."""


def describe(build: Build, *names: str) -> LaunchDescription:
    """Return a launch description of the processes that `build` makes of the options and the further arguments `names`.

    `build` finds an argument only where the user has given it.
    """

    def start(context: LaunchContext) -> Sequence[Action]:
        given = {name: LaunchConfiguration(name).perform(context) for name in (*OPTIONS, *names)}
        values = {name: ARGUMENTS[name][0](text) for name, text in given.items() if text}
        options = Options(**{name: values.pop(name) for name in OPTIONS if name in values})
        return [_action(process) for process in build(options, values)]

    return LaunchDescription([
        *(SetEnvironmentVariable(name, os.environ.get(name, value)) for name, value in ENVIRONMENT.items()),
        *(DeclareLaunchArgument(n, default_value="", description=ARGUMENTS[n][1]) for n in (*OPTIONS, *names)),
        OpaqueFunction(function=start),
    ])  # fmt: skip


def _action(process: Process) -> Action:
    # Without its type a string would be read as YAML, and a bundle called "1" become a number.
    parameters = {name: ParameterValue(value, value_type=type(value)) if isinstance(value, str) else value
                  for name, value in process.parameters.items()}  # fmt: skip
    return Node(
        package="mtl_split",
        executable=process.executable,
        name=process.name,
        namespace=process.namespace,
        parameters=[source for source in (process.params_file, parameters) if source],
        remappings=process.remappings,
        arguments=process.arguments,
        ros_arguments=["--log-level", process.log_level] if process.log_level else None,
        output="both",
        on_exit=Shutdown(reason="the recording has ended") if process.executable == "demo" else None,
    )
