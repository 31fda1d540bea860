"""An edge that answers by a deadline: the server's answers while there is one, its own when there is none."""

import signal
from array import array
from pathlib import Path

import numpy as np
from mtl_split.msg import Answer, AnswerInfo, Bottleneck
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from vision_msgs.msg import Classification, Detection2DArray

from mtl_split_core.bundle import Bundle
from mtl_split_core.halves import EdgeHalf, ServerHalf
from mtl_split_core.signing import Keys
from mtl_split_ros.kinds import classification, detection
from mtl_split_ros.messages import sign
from mtl_split_ros.qos import MANY, NEWEST, RESULT

from ..conftest import Start
from ..processes import Probe, image_message, plain
from ..tiny_bundle import add_exit, write_tiny_bundle

CAMERA = QoSProfile(depth=1)
KEY = bytes(range(32))
RED, WHITE = (0, 0, 255), (255, 255, 255)


def edge_arguments(bundle: Bundle, answer_by: float) -> tuple[str, ...]:
    return (
        *("edge", "-p", f"bundle:={bundle.folder}", "-p", f"answer_by:={answer_by}", "-p", "local_suffix:=true"),
        *("-p", "score_threshold:=0.05", "-p", "diagnostics_period:=0.1"),
    )


def test_without_a_server_the_edge_answers_every_image_itself_and_once(
    bundle: Bundle, probe: Probe, start: Start
) -> None:
    edge = start(*edge_arguments(bundle, 0.2))
    detections = probe.listen(Detection2DArray, "/detections", RESULT)
    colours = probe.listen(Classification, "/classification/colour", RESULT)
    infos = probe.listen(AnswerInfo, "/answer_info", RESULT)
    camera = probe.publisher(Image, "/image_raw", CAMERA)
    picture = plain(WHITE)
    found = detection.to_result(probe.exchange(camera, image_message(picture, 1), detections))
    whole = ServerHalf(bundle).answer(EdgeHalf(bundle).latents(picture), (128, 64))
    np.testing.assert_allclose(found.boxes, whole["detection"].boxes, atol=1e-3)
    assert found.labels == whole["detection"].labels
    colour = classification.to_result(probe.exchange(camera, image_message(plain(RED), 2), colours))
    assert colour.best == "red"
    probe.wait_for("the information", lambda: len(infos) >= len(detections))
    assert {info.source for info in infos} == {AnswerInfo.WHOLE}
    assert all(info.header.frame_id.startswith("camera") and info.cut == bundle.cut for info in infos)
    values = probe.status("/edge: /image_raw", lambda _, values: values["answered/whole"] == str(len(infos)))
    assert (values["answered/server"], values["given_up"]) == ("0", "0") and values["stage_ms/local"]
    assert edge.end(signal.SIGTERM) == 0


def test_the_servers_answers_are_published_as_they_are_until_it_is_killed(
    bundle: Bundle, probe: Probe, start: Start
) -> None:
    """The deadline is long, so that a busy machine does not make the edge answer before the server."""
    server = start(
        *("server", "-p", f"bundle:={bundle.folder}", "-p", "max_age:=0.0", "-p", "results_namespace:=remote"),
        *("-p", "score_threshold:=0.05"),
    )
    edge = start(*edge_arguments(bundle, 5.0))
    remote = probe.listen(Detection2DArray, "/remote/detections", RESULT)
    detections = probe.listen(Detection2DArray, "/detections", RESULT)
    infos = probe.listen(AnswerInfo, "/answer_info", RESULT)
    camera = probe.publisher(Image, "/image_raw", CAMERA)

    def source(second: int) -> set[int]:
        return {info.source for info in infos if info.header.stamp.sec == second}

    probe.exchange(camera, image_message(plain(WHITE), 1), remote)
    final = probe.exchange(camera, image_message(plain(WHITE), 1), detections)
    theirs = detection.to_result(remote[0])
    ours = detection.to_result(final)
    np.testing.assert_allclose(ours.boxes, theirs.boxes, atol=128 / 65535)
    assert ours.labels == theirs.labels and ours.ids
    probe.wait_for("an answer of the server", lambda: AnswerInfo.SERVER in source(1))
    server.kill()
    probe.exchange(camera, image_message(plain(RED), 2), detections)
    probe.wait_for("the information", lambda: source(2))
    assert source(2) == {AnswerInfo.WHOLE}
    assert edge.end(signal.SIGTERM) == 0


def test_answers_that_cannot_be_are_refused_and_the_image_is_answered(
    bundle: Bundle, probe: Probe, start: Start, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(KEY.hex())
    edge = start(*edge_arguments(bundle, 3.0), "-p", f"key_file:={keys}")
    forger = probe.publisher(Answer, "/answer", MANY)
    bottlenecks = probe.listen(Bottleneck, "/bottleneck", NEWEST)
    colours = probe.listen(Classification, "/classification/colour", RESULT)
    camera = probe.publisher(Image, "/image_raw", CAMERA)
    asked = probe.exchange(camera, image_message(plain(RED), 2), bottlenecks)
    bad = Answer(session=asked.session, sequence=asked.sequence, results=array("B", b"no results"))
    probe.publish_until(forger, bad, "/edge: /image_raw", "refused/UnsignedError")
    sign(bad, Keys([KEY]), "/answer")
    probe.publish_until(forger, bad, "/edge: /image_raw", "refused/AnswerError")
    probe.wait_for("the edge's own answer", lambda: colours)
    assert classification.to_result(colours[0]).best == "red"
    assert edge.end(signal.SIGTERM) == 0
    assert "/answer: an answer is no msgpack array" in edge.log


def test_an_exit_answers_where_the_edge_has_no_more(probe: Probe, start: Start, tmp_path: Path) -> None:
    bundle = add_exit(write_tiny_bundle(tmp_path / "tiny"))
    edge = start(*edge_arguments(bundle, 0.2), "-p", "local_suffix:=false")
    detections = probe.listen(Detection2DArray, "/detections", RESULT)
    infos = probe.listen(AnswerInfo, "/answer_info", RESULT)
    camera = probe.publisher(Image, "/image_raw", CAMERA)
    found = detection.to_result(probe.exchange(camera, image_message(plain(WHITE), 1), detections))
    np.testing.assert_allclose(found.boxes, [[0, 0, 128, 64]], atol=1e-3)
    probe.wait_for("the information", lambda: infos)
    assert {info.source for info in infos} == {AnswerInfo.EXIT}
    values = probe.status("/edge: /image_raw", lambda _, values: values["answered/exit"] != "0")
    assert values["policy"] == "fixed" and int(values["chosen/fine"]) > 0 and float(values["own_share"]) >= 0
    assert edge.end(signal.SIGTERM) == 0
    assert "does not tell how good its answers are" in edge.log


def test_an_edge_that_could_not_answer_is_refused(bundle: Bundle, start: Start) -> None:
    edge = start("edge", "-p", f"bundle:={bundle.folder}", "-p", "answer_by:=0.1")
    assert edge.end() == 1
    assert "answer_by is 0.1, but local_suffix is false and the bundle has no exit" in edge.log
