"""What the nodes survive: being killed in turn, hundreds of lifecycles, attacks, half an hour near the limit.

ros2_ws/run python -m mtl_split_lab.bench.torture --out docs/results
"""

from __future__ import annotations  # rclpy's classes are generic from Kilted on

import argparse
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.client import Client
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from tqdm import tqdm

from mtl_split_camera.street import Street
from mtl_split_core.bundle import Bundle, load_bundle
from mtl_split_core.share import bundle_folder
from mtl_split_lab.bench.attack import HOSTILE, KINDS, Attacked, attack
from mtl_split_lab.bench.listener import result_topics
from mtl_split_lab.bench.nodes import PICTURES, Camera, image_message
from mtl_split_lab.bench.traffic import running
from mtl_split_lab.bench.usage import own_bytes, shared_memory_bytes
from mtl_split_lab.live.processes import ProcessError, Processes
from mtl_split_lab.machine import machine_in_words
from mtl_split_lab.markdown import table
from mtl_split_ros.graph import Options, camera, edge, server
from mtl_split_ros.messages import stamp_of
from mtl_split_ros.qos import RESULT

RATE = 10.0
"""Frames per second while nodes are killed, or go through their lifecycles."""
GIVEN_UP = 30.0
"""Seconds without an answer after which a node that was killed is taken never to come back."""
LIFECYCLE = (
    Transition.TRANSITION_DEACTIVATE,
    Transition.TRANSITION_CLEANUP,
    Transition.TRANSITION_CONFIGURE,
    Transition.TRANSITION_ACTIVATE,
)
WARM_UP = 0.3
"""The part of a run after which memory counts: at first, caches and the allocator's pools fill."""
CHUNK = 20.0
"""Seconds between two looks at the memory."""
PAGE, PLOT = "torture.md", "torture.png"


@dataclass(frozen=True)
class Killed:
    """How the nodes came back.

    seconds: by the killed node, how long until the next frame was answered, inf for never; shared: bytes of shared
    memory after each.
    """

    seconds: dict[str, list[float]]
    shared: list[int]


@dataclass(frozen=True)
class Memory:
    """A process's memory in bytes over time: at the end of each lifecycle, or by the seconds that have passed."""

    at: list[float]
    bytes: list[int]

    @property
    def slope(self) -> float:
        """How many bytes more per unit of `at`, after the warm-up.

        It is the median over all pairs of looks (Theil and Sen's): the allocator takes memory in a few large steps,
        and the slope of least squares would mostly say when.
        """
        start = int(len(self.at) * WARM_UP)
        at, taken = np.array(self.at[start:]), np.array(self.bytes[start:])
        first, second = np.triu_indices(len(at), 1)
        return float(np.median((taken[second] - taken[first]) / (at[second] - at[first])))


