"""Static quantisation: an exported half calculates with 8-bit integers, by ONNX Runtime's own tools."""

import math
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxscript.rewriter import pattern, rewrite

from mtl_split_core.engine import Array
from mtl_split_core.scene import Floats, Image


class _Inputs(CalibrationDataReader):
    def __init__(self, name: str, inputs: Sequence[Array]) -> None:
        self._batches = ({name: each[None]} for each in inputs)

    def get_next(self) -> dict[str, Array] | None:
        return next(self._batches, None)


def quantise(path: Path, pictures: Sequence[Image]) -> None:
    """Rewrite an ONNX file with weights and activations of 8 bits; `pictures` are inputs as the network will see.

    It is for ONNX Runtime, which calculates with integers from one operator to the next.
    """
    with TemporaryDirectory() as folder:
        prepared = _prepare(path, Path(folder))
        # Processors with AVX2 alone add pairs of products in 16 bits, which 8-bit weights would overflow.
        _quantise(prepared, path, pictures, reduce_range=True, activation_type=QuantType.QInt8)


def quantise_convolutions(path: Path, latents: Sequence[Floats]) -> None:
    """Rewrite an ONNX file such that its convolutions have weights and inputs of 8 bits; `latents` are its inputs.

    Those with groups stay as they are: they would lose the most and save the least. It is for OpenVINO, which fuses
    each convolution with what follows it up to the next 8-bit input, and for processors that multiply 8-bit integers
    (VNNI). ONNX Runtime gives the same answers, but takes longer than without.
    """
    with TemporaryDirectory() as folder:
        prepared = _prepare(path, Path(folder))
        model = _write_hard_swish(onnx.load(prepared))
        onnx.save(model, prepared)
        _quantise(
            prepared,
            path,
            latents,
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=[node.name for node in model.graph.node if _has_groups(node)],
            activation_type=QuantType.QUInt8,
            extra_options={"OpTypesToExcludeOutputQuantization": ["Conv"]},
        )


def _prepare(path: Path, folder: Path) -> Path:
    quant_pre_process(path, folder / path.name, skip_symbolic_shape=True)
    return folder / path.name


def _quantise(prepared: Path, path: Path, inputs: Sequence[Array], **settings: Any) -> None:
    name = onnxruntime.InferenceSession(prepared, providers=["CPUExecutionProvider"]).get_inputs()[0].name
    quantize_static(prepared, path, _Inputs(name, inputs), per_channel=True, weight_type=QuantType.QInt8, **settings)


def _has_groups(node: onnx.NodeProto) -> bool:
    return any(attribute.name == "group" and attribute.i > 1 for attribute in node.attribute)


def _write_hard_swish(model: onnx.ModelProto) -> onnx.ModelProto:
    """Write x * HardSigmoid(x) as the one operator that it is: OpenVINO fuses no other form into 8-bit convolutions."""

    def product(op: Any, x: Any) -> Any:
        return op.Mul(x, op.HardSigmoid(x, _outputs=["gate"]))

    def is_hard_swish(_: Any, gate: Any, **__: Any) -> bool:
        attributes = gate.producer().attributes
        alpha, beta = (attributes[key].value if key in attributes else default for key, default in _HARD_SIGMOID)
        return math.isclose(alpha, 1 / 6, rel_tol=1e-6) and math.isclose(beta, 0.5)

    rule = pattern.RewriteRule(product, lambda op, x, **_: op.HardSwish(x), is_hard_swish)
    rewritten: onnx.ModelProto = rewrite(model, pattern_rewrite_rules=pattern.RewriteRuleSet([rule], commute=True))
    return rewritten


_HARD_SIGMOID = (("alpha", 0.2), ("beta", 0.5))
"""The operator's attributes and their defaults."""
