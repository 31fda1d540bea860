"""The account of a stream of frames: what is counted, what is logged, and how it is judged."""

import itertools
from dataclasses import dataclass, field

import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.clock import Clock

from mtl_split_core.errors import ImageError, InputError, PayloadError
from mtl_split_ros import diagnostics
from mtl_split_ros.diagnostics import MOST_NAMED, Stream


@dataclass
class Log:
    """Keeps what is logged."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def error(self, message: str) -> bool:
        self.errors.append(message)
        return True

    def warning(self, message: str) -> bool:
        self.warnings.append(message)
        return True


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def stream(log: Log) -> Stream:
    return Stream("/bottleneck", ("link", "decode"), (PayloadError,), ("dropped",), Clock(), log, {"engine": "steam"})


def now(seconds: float = 0.0) -> Time:
    """The stamp of an image from so many seconds ahead."""
    nanoseconds = Clock().now().nanoseconds + round(seconds * 1e9)
    return Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)


def report(stream: Stream) -> tuple[DiagnosticStatus, dict[str, str]]:
    status = stream.report("/server")
    return status, {value.key: value.value for value in status.values}


def test_before_the_first_frame_it_says_what_it_waits_for(stream: Stream) -> None:
    status, values = report(stream)
    assert (status.level, status.message) == (DiagnosticStatus.WARN, "waiting for /bottleneck")
    assert {values[key] for key in ("age_ms", "bytes_per_frame", "stage_ms/link", "stage_ms/decode")} == {"n/a"}
    assert values["refused/PayloadError"] == values["dropped"] == "0"
    assert values["engine"] == "steam"


def test_figures_are_asked_for_when_they_are_reported(log: Log) -> None:
    asked = itertools.count()
    stream = Stream("/bottleneck", (), (), (), Clock(), log, {}, lambda: {"asked": str(next(asked))})
    stream.received(now())
    assert [report(stream)[1]["asked"] for _ in range(2)] == ["0", "1"]


def test_a_stream_without_payloads_has_no_bytes(stream: Stream) -> None:
    stream.published({"link": 1.0})
    _, values = report(stream)
    assert (values["published"], values["stage_ms/link"], values["bytes_per_frame"]) == ("1", "1.00", "n/a")


def test_names_that_strangers_choose_are_counted_up_to_a_limit(stream: Stream) -> None:
    for number in range(2 * MOST_NAMED):
        stream.count_of("left_out", f"{number} {'x' * 1000}", 3)
        stream.count_of("left_out", f"{number} {'x' * 1000}")
    counts = {key: value for key, value in report(stream)[1].items() if key.startswith("left_out/")}
    assert len(counts) == MOST_NAMED + 1 and max(map(len, counts)) < 100
    assert counts.pop("left_out/others") == str(4 * MOST_NAMED) and set(counts.values()) == {"4"}


def test_medians_are_of_the_frames_since_the_last_report(stream: Stream) -> None:
    for link, size in [(1.0, 100), (9.0, 300), (2.0, 200)]:
        stream.received(now())
        stream.published({"link": link}, size)
    status, values = report(stream)
    assert status.level == DiagnosticStatus.OK
    assert (values["stage_ms/link"], values["bytes_per_frame"], values["published"]) == ("2.00", "200.00", "3")
    status, values = report(stream)
    assert (status.level, status.message) == (DiagnosticStatus.WARN, "no new frame on /bottleneck")
    assert (values["stage_ms/link"], values["bytes_per_frame"], values["published"]) == ("n/a", "n/a", "3")


@pytest.mark.parametrize(("answered", "level"), [(0, DiagnosticStatus.ERROR), (1, DiagnosticStatus.WARN)])
def test_refused_frames_are_told(stream: Stream, answered: int, level: bytes) -> None:
    for _ in range(answered):
        stream.received(now())
        stream.published({}, 1)
    stream.received(now())
    stream.refuse(PayloadError("payload is damaged"))
    status, values = report(stream)
    assert status.level == level and "payload is damaged" in status.message
    assert values["refused/PayloadError"] == "1"


def test_frames_that_were_all_left_unanswered_are_told(stream: Stream) -> None:
    for _ in range(3):
        stream.received(now())
    stream.count("dropped", 2)
    status, _ = report(stream)
    assert (status.level, status.message) == (DiagnosticStatus.WARN, "none of 3 frames answered: 2 dropped")
    stream.received(now())
    assert report(stream)[0].message == "none of 1 frames answered: still at work"


def test_an_error_is_logged_once_and_a_flood_of_different_ones_is_held_back(
    stream: Stream, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(error: InputError) -> None:
        for _ in range(3):
            stream.refuse(error)

    for number in range(5):
        refuse(PayloadError(f"payload {number}"))
    refuse(ImageError("no pixels"))
    assert log.errors == ["/bottleneck: payload 0", "/bottleneck: no pixels"]
    monkeypatch.setattr(diagnostics, "REPORT_INTERVAL", 0.0)
    later = Stream("/bottleneck", (), (), (), Clock(), log, {})
    for number in (0, 1, 0, 1):
        later.refuse(PayloadError(f"payload {number}"))
    assert log.errors[2:] == ["/bottleneck: payload 0", "/bottleneck: payload 1"]


def test_stamps_that_go_back_are_counted_and_nothing_else(stream: Stream) -> None:
    for seconds in (-0.3, -0.2, -0.6, -0.5):
        stream.received(now(seconds))
        stream.published({}, 1)
    status, values = report(stream)
    assert (status.level, values["stamps_back"], values["published"]) == (DiagnosticStatus.OK, "1", "4")


@pytest.mark.parametrize(("seconds", "words"), [(1e6, "ahead of this node's"), (-6, "behind"), (-1e9, "behind")])
@pytest.mark.parametrize("answered", [False, True])
def test_stamps_of_another_clock_are_told(stream: Stream, seconds: float, words: str, answered: bool) -> None:
    stream.received(now(seconds))
    if answered:
        stream.published({}, 1)
    status, _ = report(stream)
    assert status.level == DiagnosticStatus.WARN and words in status.message


def test_frames_that_met_another_fate_are_told_beside_the_answered_ones(stream: Stream) -> None:
    for _ in range(3):
        stream.received(now())
    stream.published({}, 1)
    stream.count("dropped", 2)
    status, _ = report(stream)
    assert status.level == DiagnosticStatus.OK and status.message.endswith(" frames/s, 2 dropped")


def test_a_refusal_is_not_told_of_when_it_is_over(stream: Stream) -> None:
    stream.received(now())
    stream.refuse(PayloadError("payload is damaged"))
    assert "payload is damaged" in report(stream)[0].message
    assert report(stream)[0].message == "no new frame on /bottleneck"


def test_what_keeps_frames_away_is_told_until_some_arrive(stream: Stream, log: Log) -> None:
    stream.warn("reliability does not match")
    assert log.warnings == ["reliability does not match"]
    assert report(stream)[0].message == report(stream)[0].message == "reliability does not match"
    stream.received(now())
    stream.published({}, 1)
    assert report(stream)[0].level == DiagnosticStatus.OK
    assert report(stream)[0].message == "no new frame on /bottleneck"


def test_frames_that_another_node_answers_are_no_fault(stream: Stream) -> None:
    stream.rest("served by another")
    stream.received(now())
    status, _ = report(stream)
    assert (status.level, status.message) == (DiagnosticStatus.OK, "served by another")
    stream.refuse(PayloadError("junk"))
    assert report(stream)[0].level == DiagnosticStatus.WARN
    stream.rest("")
    stream.received(now())
    status, _ = report(stream)
    assert status.level == DiagnosticStatus.WARN and "none of 1 frames" in status.message
