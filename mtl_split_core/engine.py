"""Inference engines: each runs one exported half of the network, an ONNX file, one picture at a time."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as onnxruntime_errors

from mtl_split_core.errors import BundleError, InputError

Array = npt.NDArray[np.generic]

PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")
"""What ONNX Runtime may run on, best first."""

FULL_PRECISION = {"CUDAExecutionProvider": {"use_tf32": "0"}}
"""Options of ONNX Runtime's providers that keep them from calculating with fewer bits than the others."""


Errors = tuple[type[Exception], ...]


class Engine(Protocol):
    """One half of the network, loaded; several threads may call it at once.

    name: the engine and what it runs on; errors: what loading or calling it raises where the file is no network that it
    can run, or the input does not fit.
    """

    name: str
    errors: ClassVar[Errors]

    def __init__(self, path: Path, threads: int, at_once: int) -> None:
        """Load a file; one call may use `threads` threads, and up to `at_once` calls come at the same time."""

    def __call__(self, batch: Array) -> dict[str, Array]:
        """Run the network on its one input, of batch size 1; returns its outputs by name."""


class OnnxRuntime:
    """ONNX Runtime, on the best of its execution providers that the machine has."""

    errors: ClassVar[Errors] = (
        onnxruntime_errors.Fail,
        onnxruntime_errors.InvalidArgument,
        onnxruntime_errors.InvalidGraph,
        onnxruntime_errors.InvalidProtobuf,
        onnxruntime_errors.NotImplemented,
        onnxruntime_errors.RuntimeException,
    )

    def __init__(self, path: Path, threads: int, at_once: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Spinning threads would take the processor time that the other nodes on a small computer need.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        available = onnxruntime.get_available_providers()
        providers = [(name, FULL_PRECISION.get(name, {})) for name in PROVIDERS if name in available]
        self._session = onnxruntime.InferenceSession(path, options, providers=providers)
        # The provider that was really taken: ONNX Runtime leaves out those whose libraries it cannot load.
        self.name = f"onnxruntime, {self._session.get_providers()[0]}"
        self._input = self._session.get_inputs()[0].name
        self._outputs = [output.name for output in self._session.get_outputs()]

    def __call__(self, batch: Array) -> dict[str, Array]:
        return dict(zip(self._outputs, self._session.run(None, {self._input: batch}), strict=True))


class OpenVino:
    """OpenVINO on the processor."""

    errors: ClassVar[Errors] = (RuntimeError,)
    name = "openvino, CPU"

    def __init__(self, path: Path, threads: int, at_once: int) -> None:
        import openvino

        core = openvino.Core()
        model = core.read_model(path)
        shape = model.input().partial_shape
        model.reshape([1, *list(shape)[1:]])
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": at_once,
            "INFERENCE_NUM_THREADS": threads * at_once,
            # Newer processors would calculate with 16 bits.
            "INFERENCE_PRECISION_HINT": "f32",
            # Every process would otherwise bind itself to the same first cores.
            "ENABLE_CPU_PINNING": False,
        }
        self._model = core.compile_model(model, "CPU", settings)
        self._outputs = [output.any_name for output in model.outputs]
        self._own = threading.local()

    def __call__(self, batch: Array) -> dict[str, Array]:
        if not hasattr(self._own, "request"):
            self._own.request = self._model.create_infer_request()
        results = self._own.request.infer({0: batch}, share_inputs=True)
        return dict(zip(self._outputs, results.values(), strict=True))


class Torch:
    """PyTorch, on the first GPU where it has one. The number of threads holds for the whole process."""

    # The latter two: an attribute that PyTorch's own exporter always writes is missing, or one that it never writes.
    errors: ClassVar[Errors] = (RuntimeError, KeyError, TypeError)

    def __init__(self, path: Path, threads: int, at_once: int) -> None:
        import torch

        from mtl_split_core.torch_graph import TorchGraph

        torch.set_num_threads(threads)
        torch.backends.cudnn.allow_tf32 = False
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.name = f"torch, {device}"
        self._graph = TorchGraph(path, torch.device(device))

    def __call__(self, batch: Array) -> dict[str, Array]:
        return self._graph(batch)


ENGINES: Mapping[str, type[Engine]] = {
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVino,
    "torch": Torch,
}
PIP_PACKAGES = {"openvino": "openvino", "torch": "torch onnx"}

Shapes = Mapping[str, tuple[int | None, ...]]
"""Sizes by output name; None: any size."""


class NotInstalledError(InputError):
    """An engine that this machine does not have, or not in working order."""


def load_engine(kind: str, path: Path, threads: int, example: Array, expected: Shapes, at_once: int = 1) -> Engine:
    """Load a half into the engine `kind`, one of ENGINES, run an example, which warms it up, and check the outputs.

    Raises BundleError where the file does not do what its bundle's manifest says, NotInstalledError, and InputError for
    an unknown engine.
    """
    if kind not in ENGINES:
        raise InputError(f"engine is {kind!r}, expected one of {', '.join(ENGINES)}")
    try:
        engine = ENGINES[kind](path, threads, at_once)
    except ModuleNotFoundError as error:
        raise NotInstalledError(
            f"the engine {kind} needs {error.name}, which is not installed: pip install {PIP_PACKAGES[kind]}"
        ) from error
    except (ImportError, OSError) as error:
        raise NotInstalledError(f"the engine {kind} is installed but cannot be used: {_in_one_line(error)}") from error
    except ENGINES[kind].errors as error:
        raise BundleError(f"{kind} cannot load {path}: {_in_one_line(error)}") from error
    try:
        found = {name: output.shape for name, output in engine(example).items()}
    except engine.errors as error:
        raise BundleError(
            f"the network cannot be run on an input of shape {example.shape}: {_in_one_line(error)}"
        ) from error
    for name, shape in expected.items():
        sizes = found.get(name, ())
        fits = len(sizes) == len(shape) and all(e in (None, f) for f, e in zip(sizes, shape, strict=True))
        if not fits:
            raise BundleError(f"the network's output {name!r} has shape {sizes}, the manifest expects {shape}")
    return engine


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())
