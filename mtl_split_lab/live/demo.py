"""The demonstration: starts camera, edge and server as processes, records what they publish, and reports on it."""

import argparse
import contextlib
import json
import os
import signal
import statistics
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.utilities import remove_ros_args

from mtl_split_core.bundle import load_bundle
from mtl_split_core.errors import InputError
from mtl_split_core.share import bundle_folder
from mtl_split_lab.live.processes import ProcessError, Processes, claim_domain
from mtl_split_lab.live.recorder import Recorder
from mtl_split_lab.live.recording import UNSTAMPED, PictureStore
from mtl_split_lab.live.report import figures, limits, summarise, tables, write_answers, write_frames, write_pictures
from mtl_split_lab.machine import machine
from mtl_split_lab.recordings.bag_recorder import BagRecorder
from mtl_split_lab.recordings.bags import find_image_topic, namespace_of
from mtl_split_ros.graph import (
    BAG,
    DISCOVERY_RANGE,
    Options,
    Process,
    demo,
    image_topic,
    replay,
    topic_of,
    watch,
)
from mtl_split_ros.process import begin

CHECK_INTERVAL = 0.5
"""Seconds between two looks at the processes and the figures."""

GRACE = 1.0
"""Seconds to wait for the last results of a stream that has ended."""


ANSWERS = "answers.png"
"""The picture of an edge with a deadline."""

WATCH_PORT = 8080


class StalledError(Exception):
    """No frame gets through; the message says what is missing."""


