"""Both halves of the shipped bundle: any picture goes through, whatever is wrong is refused."""

import random
import resource
from pathlib import Path

import numpy as np
import onnx
import pytest

from mtl_split_core.bundle import EXIT, PREFIX, SUFFIX, load_bundle, write_manifest
from mtl_split_core.errors import BundleError, ImageError, InferenceError, PayloadError, TooLargeError
from mtl_split_core.halves import EdgeHalf, ServerHalf
from mtl_split_core.label_map import Segmentation
from mtl_split_core.scene import Classification, Detections, Image, Size

from ..tiny_bundle import add_exit, add_last_step, write_tiny_bundle


def damage(chance: random.Random, payload: bytes) -> bytes:
    """Flip, cut, lengthen, splice or replace a payload."""
    where = chance.randrange(len(payload))
    damaged = bytearray(payload)
    match chance.randrange(5):
        case 0:
            damaged[where] ^= 1 << chance.randrange(8)
        case 1:
            del damaged[where:]
        case 2:
            damaged[where:where] = chance.randbytes(chance.randrange(1, 100))
        case 3:
            damaged[where : where + 8] = chance.randbytes(8)
        case _:
            damaged[:] = chance.randbytes(chance.randrange(200))
    return bytes(damaged)


@pytest.fixture(scope="module")
def edge() -> EdgeHalf:
    return EdgeHalf(load_bundle(Path(__file__).parents[2] / "models" / "street"))


@pytest.fixture(scope="module")
def server(edge: EdgeHalf) -> ServerHalf:
    return ServerHalf(edge.bundle)


def resident() -> int:
    """Bytes of memory that this process really uses."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def picture(size: Size, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)


@pytest.mark.parametrize("size", [(1280, 720), (640, 480), (300, 500), (17, 5), (1, 1)])
def test_every_task_answers_within_the_picture(edge: EdgeHalf, server: ServerHalf, size: Size) -> None:
    results = server.decode(edge.encode(picture(size)).payload, size)
    assert set(results) == {task.name for task in server.bundle.tasks}
    for task in server.bundle.tasks:
        result = results[task.name]
        if isinstance(result, Segmentation):
            numbers = result.indices()
            assert result.labels == task.labels and numbers.shape == size[::-1] and numbers.max() < len(task.labels)
        elif isinstance(result, Classification):
            assert result.labels == task.labels and result.best in task.labels
            assert result.scores.sum() == pytest.approx(1, abs=1e-5)
        else:
            assert isinstance(result, Detections)
            assert len(result.boxes) == len(result.labels) == len(result.scores)
            assert set(result.labels) <= set(task.labels)
            assert (result.boxes >= 0).all() and (result.boxes <= np.array([*size, *size], np.float32)).all()
            assert (np.diff(result.scores) <= 0).all()


def test_the_same_picture_gives_the_same_bytes_and_results(edge: EdgeHalf, server: ServerHalf) -> None:
    payloads = [edge.encode(picture((640, 360))).payload for _ in range(2)]
    assert payloads[0] == payloads[1]
    first, second = (server.decode(payload, (640, 360)) for payload in payloads)
    for task in first:
        np.testing.assert_equal(vars(first[task]), vars(second[task]))


def test_threads_do_not_change_the_payload_by_more_than_one_symbol(edge: EdgeHalf) -> None:
    image = picture((640, 360))
    form = edge.bundle.payload_format
    one, two = (form.unpack(half.encode(image).payload) for half in (edge, EdgeHalf(edge.bundle, threads=2)))
    assert (np.abs(one - two) <= form.operating_points[edge.bundle.default_point].steps[:, None, None] * 1.01).all()


def test_the_stages_are_measured(edge: EdgeHalf, server: ServerHalf) -> None:
    server.decode(edge.encode(picture((640, 360))).payload, (640, 360))
    assert set(edge.stopwatch.milliseconds) == {"prepare", "prefix", "encode"}
    assert set(server.stopwatch.milliseconds) == {"decode", "suffix", "post"}


def test_a_higher_score_threshold_leaves_out_the_weaker(edge: EdgeHalf, server: ServerHalf) -> None:
    payload = edge.encode(picture((640, 360))).payload
    every = ServerHalf(server.bundle, score_threshold=0.0).decode(payload, (640, 360))["detection"]
    assert isinstance(every, Detections) and len(every.scores) > 10
    threshold = float(every.scores.min() + every.scores.max()) / 2
    strong = ServerHalf(server.bundle, score_threshold=threshold).decode(payload, (640, 360))["detection"]
    assert isinstance(strong, Detections) and len(strong.scores) > 0 and strong.scores.min() >= threshold


def test_thresholds_that_are_set_anew_are_those_of_the_next_call(edge: EdgeHalf, server: ServerHalf) -> None:
    payload = edge.encode(picture((640, 360))).payload
    changed, before = ServerHalf(server.bundle), []
    for score, overlap in ((0.05, 0.6), (0.05, 0.0), (0.2, 0.6)):
        changed.score_threshold, changed.overlap_threshold = score, overlap
        result = changed.decode(payload, (640, 360))["detection"]
        built = ServerHalf(server.bundle, score_threshold=score, overlap_threshold=overlap)
        np.testing.assert_array_equal(result.boxes, built.decode(payload, (640, 360))["detection"].boxes)
        assert len(result.boxes) not in before
        before.append(len(result.boxes))


def test_nothing_is_found_outside_of_the_picture(server: ServerHalf) -> None:
    """Of an upright picture, most of the network's input is grey bars, where latents of noise have objects as well."""
    server = ServerHalf(server.bundle, score_threshold=0.001)
    chance = np.random.default_rng(0)
    for _ in range(8):
        latents = 3 * chance.standard_normal(server.bundle.payload_format.shape, np.float32)
        found = server.answer(latents, (480, 640))["detection"]
        assert isinstance(found, Detections) and len(found.boxes)
        assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()
        assert len(found.boxes) == len(found.labels) == len(found.scores)


