"""A vehicle under attack: whoever can publish on its topic floods, forges and replays, and the true edge goes on."""

from __future__ import annotations  # rclpy has the type MessageInfo from Kilted on

import argparse
import random
import secrets
import sys
import time
from array import array
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from mtl_split.msg import Bottleneck
from rclpy.node import Node
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image

from mtl_split_camera.street import Street
from mtl_split_core.bundle import Bundle
from mtl_split_core.signing import KEY_BYTES, Keys
from mtl_split_lab.bench.listener import result_topics
from mtl_split_lab.bench.nodes import CAMERA, PICTURES, image_message
from mtl_split_lab.bench.traffic import Outcome, Traffic, running
from mtl_split_ros.graph import Options, edge, server
from mtl_split_ros.messages import sign, stamp_of
from mtl_split_ros.process import run
from mtl_split_ros.qos import NEWEST, RECORDED

if TYPE_CHECKING:
    from rclpy.subscription import MessageInfo

FRAMES = 15.0
"""Frames per second of the vehicle."""
HOSTILE = 2000.0
"""Hostile messages per second, all together."""
REMEMBERED = 1000
"""So many of the vehicle's bottlenecks are kept to be replayed."""
START = 5.0
"""Seconds until an attacker is at work."""


@dataclass(frozen=True)
class Attacked:
    """What became of a vehicle's frames.

    alone, attacked: without and with the attacker; false: results that are of no frame of the vehicle's, come twice, or
    say something else than without the attacker.
    """

    alone: Outcome
    attacked: Outcome
    false: int


class Attacker(Node):
    """Publishes on a vehicle's topic what is not the vehicle's; all that it needs is to hear it, and no key."""

    def __init__(self, contract: str, kinds: Sequence[str]) -> None:
        """`contract`: fingerprint of the vehicle's; `kinds`: of KINDS, which take turns by chance."""
        super().__init__("attacker")
        self.ended: Future[None] = Future()
        self._contract = contract
        self._kinds = [KINDS[kind] for kind in kinds]
        self._keys = Keys([secrets.token_bytes(KEY_BYTES[0])])
        self._heard: deque[bytes] = deque(maxlen=REMEMBERED)
        self._own: set[int] = set()
        self._publisher = self.create_publisher(Bottleneck, "bottleneck", NEWEST)
        self._topic = self._publisher.topic_name
        self._begin, self._sent = time.monotonic(), 0
        self.create_subscription(Bottleneck, "bottleneck", self._hear, RECORDED, raw=True)
        self.create_timer(0.005, self._attack)

    def _hear(self, message: bytes) -> None:
        if hash(message) not in self._own:
            self._heard.append(message)

    def _attack(self) -> None:
        due = int((time.monotonic() - self._begin) * HOSTILE)
        for _ in range(min(due - self._sent, int(HOSTILE / 10))):
            message = random.choice(self._kinds)(self)
            if message is not None:
                self._publisher.publish(message)
        self._sent = due

    def junk(self) -> bytes:
        """A well-formed bottleneck of now, with random bytes for a payload."""
        message = Bottleneck(sequence=self._sent, contract=self._contract, image_width=640, image_height=360)
        message.header.stamp = self.get_clock().now().to_msg()
        message.payload = array("B", random.randbytes(1000))
        return self._made(message)

    def replay(self) -> bytes | None:
        """One of the vehicle's own, as it was."""
        return random.choice(self._heard) if self._heard else None

    def forge(self) -> bytes | None:
        """The vehicle's newest, or the one that it will send next, with the payload of another.

        Its signature is none, the true one, or made with a key of the attacker's own.
        """
        if not self._heard:
            return None
        message: Bottleneck = deserialize_message(self._heard[-1], Bottleneck)
        message.payload = deserialize_message(random.choice(self._heard), Bottleneck).payload
        if random.random() < 0.5:
            message.sequence += random.choice((1, 2, 1000))
            message.header.stamp = self.get_clock().now().to_msg()
        choice = random.randrange(3)
        if choice == 0:
            message.signature = np.zeros_like(message.signature)
        elif choice == 1:
            sign(message, self._keys, self._topic)
        return self._made(message)

    def _made(self, message: Bottleneck) -> bytes:
        made: bytes = serialize_message(message)
        self._own.add(hash(made))
        return made


