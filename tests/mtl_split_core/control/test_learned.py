"""A learned policy takes the best action that keeps to the limits, or is refused in a line."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper, save

from mtl_split_core.control.learned import MOST_BYTES, OBSERVATION, VALUES, learned
from mtl_split_core.control.link import LinkState
from mtl_split_core.control.policy import Action, Menu, Own, Point, Situation, actions, observation
from mtl_split_core.errors import InferenceError, InputError

MENU = Menu((Point(300.0, 0.4), Point(800.0, 0.5)), {Own.EXIT: 0.3, Own.WHOLE: 0.43}, 0.1, processor_share=0.1)
EXAMPLE = Situation(0.01, {Own.EXIT: 0.002, Own.WHOLE: 0.01}, 0.0, LinkState())
[BUSY] = np.flatnonzero(observation(MENU, EXAMPLE) != observation(MENU, replace(EXAMPLE, busy=0.05)))
"""Where an observation has the processor's share of own answers."""


def network(values: list[float], by_busy: list[float], size: int | None = None) -> ModelProto:
    """Values of actions, and how they change with the share of own answers."""
    size = size or observation(MENU, EXAMPLE).size
    weights = np.zeros((size, len(values)), np.float32)
    weights[BUSY] = by_busy
    graph = helper.make_graph(
        [helper.make_node("Gemm", [OBSERVATION, "weights", "bias"], [VALUES])],
        "policy",
        [helper.make_tensor_value_info(OBSERVATION, TensorProto.FLOAT, [1, size])],
        [helper.make_tensor_value_info(VALUES, TensorProto.FLOAT, [1, len(values)])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(np.array([values], np.float32), "bias")],
    )
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 17)])


def saved(folder: Path, *values: float, by_busy: float = 0.0) -> Path:
    path = folder / "policy.onnx"
    save(network(list(values), [by_busy, *[0.0] * (len(values) - 1)]), path)
    return path


def test_it_takes_the_best_action_of_those_that_keep_to_the_limits(tmp_path: Path) -> None:
    choices = actions(MENU)
    best = choices.index(Action(1, 2, Own.WHOLE))
    values = [float(number == best) for number in range(len(choices))]
    values[choices.index(Action(0, 1, Own.WHOLE))] = 0.9
    values[choices.index(Action(0, 1, Own.EXIT))] = 0.8
    values[-1] = 2.0  # a frame that the edge can answer is not skipped
    policy = learned(saved(tmp_path, *values), MENU, EXAMPLE)
    assert policy(MENU, EXAMPLE) == Action(1, 2, Own.WHOLE)
    assert policy(replace(MENU, most_bytes=500.0), EXAMPLE) == Action(0, 1, Own.WHOLE)
    assert policy(replace(MENU, most_bytes=500.0), replace(EXAMPLE, busy=0.1)) == Action(0, 1, Own.EXIT)


def test_it_decides_by_what_it_observes(tmp_path: Path) -> None:
    values = [0.0] * len(actions(MENU))
    values[1] = 0.5
    policy = learned(saved(tmp_path, *values, by_busy=10.0), MENU, EXAMPLE)
    assert policy(MENU, EXAMPLE) == actions(MENU)[1]
    assert policy(MENU, replace(EXAMPLE, busy=0.09)) == actions(MENU)[0]


def test_a_policy_for_another_menu_and_a_file_that_is_none_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, *[0.0] * len(actions(MENU)))
    with pytest.raises(InputError, match="observation"):
        learned(path, replace(MENU, points=MENU.points[:1]), EXAMPLE)
    with pytest.raises(InputError, match="values"):
        learned(saved(tmp_path, 1.0, 2.0), MENU, EXAMPLE)
    with pytest.raises(InputError, match="cannot be read: No such file"):
        learned(tmp_path / "none.onnx", MENU, EXAMPLE)
    path.write_bytes(b"no network")
    with pytest.raises(InputError, match="is no ONNX file"):
        learned(path, MENU, EXAMPLE)
    path.write_bytes(bytes(MOST_BYTES + 1))
    with pytest.raises(InputError, match=f"expected at most {MOST_BYTES:,}"):
        learned(path, MENU, EXAMPLE)


def test_values_that_are_not_finite_fail_on_the_frame(tmp_path: Path) -> None:
    values = [0.0] * len(actions(MENU))
    policy = learned(saved(tmp_path, *values, by_busy=3e38), MENU, EXAMPLE)
    assert policy(MENU, EXAMPLE) in actions(MENU)
    with pytest.raises(InferenceError, match="not finite"):
        learned(saved(tmp_path, 3e38, *values[1:], by_busy=3e38), MENU, EXAMPLE)(MENU, replace(EXAMPLE, busy=1.0))
