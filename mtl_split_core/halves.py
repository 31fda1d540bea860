"""All of the perception in two halves: picture to payload on the edge, payload to results on the server.

Where the suffix is divided, a third part is between them: payload to features, from which the server goes on.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from mtl_split_core.bundle import PREFIX, SUFFIX, Bundle
from mtl_split_core.choice import REFERENCE, Choice, choose_engine
from mtl_split_core.division import Division
from mtl_split_core.engine import Array, Engine, Interface, Sizes
from mtl_split_core.errors import InferenceError, PayloadError, TooLargeError, in_one_line
from mtl_split_core.features import FeatureFormat
from mtl_split_core.geometry import LARGEST_SIDE, Letterbox, check_image
from mtl_split_core.kinds import KINDS
from mtl_split_core.onnx_file import OnnxFile
from mtl_split_core.scene import Floats, Image, Results, Size, Task
from mtl_split_core.stopwatch import Stopwatch

SCORE_THRESHOLD = 0.05
OVERLAP_THRESHOLD = 0.6
"""Defaults, see mtl_split_core.kinds."""


@dataclass(frozen=True)
class Encoded:
    """A picture's payload, and the index of the operating point that it is at."""

    payload: bytes
    operating_point: int


class EdgeHalf:
    """Picture to payload: prepare, prefix, encode."""

    def __init__(self, bundle: Bundle, threads: int = 1, engine: str = REFERENCE) -> None:
        """Load and warm up a bundle's prefix; one call may use `threads` threads.

        engine: one of mtl_split_core.choice.KINDS. Raises BundleError if the prefix cannot be loaded or does not have
        the interface in docs/bundle-format.md, and InputError for an engine that there is not.
        """
        self.bundle = bundle
        self.stopwatch = Stopwatch()
        width, height = bundle.input_size
        noise = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), np.uint8)
        interface = Interface(("images",), {"latents": (1, *bundle.payload_format.shape)})
        self.choice = choose_engine(engine, _onnx_file(bundle, PREFIX), threads, [noise], interface)
        self._prefix = self.choice.engine

    def encode(self, image: Image, operating_point: int | None = None, most_bytes: int | None = None) -> Encoded:
        """Turn a picture, uint8 (height, width, 3) blue-green-red of any size, into a payload.

        operating_point: an index (None: the bundle's default); where the payload has more than `most_bytes`, the next
        coarser one is tried. Raises ImageError if it is no such picture, InferenceError, and TooLargeError if even the
        coarsest takes more bytes. The stages' times are in `stopwatch` afterwards.
        """
        return self.pack(self.latents(image), operating_point, most_bytes)

    def latents(self, image: Image) -> Floats:
        """Turn a picture into its latents, float32 (channels, height, width): all of `encode` but the coding."""
        size = check_image(image)
        with self.stopwatch.stage("prepare"):
            prepared = Letterbox(size, self.bundle.input_size).apply(image)
        with self.stopwatch.stage("prefix"):
            latents: Floats = _run(self._prefix, prepared[None])["latents"][0].astype(np.float32, copy=False)
        return latents

    def pack(self, latents: Floats, operating_point: int | None = None, most_bytes: int | None = None) -> Encoded:
        """Turn latents into a payload: all of `encode` but what `latents` does."""
        form = self.bundle.payload_format
        first = self.bundle.default_point if operating_point is None else operating_point
        with self.stopwatch.stage("encode"):
            for point in range(first, -1, -1):
                payload = form.pack(latents, point)
                if most_bytes is None or len(payload) <= most_bytes:
                    return Encoded(payload, point)
        raise TooLargeError(
            f"the picture takes {len(payload)} bytes at the coarsest operating point, at most {most_bytes} allowed"
        )


class MiddleHalf:
    """Payload to features, on a roadside unit: decode, middle, pack."""

    def __init__(self, bundle: Bundle, threads: int = 1, engine: str = REFERENCE, at_once: int = 1) -> None:
        """Load and warm up the middle of every division of a bundle; the arguments are those of ServerHalf.

        Raises BundleError if the bundle has no division, or a middle cannot be loaded or does not have the interface in
        docs/bundle-format.md, and InputError for an engine that there is not.
        """
        self.bundle = bundle
        self.stopwatch = Stopwatch()
        self._forms = {division.cut: FeatureFormat(division) for division in bundle.divisions}
        self._choices = {
            division.cut: choose_engine(
                engine,
                _onnx_file(bundle, division.middle),
                threads,
                [_noise(1, *bundle.payload_format.shape)],
                Interface(("latents",), {tensor.name: tensor.shape for tensor in division.tensors}),
                at_once,
            )
            for division in bundle.divisions
        }
        self.choice = self._choices[bundle.division("").cut]

    def twin(self) -> "MiddleHalf":
        """Return another one for another thread: the middles are in memory once, the stopwatch is its own."""
        return _twin(self)

    def forward(self, payload: bytes, cut: str) -> bytes:
        """Turn a payload into the features of the division at a cut, by its name.

        Raises PayloadError for a payload that no edge with this contract could have sent, and InferenceError. The
        stages' times are in `stopwatch` afterwards.
        """
        with self.stopwatch.stage("decode"):
            latents = self.bundle.payload_format.unpack(payload)
        with self.stopwatch.stage("middle"):
            tensors = _run(self._choices[cut].engine, latents[None])
        with self.stopwatch.stage("pack"):
            return self._forms[cut].pack(tensors)