def test_a_broken_picture_is_refused(edge: EdgeHalf) -> None:
    with pytest.raises(ImageError):
        edge.encode(np.zeros((0, 0, 3), np.uint8))


@pytest.mark.parametrize("size", [(0, 720), (1280, 0), (-1, 5), (1 << 20, 720)])
def test_an_impossible_picture_size_is_refused(edge: EdgeHalf, server: ServerHalf, size: Size) -> None:
    with pytest.raises(PayloadError, match="size"):
        server.decode(edge.encode(picture((64, 64))).payload, size)


def test_100_000_damaged_payloads_are_refused_in_flat_memory(edge: EdgeHalf, server: ServerHalf) -> None:
    chance = random.Random(1)
    good = edge.encode(picture((640, 360))).payload
    before = resident()
    for _ in range(100_000):
        payload = damage(chance, good)
        if payload != good:
            with pytest.raises(PayloadError):
                server.decode(payload, (640, 360))
    assert resident() - before < 20_000_000


def test_a_payload_too_large_goes_out_at_the_next_coarser_operating_point(edge: EdgeHalf) -> None:
    image, points = picture((1280, 720)), edge.bundle.payload_format.operating_points
    sizes = [len(edge.encode(image, point).payload) for point in range(len(points))]
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1]
    for cap in (*sizes, sizes[-1] - 1, sizes[0] + 1):
        encoded = edge.encode(image, len(points) - 1, most_bytes=cap)
        assert len(encoded.payload) <= cap
        assert sizes[encoded.operating_point] == max(size for size in sizes if size <= cap)
    with pytest.raises(TooLargeError, match=f"takes {sizes[0]} bytes .* at most {sizes[0] - 1} "):
        edge.encode(image, most_bytes=sizes[0] - 1)


def test_every_operating_point_answers(edge: EdgeHalf, server: ServerHalf) -> None:
    names = [point.name for point in edge.bundle.payload_format.operating_points]
    assert len(names) >= 4 and names[edge.bundle.default_point] == "default"
    for point in range(len(names)):
        results = server.decode(edge.encode(picture((640, 360)), point).payload, (640, 360))
        assert set(results) == {task.name for task in server.bundle.tasks}


