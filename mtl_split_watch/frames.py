"""One vehicle's camera images and what came of them, put together by the image's stamp."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from mtl_split_core.scene import Results
from mtl_split_ros.images import CameraMessage

MOST_WAITING = 24
"""Frames that wait for what is still to come, 0.8 s at 30 frames/s; further ones push out those that wait longest."""


@dataclass
class Frame:
    """A camera image and what came of it, as far as it has arrived. All times in nanoseconds since 1970.

    stamp: of the camera; seen, answered: when the image and the last result arrived; payload_bytes: of its bottleneck;
    counted: whether it is in the plots.
    """

    stamp: int
    message: CameraMessage | None = None
    seen: int | None = None
    payload_bytes: int | None = None
    results: Results = field(default_factory=dict)
    answered: int | None = None
    counted: bool = False

    def start(self, simulated_time: bool) -> int | None:
        """When its way began: at its stamp, or where that is in simulated time, when the image arrived here."""
        return self.seen if simulated_time else self.stamp


class Frames:
    """The frames of one vehicle that are not shown yet."""

    def __init__(self) -> None:
        """Start without a frame."""
        self._waiting: dict[int, Frame] = {}

    def at(self, stamp: int) -> Frame:
        """Return the frame with a stamp; a new one takes the last place."""
        if stamp not in self._waiting:
            self._waiting[stamp] = Frame(stamp)
            if len(self._waiting) > MOST_WAITING:
                del self._waiting[next(iter(self._waiting))]
        return self._waiting[stamp]

    def answered(self, frame: Frame, tasks: Iterable[str]) -> bool:
        """Whether every one of these tasks, at least one, has answered a frame."""
        return bool(frame.results) and all(task in frame.results for task in tasks)

    def newest(self) -> Frame | None:
        """Return the frame whose image came last; None where there is none."""
        return next((frame for frame in reversed(self._waiting.values()) if frame.message is not None), None)

    def forget(self, frame: Frame) -> None:
        """Forget a frame that is shown, and those that began to wait before it."""
        if frame.stamp in self._waiting:
            stamps = list(self._waiting)
            for stamp in stamps[: stamps.index(frame.stamp) + 1]:
                del self._waiting[stamp]