class ServerHalf:
    """Payload to results: decode, suffix, post.

    An exit answers in the suffix's place from the edge's own latents (ME-FEEL, Tang et al. 2021).
    """

    def __init__(
        self,
        bundle: Bundle,
        threads: int = 1,
        score_threshold: float = SCORE_THRESHOLD,
        overlap_threshold: float = OVERLAP_THRESHOLD,
        engine: str = REFERENCE,
        at_once: int = 1,
        role: str = SUFFIX,
        divisions: Sequence[Division] = (),
    ) -> None:
        """Load and warm up a bundle's suffix; one call may use `threads` threads, and it has `at_once` twins at most.

        `score_threshold` and `overlap_threshold`: see mtl_split_core.kinds; they may be set anew between two calls.
        engine: one of mtl_split_core.choice.KINDS; role: which file answers, SUFFIX or EXIT; divisions: those of the
        bundle whose rest is loaded, too, so that `decode` takes their features. Raises BundleError if a file is not
        there, cannot be loaded or does not have the interface in docs/bundle-format.md, and InputError for an engine
        that there is not.
        """
        self.bundle = bundle
        self.stopwatch = Stopwatch()
        self.score_threshold = score_threshold
        self.overlap_threshold = overlap_threshold
        expected: dict[str, Sizes] = {}
        for task in bundle.tasks:
            expected |= KINDS[task.kind].outputs(task)
        noise = _noise(1, *bundle.payload_format.shape)

        def load(role: str, inputs: Sequence[str], example: Sequence[Array]) -> Choice:
            file, interface = _onnx_file(bundle, role), Interface(tuple(inputs), expected)
            return choose_engine(engine, file, threads, example, interface, at_once)

        self.choice = load(role, ["latents"], [noise])
        self._role = role
        self._network = self.choice.engine
        self.forms = {division.fingerprint: FeatureFormat(division) for division in divisions}
        self._rests = {
            division.fingerprint: load(
                division.rest,
                [tensor.name for tensor in division.tensors],
                [_noise(*tensor.shape) for tensor in division.tensors],
            ).engine
            for division in divisions
        }
        self.twin().answer(noise[0], bundle.input_size)

    def twin(self) -> "ServerHalf":
        """Return another one for another thread: the suffix is in memory once, the stopwatch is its own."""
        return _twin(self)

    def decode(self, payload: bytes, size: Size, division: str = "") -> Results:
        """Turn a payload into every task's result for the original picture of `size` (width, height).

        division: the fingerprint of a division that was loaded; then the payload is that of its features. Raises
        PayloadError for a payload that no edge with this contract, or no middle of this division, could have sent, and
        InferenceError. The stages' times are in `stopwatch` afterwards.
        """
        check_size(size)
        if not division:
            with self.stopwatch.stage("decode"):
                latents = self.bundle.payload_format.unpack(payload)
            return self.answer(latents, size)
        with self.stopwatch.stage("decode"):
            tensors = self.forms[division].unpack(payload)
        return self._finish(self._rests[division], tensors, size)

    def answer(self, latents: Floats, size: Size) -> Results:
        """Turn latents into every task's result: all of `decode` but the decoding.

        The network's stage in `stopwatch` is named by its role.
        """
        return self._finish(self._network, [latents[None]], size)

    def _finish(self, engine: Engine, inputs: Sequence[Array], size: Size) -> Results:
        with self.stopwatch.stage(self._role):
            outputs = _run(engine, *inputs)
        with self.stopwatch.stage("post"):
            letterbox = Letterbox(size, self.bundle.input_size)
            return {task.name: self._result(task, outputs, letterbox) for task in self.bundle.tasks}

    def _result(self, task: Task, outputs: dict[str, Array], letterbox: Letterbox) -> Any:
        kind = KINDS[task.kind]
        # An exit proposes objects twice, whatever the suffix does.
        unsuppressed = self._role == SUFFIX and task.name in self.bundle.unsuppressed
        overlap_threshold = 1.0 if unsuppressed else self.overlap_threshold
        found = kind.result(task, outputs, self.score_threshold, overlap_threshold)
        return kind.to_picture(found, letterbox)


def check_size(size: Size) -> None:
    """Raise PayloadError for the size (width, height) of a picture that no camera has."""
    if not all(1 <= side <= LARGEST_SIDE for side in size):
        raise PayloadError(f"the picture's size is {size}, expected sides of 1 to {LARGEST_SIDE} pixels")


def _run(engine: Engine, *inputs: Array) -> dict[str, Array]:
    """Run a part on one frame. Raises InferenceError where it fails, or its outputs are not all finite."""
    try:
        outputs = engine(*inputs)
    except engine.errors as error:
        raise InferenceError(f"{engine.name} cannot run the network on this frame: {in_one_line(error)}") from error
    for name, output in outputs.items():
        if not np.isfinite(output).all():
            raise InferenceError(f"the network's output {name} is not finite for this frame: NaN or infinity")
    return outputs


def _onnx_file(bundle: Bundle, role: str) -> OnnxFile:
    return OnnxFile(bundle.path(role), bundle.read(role))


def _noise(*shape: int) -> Floats:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


_Half = TypeVar("_Half", MiddleHalf, ServerHalf)


def _twin(half: _Half) -> _Half:
    other = copy(half)
    other.stopwatch = Stopwatch()
    return other
