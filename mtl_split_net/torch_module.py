"""A torch module as the ONNX file that imported networks are cut in, where its submodules are still known by name."""

import ast
from pathlib import Path

import torch
from torch import nn

from mtl_split_core.errors import InputError
from mtl_split_core.scene import Size
from mtl_split_net.checkpoints import read_checkpoint
from mtl_split_net.detectors import find_function
from mtl_split_net.onnx_graph import OnnxGraph, forget_metadata

_SCOPES = "pkg.torch.onnx.name_scopes"
"""Where torch's exporter notes the submodules that a node is in."""


def write_module(name: str, checkpoint: Path | None, input_size: Size, file: Path) -> None:
    """Write the module that `package.module:function` returns, with the weights of a checkpoint, as an ONNX file.

    It takes pictures (N, 3, height, width) of `input_size` (width, height). Raises InputError where there is no such
    function, it returns no module, the checkpoint is not its state, or torch cannot export it.
    """
    try:
        module = find_function(name)()
    except (InputError, TypeError) as error:
        raise InputError(f"module is {name!r}, expected {error}") from error
    if not isinstance(module, nn.Module):
        raise InputError(f"{name} returns {type(module).__name__}, expected a torch module")
    if checkpoint is not None:
        state = read_checkpoint(checkpoint)
        try:
            module.load_state_dict(state)
        except (AttributeError, RuntimeError, TypeError) as error:
            raise InputError(f"{checkpoint} is no state_dict of {name}: {str(error)[:200]}") from error
    example = torch.zeros(2, 3, input_size[1], input_size[0])
    try:
        torch.onnx.export(
            module.eval(), (example,), file, input_names=["images"], external_data=False, verbose=False,
            dynamic_shapes=({0: torch.export.Dim("n")},),
        )  # fmt: skip
    except torch.onnx.OnnxExporterError as error:
        raise InputError(f"torch cannot export {name}: {str(error)[:300]}") from error
    forget_metadata(file, kept=[_SCOPES])


def output_of(graph: OnnxGraph, submodule: str) -> str:
    """Return the tensor that a submodule, `features.3` for example, hands on. Raises InputError for an unknown one."""
    found, known = "", dict[str, None]()
    for node in graph.model.graph.node:
        for entry in node.metadata_props:
            if entry.key == _SCOPES:
                scopes = _read_scopes(entry.value)
                known |= dict.fromkeys(scopes[1:-1])
                if submodule in scopes:
                    found = node.output[0]
    if not found:
        raise InputError(f"the module has no submodule {submodule!r}, expected one of {', '.join(known)}")
    return found


def _read_scopes(text: str) -> list[str]:
    try:
        return [str(scope) for scope in ast.literal_eval(text)]
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise InputError(f"the graph's metadata {_SCOPES} is {text[:60]!r}, expected a list of names") from error
