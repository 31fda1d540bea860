"""What the page shows: the newest of everything, numbered, so that each page is sent only what it does not have yet."""

import json
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any

HISTORY = 60.0
"""Seconds that the plots go back."""

MOST_FRAMES = 6000
"""Frames of one vehicle that the plots have room for."""


@dataclass(frozen=True)
class Picture:
    """An annotated picture as JPEG.

    start: when its way began, in nanoseconds since 1970; None where that is unknown; answers: each task's in words.
    """

    jpeg: bytes
    start: int | None
    answers: dict[str, str]


@dataclass(frozen=True)
class Sample:
    """One frame in the plots.

    time: when it was answered, in seconds since 1970; payload_bytes: None where the bottleneck was not heard; latency:
    in milliseconds.
    """

    time: float
    payload_bytes: int | None
    latency: float | None


@dataclass(frozen=True)
class Answered:
    """Where an answer of an edge with a deadline comes from.

    time: when it was heard, in seconds since 1970; the rest: see mtl_split_ros.messages.Origin.
    """

    time: float
    source: str
    operating_point: str
    late: bool


@dataclass(frozen=True)
class Complaint:
    """A status of /diagnostics that is not well, level 1 to 3 as in DiagnosticStatus."""

    level: int
    name: str
    message: str


@dataclass
class _Vehicle:
    """What is shown of a vehicle, each with the number of its last change."""

    words: str = ""
    picture: Picture | None = None
    picture_number: int = 0
    points: deque[tuple[int, Sample | Answered]] = field(default_factory=lambda: deque(maxlen=2 * MOST_FRAMES))


class Board:
    """Everything that is shown. Every method may be called from any thread."""

    def __init__(self, changed: Callable[[], None]) -> None:
        """Begin empty; `changed` is called after every change, in the thread that made it."""
        self._changed = changed
        self._lock = threading.Lock()
        self._number = 0
        self._vehicles: dict[str, _Vehicle] = {}
        self._complaints: Sequence[Complaint] = ()
        self._well = 0
        self._complaints_number = 0
        self._facts: dict[str, Any] = {}

    @property
    def number(self) -> int:
        """How many changes there were."""
        return self._number

    def set_vehicles(self, words: dict[str, str], facts: dict[str, Any]) -> None:
        """Show these vehicles, each with what is to be said of it, and some facts about all of it."""
        if not (words or facts or self._vehicles):
            return
        with self._lock:
            self._vehicles = {name: self._vehicles.get(name, _Vehicle()) for name in words}
            for name, vehicle in self._vehicles.items():
                vehicle.words = words[name]
            self._facts = facts
            self._number += 1
        self._changed()

    def show(self, vehicle: str, picture: Picture) -> None:
        """Show a picture of a vehicle; ignored for one that is not there any more."""
        with self._lock:
            if shown := self._vehicles.get(vehicle):
                self._number += 1
                shown.picture, shown.picture_number = picture, self._number
        self._changed()

    def plot(self, vehicle: str, point: Sample | Answered) -> None:
        """Add to a vehicle's plots; ignored for one that is not there any more."""
        with self._lock:
            if shown := self._vehicles.get(vehicle):
                self._number += 1
                shown.points.append((self._number, point))
                while shown.points[0][1].time < point.time - HISTORY:
                    shown.points.popleft()

    def complain(self, complaints: Sequence[Complaint], well: int) -> None:
        """Show these statuses, and the number of those that are well."""
        if (complaints, well) == (self._complaints, self._well):
            return
        with self._lock:
            self._number += 1
            self._complaints, self._well, self._complaints_number = complaints, well, self._number
        self._changed()

    def news(self, since: int) -> tuple[bytes, int]:
        """Return one message with all that has changed since a number, and the number to ask with the next time.

        It is the length of a JSON text (uint32, little-endian), that text, and the JPEGs of the vehicles in it that
        have a "picture", one after the other.
        """
        with self._lock:
            vehicles = [_to_json(name, vehicle, since) for name, vehicle in self._vehicles.items()]
            jpegs = [v.picture.jpeg for v in self._vehicles.values() if v.picture and v.picture_number > since]
            text: dict[str, Any] = {"now": time.time(), "history": HISTORY, **self._facts, "vehicles": vehicles}
            if self._complaints_number > since or not since:
                text["complaints"] = [[one.level, one.name, one.message] for one in self._complaints]
                text["well"] = self._well
            number = self._number
        head = json.dumps(text).encode()
        return b"".join([struct.pack("<I", len(head)), head, *jpegs]), number


def _to_json(name: str, vehicle: _Vehicle, since: int) -> dict[str, Any]:
    new = [point for number, point in vehicle.points if number > since]
    shown: dict[str, Any] = {"name": name, "words": vehicle.words}
    shown["samples"] = [astuple(point) for point in new if isinstance(point, Sample)]
    shown["answered"] = [astuple(point) for point in new if isinstance(point, Answered)]
    if vehicle.picture and vehicle.picture_number > since:
        picture = vehicle.picture
        age = None if picture.start is None else (time.time_ns() - picture.start) / 1e6
        shown["picture"] = {"bytes": len(picture.jpeg), "age": age, "answers": picture.answers}
    return shown
