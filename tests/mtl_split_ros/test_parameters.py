"""Parameters: every one has its default in the YAML file, its description and its checks."""

from collections.abc import Iterator
from typing import Any

import pytest
import rclpy
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

import mtl_split_edge.node
import mtl_split_server.node
from mtl_split_core.errors import InputError
from mtl_split_ros.parameters import Parameter, Parameters

TABLES = {"edge": mtl_split_edge.node.PARAMETERS, "server": mtl_split_server.node.PARAMETERS}


@pytest.fixture
def context() -> Iterator[rclpy.Context]:
    context = rclpy.Context()
    rclpy.init(context=context)
    yield context
    context.shutdown()


def node(context: rclpy.Context, **overrides: Any) -> Node:
    values = [RosParameter(name, value=value) for name, value in overrides.items()]
    return Node("test", context=context, parameter_overrides=values)


@pytest.mark.parametrize("name", TABLES)
def test_defaults_come_from_the_file_and_everything_is_described(name: str, context: rclpy.Context) -> None:
    table, declared = TABLES[name], node(context)
    table.declare(declared)
    assert table.read(declared) == table.defaults()
    documented = table.markdown()
    for descriptor in declared.describe_parameters(list(table.defaults())):
        assert descriptor.description and descriptor.read_only
        assert f"| `{descriptor.name}` |" in documented and descriptor.description in documented


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"threads": 0}, "threads out of range. Min: 1, Max: 64, value: 0"),
        ({"threads": 1.5}, "threads.*1.5.*INTEGER"),
        ({"transport": "pigeon"}, "transport is 'pigeon', expected one of auto, raw, compressed"),
        ({"diagnostics_period": 0.0}, "diagnostics_period out of range"),
    ],
)
def test_a_value_that_cannot_be_is_named(overrides: dict[str, Any], words: str, context: rclpy.Context) -> None:
    with pytest.raises(InputError, match=words):
        TABLES["edge"].declare(node(context, **overrides))


def test_an_empty_list_is_named(context: rclpy.Context) -> None:
    declared = Node("test", context=context, cli_args=["--ros-args", "-p", "vehicles:=[]"])
    with pytest.raises(InputError, match=r"^vehicles is empty, expected at least one value"):
        TABLES["server"].declare(declared)


def test_values_can_be_changed_only_when_the_node_says_so(context: rclpy.Context) -> None:
    declared, allowed = node(context), True
    TABLES["edge"].declare(declared, may_change=lambda: allowed)

    def change(name: str, value: Any) -> str:
        return declared.set_parameters([RosParameter(name, value=value)])[0].reason

    assert not change("threads", 2)
    assert change("transport", "pigeon") == "transport is 'pigeon', expected one of auto, raw, compressed"
    assert change("threads", 0)
    allowed = False
    assert change("threads", 3) == "threads is read when the node is configured: clean up first"
    assert TABLES["edge"].read(declared) == TABLES["edge"].defaults() | {"threads": 2}


def test_a_table_that_differs_from_the_file_is_an_error() -> None:
    with pytest.raises(InputError, match="colour"):
        Parameters("edge", Parameter("colour", "There is none.")).defaults()