def main() -> int:
    """Run the demonstration; returns 0 only if every task gave results and every process ended well."""
    arguments = _parser().parse_args(remove_ros_args(sys.argv)[1:])
    try:
        return run(arguments)
    except (InputError, ProcessError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


def run(arguments: argparse.Namespace) -> int:
    """Start, record, stop and report; the arguments are those of `_parser`. Returns the exit code."""
    # Ctrl-C ends the recording, not the report.
    stop = threading.Event()
    signals = _set_on_signals(stop)
    bundle = load_bundle(bundle_folder(arguments.bundle))
    topic, nodes = _wire(arguments)
    if arguments.watch is not None and arguments.attach:
        raise InputError("--watch starts a node and --attach starts none: run `ros2 run mtl_split watch` beside it")
    if arguments.watch is not None:
        nodes = [*nodes, watch(Options(), nodes, port=arguments.watch)]
        print(f"watch it at http://127.0.0.1:{arguments.watch}/")
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        if nodes and not topic_of(arguments.source):
            os.environ.setdefault(DISCOVERY_RANGE, "LOCALHOST")  # nobody else is to hear it, or to speak
        if nodes and not topic_of(arguments.source) and "ROS_DOMAIN_ID" not in os.environ:
            stack.enter_context(claim_domain())
            print(f"listen in with ROS_DOMAIN_ID={os.environ['ROS_DOMAIN_ID']}")
        # What is played has the namespace of the bag's vehicle, and its time.
        player = next((node for node in nodes if node.executable == "player"), None)
        own = ["--ros-args", "-r", f"__ns:=/{player.namespace}", "-p", "use_sim_time:=true"] if player else []
        with begin([*sys.argv, *own]):
            stack.callback(rclpy.shutdown)
            recorder = Recorder(bundle, topic, PictureStore(out))
        recording = recorder.recording
        recorders: list[Recorder | BagRecorder] = [recorder]
        if arguments.record:
            recorders.append(BagRecorder(arguments.record, bundle.tasks, topic or image_topic(topic)))
        faults = [recording.pictures.ended, *(one.ended for one in recorders)]
        for fault in faults:
            fault.add_done_callback(lambda _: stop.set())
        processes = Processes(out / "logs")
        complaints = []
        try:
            _record(recorders, processes, nodes, topic, stop, arguments)
        except (ProcessError, StalledError) as error:
            complaints.append(str(error))
        finally:
            complaints += processes.stop()
            for node in recorders:
                node.destroy_node()
    for number in signals:
        signal.signal(number, signal.SIG_DFL)
    recording.pictures.finish()
    complaints += [str(fault.exception()) for fault in faults if fault.done()]
    for complaint in complaints:
        print(f"demo: {complaint}", file=sys.stderr)
    if not recording.counted():
        print("demo: no frame was answered by every task; nothing to report", file=sys.stderr)
        return 1
    summary = {
        **summarise(recording),
        "source": arguments.source,
        "bundle": {"name": bundle.name, "fingerprint": bundle.fingerprint},
        "machine": machine(),
    }
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    print("\n".join(["", tables(recording), figures(summary), *limits(summary), ""]))
    write_frames(recording, out / "frames.jsonl")
    write_pictures(recording, out)
    written = ["summary.json", "frames.jsonl", "annotated.mp4", "contact_sheet.png"]
    if write_answers(recording, out / ANSWERS):
        written.append(ANSWERS)
    print(f"written: {', '.join(str(out / name) for name in written)}")
    return 1 if complaints else 0


def _set_on_signals(stop: threading.Event) -> list[signal.Signals]:
    """Set `stop` on SIGINT, SIGTERM and, unless nohup has it ignored, SIGHUP; returns those of them that do."""
    terminals = [stream.fileno() for stream in (sys.stdout, sys.stderr) if stream.isatty()]

    def end(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_IGN)  # a second one in the midst of set() would wait for it for ever
        stop.set()
        if number == signal.SIGHUP:
            # The terminal is closed, and writing to it would fail.
            with open(os.devnull, "w") as nowhere:
                for terminal in terminals:
                    os.dup2(nowhere.fileno(), terminal)

    signals = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signals.append(signal.SIGHUP)
    for number in signals:
        signal.signal(number, end)
    return signals


def _wire(arguments: argparse.Namespace) -> tuple[str, Sequence[Process]]:
    """Return the topic of the images, empty for the camera's own, and the processes to start."""
    source, options = arguments.source, Options(bundle=arguments.bundle, answer_by=arguments.answer_by)
    listeners = 3 if arguments.record else 2  # the edge and the recorders
    if arguments.attach:
        return topic_of(source), ()
    if source.startswith(BAG):
        bag = Path(os.path.expanduser(source.removeprefix(BAG)))
        topic = find_image_topic(bag, arguments.image_topic)
        vehicle, rate = options.within(namespace_of(topic)), arguments.rate or 1.0
        return topic, replay(vehicle, str(bag), topic, measured=True, rate=rate, wait_for_subscribers=listeners)
    camera = {name: getattr(arguments, name) for name in ("rate", "frames", "width", "height")}
    camera["shuffle"] = arguments.shuffle or None
    return topic_of(source), demo(options, source, measured=True, **camera, wait_for_subscribers=listeners)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    add = parser.add_argument
    add(
        "--source",
        default="sim",
        help="sim, sim:SEED, video:PATH, images:FOLDER, v4l2:/dev/video0, rtsp://ADDRESS and other streams, bag:PATH,"
        " or topic:NAME of a camera that runs already",
    )
    add("--frames", type=int, default=300, help="frames after which to end; 0: all there are (default: %(default)s)")
    add(
        "--rate",
        type=float,
        default=0.0,
        help="frames per second, of a bag how many times as fast; 0: the source's own, which is 15 for sim and images",
    )
    add("--image-topic", default="", help="topic of a bag's images (default: the only one there is)")
    add("--shuffle", action="store_true", help="show the pictures of a folder in a mixed order, the same every time")
    add("--width", type=int, help="width of simulated images in pixels")
    add("--height", type=int, help="height of simulated images in pixels")
    add(
        "--bundle",
        default="street",
        help="name of a shipped bundle, or path of a bundle's folder (default: %(default)s)",
    )
    add(
        "--answer-by",
        type=float,
        metavar="SECONDS",
        help="answer every image within so many seconds of its stamp, on the edge where the server does not",
    )
    add("--out", type=Path, default=Path("out/demo"), help="folder for what comes out (default: %(default)s)")
    add(
        "--timeout",
        type=float,
        default=60.0,
        help="seconds without a result after which to give up (default: %(default)s)",
    )
    add(
        "--record",
        type=Path,
        metavar="BAG",
        help="also record everything into a rosbag, a folder that does not exist yet",
    )
    add(
        "--watch",
        type=int,
        nargs="?",
        const=WATCH_PORT,
        metavar="PORT",
        help=f"serve a page with what the vehicle sees, on this machine alone (default port: {WATCH_PORT})",
    )
    add("--attach", action="store_true", help="start nothing; record nodes that run already, in this node's namespace")
    return parser


def _record(
    recorders: Sequence[Recorder | BagRecorder],
    processes: Processes,
    nodes: Sequence[Process],
    topic: str,
    stop: threading.Event,
    arguments: argparse.Namespace,
) -> None:
    """Start the nodes, the camera last, and record until the stream has ended or `stop` is set."""
    # Who looks is no listener whom the camera could wait for.
    waiting = [node for node in nodes if node.executable in ("camera", "player", "watch")]
    for node in nodes:
        if node not in waiting:
            processes.start(node)
    frames = arguments.frames if topic else 0
    executor = SingleThreadedExecutor()
    for one in recorders:
        executor.add_node(one)
    recorder = next(one for one in recorders if isinstance(one, Recorder))
    recording = recorder.recording
    live = LiveLine()
    check_at = ended_at = 0.0
    while True:
        executor.spin_once(timeout_sec=CHECK_INTERVAL)
        now = time.monotonic()
        if recording.last is not None:
            # The last results are still on their way.
            if recording.is_complete(recording.frames[recording.last]) or now > ended_at + GRACE:
                break
            continue
        if now < check_at and not stop.is_set():
            continue
        check_at, ended_at = now + CHECK_INTERVAL, now
        recording.last = _last_frame(recorder, frames, stop.is_set())
        if stop.is_set() and recording.last is None:
            break
        processes.check()
        live.show(recorder)
        if waiting and recorder.ready_for_camera(1 + len(recorders)):
            processes.start(waiting.pop(0))
        # Later on, a node that was killed and started again is there twice for some seconds.
        if not recorder.recent and (rivals := recorder.rivals()):
            raise StalledError(
                f"more than one node publishes {', '.join(rivals)}: is another demonstration running here?"
            )
        if now - recorder.answered_at > arguments.timeout:
            raise StalledError(f"no result for {arguments.timeout:g} s:{_listed(recorder.explain())}")
    live.close()


def _last_frame(recorder: Recorder, frames: int, stop: bool) -> int | None:
    """Return the stamp of the last frame that counts, or None while there are more to come.

    frames: after how many frames to end a stream that has no end of its own (0: never); stop: end now. Raises
    StalledError where a stream has ended without any.
    """
    recording = recorder.recording
    if recorder.ended_after is not None:
        # The end may overtake the last frames.
        heard = recording.sent + recording.skipped[UNSTAMPED]
        stop = stop or heard >= recorder.ended_after or time.monotonic() - recorder.heard_at > GRACE
        if stop and not recording.sent:
            raise StalledError(f"the stream has ended without a frame that counts:{_listed(recorder.explain())}")
    elif 0 < frames <= recording.sent:
        counted = list(recording.counted())
        if len(counted) >= frames:
            return counted[frames - 1]
    return max((stamp for stamp, frame in recording.frames.items() if frame.sent), default=None) if stop else None


def _listed(lines: Sequence[str]) -> str:
    return "".join(f"\n  {line}" for line in lines)


class LiveLine:
    """The line about what passes right now: rewritten on a terminal, repeated every few seconds elsewhere."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._interval = CHECK_INTERVAL if self._terminal else 2.0
        self._next = time.monotonic() + self._interval

    def show(self, recorder: Recorder) -> None:
        """Write the figures of the last complete frames, if it is time to."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + self._interval
        recent = list(recorder.recent)
        if len(recent) < 2:
            line = "waiting for the first results"
        else:
            rate = (len(recent) - 1) / (recent[-1].time - recent[0].time)
            line = (
                f"{rate:5.1f} results/s  {statistics.median(live.payload_bytes for live in recent):6,.0f} bytes/frame  "
                f"{statistics.median(live.latency for live in recent):6.1f} ms  {recent[-1].objects:3d} detections"
            )
        print(f"\r\033[K{line}" if self._terminal else line, end="" if self._terminal else "\n", flush=True)

    def close(self) -> None:
        """End the line."""
        if self._terminal:
            print()


if __name__ == "__main__":
    raise SystemExit(main())
