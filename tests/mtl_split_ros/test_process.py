"""A node's process: it begins with the rclpy of every distribution, ends when it is told to, and loudly on a fault."""

import os
import signal
import subprocess
import sys

import pytest

from mtl_split_ros.process import FAULT

from ..processes import PATIENCE

LIKE_JAZZY = """
import rclpy.lifecycle
import rclpy.parameter
import rclpy.publisher
import rclpy.subscription

del rclpy.subscription.MessageInfo
for kind in (rclpy.parameter.Parameter, rclpy.publisher.Publisher, rclpy.subscription.Subscription):
    kind.__class_getitem__ = None

import mtl_split_camera.node
import mtl_split_edge.node
import mtl_split_lab.live.recorder
import mtl_split_server.node
"""

FAULTY_NODE = """
from concurrent.futures import Future
from rclpy.node import Node
from mtl_split_ros.mailbox import Mailbox
from mtl_split_ros.process import run

class Faulty(Node):
    def __init__(self):
        super().__init__("faulty")
        self.ended = Future()
        self.mailbox = Mailbox([lambda sender, item: 1 / item], lambda sender, error: None)
        self.mailbox.ended[0].add_done_callback(lambda ended: self.ended.set_exception(ended.exception()))
        FAULT

    def fail(self):
        raise KeyError("in a callback")

    def destroy_node(self):
        self.mailbox.close()
        super().destroy_node()

raise SystemExit(run(Faulty))
"""


SLOW_NODE = """
import time
from rclpy.node import Node
from mtl_split_ros.process import run

class Slow(Node):
    def __init__(self):
        super().__init__("slow")
        print("making", flush=True)
        time.sleep(600)

raise SystemExit(run(Slow))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_a_node_that_is_still_being_made(number: signal.Signals, domain: int) -> None:
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain)}
    with subprocess.Popen(
        [sys.executable, "-c", SLOW_NODE], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "making\n"
        process.send_signal(number)
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0 and "Traceback" not in errors


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ('self.mailbox.put("car", 0)', "ZeroDivisionError"),
        ("self.create_timer(0.01, self.fail)", "KeyError: 'in a callback'"),
    ],
)
def test_a_fault_ends_the_process_with_its_exception(fault: str, words: str, domain: int) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", FAULTY_NODE.replace("FAULT", fault)],
        env={**os.environ, "ROS_DOMAIN_ID": str(domain)},
        stderr=subprocess.PIPE,
        timeout=PATIENCE,
        check=False,
        text=True,
    )
    assert ended.returncode == FAULT and words in ended.stderr


def test_the_nodes_can_be_imported_where_the_classes_of_rclpy_are_not_generic() -> None:
    subprocess.run([sys.executable, "-c", LIKE_JAZZY], timeout=PATIENCE, check=True)


IDLE_NODE = """
import os
import signal
import threading
from concurrent.futures import Future
from rclpy.node import Node
from mtl_split_ros.process import run

class Idle(Node):
    def __init__(self):
        super().__init__("idle")
        self.ended = Future()
        threading.Timer(0.5, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGTERM)).start()

raise SystemExit(run(Idle))
"""


def test_a_signal_that_another_thread_gets_stops_the_node_too(domain: int) -> None:
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain)}
    assert subprocess.run([sys.executable, "-c", IDLE_NODE], env=environment, timeout=PATIENCE).returncode == 0
