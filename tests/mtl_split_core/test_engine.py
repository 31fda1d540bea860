"""All engines give the same answers, and `auto` takes the fastest of them."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest

from mtl_split_camera.street import Street
from mtl_split_core import choice, engine, stopwatch
from mtl_split_core.bundle import PREFIX, Bundle, load_bundle
from mtl_split_core.choice import AUTO, REFERENCE, choose_engine
from mtl_split_core.engine import (
    ENGINES,
    Array,
    Engine,
    Errors,
    Interface,
    NotInstalledError,
    OnnxRuntime,
    Sizes,
    load_engine,
)
from mtl_split_core.errors import BundleError, InputError
from mtl_split_core.geometry import Letterbox
from mtl_split_core.halves import EdgeHalf, ServerHalf
from mtl_split_core.label_map import Segmentation
from mtl_split_core.onnx_file import OnnxFile
from mtl_split_core.scene import Classification, Detections, Image, Results

ROOT = Path(__file__).parents[2]
STREET = ROOT / "models" / "street"
REAL_PICTURES = ROOT.parent / "shared" / "data" / "road_mix" / "images"
OTHERS = sorted(ENGINES.keys() - {REFERENCE})

THRESHOLD = 0.05
SCORE_TOLERANCE = 0.005
PIXEL_TOLERANCE = 0.5


@pytest.fixture(scope="module")
def street() -> Bundle:
    return load_bundle(STREET)


def simulated_pictures() -> list[Image]:
    return [next(Street(seed, (1280, 720)))[0] for seed in range(6)]


def real_pictures() -> Iterator[Image]:
    paths = sorted(REAL_PICTURES.rglob("*.jpg"))
    for path in paths[:: max(1, len(paths) // 100)][:100]:
        image = cv2.imread(str(path))
        assert image is not None
        yield image.astype(np.uint8, copy=False)


def assert_same_outputs(outputs: dict[str, Array], right: dict[str, Array]) -> None:
    """Boxes are compared, in pixels, where there can be a detection: elsewhere they are many pictures large."""
    detected = (right["detection.scores"].astype(np.float32) >= THRESHOLD).any(axis=2)
    for name, output in outputs.items():
        where = detected if name == "detection.boxes" else ...
        assert_near(output[where], right[name][where])


def assert_near(found: Array, right: Array) -> None:
    np.testing.assert_allclose(found.astype(np.float32), right.astype(np.float32), rtol=0, atol=1e-3)


def assert_same(found: Results, right: Results) -> None:
    """Every task answers the same, but for a detection at the very threshold, or a place between two areas."""
    for task, answer in right.items():
        other = found[task]
        if isinstance(answer, Classification):
            assert isinstance(other, Classification)
            np.testing.assert_allclose(other.scores, answer.scores, atol=SCORE_TOLERANCE)
        elif isinstance(answer, Segmentation):
            assert isinstance(other, Segmentation)
            assert np.mean(other.indices() != answer.indices()) < 1e-3
        else:
            assert isinstance(other, Detections)
            assert_counterparts(answer, other)
            assert_counterparts(other, answer)


def assert_counterparts(some: Detections, others: Detections) -> None:
    for box, label, score in zip(some.boxes, some.labels, some.scores, strict=True):
        near = (np.abs(others.boxes - box) <= PIXEL_TOLERANCE).all(axis=1)
        near &= np.abs(others.scores - score) <= SCORE_TOLERANCE
        near &= np.array(others.labels) == label
        assert near.any() or score < THRESHOLD + SCORE_TOLERANCE, (box, label, score)


def apart(function: Callable[..., None], *arguments: object) -> None:
    """Call in a process of its own: OpenVINO and a later training with PyTorch do not get along in one."""
    with get_context("spawn").Pool(1) as pool:
        pool.apply(function, arguments)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("pictures", [simulated_pictures, real_pictures])
def test_every_engine_gives_the_same_latents_outputs_and_results(
    kind: str, pictures: Callable[[], Iterable[Image]]
) -> None:
    if pictures is real_pictures and not REAL_PICTURES.is_dir():
        pytest.skip(f"no real pictures at {REAL_PICTURES}")
    apart(compare, kind, pictures)


def compare(kind: str, pictures: Callable[[], Iterable[Image]]) -> None:
    street = load_bundle(STREET)
    prefix, other_prefix = EdgeHalf(street).choice.engine, EdgeHalf(street, engine=kind).choice.engine
    server = ServerHalf(street, score_threshold=THRESHOLD)
    other_server = ServerHalf(street, score_threshold=THRESHOLD, engine=kind)
    for image in pictures():
        size = (image.shape[1], image.shape[0])
        batch = Letterbox(size, street.input_size).apply(image)[None]
        latents, other_latents = (run(batch)["latents"].astype(np.float32) for run in (prefix, other_prefix))
        assert_near(other_latents, latents)
        assert_same_outputs(other_server.choice.engine(latents), server.choice.engine(latents))
        # Latents between two symbols may be rounded differently; what was sent decodes the same on every server.
        form = street.payload_format
        for payload in {form.pack(found[0], street.default_point) for found in (latents, other_latents)}:
            assert_same(other_server.decode(payload, size), server.decode(payload, size))


@pytest.mark.parametrize("kind", ENGINES)
def test_several_threads_share_one_suffix(kind: str) -> None:
    apart(decode_in_threads, kind)


def decode_in_threads(kind: str) -> None:
    street = load_bundle(STREET)
    edge, server = EdgeHalf(street), ServerHalf(street, engine=kind, at_once=4)
    pictures = simulated_pictures()[:4]
    sizes = [(picture.shape[1], picture.shape[0]) for picture in pictures]
    payloads = [edge.encode(picture).payload for picture in pictures]
    right = [server.decode(payload, size) for payload, size in zip(payloads, sizes, strict=True)]
    twins = [server.twin() for _ in payloads]
    assert all(twin.choice.engine is server.choice.engine for twin in twins)
    with ThreadPoolExecutor(len(twins)) as pool:
        for _ in range(5):
            found = pool.map(lambda twin, payload, size: twin.decode(payload, size), twins, payloads, sizes)
            for results, expected in zip(found, right, strict=True):
                np.testing.assert_equal(vars(results["detection"]), vars(expected["detection"]))
    assert all(twin.stopwatch.milliseconds.keys() == {"decode", "suffix", "post"} for twin in twins)


@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.parametrize("data", [b"no network", b"", b"\x08\x0a"])
def test_a_file_that_is_no_network_is_named(kind: str, data: bytes) -> None:
    with pytest.raises(BundleError, match=r"(cannot load prefix\.onnx|prefix\.onnx is no ONNX file): [^\n]*$"):
        load_engine(kind, OnnxFile(Path("prefix.onnx"), data), 1, [np.zeros(1)], Interface(("images",), {}))


@pytest.mark.parametrize("kind", ENGINES)
def test_an_input_that_does_not_fit_is_told_in_one_line(kind: str, street: Bundle) -> None:
    file, noise = OnnxFile(Path("prefix.onnx"), street.read(PREFIX)), np.zeros((1, 12, 18, 32), np.float32)
    with pytest.raises(BundleError, match=r"^prefix.onnx has an input images of uint8 [^\n]* \(1, 12, 18, 32\)$"):
        load_engine(kind, file, 1, [noise], Interface(("images",), {}))


def test_onnx_runtime_uses_the_threads_that_it_may_and_does_not_spin(street: Bundle) -> None:
    options = OnnxRuntime(street.read(PREFIX), threads=3, at_once=1)._session.get_session_options()
    assert options.intra_op_num_threads == 3 and options.inter_op_num_threads == 1
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_an_engine_that_is_not_installed_is_named_with_its_package(
    street: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(NotInstalledError, match=r"needs openvino, .*pip install openvino"):
        EdgeHalf(street, engine="openvino")


def test_an_unknown_engine_is_told(street: Bundle) -> None:
    with pytest.raises(InputError, match="engine is 'steam', expected one of onnxruntime, openvino"):
        ServerHalf(street, engine="steam")


class Clock:
    """Time that passes only when an engine works."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def imitation(clock: Clock, seconds: float, answer: float) -> type[Engine]:
    class Imitation:
        name = f"takes {seconds} s"
        errors: ClassVar[Errors] = ()

        def __init__(self, data: bytes, threads: int, at_once: int) -> None:
            self.inputs: Mapping[str, tuple[str, Sizes]] = {"images": ("float64", (None,))}

        def __call__(self, *inputs: Array) -> dict[str, Array]:
            clock.now += seconds
            return {"latents": np.full(3, answer, np.float32)}

    return Imitation


