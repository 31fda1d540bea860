"""The roadside unit between an edge and a server: changes of the cut lose nothing and change no answer.

Who makes them, the user or the unit by what it measures, is all the same; and where it is gone, the server goes on.
"""

import itertools
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from mtl_split.msg import Bottleneck, Features, LinkReport
from rcl_interfaces.srv import SetParameters
from rclpy.client import Client
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from vision_msgs.msg import Classification, Detection2DArray

from mtl_split_core.control.link import Fate
from mtl_split_core.control.unit import WHOLE
from mtl_split_core.halves import EdgeHalf
from mtl_split_core.signing import read_keys
from mtl_split_lab.learning.division import divide
from mtl_split_ros.messages import sign
from mtl_split_ros.qos import LARGE, MANY, RESULT

from ..conftest import Start
from ..mtl_split_server.test_node import RED, bottleneck
from ..processes import Probe, plain
from ..tiny_bundle import add_work, write_tiny_bundle

CHANGES = 100
FRAMES_PER_CHANGE = 2


def test_a_hundred_changes_of_the_cut_under_load_lose_no_signed_frame_and_change_no_answer(
    tmp_path: Path, probe: Probe, start: Start
) -> None:
    bundle, *_ = divide(add_work(write_tiny_bundle(tmp_path / "tiny")), "means")
    bundle, *_ = divide(bundle, "brightness")
    file = tmp_path / "keys"
    file.write_text(bytes(range(32)).hex())
    file.chmod(0o600)
    keys = read_keys(file, pytest.fail)
    common = (
        *("-p", f"key_file:={file}", "-p", f"bundle:={bundle.folder}"),
        *("-p", "max_age:=0.0", "-p", "diagnostics_period:=0.1"),
    )
    server = start("server", *common, "-p", "from_middle:=true", "-p", "tracking:=none")
    middle = start("middle", *common, "-p", "repair:=true")
    detections = probe.listen(Detection2DArray, "/detections", RESULT)
    colours = probe.listen(Classification, "/classification/colour", RESULT)
    reports = probe.listen(LinkReport, "/link_report", MANY)
    edge = probe.publisher(Bottleneck, "/bottleneck", QoSProfile(depth=10))
    half = EdgeHalf(bundle)

    def send(number: int) -> Bottleneck:
        message = bottleneck(half, plain(RED), 1 + number, number)
        sign(message, keys, "/bottleneck")
        edge.publish(message)
        return message

    # A signed one counts only once, and the server may not have found the roadside unit yet.
    tries = itertools.count()
    numbers = itertools.count()
    probe.wait_for("a first answer", lambda: colours or (next(tries) % 20 == 0 and send(next(numbers)) and None))
    change: Client[Any, Any] = probe.node.create_client(SetParameters, "/middle/set_parameters")
    probe.wait_for("the service", change.service_is_ready)
    cuts = ["brightness", WHOLE, "means"]
    futures: list[Any] = []
    begun = next(numbers)
    for number in range(begun, begun + CHANGES * FRAMES_PER_CHANGE):
        if number % FRAMES_PER_CHANGE == 0:
            value = Parameter("cut", value=cuts[len(futures) % len(cuts)]).to_parameter_msg()
            futures.append(change.call_async(SetParameters.Request(parameters=[value])))
        header = send(number).header
        probe.wait_for(f"an answer to frame {number}", partial(is_answered, detections, header))
        probe.wait_for(f"an answer to frame {number}", partial(is_answered, colours, header))
    probe.wait_for("all changes", lambda: all(future.done() for future in futures))
    assert len(futures) == CHANGES
    assert all(result.successful for future in futures for result in future.result().results)
    answered = [colour.header.stamp.sec for colour in colours]
    assert answered == [*range(answered[0], 1 + number + 1)]
    for answers in (detections, colours):
        assert len({str(same(answer)) for answer in answers}) == 1
    # The first ones may have been sent before anybody had found anybody.
    passed = probe.status("/middle: /bottleneck", lambda _, values: int(values["published"]) >= len(answered))
    assert passed["published"] == passed["received"]
    assert 0 < int(passed["passed_on"]) < len(answered) and passed["lost"] == passed["dropped"] == "0"
    taken = probe.status("/server: /features", lambda _, values: values["published"] == str(len(answered)))
    assert taken["lost"] == taken["out_of_order"] == taken["dropped"] == "0"
    probe.wait_for("a report of every frame", lambda: len({report.sequence for report in reports}) >= len(answered))
    assert {report.fate for report in reports} == {int(Fate.ANSWERED)}
    refusal = probe.set_parameter("/middle", "cut", "nowhere")
    assert not refusal.successful and "no division at 'nowhere', only at means, brightness" in refusal.reason
    assert server.end(signal.SIGTERM) == 0
    late = bundle.division("brightness").fingerprint
    follow_a_server(probe, send, itertools.count(number + 1), partial(sign, keys=keys, topic="/link_report"), late)
    assert middle.end(signal.SIGTERM) == 0


def follow_a_server(
    probe: Probe, send: Callable[[int], Bottleneck], numbers: Iterator[int], sign: Any, late: str
) -> None:
    """Stand in for a server that is busy, and then idle: the cut follows, and nothing is missing in the sequence."""
    sent_on = probe.listen(Features, "/features", LARGE)
    server = probe.publisher(LinkReport, "/link_report", MANY)
    assert probe.set_parameter("/middle", "cut", WHOLE).successful
    tries = itertools.count()
    probe.wait_for("a first frame", lambda: sent_on or (next(tries) % 20 == 0 and send(next(numbers)) and None))
    # The server takes long for the whole suffix, so the unit does what it can; then nothing takes the server any time.
    for service, is_late in ((0.3, True), (0.0, False)):
        while (sent_on[-1].division == late) is not is_late:
            number = send(next(numbers)).sequence
            probe.wait_for(f"frame {number}", partial(has_come, sent_on, number))
            report = LinkReport(sequence=number, received=1, service=service, fate=int(Fate.ANSWERED), copies=1)
            sign(report)
            server.publish(report)
    sequences = [each.sequence for each in sent_on]
    assert sequences == [*range(sequences[0], sequences[-1] + 1)]
    probe.status("/middle", lambda _, values: values["cut"] != "brightness" and int(values["repairs"]) >= 2)


def has_come(sent_on: list[Features], number: int) -> bool:
    return bool(sent_on[-1].sequence == number)


def is_answered(answers: list[Any], header: Any) -> bool:
    return any(answer.header == header for answer in answers)


def same(answer: Any) -> Any:
    """An answer without what names its frame."""
    answer.header.stamp.sec, answer.header.frame_id = 0, ""
    for detection in getattr(answer, "detections", ()):
        detection.header = answer.header
    return answer


def test_a_bundle_that_is_not_divided_is_refused_with_the_cure(tmp_path: Path, start: Callable[..., Any]) -> None:
    bundle = write_tiny_bundle(tmp_path / "tiny")
    middle = start("middle", "-p", f"bundle:={bundle.folder}")
    assert middle.end() == 1
    assert f"is not divided: `mtl-split cut --bundle {bundle.folder} --at TENSOR --out FOLDER`" in middle.log
