"""Inference engines: each runs one exported part of the network, an ONNX file, one picture at a time."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as onnxruntime_errors

from mtl_split_core.errors import BundleError, InputError, in_one_line
from mtl_split_core.onnx_file import OnnxFile

Array = npt.NDArray[np.generic]

PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")
"""What ONNX Runtime may run on, best first."""

_ONNX_TYPES = {"tensor(float)": "float32", "tensor(uint8)": "uint8"}

FULL_PRECISION = {"CUDAExecutionProvider": {"use_tf32": "0"}}
"""Options of ONNX Runtime's providers that keep them from calculating with fewer bits than the others."""

Errors = tuple[type[Exception], ...]

Sizes = tuple[int | None, ...]
"""Of an array's axes; None: any size."""


@dataclass(frozen=True)
class Interface:
    """What a part is to have: the names of its inputs, in order, and all of its outputs, float32, by name."""

    inputs: tuple[str, ...]
    outputs: Mapping[str, Sizes]


class Engine(Protocol):
    """One part of the network, loaded; several threads may call it at once.

    name: the engine and what it runs on; inputs: by name, NumPy's name of their type, and their sizes; errors: what
    loading or calling it raises where the file is no network that it can run, or the input does not fit.
    """

    name: str
    inputs: Mapping[str, tuple[str, Sizes]]
    errors: ClassVar[Errors]

    def __init__(self, data: bytes, threads: int, at_once: int) -> None:
        """Load an ONNX file's bytes; a call may use `threads` threads; `at_once` calls come at once at most."""

    def __call__(self, *inputs: Array) -> dict[str, Array]:
        """Run the network on its inputs, in the order of `inputs`, of batch size 1; returns its outputs by name."""


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

    def __init__(self, data: bytes, threads: int, at_once: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Spinning threads would take the processor time that the other nodes on a small computer need.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        available = onnxruntime.get_available_providers()
        providers = [(name, FULL_PRECISION.get(name, {})) for name in PROVIDERS if name in available]
        self._session = onnxruntime.InferenceSession(data, options, providers=providers)
        # The provider that was really taken: ONNX Runtime leaves out those whose libraries it cannot load.
        self.name = f"onnxruntime, {self._session.get_providers()[0]}"
        self.inputs: Mapping[str, tuple[str, Sizes]] = {
            each.name: (
                _ONNX_TYPES.get(each.type, each.type),
                tuple(size if isinstance(size, int) else None for size in each.shape),
            )
            for each in self._session.get_inputs()
        }
        self._outputs = [output.name for output in self._session.get_outputs()]

    def __call__(self, *inputs: Array) -> dict[str, Array]:
        outputs = self._session.run(None, dict(zip(self.inputs, inputs, strict=True)))
        return dict(zip(self._outputs, outputs, strict=True))


class OpenVino:
    """OpenVINO on the processor."""

    errors: ClassVar[Errors] = (RuntimeError,)
    name = "openvino, CPU"

    def __init__(self, data: bytes, threads: int, at_once: int) -> None:
        import openvino

        core = openvino.Core()
        model = core.read_model(data)
        self.inputs: Mapping[str, tuple[str, Sizes]] = {
            each.any_name: (
                str(np.dtype(each.element_type.to_dtype())),
                tuple(size.get_length() if size.is_static else None for size in each.partial_shape),
            )
            for each in model.inputs
        }
        model.reshape({
            each: [1 if first.is_dynamic else first, *rest]
            for each in model.inputs
            for first, *rest in [list(each.partial_shape)]
        })  # fmt: skip
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

    def __call__(self, *inputs: Array) -> dict[str, Array]:
        if not hasattr(self._own, "request"):
            self._own.request = self._model.create_infer_request()
        results = self._own.request.infer(dict(enumerate(inputs)), share_inputs=True)
        return dict(zip(self._outputs, results.values(), strict=True))


ENGINES: Mapping[str, type[Engine]] = {
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVino,
}
PIP_PACKAGES = {"openvino": "openvino"}


class NotInstalledError(InputError):
    """An engine that this machine does not have, or not in working order."""


def load_engine(
    kind: str, file: OnnxFile, threads: int, example: Sequence[Array], interface: Interface, at_once: int = 1
) -> Engine:
    """Load a part into the engine `kind`, one of ENGINES, and run an example, which warms it up.

    example: the inputs, of batch size 1. Raises BundleError where the file is no ONNX file, is not complete in itself,
    or does not have the interface; NotInstalledError; and InputError for an unknown engine.
    """
    if kind not in ENGINES:
        raise InputError(f"engine is {kind!r}, expected one of {', '.join(ENGINES)}")
    file.check_complete()
    try:
        engine = ENGINES[kind](file.data, threads, at_once)
    except ModuleNotFoundError as error:
        raise NotInstalledError(
            f"the engine {kind} needs {error.name}, which is not installed: pip install {PIP_PACKAGES[kind]}"
        ) from error
    except (ImportError, OSError) as error:
        raise NotInstalledError(f"the engine {kind} is installed but cannot be used: {in_one_line(error)}") from error
    except ENGINES[kind].errors as error:
        raise BundleError(f"{kind} cannot load {file.path}: {in_one_line(error)}") from error
    _check_inputs(engine, file, example, interface)
    try:
        outputs = engine(*example)
    except engine.errors as error:
        shapes = " and ".join(str(each.shape) for each in example)
        raise BundleError(f"{file.path} cannot be run on inputs of shape {shapes}: {in_one_line(error)}") from error
    _check_outputs(outputs, file, interface)
    return engine


def _check_inputs(engine: Engine, file: OnnxFile, example: Sequence[Array], interface: Interface) -> None:
    if tuple(engine.inputs) != interface.inputs:
        raise BundleError(
            f"{file.path} has the inputs {', '.join(engine.inputs)}, expected {', '.join(interface.inputs)}"
        )
    for (name, (kind, sizes)), each in zip(engine.inputs.items(), example, strict=True):
        if kind != each.dtype.name or not _fit(each.shape, sizes):
            raise BundleError(
                f"{file.path} has an input {name} of {kind} {sizes}, "
                f"the contract expects {each.dtype.name} {each.shape}"
            )


def _check_outputs(outputs: Mapping[str, Array], file: OnnxFile, interface: Interface) -> None:
    if outputs.keys() != interface.outputs.keys():
        raise BundleError(
            f"{file.path} has the outputs {', '.join(sorted(outputs))}, "
            f"the contract expects {', '.join(sorted(interface.outputs))}"
        )
    for name, output in outputs.items():
        if output.dtype != np.float32 or not _fit(output.shape, interface.outputs[name]):
            raise BundleError(
                f"{file.path} has an output {name} of {output.dtype.name} {output.shape}, "
                f"the contract expects float32 {interface.outputs[name]}"
            )
        if not np.isfinite(output).all():
            raise BundleError(f"{file.path} has NaN or infinite numbers in its output {name}")


def _fit(shape: tuple[int, ...], sizes: Sizes) -> bool:
    return len(shape) == len(sizes) and all(size in (None, side) for side, size in zip(shape, sizes, strict=True))