def not_there(data: bytes, threads: int, at_once: int) -> Engine:
    raise ModuleNotFoundError("No module named 'steam'", name="steam")


def broken(data: bytes, threads: int, at_once: int) -> Engine:
    raise ImportError("libsteam.so: no such file")


@pytest.mark.parametrize("slow", [0.01, 10.0])
def test_auto_takes_the_fastest_that_agrees(slow: float, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    engines = {
        REFERENCE: imitation(clock, slow, 1.0),
        "fast": imitation(clock, 0.001, 1.0005),
        "wrong": imitation(clock, 0.0001, 1.01),
        "missing": not_there,
        "broken": broken,
    }
    monkeypatch.setattr(stopwatch, "time", clock)
    for module in (choice, engine):
        monkeypatch.setattr(module, "ENGINES", engines)
    monkeypatch.setattr(engine, "PIP_PACKAGES", {"missing": "steam"})
    chosen = choose_engine(AUTO, OnnxFile(Path(), b""), 1, [np.zeros(1)], Interface(("images",), {"latents": (3,)}))
    assert chosen.engine.name == "takes 0.001 s"
    assert chosen.remarks == {
        REFERENCE: f"{slow * 1e3:.2f} ms",
        "fast": "1.00 ms",
        "wrong": f"differs from {REFERENCE}",
        "missing": "the engine missing needs steam, which is not installed: pip install steam",
        "broken": "the engine broken is installed but cannot be used: libsteam.so: no such file",
    }
    assert clock.now < 3 * slow + choice.MOST_SECONDS + 0.1


def test_auto_measures_the_engines_that_are_there() -> None:
    apart(check_auto)


def check_auto() -> None:
    chosen = EdgeHalf(load_bundle(STREET), engine=AUTO).choice
    assert list(chosen.remarks) == list(ENGINES)
    assert all(remark.endswith(" ms") for remark in chosen.remarks.values())
    assert chosen.remarks[chosen.engine.name.split(",")[0]] == min(chosen.remarks.values(), key=lambda t: float(t[:-3]))
