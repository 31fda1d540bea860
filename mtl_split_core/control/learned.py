"""A policy that was learned: a small ONNX file that values every action by what is observed."""

from pathlib import Path

import numpy as np

from mtl_split_core.control.policy import Action, Menu, Policy, Situation, actions, ask, is_allowed, observation
from mtl_split_core.engine import Interface, load_engine
from mtl_split_core.errors import InferenceError, InputError, in_one_line
from mtl_split_core.onnx_file import OnnxFile

OBSERVATION, VALUES = "observation", "values"
"""The file's input, float32 (1, n), and its output, float32 (1, actions): see policy.observation and policy.actions."""

MOST_BYTES = 1 << 24
"""Files of more bytes are refused."""


def learned(path: Path, menu: Menu, example: Situation) -> Policy:
    """Load a policy that takes the action with the highest value, of those that keep to the limits.

    Where nothing would be sent, it asks now and then whether the server answers: see policy.ask.

    menu: what it has to choose from; example: any situation. Raises InputError for a file that cannot be read, is too
    large, or was learned for another menu. The policy raises InferenceError where the network fails.
    """
    try:
        if (size := path.stat().st_size) > MOST_BYTES:
            raise InputError(f"the policy {path} has {size:,} bytes, expected at most {MOST_BYTES:,}")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"the policy {path} cannot be read: {error.strerror}") from error
    choices = actions(menu)
    interface = Interface((OBSERVATION,), {VALUES: (1, len(choices))})
    engine = load_engine("onnxruntime", OnnxFile(path, data), 1, [observation(menu, example)[None]], interface)

    def policy(menu: Menu, situation: Situation) -> Action:
        try:
            values = engine(observation(menu, situation)[None])[VALUES][0]
        except engine.errors as error:
            raise InferenceError(f"the policy {path} fails: {in_one_line(error)}") from error
        allowed = [at for at, action in enumerate(choices) if is_allowed(menu, situation, action)]
        if not np.isfinite(values[allowed]).all():
            raise InferenceError(f"the policy {path} has values that are not finite: NaN or infinity")
        return ask(menu, situation, choices[max(allowed, key=lambda at: float(values[at]))])

    return policy