def hostile_pictures() -> dict[str, Image]:
    """Pictures that are as full of detail as can be."""
    chance = np.random.default_rng(3)
    size = (720, 1280)
    rows, columns = np.indices(size)
    checks = {f"checks of {side}": (rows // side + columns // side) % 2 * 255 for side in (1, 3, 5, 8, 20)}
    grey = {
        **checks,
        "noise": chance.integers(0, 256, size),
        "binary noise": chance.integers(0, 2, size) * 255,
        "coarse noise": np.kron(chance.integers(0, 256, (144, 256)), np.ones((5, 5))),
        "a zone plate": 127.5 + 127.5 * np.sin((rows**2 + columns**2) / 700),
    }
    pictures = {name: np.repeat(plane[..., None], 3, axis=2).astype(np.uint8) for name, plane in grey.items()}
    colours = np.kron(chance.integers(0, 256, (90, 160, 3)), np.ones((8, 8, 1)))
    return pictures | {"coloured noise": colours.astype(np.uint8)}


@pytest.mark.parametrize("cap", [400, 1200])
def test_no_picture_exceeds_the_cap(edge: EdgeHalf, server: ServerHalf, cap: int) -> None:
    sent = 0
    for name, image in hostile_pictures().items():
        try:
            payload = edge.encode(image, most_bytes=cap).payload
        except TooLargeError:
            continue
        assert len(payload) <= cap, name
        server.decode(payload, (1280, 720))
        sent += 1
    assert sent >= 2


def test_a_task_without_suppression_keeps_what_overlaps(tmp_path: Path) -> None:
    """A suffix that proposes the same box twice."""
    tiny = write_tiny_bundle(tmp_path / "tiny")
    suffix = onnx.load(tiny.path(SUFFIX))
    for constant in suffix.graph.initializer:
        if constant.name == "box":
            constant.CopyFrom(
                onnx.numpy_helper.from_array(np.repeat(onnx.numpy_helper.to_array(constant), 2, 1), "box")
            )
    for node in suffix.graph.node:
        if "detection.scores" in node.output:
            node.output[0] = "once"
    suffix.graph.node.append(onnx.helper.make_node("Concat", ["once", "once"], ["detection.scores"], axis=1))
    for output in suffix.graph.output:
        if output.name.startswith("detection."):
            output.type.tensor_type.shape.dim[1].dim_value = 2
    onnx.save(suffix, tiny.path(SUFFIX))
    picture = np.full((32, 64, 3), 200, np.uint8)
    for unsuppressed, boxes in (([], 1), (["detection"], 2)):
        bundle = write_manifest(tiny.folder, {**tiny.manifest, "unsuppressed": unsuppressed})
        results = ServerHalf(bundle).decode(EdgeHalf(bundle).encode(picture).payload, (64, 32))
        assert len(results["detection"].labels) == boxes


def grey(level: int) -> Image:
    return np.full((32, 64, 3), level, np.uint8)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_picture_whose_latents_are_not_finite_is_refused_and_the_next_one_encoded(
    engine: str, tmp_path: Path
) -> None:
    half = EdgeHalf(add_last_step(write_tiny_bundle(tmp_path / "tiny"), PREFIX, "latents", "Log"), engine=engine)
    for _ in range(2):
        with pytest.raises(InferenceError, match="latents is not finite"):
            half.encode(grey(0))
        assert half.encode(grey(200)).payload


def test_a_payload_whose_answers_are_not_finite_is_refused_and_the_next_one_answered(tmp_path: Path) -> None:
    tiny = write_tiny_bundle(tmp_path / "tiny")
    edge = EdgeHalf(tiny)
    server = ServerHalf(add_last_step(tiny, SUFFIX, "detection.scores", "Reciprocal"))
    for _ in range(2):
        with pytest.raises(InferenceError, match=r"detection\.scores is not finite"):
            server.decode(edge.encode(grey(0)).payload, (64, 32))
        assert server.decode(edge.encode(grey(200)).payload, (64, 32)).keys() == {"detection", "colour"}


def test_what_the_engine_says_of_one_frame_is_a_refusal(tmp_path: Path) -> None:
    """A suffix whose last step depends on the numbers that it is given: it reads beyond the end of a list."""
    tiny = write_tiny_bundle(tmp_path / "tiny")
    edge = EdgeHalf(tiny)
    suffix = onnx.load(tiny.path(SUFFIX))
    nodes = suffix.graph.node
    [last] = [node for node in nodes if "detection.boxes" in node.output]
    last.output[0] = "proposed"
    nodes.append(onnx.helper.make_node("Cast", ["brightness"], ["number"], to=onnx.TensorProto.INT64))
    nodes.append(onnx.helper.make_node("Div", ["number", "hundred"], ["index"]))
    nodes.append(onnx.helper.make_node("Reshape", ["index", "flat"], ["indices"]))
    nodes.append(onnx.helper.make_node("Gather", ["proposed", "indices"], ["detection.boxes"], axis=1))
    for name, value in (("hundred", 100), ("flat", -1)):
        suffix.graph.initializer.append(onnx.numpy_helper.from_array(np.array([value], np.int64), name))
    onnx.save(suffix, tiny.path(SUFFIX))
    server = ServerHalf(write_manifest(tiny.folder, tiny.manifest))
    for _ in range(2):
        with pytest.raises(InferenceError, match=r"onnxruntime.* cannot run the network on this frame"):
            server.decode(edge.encode(grey(200)).payload, (64, 32))
        assert server.decode(edge.encode(grey(90)).payload, (64, 32)).keys() == {"detection", "colour"}


def test_an_exit_answers_from_the_edges_own_latents(tmp_path: Path) -> None:
    tiny = write_tiny_bundle(tmp_path / "tiny")
    with pytest.raises(BundleError, match="has no exit, only prefix, suffix"):
        ServerHalf(tiny, role=EXIT)
    bundle = add_exit(tiny)
    assert bundle.contract.fingerprint == tiny.contract.fingerprint
    latents = EdgeHalf(bundle).latents(grey(200))
    here, there = ServerHalf(bundle, role=EXIT), ServerHalf(bundle)
    results, same = here.answer(latents, (64, 32)), there.answer(latents, (64, 32))
    np.testing.assert_array_equal(results["detection"].boxes, [[0, 0, 64, 32]])
    np.testing.assert_array_equal(same["detection"].boxes, [[16, 8, 48, 24]])
    np.testing.assert_array_equal(results["colour"].scores, same["colour"].scores)
    assert set(here.stopwatch.milliseconds) == {"exit", "post"}
