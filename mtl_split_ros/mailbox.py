"""The mailbox between the callbacks and the one worker thread: the newest item of every sender, never a queue."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from mtl_split_core.errors import InputError

Sender = TypeVar("Sender")
Item = TypeVar("Item")


class Mailbox(Generic[Sender, Item]):
    """Calls `work(sender, item)` in a thread of its own, for the senders in turn and for each with its newest item.

    An InputError of `work` goes to `refuse(sender, error)` and the thread goes on; any other exception ends the thread
    and is in `ended`.
    """

    def __init__(self, work: Callable[[Sender, Item], None], refuse: Callable[[Sender, InputError], None]) -> None:
        """Start the worker thread."""
        self._work = work
        self._refuse = refuse
        # A dictionary keeps the order in which senders began to wait, so each of them gets its turn.
        self._waiting: dict[Sender, Item] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="worker")
        self.ended: Future[None] = self._pool.submit(self._run)

    def put(self, sender: Sender, item: Item) -> bool:
        """Leave an item for the worker; returns True if it replaced a waiting one, which is dropped."""
        with self._changed:
            replaced = sender in self._waiting
            self._waiting[sender] = item
            self._changed.notify()
            return replaced

    def close(self) -> None:
        """Let the worker finish the item it is at, forget those waiting, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._pool.shutdown()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                sender = next(iter(self._waiting))
                item = self._waiting.pop(sender)
            try:
                self._work(sender, item)
            except InputError as error:
                self._refuse(sender, error)