class Ear(Node):
    """Hears which frames were answered by every task."""

    def __init__(self, bundle: Bundle) -> None:
        """Subscribe to the results of all tasks."""
        super().__init__("ear")
        self._heard: dict[str, int] = dict.fromkeys(result_topics(bundle), 0)
        self._managers: dict[str, Client[Any, Any]] = {}
        for topic, kind in result_topics(bundle).items():
            self.create_subscription(kind, topic, partial(self._hear, topic), RESULT, raw=True)
        self._spinner = SingleThreadedExecutor()
        self._spinner.add_node(self)

    def wait_for(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Spin until a condition holds, but at most so many seconds; returns whether it does."""
        deadline = time.monotonic() + seconds
        while not condition() and time.monotonic() < deadline:
            self._spinner.spin_once(timeout_sec=0.02)
        return condition()

    def answered_after(self, stamp: int) -> bool:
        """Whether a frame of the camera that is newer than `stamp`, nanoseconds, was answered by every task."""
        return min(self._heard.values()) > stamp

    def change(self, node: str, transition: int) -> None:
        """Ask a node for a transition of its lifecycle. Raises ProcessError where it does not follow."""
        # One for all transitions: each node would have to find a new one, which takes memory there.
        if node not in self._managers:
            self._managers[node] = self.create_client(ChangeState, f"/{node}/change_state")
        client = self._managers[node]
        there = self.wait_for(client.service_is_ready, GIVEN_UP)
        done = client.call_async(ChangeState.Request(transition=Transition(id=transition)))
        response = done.result() if there and self.wait_for(done.done, GIVEN_UP) else None
        if response is None or not response.success:
            raise ProcessError(f"the {node} did not follow the transition {transition}")

    def _hear(self, topic: str, message: bytes) -> None:
        self._heard[topic] = stamp_of(message)


def kill(bundle: Bundle, times: int) -> Killed:
    """Kill the camera, the edge and the server in turn, and start each again at once."""
    options = Options(bundle=str(bundle.folder))
    nodes = [camera(options, rate=RATE, width=640, height=360), edge(options), server(options)]
    killed = Killed({node.name: [] for node in nodes}, [])
    with running(nodes) as processes:
        ear = Ear(bundle)
        if not ear.wait_for(lambda: ear.answered_after(0), GIVEN_UP):
            raise ProcessError(f"no frame was answered within {GIVEN_UP:g} s")
        for node in tqdm(list(islice(itertools.cycle(nodes), times)), "kill -9", disable=None):
            processes.kill(node.name)
            moment = time.time_ns()
            processes.start(node)
            back = ear.wait_for(partial(ear.answered_after, moment), GIVEN_UP)
            killed.seconds[node.name].append((time.time_ns() - moment) / 1e9 if back else float("inf"))
            killed.shared.append(shared_memory_bytes())
            if not back:
                for other in nodes:
                    processes.kill(other.name)
                    processes.start(other)
                ear.wait_for(partial(ear.answered_after, time.time_ns()), GIVEN_UP)
    return killed


def cycle(bundle: Bundle, times: int) -> dict[str, Memory]:
    """Take edge and server through their lifecycles while images come."""
    options = Options(bundle=str(bundle.folder))
    memory = {name: Memory([], []) for name in ("edge", "server")}
    with running([camera(options, rate=RATE, width=640, height=360), edge(options), server(options)]) as processes:
        ear = Ear(bundle)
        for number in tqdm(range(times), "lifecycles", disable=None):
            if not ear.wait_for(partial(ear.answered_after, time.time_ns()), GIVEN_UP):
                raise ProcessError(f"no frame was answered within {GIVEN_UP:g} s of lifecycle {number}")
            for name, transition in itertools.product(memory, LIFECYCLE):
                ear.change(name, transition)
            _look(processes, memory, number)
    return memory


def soak(bundle: Bundle, rate: float, seconds: float) -> dict[str, Memory]:
    """Send images at a rate for so long."""
    options = Options(bundle=str(bundle.folder))
    memory = {name: Memory([], []) for name in ("edge", "server")}
    images = [image_message(picture) for picture, _ in islice(Street(0, (1280, 720)), PICTURES)]
    with running([edge(options), server(options)]) as processes:
        source = Camera(bundle)
        source.connect(processes)
        begin = time.monotonic()
        for _ in tqdm(range(round(seconds / CHUNK)), "soak", disable=None):
            source.exchange_images(images, rate, CHUNK)
            _look(processes, memory, time.monotonic() - begin)
    return memory


def _look(processes: Processes, memory: dict[str, Memory], at: float) -> None:
    for name, process in memory.items():
        process.at.append(at)
        process.bytes.append(own_bytes(processes.pid(name)))


def main() -> None:
    """Kill, cycle and soak, and write torture.md."""
    parser = argparse.ArgumentParser(prog="torture", description=main.__doc__)
    parser.add_argument("--kills", type=int, default=200, help="how often a node is killed (default: %(default)s)")
    parser.add_argument("--lifecycles", type=int, default=300, help="(default: %(default)s)")
    parser.add_argument("--attack", type=float, default=30.0, help="seconds of each attack (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=30.0, help="of the soak (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=20.0, help="frames/s of the soak (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("docs/results"), help="folder of the page")
    options = parser.parse_args()
    bundle = load_bundle(bundle_folder("street"))
    killed, cycled = kill(bundle, options.kills), cycle(bundle, options.lifecycles)
    attacked = {
        "junk, unsigned": attack(bundle, ["junk"], keyed=False, seconds=options.attack),
        "junk, forged and replayed, with keys": attack(bundle, list(KINDS), keyed=True, seconds=options.attack),
    }
    soaked = soak(bundle, options.rate, options.minutes * 60)
    write_page(bundle, killed, cycled, attacked, soaked, options.rate, options.out)


def write_page(
    bundle: Bundle,
    killed: Killed,
    cycled: dict[str, Memory],
    attacked: dict[str, Attacked],
    soaked: dict[str, Memory],
    rate: float,
    out: Path,
) -> None:
    """Write the page and its plot into the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    _plot(killed, cycled, soaked).savefig(out / PLOT, dpi=90)
    (out / PAGE).write_text(
        _PAGE.format(
            bundle=f"{bundle.name} ({bundle.fingerprint})",
            plot=PLOT,
            given_up=f"{GIVEN_UP:g}",
            rate=f"{RATE:g}",
            kills=table("killed|times|back|p50, s|p99, s|longest, s", _kills(killed)),
            shared=f"{killed.shared[0] / 1e6:.1f} MB after the first, {killed.shared[-1] / 1e6:.1f} MB after the last",
            warm_up=WARM_UP,
            lifecycles=len(cycled["server"].at),
            cycles=table(
                "node|kB more per lifecycle", [[name, f"{one.slope / 1e3:.1f}"] for name, one in cycled.items()]
            ),
            hostile=f"{HOSTILE:,.0f}",
            attacks=table(
                "attack|answered before|under attack|false results",
                [
                    [name, f"{one.alone.share:.1%}", f"{one.attacked.share:.1%}", str(one.false)]
                    for name, one in attacked.items()
                ],
            ),
            minutes=f"{soaked['server'].at[-1] / 60:.0f}",
            soak_rate=f"{rate:g}",
            soak=table(
                "node|MB more per hour", [[name, f"{one.slope * 3600 / 1e6:.1f}"] for name, one in soaked.items()]
            ),
            machine=machine_in_words(),
        )
    )


def _kills(killed: Killed) -> list[list[str]]:
    every = {**killed.seconds, "all": [one for seconds in killed.seconds.values() for one in seconds]}
    return [
        [name, str(len(seconds)), str(int(np.isfinite(seconds).sum())), *_spread(seconds)]
        for name, seconds in every.items()
    ]


def _spread(seconds: Sequence[float]) -> list[str]:
    # What never came back is later than any other.
    return [f"{np.percentile(seconds, percent, method='higher'):.2f}" for percent in (50, 99, 100)]


def _plot(killed: Killed, cycled: dict[str, Memory], soaked: dict[str, Memory]) -> plt.Figure:
    figure, (recovery, cycles, soak) = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    for name, seconds in killed.seconds.items():
        recovery.plot(sorted(seconds), np.linspace(0, 100, len(seconds)), label=name)
    recovery.set(xlabel="seconds from kill -9 to the next answer", ylabel="% of the kills")
    for axes, memory, label, scale in ((cycles, cycled, "lifecycles", 1.0), (soak, soaked, "minutes", 60.0)):
        for name, one in memory.items():
            axes.plot(np.array(one.at) / scale, np.array(one.bytes) / 1e6, label=name)
        axes.set(xlabel=label, ylabel="own memory, MB")
        axes.set_ylim(0, 1.2 * max(max(one.bytes) for one in memory.values()) / 1e6)
    for axes in (recovery, cycles, soak):
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


_PAGE = """# Torture

What the nodes survive: {bundle}, default parameters.

![Recovery after kill -9; memory over lifecycles and over time]({plot})

## kill -9

Camera, edge and server are killed in turn and started again at once, at {rate} frames/s. Counted is the time until a
frame that the camera took after that is answered by every task; a start of Python and a discovery are part of it. A
node after whose start no answer comes for {given_up} s counts as not back.

{kills}

Shared memory of Fast DDS in /dev/shm: {shared}.

## Attacks

Another node publishes {hostile} messages per second on the vehicle's topic: junk in the form of bottlenecks, the
vehicle's own ones over again, and forged ones, which carry other payloads under the vehicle's headers, unsigned, with
the true signature or with one of another key. False results are those of no frame, those that come twice, and those
that say something else than the same picture's before.

{attacks}

## Memory

Counted is the anonymous memory of a process, so neither libraries nor shared memory, after the first {warm_up:.0%} of a
run; the slope is the median of the slopes between all pairs of looks. Of what is left, rclpy keeps two or three dead
weak references, 0.3 kB, of every subscription and every watched publisher that is destroyed.

### Lifecycles

{lifecycles} times deactivate, cleanup, configure, activate of both nodes while images come.

{cycles}

### Soak

{minutes} minutes at {soak_rate} frames/s of 1280x720.

{soak}

`make torture` makes this page. Measured on: {machine}.
"""

if __name__ == "__main__":
    main()