KINDS: Mapping[str, Callable[[Attacker], bytes | None]] = {
    "junk": Attacker.junk,
    "forge": Attacker.forge,
    "replay": Attacker.replay,
}
"""What an attacker does, by name."""


@dataclass
class Said:
    """Results that were heard.

    results: what was said of each picture, without the header, by topic and picture; stray: how many results were of no
    frame, or came twice.
    """

    results: defaultdict[tuple[str, int], set[str]]
    stray: int

    def false(self, true: Said) -> int:
        """How many results should not be there, where those of `true` are right."""
        return self.stray + sum(len(results - true.results[of]) for of, results in self.results.items())


class Witness(Traffic):
    """Sends one vehicle's images, and keeps every result word by word."""

    def __init__(self, bundle: Bundle) -> None:
        """Advertise the images, and listen."""
        super().__init__(bundle, [""], Image, "image_raw", CAMERA)
        self._topics = result_topics(bundle)
        self._heard: dict[str, list[bytes]] = {topic: [] for topic in self._topics}

    def _hear(self, vehicle: str, topic: str, message: bytes, info: MessageInfo) -> None:
        super()._hear(vehicle, topic, message, info)
        self._heard[topic].append(message)

    def exchange_pictures(self, images: Sequence[Image], seconds: float) -> tuple[Outcome, Said]:
        """Send images in turn, and return what became of them and what was said of each."""
        for heard in self._heard.values():
            heard.clear()
        outcome = self.exchange({"": images}, FRAMES, seconds)
        turn = {stamp: number % len(images) for number, (_, stamp) in enumerate(self._sent)}
        return outcome, sort_results(self._heard, self._topics, turn)


def sort_results(heard: Mapping[str, Sequence[bytes]], types: Mapping[str, type[Any]], turn: Mapping[int, int]) -> Said:
    """Sort serialised results, by topic, by the pictures that they are of; `turn`: each sent stamp's picture."""
    said = Said(defaultdict(set), 0)
    for topic, messages in heard.items():
        stamps = [stamp_of(message) for message in messages]
        said.stray += len(stamps) - len(set(stamps) & turn.keys())
        for message, stamp in zip(messages, stamps, strict=True):
            if stamp in turn:
                # Not the bytes: those between two values, which nothing reads, are whatever was there.
                result = deserialize_message(message, types[topic])
                said.results[topic, turn[stamp]].add(str(result).replace(str(result.header), ""))
    return said


def attack(bundle: Bundle, kinds: Sequence[str], keyed: bool, seconds: float) -> Attacked:
    """Serve a vehicle for so many seconds without and with an attacker; with `keyed`, its bottlenecks are signed.

    Raises ProcessError where a node ends.
    """
    images = [image_message(picture) for picture, _ in islice(Street(0, (640, 360)), PICTURES)]
    with TemporaryDirectory() as folder:
        key_file = Path(folder) / "key"
        key_file.touch(mode=0o600)
        key_file.write_text(secrets.token_hex(KEY_BYTES[0]))
        options = Options(bundle=str(bundle.folder), key_file=str(key_file) if keyed else "")
        # Identities are other ones when the same picture comes again.
        with running([edge(options), server(options, tracking="none")]) as processes:
            witness = Witness(bundle)
            witness.connect(processes)
            witness.exchange_pictures(images, START)
            alone, true = witness.exchange_pictures(images, seconds)
            attacker = [sys.executable, "-m", "mtl_split_lab.bench.attack", *kinds]
            processes.run("attacker", [*attacker, "--contract", bundle.contract.fingerprint])
            witness.exchange_pictures(images, START)
            attacked, said = witness.exchange_pictures(images, seconds)
    return Attacked(alone, attacked, said.false(true))


def main() -> int:
    """Attack until told to stop."""
    parser = argparse.ArgumentParser(prog="attack", description=main.__doc__)
    parser.add_argument("kinds", nargs="+", choices=KINDS)
    parser.add_argument("--contract", required=True, help="fingerprint of the vehicle's contract")
    options = parser.parse_args()
    return run(partial(Attacker, options.contract, options.kinds))


if __name__ == "__main__":
    raise SystemExit(main())
