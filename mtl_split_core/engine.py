"""An inference engine: runs one exported half of the network."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as failures

from mtl_split_core.errors import BundleError

Array = npt.NDArray[np.generic]


class OnnxRuntime:
    """One ONNX file in ONNX Runtime on the processor."""

    def __init__(self, path: Path, threads: int) -> None:
        """Load a file; one call may use `threads` threads. Raises BundleError if it is no usable network."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Spinning threads would take the processor time that the other nodes on a small computer need.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except (failures.Fail, failures.InvalidProtobuf, failures.InvalidGraph, failures.NotImplemented) as error:
            raise BundleError(f"ONNX Runtime cannot load {path}: {error}") from error
        self._input = self._session.get_inputs()[0].name
        self._outputs = [output.name for output in self._session.get_outputs()]

    def __call__(self, batch: Array) -> dict[str, Array]:
        """Run the network on its one input; returns its outputs by name."""
        return dict(zip(self._outputs, self._session.run(None, {self._input: batch}), strict=True))

    def check(self, example: Array, expected: dict[str, tuple[int | None, ...]]) -> None:
        """Run an example, which also warms up, and compare the outputs' shapes with those expected (None: any size).

        Raises BundleError where the file does not do what its bundle's manifest says.
        """
        try:
            found = {name: output.shape for name, output in self(example).items()}
        except (failures.InvalidArgument, failures.Fail, failures.RuntimeException) as error:
            raise BundleError(f"the network cannot be run on an input of shape {example.shape}: {error}") from error
        for name, shape in expected.items():
            sizes = found.get(name, ())
            fits = len(sizes) == len(shape) and all(e in (None, f) for f, e in zip(sizes, shape, strict=True))
            if not fits:
                raise BundleError(f"the network's output {name!r} has shape {sizes}, the manifest expects {shape}")
