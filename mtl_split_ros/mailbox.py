"""The mailbox between the callbacks and the worker threads: the newest item of every sender, never a queue."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from mtl_split_core.errors import InputError

Sender = TypeVar("Sender")
Item = TypeVar("Item")


class Mailbox(Generic[Sender, Item]):
    """Calls `work(sender, item)` in threads of its own, for the senders in turn and for each with its newest item.

    A sender's next item waits until its last one is done, so that the answers to one sender keep their order. An
    InputError of `work` goes to `refuse(sender, error)` and the thread goes on; any other exception ends the thread and
    is in `ended`, which has a future for each thread.
    """

    def __init__(
        self, works: Sequence[Callable[[Sender, Item], None]], refuse: Callable[[Sender, InputError], None]
    ) -> None:
        """Start a worker thread for each of `works`."""
        self._refuse = refuse
        # A dictionary keeps the order in which senders began to wait, so each of them gets its turn.
        self._waiting: dict[Sender, Item] = {}
        self._at_work: set[Sender] = set()
        self._changed = threading.Condition()
        self._closed = False
        self._pool = ThreadPoolExecutor(len(works), thread_name_prefix="worker")
        self.ended: list[Future[None]] = [self._pool.submit(self._run, work) for work in works]

    def put(self, sender: Sender, item: Item) -> Item | None:
        """Leave an item for the workers; returns the waiting one, if any, that it replaced and that is dropped."""
        with self._changed:
            replaced = self._waiting.get(sender)
            self._waiting[sender] = item
            self._changed.notify()
        # A worker that wakes up would wait for the interpreter until the executor has nothing left to do.
        time.sleep(0)
        return replaced

    def close(self) -> None:
        """Let the workers finish the items they are at, forget those waiting, and end the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._pool.shutdown()

    def _run(self, work: Callable[[Sender, Item], None]) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._next())
                if self._closed:
                    return
                [sender] = self._next()
                item = self._waiting.pop(sender)
                self._at_work.add(sender)
            try:
                work(sender, item)
            except InputError as error:
                self._refuse(sender, error)
            with self._changed:
                self._at_work.remove(sender)

    def _next(self) -> list[Sender]:
        """The sender whose turn it is, if there is one."""
        return [sender for sender in self._waiting if sender not in self._at_work][:1]
