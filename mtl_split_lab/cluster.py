"""Work that is spread over processes, or over the machines of a Ray cluster, and comes back in its order."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, ParamSpec, TypeVar

from mtl_split_core.errors import InputError, in_one_line

Argument = TypeVar("Argument")
Item = TypeVar("Item")
P = ParamSpec("P")
T = TypeVar("T")

LOCAL = "local"
"""The address of a cluster that is started on this machine alone, for this process alone."""

STORE_BYTES = 512 * 2**20
"""Of shared memory, for what is on its way to and from the workers of such a cluster."""

PATIENCE = 5.0
"""Seconds within which the head of a cluster has to answer."""

RETRIES = 3
"""How often work is begun anew whose worker has died."""

REPORTS_HOME = "RAY_USAGE_STATS_ENABLED"
"""The environment variable by which Ray's own machines hear of its use."""


class ClusterError(InputError):
    """A cluster that cannot be reached, or whose machines cannot do the work."""


class Cluster(Executor):
    """Ray's tasks as an executor. Work has to be importable on all machines, and its arguments small.

    Where a worker dies, Ray begins its work anew, up to RETRIES times.
    """

    def __init__(self, address: str, processes: int) -> None:
        """Join the cluster at an address, or start one of so many processes on this machine, reached from it alone.

        Raises ClusterError where that fails, and ModuleNotFoundError without Ray.
        """
        _check_address(address)
        os.environ[REPORTS_HOME] = "0"
        if address == LOCAL:
            # Ray's default, said so that it does not explain it: others on this machine cannot use the cluster.
            os.environ.setdefault("RAY_AUTH_MODE", "token")
        import ray  # reads both

        self._ray = ray
        own: dict[str, Any] = {}
        if address == LOCAL:
            own = {"num_cpus": processes, "object_store_memory": STORE_BYTES, "_node_ip_address": "127.0.0.1"}
            own |= {"include_dashboard": False}
        before = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
        except (OSError, RuntimeError, ValueError) as error:
            raise _unreachable(address, error) from error
        signal.signal(signal.SIGTERM, before)
        self.processes = int(ray.cluster_resources().get("CPU", 1))
        self._do: Any = ray.remote(num_cpus=1, max_retries=RETRIES)(_do)

    def submit(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Let a worker do the work; the future raises what the work raised, and ClusterError for a dead worker."""
        done: Future[T] = Future()

        def settle(of_ray: Future[T]) -> None:
            error = of_ray.exception()
            if error is None:
                done.set_result(of_ray.result())
            elif isinstance(error, self._ray.exceptions.RayTaskError):
                done.set_exception(error.cause)  # Ray's own has the traceback in its words
            else:
                done.set_exception(
                    ClusterError(f"{RETRIES + 1} workers died at the same work: {in_one_line(str(error))}")
                )

        self._do.remote(work, args, kwargs).future().add_done_callback(settle)
        return done

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leave the cluster; one that was started here ends."""
        self._ray.shutdown()


def _check_address(address: str) -> None:
    """Raise ClusterError where nobody answers: Ray itself would try for many minutes."""
    if address == LOCAL:
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()
    except (OSError, ValueError) as error:
        raise _unreachable(address, error) from error


def _unreachable(address: str, error: Exception) -> ClusterError:
    return ClusterError(
        f"cluster is {address!r}, expected {LOCAL}, or HOST:PORT of a Ray cluster that this machine has joined"
        f" (`ray start --address HOST:PORT`): {in_one_line(error)}"
    )


def _do(work: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> T:
    return work(*args, **kwargs)


def workers(cluster: str, processes: int) -> tuple[Executor, int]:
    """Return what does work in other processes, and how much at once.

    cluster: see Cluster; empty: `processes` on this machine.
    """
    if not cluster:
        return ProcessPoolExecutor(processes, get_context("spawn")), processes
    joined = Cluster(cluster, processes)
    return joined, joined.processes


def in_order(
    pool: Executor,
    work: Callable[[Argument], T],
    items: Iterable[Item],
    argument: Callable[[Item], Argument],
    most: int,
) -> Iterator[tuple[Item, Callable[[], T]]]:
    """Work on the arguments of up to `most` items at once, and hand the items out in order, each with its result.

    A pool alone would read all items at once.
    """
    waiting: deque[tuple[Item, Callable[[], T]]] = deque()
    for item in items:
        waiting.append((item, pool.submit(work, argument(item)).result))
        if len(waiting) == most:
            yield waiting.popleft()
    yield from waiting
