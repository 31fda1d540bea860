"""How long the two halves take without ROS: each stage, against the engines alone, and frames per second.

ros2_ws/run python -m mtl_split_lab.bench.halves --out docs/results
"""

import argparse
import itertools
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import cv2
import onnxruntime

from mtl_split_camera.street import Street
from mtl_split_core.bundle import PREFIX, SUFFIX, Bundle, load_bundle
from mtl_split_core.engine import ENGINES, Array, NotInstalledError
from mtl_split_core.geometry import Letterbox
from mtl_split_core.halves import EdgeHalf, ServerHalf
from mtl_split_core.scene import Image
from mtl_split_core.share import bundle_folder
from mtl_split_core.stopwatch import Stopwatch, measure_in_turn
from mtl_split_lab.bench.profiling import SIZE, Call, recording
from mtl_split_lab.machine import machine_in_words
from mtl_split_lab.markdown import table

PICTURES = 15
"""Different pictures of one simulated street, over and over."""

Times = Mapping[str, Sequence[float]]
"""Milliseconds of every call by name."""

BARE = "the engine alone"
WHOLE = "all"


def main() -> None:
    """Measure both halves of a bundle and write halves.md."""
    parser = argparse.ArgumentParser(prog="halves", description=main.__doc__)
    parser.add_argument(
        "--bundle", default="street", help="name of a shipped bundle, or a folder (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, default=1, help="threads of one call (default: %(default)s)")
    parser.add_argument("--calls", type=int, default=300, help="calls of each (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("docs/results"), help="folder of the page")
    options = parser.parse_args()
    bundle = load_bundle(bundle_folder(options.bundle))
    pictures = [picture for picture, _ in itertools.islice(Street(0, SIZE), PICTURES)]
    stages = measure_stages(bundle, pictures, options.threads, options.calls)
    engines = measure_engines(bundle, pictures[0], options.threads, options.calls)
    write_page(bundle, stages, engines, options.threads, options.out)


def measure_stages(bundle: Bundle, pictures: Sequence[Image], threads: int, calls: int) -> dict[str, Times]:
    """Return, by half, the milliseconds of each stage, of WHOLE and of BARE, its engine on the same input.

    Both halves run in ONNX Runtime, the nodes' default.
    """
    cv2.setNumThreads(threads)
    edge, server = EdgeHalf(bundle, threads), ServerHalf(bundle, threads)
    size = (pictures[0].shape[1], pictures[0].shape[0])
    payloads = [edge.encode(picture).payload for picture in pictures]
    image, latents = _examples(bundle, pictures[0])
    next_picture, next_payload = itertools.cycle(pictures), itertools.cycle(payloads)
    return {
        "edge": _measure_half(
            edge.stopwatch,
            lambda: edge.encode(next(next_picture)),
            _bare_onnxruntime(bundle.read(PREFIX), threads, image),
            calls,
        ),
        "server": _measure_half(
            server.stopwatch,
            lambda: server.decode(next(next_payload), size),
            _bare_onnxruntime(bundle.read(SUFFIX), threads, latents),
            calls,
        ),
    }


def measure_engines(bundle: Bundle, picture: Image, threads: int, calls: int) -> dict[str, Times]:
    """Return, by half, the milliseconds of every engine that is installed, and where there is one of its bare library.

    The bare library's name is the engine's with ", bare".
    """
    image, latents = _examples(bundle, picture)
    measured: dict[str, Times] = {}
    for half, kind_of_half, data, example in (
        ("edge", EdgeHalf, bundle.read(PREFIX), image),
        ("server", ServerHalf, bundle.read(SUFFIX), latents),
    ):
        engines: dict[str, Call] = {}
        for kind in ENGINES:
            try:
                engine = kind_of_half(bundle, threads, engine=kind).choice.engine
            except NotInstalledError as error:
                print(error)
                continue
            engines[kind] = partial(engine, example)
            if kind in BARE_LIBRARIES:
                engines[f"{kind}, bare"] = BARE_LIBRARIES[kind](data, threads, example)
        measured[half] = measure_in_turn(engines, calls)
    return measured


def write_page(
    bundle: Bundle, stages: Mapping[str, Times], engines: Mapping[str, Times], threads: int, out: Path
) -> None:
    """Write the page into the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "halves.md").write_text(
        _PAGE.format(
            bundle=f"{bundle.name} ({bundle.fingerprint})",
            width=SIZE[0],
            height=SIZE[1],
            threads=threads,
            stages=_stage_table(stages),
            engines=_engine_table(engines),
            machine=machine_in_words(),
            **{half: f"{1e3 / statistics.median(times[WHOLE]):.0f}" for half, times in stages.items()},
        )
    )


def _measure_half(stopwatch: Stopwatch, whole: Call, bare: Call, calls: int) -> Times:
    stages: dict[str, list[float]] = defaultdict(list)
    return {**measure_in_turn({WHOLE: recording(stopwatch, whole, stages), BARE: bare}, calls), **stages}


def _examples(bundle: Bundle, picture: Image) -> tuple[Array, Array]:
    """A picture as the prefix takes it, and its latents as the suffix takes them."""
    size = (picture.shape[1], picture.shape[0])
    latents = bundle.payload_format.unpack(EdgeHalf(bundle).encode(picture).payload)
    return Letterbox(size, bundle.input_size).apply(picture)[None], latents[None]


def _stage_table(stages: Mapping[str, Times]) -> str:
    rows = []
    for half, times in stages.items():
        bare = min(times[BARE])
        for name, values in times.items():
            if name != BARE:
                ratio = [f"{bare:.2f}", f"{min(values) / bare:.2f}"] if name in ("prefix", "suffix") else ["", ""]
                rows.append([half, name, f"{statistics.median(values):.2f}", f"{min(values):.2f}", *ratio])
    return table(f"half|stage|median, ms|fastest, ms|{BARE}, fastest|ratio", rows)


def _engine_table(engines: Mapping[str, Times]) -> str:
    rows = []
    for half, times in engines.items():
        fastest = {name: min(values) for name, values in times.items()}
        for name, values in times.items():
            bare = fastest.get(f"{name}, bare")
            ratio = f"{fastest[name] / bare:.3f}" if bare else ""
            rows.append([half, name, f"{statistics.median(values):.2f}", f"{fastest[name]:.2f}", ratio])
    return table("half|engine|median, ms|fastest, ms|this / bare", rows)


def _bare_onnxruntime(data: bytes, threads: int, example: Array) -> Call:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(data, options, providers=onnxruntime.get_available_providers())
    inputs = {session.get_inputs()[0].name: example}
    return lambda: session.run(None, inputs)


def _bare_openvino(data: bytes, threads: int, example: Array) -> Call:
    import openvino

    core = openvino.Core()
    model = core.read_model(data)
    model.reshape(example.shape)
    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    return lambda: request.infer([example])


BARE_LIBRARIES = {"onnxruntime": _bare_onnxruntime, "openvino": _bare_openvino}

_PAGE = """# The two halves

How long the halves take without ROS, each call with `threads: {threads}`. The bundle is {bundle}, at its default
operating point; the pictures are of the simulated street, {width}x{height}.

**The edge half alone makes {edge} frames/s, the server half alone {server} frames/s.**

{stages}

*The engine alone* is a session of the inference library itself, called in turn with the half, on one of the same
pictures; the ratios are of the fastest calls, which other processes have not disturbed.

## Engines

Every engine that is installed here, against its own library without anything around it.

{engines}

`make bench` makes this page. Measured on: {machine}.
"""

if __name__ == "__main__":
    main()
