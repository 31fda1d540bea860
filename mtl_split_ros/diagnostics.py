"""What became of the frames of one input: counted as they pass, told as one status of /diagnostics per period."""

import statistics
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from builtin_interfaces.msg import Time as Stamp
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from rclpy.clock import Clock

from mtl_split_core.errors import InputError

REPORT_INTERVAL = 5.0
"""Seconds between two log lines about refused frames of one kind."""

MOST_NAMED = 8
"""Names by which one fate is counted; what others meet it is counted together."""

MOST_AHEAD = 0.5
"""Seconds by which a stamp may be ahead of a node's clock: the clocks of two synchronised machines differ by less."""

MOST_BEHIND = 5.0
"""Seconds after which the age of a frame says more about the clocks than about the frame."""

WANTED = "wanted_hz"
"""How a camera's status calls the frames per second at which it is to publish."""

_ALWAYS = ("received", "published", "stamps_back", "renewed")
"""What is counted of every stream: renewed is how often it was subscribed to anew."""


class Logger(Protocol):
    """The part of a node's logger that is needed here."""

    def error(self, message: str) -> bool: ...

    def warning(self, message: str) -> bool: ...


class Stream:
    """The frames of one input topic. Every method may be called from any thread."""

    def __init__(
        self,
        topic: str,
        stages: Iterable[str],
        errors: Iterable[type[InputError]],
        counts: Iterable[str],
        clock: Clock,
        logger: Logger,
        facts: Mapping[str, str],
        figures: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """Start with nothing received.

        topic: resolved name; stages: the stages of a frame; errors, counts: types of InputError and further counts that
        are reported even where they are 0; clock: the node's; facts: what stays as it is, reported with the rest;
        figures: what does not, which is asked for whenever it is reported.
        """
        self.topic = topic
        self._clock = clock
        self._logger = logger
        self._facts = facts
        self._figures = figures
        self._lock = threading.Lock()
        self._stages: dict[str, list[float]] = {stage: [] for stage in stages}
        self._bytes: list[int] = []
        self._counts = tuple(counts)
        self._totals = Counter({**dict.fromkeys(_ALWAYS, 0), **dict.fromkeys(self._counts, 0)})
        self._totals.update({_refused(error): 0 for error in errors})
        self._reported = self._totals.copy()
        self._reported_at = time.monotonic()
        self._newest: Stamp | None = None
        self._newest_age = 0.0
        self._problem = self._hindrance = self._refusal = self._fault = self._rest = ""
        self._logged: deque[str] = deque(maxlen=64)
        self._log_again_at: defaultdict[type[InputError], float] = defaultdict(float)

    @property
    def arrived(self) -> int:
        """How many frames have arrived so far."""
        return self._totals["received"]

    def total(self, name: str) -> int:
        """How many frames have met a fate so far."""
        return self._totals[name]

    def received(self, stamp: Stamp) -> float:
        """Count a frame that arrived, and note its camera image's stamp; returns its age, see `note`."""
        self.count("received")
        return self.note(stamp)

    def note(self, stamp: Stamp) -> float:
        """Note the stamp of a frame that was counted; returns its age in seconds by the node's clock."""
        age = self.age(stamp)
        with self._lock:
            # A clock that jumps back, such as that of a bag played in a loop, must not stop anything.
            back = self._newest is not None and nanoseconds(stamp) < nanoseconds(self._newest)
            self._totals["stamps_back"] += back
            self._newest, self._newest_age = stamp, age
        return age

    def age(self, stamp: Stamp) -> float:
        """How many seconds ago that was by the node's clock."""
        return float(self._clock.now().nanoseconds - nanoseconds(stamp)) / 1e9

    def published(self, stages: Mapping[str, float], payload_bytes: int | None = None) -> None:
        """Count a frame that was answered, with its stages' milliseconds and its payload's bytes, if it has one."""
        self.measured(stages)
        with self._lock:
            self._totals["published"] += 1
            if payload_bytes is not None:
                self._bytes.append(payload_bytes)

    def measured(self, stages: Mapping[str, float]) -> None:
        """Note milliseconds of stages."""
        with self._lock:
            for stage, milliseconds in stages.items():
                self._stages[stage].append(milliseconds)

    def count(self, name: str, number: int = 1) -> None:
        """Count frames that met another fate."""
        with self._lock:
            self._totals[name] += number

    def count_of(self, fate: str, name: str, number: int = 1) -> None:
        """Count what met a fate by a name that a stranger may have chosen: up to MOST_NAMED names, then `others`."""
        with self._lock:
            named = {key for key in self._totals if key.startswith(f"{fate}/")}
            key = f"{fate}/{name[:80]}"
            self._totals[key if key in named or len(named) < MOST_NAMED else f"{fate}/others"] += number

    def refuse(self, error: InputError, topic: str = "") -> None:
        """Count a message that could not be used; every error is logged once, one of a kind per `REPORT_INTERVAL`.

        topic: where it came from, if it is not a frame of this input, but something that belongs to one.
        """
        text = f"{topic or self.topic}: {error}"
        now = time.monotonic()
        with self._lock:
            self._totals[_refused(type(error))] += 1
            self._refusal = text
            if text in self._logged or now < self._log_again_at[type(error)]:
                return
            self._logged.append(text)
            self._log_again_at[type(error)] = now + REPORT_INTERVAL
        self._logger.error(text)

    def warn(self, problem: str) -> None:
        """Log what keeps frames from arriving, and report it until some do."""
        self._logger.warning(problem)
        with self._lock:
            self._problem = problem

    def hinder(self, hindrance: str) -> None:
        """Report, and log where it is new, what keeps some or all frames from arriving; empty: nothing does."""
        with self._lock:
            news, self._hindrance = hindrance != self._hindrance, hindrance
        if news and hindrance:
            self._logger.warning(hindrance)

    def rest(self, why: str) -> None:
        """Report that nothing is to be published here, and why, which is no fault; empty: it is."""
        with self._lock:
            self._rest = why

    def fail(self, fault: str) -> None:
        """Log a fault that has passed, and report it once."""
        self._logger.error(fault)
        with self._lock:
            self._fault = fault

    def report(self, name: str) -> DiagnosticStatus:
        """Return a status about the time since the previous report, and begin anew."""
        figures = self._figures()
        with self._lock:
            now = time.monotonic()
            seconds, self._reported_at = now - self._reported_at, now
            news = self._totals - self._reported
            self._reported = self._totals.copy()
            values = {
                "received_hz": f"{news['received'] / seconds:.1f}",
                "published_hz": f"{news['published'] / seconds:.1f}",
                "age_ms": "n/a" if self._newest is None else f"{self.age(self._newest) * 1e3:.1f}",
                "bytes_per_frame": _median(self._bytes),
                **{name: str(total) for name, total in self._totals.items()},
                **{f"stage_ms/{stage}": _median(times) for stage, times in self._stages.items()},
                **self._facts,
                **figures,
            }
            level, message = self._judge(news, values["published_hz"])
            self._bytes.clear()
            for times in self._stages.values():
                times.clear()
            self._fault = ""
            if news["published"]:
                self._problem = ""
        return DiagnosticStatus(
            level=level,
            name=f"{name}: {self.topic}",
            message=message,
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )

    def _judge(self, news: Counter[str], rate: str) -> tuple[bytes, str]:
        if self._fault:
            return DiagnosticStatus.ERROR, self._fault
        refused = sum(number for name, number in news.items() if name.startswith("refused/"))
        fates = [f"{news[name]} {name}" for name in self._counts if news[name]]
        if refused:
            message = f"{refused} of {news['received']} frames refused, the last one: {self._refusal}"
            harmless = news["published"] or self._rest
            return DiagnosticStatus.WARN if harmless else DiagnosticStatus.ERROR, message
        if self._rest:
            return DiagnosticStatus.OK, self._rest
        troubles = [*self._judge_clocks(), *filter(None, [self._hindrance])]
        if news["published"]:
            level = DiagnosticStatus.WARN if troubles else DiagnosticStatus.OK
            return level, ", ".join([f"{rate} frames/s", *fates, *troubles])
        if news["received"]:
            told = ", ".join([*(fates or ["still at work"]), *troubles])
            return DiagnosticStatus.WARN, f"none of {news['received']} frames answered: {told}"
        waiting = f"waiting for {self.topic}" if self._newest is None else f"no new frame on {self.topic}"
        return DiagnosticStatus.WARN, self._hindrance or self._problem or waiting

    def _judge_clocks(self) -> list[str]:
        """What the newest frame's age says of the clocks, if it says anything."""
        if -MOST_AHEAD <= self._newest_age <= MOST_BEHIND:
            return []
        direction = "ahead of" if self._newest_age < 0 else "behind"
        return [
            f"stamps are {abs(self._newest_age):.1f} s {direction} this node's clock: synchronise the clocks of all"
            " machines, or use_sim_time with a recording or a simulator"
        ]


def nanoseconds(stamp: Stamp) -> int:
    """Return a stamp in nanoseconds."""
    return int(stamp.sec * 10**9 + stamp.nanosec)


def plausible_age(age: float) -> float:
    """Return a frame's age in seconds, and 0 for one that says more about the clocks than about the frame."""
    return age if -MOST_AHEAD <= age <= MOST_BEHIND else 0.0


def _refused(error: type[InputError]) -> str:
    return f"refused/{error.__name__}"


def _median(values: list[float] | list[int]) -> str:
    return f"{statistics.median(values):.2f}" if values else "n/a"
