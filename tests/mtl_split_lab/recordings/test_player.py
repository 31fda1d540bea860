"""The player sends what is in a bag byte by byte, in its order and time; the nodes bear a clock that jumps back."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from mtl_split.msg import Bottleneck
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from std_msgs.msg import UInt64
from vision_msgs.msg import Classification, Detection2DArray

from mtl_split_core.bundle import Bundle
from mtl_split_lab.recordings.player import Pace
from mtl_split_ros.kinds import detection
from mtl_split_ros.qos import LATCHED, NEWEST, RESULT

from ...bags import START, header, write_bag
from ...conftest import Start
from ...processes import Probe
from .test_bags import TRUTH, image, truth


def messages(frames: int) -> list[tuple[str, Any]]:
    return [
        one
        for number in range(frames)
        for one in [
            ("/car/image_raw", image(number)),
            *((f"/car{topic}", message) for topic, message in truth(number)),
            ("/car/bottleneck", Bottleneck(header=header(number))),
        ]
    ]


def test_everything_comes_as_it_was_recorded(start: Start, probe: Probe, tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", messages(20))
    images = probe.listen(Image, "/car/image_raw", RESULT)
    objects = probe.listen(Detection2DArray, "/car/ground_truth/detections", RESULT)
    classes = probe.listen(Classification, "/car/ground_truth/classification/colour", RESULT)
    bottlenecks = probe.listen(Bottleneck, "/car/bottleneck", NEWEST)
    clock = probe.listen(Clock, "/clock", NEWEST)
    ends = probe.listen(UInt64, "/car/end_of_stream", LATCHED)
    player = start("player", "-r", "__ns:=/car", "-p", f"bag:={bag}", "-p", "exit_at_end:=true", "-p", "rate:=0.2")
    probe.wait_for("the end", lambda: ends and len(images) + len(objects) + len(classes) == 60)
    assert player.end() == 0
    assert images == [image(number) for number in range(20)]
    assert all((detection.to_result(message).boxes == TRUTH.boxes).all() for message in objects)
    assert [message.header for message in classes] == [header(number) for number in range(20)]
    assert ends[0].data == 20
    # What the live server publishes itself is not played, and its time is the bag's.
    assert bottlenecks == []
    times = [message.clock.sec * 10**9 + message.clock.nanosec for message in clock]
    assert times == sorted(times) and START - 10**9 < times[0] < times[-1] < START + 10**9


def test_the_nodes_bear_a_clock_that_jumps_back(start: Start, probe: Probe, tmp_path: Path, bundle: Bundle) -> None:
    bag = write_bag(tmp_path / "bag", messages(5))
    edge = start(
        *("edge", "-r", "__ns:=/car", "-p", f"bundle:={bundle.folder}", "-p", "use_sim_time:=true"),
        *("-p", "diagnostics_period:=0.2"),
    )
    answers = probe.listen(Bottleneck, "/car/bottleneck", NEWEST)
    player = start("player", "-p", f"bag:={bag}", "-p", "loop:=true", "-p", "rate:=0.1")
    first = header(0)
    probe.wait_for("the first frame twice", lambda: [answer.header for answer in answers].count(first) >= 2)
    probe.status("/car/edge: /car/image_raw", lambda _, values: int(values["stamps_back"]) >= 1)
    assert edge.runs and player.runs


def test_what_cannot_be_played_ends_with_one_line(start: Start, tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", messages(1))
    for arguments, words in (
        (["-p", f"bag:={tmp_path / 'none'}"], "there is no bag"),
        (["-p", f"bag:={bag}", "-p", "topics:=['/radar']"], "has no topic ['/radar'], expected some of"),
        (["-p", f"bag:={bag}", "-p", "topics:=[]"], "topics is empty, expected at least one value"),
        (["-p", f"bag:={bag}", "-p", "rate:=0.0"], "rate"),
        ([], "bag is '', expected the folder of a bag"),
    ):
        player = start("player", *arguments)
        assert player.end() == 1
        assert words in player.log and "Traceback" not in player.log


def test_what_the_bag_has_on_forbidden_topics_or_at_impossible_times(start: Start, tmp_path: Path) -> None:
    forbidden = write_bag(tmp_path / "forbidden", [("/a b/image_raw", image(0))])
    late = write_bag(tmp_path / "late", [("/image_raw", image(0))], "sqlite3")
    with sqlite3.connect(late / "late.db3") as database:
        database.execute("UPDATE messages SET timestamp = 9000000000000000000")
    database.close()
    for bag, words in ((forbidden, "has a topic that ROS does not allow"), (late, "expected a time from 1970 to 2038")):
        player = start("player", "-p", f"bag:={bag}", "-p", "wait_for_subscribers:=0")
        assert player.end() == 1
        assert words in player.log and "Traceback" not in player.log


def test_a_gap_of_more_than_a_minute_is_told_and_shortened() -> None:
    told: list[str] = []
    pace = Pace(2.0, told.append)
    first = pace.due(0)
    assert pace.due(60 * 10**9) == pytest.approx(first + 30) and not told
    # The first log time was 0, and the next one is now.
    assert pace.due(START) == pytest.approx(first + 30.5)
    assert told == ["nothing was recorded for 1,699,999,940 s, which are shortened to 1 s"]
    assert pace.due(START - 10**9) == pytest.approx(first + 30)
    pace.sent(-1.0)
    pace.sent(5.0)
    assert pace.due(START) == pytest.approx(first + 35.5)


def test_one_of_several_cameras_is_played(start: Start, probe: Probe, tmp_path: Path) -> None:
    left = [("/left/image_raw", image(number)) for number in range(3)]
    right = [("/right/image_raw", image(number)) for number in range(3, 8)]
    bag = write_bag(tmp_path / "bag", [*left, *right])
    images = {side: probe.listen(Image, f"/{side}/image_raw", RESULT) for side in ("left", "right")}
    ends = probe.listen(UInt64, "/end_of_stream", LATCHED)
    start("player", "-p", f"bag:={bag}", "-p", "image_topic:=/right/image_raw", "-p", "clock:=false")
    probe.wait_for("the end", lambda: ends and len(images["right"]) == 5)
    assert ends[0].data == 5 and images["left"] == []
    undecided = start("player", "-p", f"bag:={bag}")
    assert undecided.end() == 1 and "several topics of images" in undecided.log
