"""Static quantisation: an exported half calculates with 8-bit integers, by ONNX Runtime's own tools."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from mtl_split_core.scene import Image


class _Pictures(CalibrationDataReader):
    def __init__(self, name: str, pictures: Sequence[Image]) -> None:
        self._batches = ({name: picture[None]} for picture in pictures)

    def get_next(self) -> dict[str, Image] | None:
        return next(self._batches, None)


def quantise(path: Path, pictures: Sequence[Image]) -> None:
    """Rewrite an ONNX file with weights and activations of 8 bits; `pictures` are inputs as the network will see."""
    name = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).get_inputs()[0].name
    with TemporaryDirectory() as folder:
        prepared = Path(folder) / path.name
        quant_pre_process(path, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            path,
            _Pictures(name, pictures),
            per_channel=True,
            # Processors with AVX2 alone add pairs of products in 16 bits, which 8-bit weights would overflow.
            reduce_range=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
        )
