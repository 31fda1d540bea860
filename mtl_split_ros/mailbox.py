"""The mailbox between the callbacks and the worker threads: the newest item of every sender, never a queue."""

import threading
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from mtl_split_core.errors import InputError
from mtl_split_core.serving import Choice

Sender = TypeVar("Sender", bound=Hashable)
Item = TypeVar("Item")


def in_turn(waiting: Mapping[Sender, Any]) -> Choice[Sender]:
    """The senders in turn."""
    return Choice(next(iter(waiting)))


class Mailbox(Generic[Sender, Item]):
    """Calls `work(sender, item)` in threads of its own, for the senders in an order and for each with its newest item.

    A sender's next item waits until its last one is done, so that the answers to one sender keep their order. An
    InputError of `work` goes to `refuse(sender, error)` and the thread goes on; any other exception ends the thread and
    is in `ended`, which has a future for each thread.
    """

    def __init__(
        self,
        works: Sequence[Callable[[Sender, Item], None]],
        refuse: Callable[[Sender, InputError], None],
        choose: Callable[[Mapping[Sender, Item]], Choice[Sender]] = in_turn,
        give_up: Callable[[Sender, Item], None] = lambda sender, item: None,
    ) -> None:
        """Start a worker thread for each of `works`.

        choose: chooses among the items of the senders that may be next, those first that began to wait first, and is
        called with a lock held; give_up: is handed the items that are hopeless by that choice.
        """
        self._refuse = refuse
        self._choose = choose
        self._give_up = give_up
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
                self._changed.wait_for(lambda: self._closed or self._ready())
                if self._closed:
                    return
                choice = self._choose(self._ready())
                given_up = [(sender, self._waiting.pop(sender)) for sender in choice.hopeless]
                sender = choice.next
                if sender is not None:
                    item = self._waiting.pop(sender)
                    self._at_work.add(sender)
            for one in given_up:
                self._give_up(*one)
            if sender is None:
                continue
            try:
                work(sender, item)
            except InputError as error:
                self._refuse(sender, error)
            with self._changed:
                self._at_work.remove(sender)

    def _ready(self) -> dict[Sender, Item]:
        """The items of the senders that may be next."""
        return {sender: item for sender, item in self._waiting.items() if sender not in self._at_work}
