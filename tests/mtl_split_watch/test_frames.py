"""Frames are put together by stamp, whatever arrives first, and no flood keeps more than a few of them."""

from hypothesis import given
from hypothesis import strategies as st
from sensor_msgs.msg import Image

from mtl_split_watch.frames import MOST_WAITING, Frames


def test_a_frame_is_answered_when_every_task_has_answered() -> None:
    frames = Frames()
    frame = frames.at(7)
    assert not frames.answered(frame, []) and not frames.answered(frame, ["a", "b"])
    frame.results["a"] = "rainy"
    assert frames.at(7) is frame and not frames.answered(frame, ["a", "b"])
    frame.results["b"] = "night"
    assert frames.answered(frame, ["a", "b"])


def test_what_waits_longest_goes_first() -> None:
    frames = Frames()
    first = frames.at(2**62)  # a stamp from the future has no advantage
    for stamp in range(MOST_WAITING):
        frames.at(stamp)
    assert frames.at(2**62) is not first


def test_the_newest_is_the_last_one_with_an_image() -> None:
    frames = Frames()
    assert frames.newest() is None
    for stamp in (5, 3, 9):
        frames.at(stamp).message = Image() if stamp != 9 else None
    assert frames.newest() is frames.at(3)


@given(st.lists(st.integers(0, 40), unique=True, max_size=MOST_WAITING), st.data())
def test_a_frame_that_is_shown_is_forgotten_with_those_before_it(stamps: list[int], data: st.DataObject) -> None:
    frames = Frames()
    waiting = [frames.at(stamp) for stamp in stamps]
    if not waiting:
        return
    shown = data.draw(st.sampled_from(waiting))
    frames.forget(shown)
    at = waiting.index(shown)
    for frame in waiting[at + 1 :]:
        assert frames.at(frame.stamp) is frame
    for frame in waiting[: at + 1]:
        assert frames.at(frame.stamp) is not frame
