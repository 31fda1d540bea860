"""A node as a process: it runs until SIGINT, SIGTERM or its own end, and leaves an exit code.

    def main() -> int:
        return run(CameraNode)

where `CameraNode` is a node that is `Runnable`.
"""

import os
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Any, Protocol, cast

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future as RosFuture

from mtl_split_core.errors import InputError
from mtl_split_ros.fast_dds import environment
from mtl_split_ros.security import check_security, permitted
from mtl_split_ros.shared_memory import tidy_shared_memory

UNUSABLE = 1
"""The exit code where what a node was given cannot be used, so that starting it again would not help."""

FAULT = 70
"""The exit code where a node was at fault, after the traceback; EX_SOFTWARE in sysexits.h."""

LOOK_INTERVAL = 1.0
"""Seconds after which a signal that woke another thread is noticed at the latest."""


class Runnable(Protocol):
    """What `run` needs of a node beside being a node.

    ended: set_result(None) when there is nothing more to do, set_exception(error) on a fault; destroy_node: stops the
    node's threads, too.
    """

    ended: Future[None]

    def destroy_node(self) -> None: ...


class _StoppedError(BaseException):
    """A signal came while the node was made; no Exception, so that nothing on the way takes it for a fault."""


@contextmanager
def begin(args: Sequence[str] | None = None, over_link: bool = False) -> Iterator[int]:
    """Initialise rclpy with a command line (None: the process' own); the caller handles the signals.

    Nodes are to be created inside, see tidy_shared_memory; yields how many bytes it freed. This process and those that
    it starts then have the package's settings of Fast DDS. Raises InputError where the environment asks for security
    that is not there.
    """
    os.environ.update(environment(over_link))
    with tidy_shared_memory() as freed:
        check_security(args)
        rclpy.init(args=None if args is None else list(args), signal_handler_options=SignalHandlerOptions.NO)
        yield freed


def run(create: Callable[[], Runnable], over_link: bool = False) -> int:
    """Create a node and spin it; returns the process' exit code. over_link: see mtl_split_ros.fast_dds.environment.

    0 after SIGINT, SIGTERM or the node's own end, also where a signal comes before the node is made; UNUSABLE where
    creating it, a callback or the node's `ended` raised InputError, which is logged; FAULT for any other exception of
    theirs.
    """
    # rclpy's own handlers would invalidate the context under the threads that still publish: here everything is
    # stopped in order instead, and a second signal on the way changes nothing: of all ways to wake a thread, only this
    # kind of queue allows that it comes in the midst of the first.
    stop: SimpleQueue[None] = SimpleQueue()
    making = True

    def end(*_: object) -> None:
        nonlocal making
        stop.put(None)
        if making:  # a bundle is loaded and warmed up, which may take long
            making = False
            raise _StoppedError

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    try:
        with begin(over_link=over_link) as freed:
            if freed:
                get_logger("mtl_split").info(f"freed {freed / 1e6:.1f} MB of shared memory that killed processes left")
            with permitted("the node"):
                node = create()
        making = False
        _spin(node, stop)
    except _StoppedError:
        return 0
    except InputError as error:
        get_logger("mtl_split").fatal(str(error))
        return UNUSABLE
    except Exception:
        traceback.print_exc()  # as Python would, but for the exit code
        return FAULT
    return 0


def _wait(stop: SimpleQueue[None]) -> None:
    """Wait until something is in `stop`."""
    while True:
        # A signal that the system hands to another thread wakes nobody: Python calls the handler in this one, when it
        # has something else to do.
        with suppress(Empty):
            return stop.get(timeout=LOOK_INTERVAL)


def _spin(node: Runnable, stop: SimpleQueue[None]) -> None:
    """Spin until something is in `stop` or has ended, and stop everything in order."""
    executor = SingleThreadedExecutor()
    executor.add_node(cast(Node, node))
    halt: RosFuture[None] = RosFuture()
    with ThreadPoolExecutor(1) as pool:
        spinning = pool.submit(executor.spin_until_future_complete, halt)
        outcomes: tuple[Future[Any], ...] = (spinning, node.ended)
        for outcome in outcomes:
            outcome.add_done_callback(lambda _: stop.put(None))
        _wait(stop)
        halt.set_result(None)  # it wakes the executor, which must not be shut down while it spins
    executor.shutdown()
    node.destroy_node()
    rclpy.shutdown()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # Python takes its handlers back before the process has ended
    for outcome in outcomes:
        if outcome.done():
            outcome.result()
