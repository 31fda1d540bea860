"""The frames of a replay as pictures: what was answered and what is true drawn in, to be browsed by what went wrong."""

import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2

from mtl_split_core.drawing import SMALL, annotate, fit
from mtl_split_core.scene import Results, Task
from mtl_split_lab.scoring.frames import Frame
from mtl_split_lab.scoring.measurement import find_mistakes

FOLDER = "frames"

MOST_PICTURES = 2000
"""Pictures that are kept, of the frames that went worst: some 80 MB."""

JPEG_QUALITY = 80


@dataclass(frozen=True)
class Shown:
    """A frame in the gallery.

    number: how many came before it; name: the frame's; mistakes: in words, how many of each.
    """

    number: int
    name: str
    mistakes: Counter[str]

    @property
    def file(self) -> str:
        """The picture's file, relative to the folder of the replay."""
        return f"{FOLDER}/{self.number:06}.jpg"

    @property
    def caption(self) -> str:
        """The frame and its mistakes in words."""
        found = ", ".join(f"{count} {what}" for what, count in self.mistakes.most_common())
        return f"{'/'.join(self.name.split('/')[-2:])}: {found or 'no mistake'}"


class Gallery:
    """The pictures in the folder of a replay."""

    def __init__(self, out: Path, tasks: Sequence[Task]) -> None:
        """Begin without a picture; those of an earlier replay into the same folder are removed."""
        self._out = out
        self._tasks = tasks
        self._count = 0
        self._kept: list[tuple[int, int, Shown]] = []
        folder = out / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("[0-9]*.jpg"):
            old.unlink()

    @property
    def left_out(self) -> int:
        """How many frames have no picture, because others went worse."""
        return self._count - len(self._kept)

    @property
    def shown(self) -> list[Shown]:
        """The frames that have a picture, those with the most mistakes first."""
        return [shown for _, _, shown in sorted(self._kept, key=lambda one: (-one[0], -one[1]))]

    def add(self, frame: Frame, results: Results) -> None:
        """Draw a frame, and where there are too many, forget the one that went best."""
        mistakes = find_mistakes(frame.truth, results, self._tasks)
        one = (mistakes.total(), -self._count, Shown(self._count, frame.name, mistakes))
        self._count += 1
        if len(self._kept) < MOST_PICTURES:
            heapq.heappush(self._kept, one)
        elif (better := heapq.heappushpop(self._kept, one)) is one:
            return
        else:
            (self._out / better[2].file).unlink()
        image = frame.read()
        size = fit((image.shape[1], image.shape[0]), SMALL)
        picture = annotate(image, results, self._tasks, "", size, frame.truth)
        _, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        (self._out / one[2].file).write_bytes(jpeg.tobytes())
