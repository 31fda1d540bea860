"""A vehicle whose topic somebody floods keeps its answers: `ros2_ws/run python -m tests.torture_flood`."""

import argparse
import random
import sys
import time
from array import array

import rclpy
from mtl_split.msg import Bottleneck
from rclpy.node import Node

from mtl_split_core.bundle import load_bundle
from mtl_split_lab.bench.fleet import bottlenecks
from mtl_split_lab.bench.traffic import Traffic, running
from mtl_split_ros.graph import Options, server
from mtl_split_ros.qos import NEWEST
from mtl_split_ros.share import bundle_folder

VEHICLE = "car0"
FRAMES = 15.0
"""Frames per second of the vehicle."""

FLOOD = 2000.0
"""Hostile messages per second."""

ENOUGH = 0.95
"""Part of the frames that have to be answered."""


def flood() -> None:
    """Publish well-formed junk on the vehicle's topic until killed."""
    rclpy.init()
    node = Node("hostile")
    publisher = node.create_publisher(Bottleneck, f"/{VEHICLE}/bottleneck", NEWEST)
    contract = load_bundle(bundle_folder("street")).contract.fingerprint
    chance = random.Random(0)
    start = time.monotonic()
    for number in range(sys.maxsize):
        time.sleep(max(0.0, start + number / FLOOD - time.monotonic()))
        message = Bottleneck(sequence=number, contract=contract, image_width=1280, image_height=720)
        message.header.stamp = node.get_clock().now().to_msg()
        message.payload = array("B", chance.randbytes(1000))
        publisher.publish(message)


def main() -> None:
    """Serve a vehicle, without and with a flood, and print how many of its frames were answered."""
    parser = argparse.ArgumentParser(prog="torture_flood", description=main.__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each of the two (default: %(default)s)")
    parser.add_argument("--hostile", action="store_true", help="flood, and nothing else")
    options = parser.parse_args()
    if options.hostile:
        flood()
    bundle = load_bundle(bundle_folder("street"))
    messages = bottlenecks(bundle, 1)
    with running([server(Options(), list(messages))]) as processes:
        traffic = Traffic(bundle, list(messages), Bottleneck, "bottleneck", NEWEST)
        traffic.connect(processes)
        alone = traffic.exchange(messages, FRAMES, options.seconds)
        processes.run("hostile", [sys.executable, "-m", "tests.torture_flood", "--hostile"])
        traffic.exchange(messages, FRAMES, 5.0)  # until it is at work
        flooded = traffic.exchange(messages, FRAMES, options.seconds)
    print(f"alone {alone.share:.1%}, under {FLOOD:g} hostile messages per second {flooded.share:.1%} answered")
    assert flooded.share >= ENOUGH * alone.share


if __name__ == "__main__":
    main()
