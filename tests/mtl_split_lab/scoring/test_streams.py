"""Streams are low delay, as fine as their setting says, and lose what a lost packet takes with it."""

import os
from itertools import islice

import numpy as np
import pytest

from mtl_split_camera.street import Street
from mtl_split_core.bundle import Bundle
from mtl_split_core.errors import InputError
from mtl_split_core.halves import EdgeHalf
from mtl_split_core.scene import Floats, Image
from mtl_split_lab.scoring.streams import CODECS, PACKET, Link, Stills, Stream, Video, VideoCodec, all_streams
from mtl_split_lab.scoring.ways import Split

Sent = list[tuple[int, Floats | None]]


class LosesFrames(Link):
    """Loses a drive's frames with these numbers."""

    def __init__(self, *numbers: int) -> None:
        super().__init__()
        object.__setattr__(self, "numbers", numbers)

    def delivers(self, frame: int, size: int) -> bool:
        return frame not in self.numbers  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def drive() -> list[Image]:
    return [image for image, _ in islice(Street(1, (321, 181), 15.0), 12)]


@pytest.fixture(scope="module")
def edge(bundle: Bundle) -> EdgeHalf:
    return EdgeHalf(bundle)


def send(edge: EdgeHalf, stream: Stream, drive: list[Image], wanted: bool = True) -> Sent:
    return [stream.send(edge, image, wanted) for image in drive]


def answered(sent: Sent) -> list[int]:
    return [index for index, (_, latents) in enumerate(sent) if latents is not None]


def mean(sent: Sent) -> float:
    return float(np.mean([size for size, _ in sent[1:]]))


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.encoder)
def test_video_answers_every_frame_at_once_and_refers_to_earlier_ones(
    edge: EdgeHalf, drive: list[Image], codec: VideoCodec
) -> None:
    sent = send(edge, Video(codec, Link(), None, crf=codec.crfs[-1]), drive)
    assert answered(sent) == list(range(len(drive)))
    for image, (_, latents) in zip(drive, sent, strict=True):
        assert latents is not None and np.abs(latents - edge.latents(image)).mean() < 4
    again = send(edge, Video(codec, Link(), None, crf=codec.crfs[1]), [drive[0]] * 4)
    assert max(size for size, _ in again[1:]) < 0.2 * again[0][0]


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.encoder)
def test_video_takes_more_bytes_for_more_quality(edge: EdgeHalf, drive: list[Image], codec: VideoCodec) -> None:
    sizes = [mean(send(edge, Video(codec, Link(), None, crf=crf), drive, False)) for crf in codec.crfs]
    assert sizes == sorted(sizes) and sizes[0] < 0.2 * sizes[-1]


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.encoder)
def test_video_of_constant_rate_keeps_to_it(edge: EdgeHalf, drive: list[Image], codec: VideoCodec) -> None:
    for rate in (400, 1200):
        assert mean(send(edge, Video(codec, Link(), None, rate=rate), drive * 3, False)) == pytest.approx(rate, rel=0.3)


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.encoder)
def test_a_lost_packet_costs_video_two_frames_and_a_key_frame(
    edge: EdgeHalf, drive: list[Image], codec: VideoCodec
) -> None:
    crf = codec.crfs[2]
    whole = send(edge, Video(codec, Link(), None, crf=crf), drive)
    sent = send(edge, Video(codec, LosesFrames(3), None, crf=crf), drive)
    assert answered(sent) == [0, 1, 2, *range(5, 12)]
    assert [size for size, _ in sent[:5]] == [size for size, _ in whole[:5]]
    assert sent[5][0] > 2 * whole[5][0]
    latents = sent[5][1]
    assert latents is not None and np.abs(latents - edge.latents(drive[5])).mean() < 8


def test_a_lost_key_frame_is_asked_for_again(edge: EdgeHalf, drive: list[Image]) -> None:
    codec = CODECS[0]
    assert answered(send(edge, Video(codec, LosesFrames(3, 5), None, crf=32), drive)) == [0, 1, 2, *range(7, 12)]
    # Whatever is lost while a key frame is on its way costs nothing more.
    assert answered(send(edge, Video(codec, LosesFrames(3, 4), None, crf=32), drive)) == [0, 1, 2, *range(5, 12)]
    assert answered(send(edge, Video(codec, LosesFrames(0), None, crf=32), drive)) == list(range(2, 12))


def test_a_lost_packet_costs_payloads_their_own_frame_alone(bundle: Bundle, edge: EdgeHalf, drive: list[Image]) -> None:
    sent = send(edge, Stills(Split(bundle, 0), LosesFrames(3)), drive)
    assert answered(sent) == [0, 1, 2, *range(4, 12)]
    assert sent[3][0] == len(edge.encode(drive[3], 0).payload)


def test_scaled_video_takes_fewer_bytes(bundle: Bundle, edge: EdgeHalf, drive: list[Image]) -> None:
    for codec in CODECS:
        whole, scaled = (Video(codec, Link(), size, crf=codec.crfs[3]) for size in (None, bundle.input_size))
        assert scaled.family == f"{whole.family}, scaled to 64x32"
        assert mean(send(edge, scaled, drive)) < 0.5 * mean(send(edge, whole, drive))


def test_a_link_loses_its_share_of_packets() -> None:
    link = Link(0.01)
    for packets in (1, 2, 8):
        lost = [not link.delivers(frame, packets * PACKET) for frame in range(2000)]
        assert sum(lost) / 2000 == pytest.approx(1 - 0.99**packets, rel=0.1)
        assert sum(lost[:200]) == pytest.approx(sum(lost) / 10, abs=1.5)
    assert all(Link().delivers(frame, 100 * PACKET) for frame in range(2000))
    assert [Link(0.5, 7).delivers(frame, 1) for frame in range(9)] == [Link(0.5).delivers(7 + i, 1) for i in range(9)]


def test_frames_of_another_size_are_refused(edge: EdgeHalf, drive: list[Image]) -> None:
    stream = Video(CODECS[0], Link(), None, crf=32)
    stream.send(edge, drive[0], False)
    with pytest.raises(InputError, match="frame 1 of a drive has 320x90 pixels, the ones before it 320x180"):
        stream.send(edge, drive[1][:90], False)


def test_every_stream_has_a_name_of_its_own(bundle: Bundle) -> None:
    names = [(stream.family, stream.setting) for stream in all_streams(bundle, Link())]
    assert len(set(names)) == len(names) and names[0] == ("split", "coarse")
    assert ("AV1, constant quality, scaled to 64x32", "crf 63") in names
    assert ("H.265, constant rate", "1,200 bytes per frame") in names


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.encoder)
def test_no_encoder_leaves_the_process_with_real_time_priority(
    edge: EdgeHalf, drive: list[Image], codec: VideoCodec
) -> None:
    send(edge, Video(codec, Link(), None, crf=40), drive[:2], wanted=False)
    threads = [int(thread) for thread in os.listdir("/proc/self/task")]
    assert {os.sched_getscheduler(thread) for thread in threads} == {os.SCHED_OTHER}
