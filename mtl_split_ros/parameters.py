"""A node's parameters: one table declares, checks and documents them; their defaults are in `config/<node>.yaml` only.

    PARAMETERS = Parameters(
        "camera",
        Parameter("rate", "Frames per second.", range=(0.1, 240.0)),
        Parameter("source", "Where the pictures come from.", choices=("sim", "video", "images")),
    )

    class CameraNode(Node):
        def __init__(self) -> None:
            super().__init__("camera")
            PARAMETERS.declare(self)  # InputError for a value of the wrong type, range or choice
            self._rate = PARAMETERS.read(self)["rate"]

The type of a parameter is the type of its default. `PARAMETERS.markdown()` is the table in docs/parameters.md.
"""

from __future__ import annotations  # rclpy's classes are generic from Kilted on

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import (
    InvalidParameterTypeException,
    InvalidParameterValueException,
    ParameterUninitializedException,
)
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from mtl_split_core.errors import InputError
from mtl_split_core.share import config_file


def read_defaults(node: str) -> dict[str, Any]:
    """Return the defaults in `config/<node>.yaml` by the parameters' names."""
    defaults: dict[str, Any] = yaml.safe_load(config_file(node).read_text())["/**"]["ros__parameters"]
    return defaults


@dataclass(frozen=True)
class Parameter:
    """One parameter: what it means and which values it may have.

    range: smallest and largest number allowed; choices: the strings allowed (none: all); live: may be changed at any
    time, and counts from the next frame on.
    """

    name: str
    description: str
    range: tuple[float, float] | None = None
    choices: tuple[str, ...] = ()
    live: bool = False

    @property
    def expected(self) -> str:
        """The allowed values in words; empty where every value of the type is allowed."""
        if self.range:
            return f"{self.range[0]} to {self.range[1]}"
        return f"one of {', '.join(self.choices)}" if self.choices else ""

    def descriptor(self, default: Any, read_only: bool) -> ParameterDescriptor:
        """What ROS tools show of the parameter; its ranges are enforced by rclpy."""
        descriptor = ParameterDescriptor(
            description=self.description, additional_constraints=self.expected, read_only=read_only
        )
        if self.range and isinstance(default, float):
            low, high = map(float, self.range)
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
        elif self.range:
            descriptor.integer_range = [IntegerRange(from_value=int(self.range[0]), to_value=int(self.range[1]))]
        return descriptor


class Parameters:
    """All parameters of one node."""

    def __init__(self, node: str, *rows: Parameter) -> None:
        """The parameters of the node whose defaults are in `config/<node>.yaml`, in the order of the documentation."""
        self._node = node
        self._rows = {row.name: row for row in rows}

    def row(self, name: str) -> Parameter | None:
        """The parameter of that name, if the node has it."""
        return self._rows.get(name)

    def defaults(self) -> dict[str, Any]:
        """Return every parameter's default by name, as the node's YAML file has them."""
        defaults = read_defaults(self._node)
        if defaults.keys() != self._rows.keys():
            raise InputError(
                f"{config_file(self._node)} has {sorted(defaults)}, expected the parameters {sorted(self._rows)}"
            )
        return defaults

    def declare(self, node: Node, may_change: Callable[[], bool] | None = None) -> None:
        """Declare all parameters on a node, with the values that its parameter files and command line give.

        may_change: says whether values that are not live may be changed at the moment (None: never after this call).
        Raises InputError
        for a value of the wrong type, out of range or not among the choices; later on such a value is refused.
        """

        def check(changes: list[RosParameter[Any]]) -> SetParametersResult:
            for change in changes:
                row = self._rows.get(change.name)
                if row and row.choices and change.value not in row.choices:
                    return _refusal(f"{row.name} is {change.value!r}, expected {row.expected}")
                if row and not row.live and node.has_parameter(row.name) and may_change and not may_change():
                    return _refusal(f"{row.name} is read when the node is configured: clean up first")
            return SetParametersResult(successful=True)

        node.add_on_set_parameters_callback(check)
        defaults = self.defaults()
        rows = self._rows.values()
        table = [(row.name, defaults[row.name], row.descriptor(defaults[row.name], may_change is None)) for row in rows]
        try:
            node.declare_parameters("", table)
        except (InvalidParameterValueException, InvalidParameterTypeException) as error:
            raise InputError(str(error)) from error
        for name in self._rows:
            try:
                node.get_parameter(name)
            except ParameterUninitializedException as error:  # what rclpy makes of []
                raise InputError(f"{name} is empty, expected at least one value, such as {defaults[name]}") from error

    def read(self, node: Node) -> dict[str, Any]:
        """Return every parameter's present value by name."""
        return {name: node.get_parameter(name).value for name in self._rows}

    def markdown(self) -> str:
        """Render the parameters as a Markdown table for the documentation."""
        lines = ["| parameter | type | default | allowed | meaning |", "|---|---|---|---|---|"]
        for name, default in self.defaults().items():
            row = self._rows[name]
            kind = RosParameter.Type.from_parameter_value(default).name.lower()
            lines.append(f"| `{name}` | {kind} | `{json.dumps(default)}` | {row.expected} | {row.description} |")
        return "\n".join(lines) + "\n"


def _refusal(reason: str) -> SetParametersResult:
    return SetParametersResult(successful=False, reason=reason)
