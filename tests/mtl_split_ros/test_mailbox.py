"""The mailbox: the newest item of every sender, the senders in turn, and no exception without a trace."""

import threading
from collections.abc import Iterator
from queue import Queue

import pytest

from mtl_split_core.errors import ImageError, InputError
from mtl_split_ros.mailbox import Mailbox


class Worker:
    """A mailbox whose worker waits for `go` before every item, so that a test decides what is waiting meanwhile."""

    def __init__(self) -> None:
        self.begun: Queue[tuple[str, object]] = Queue()
        self.refused: Queue[tuple[str, InputError]] = Queue()
        self.go = threading.Semaphore(0)
        self.mailbox: Mailbox[str, object] = Mailbox(self._work, lambda *refused: self.refused.put(refused))

    def _work(self, sender: str, item: object) -> None:
        self.begun.put((sender, item))
        self.go.acquire()
        if isinstance(item, Exception):
            raise item


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.go.release(100)
    worker.mailbox.close()


def test_only_the_newest_waits_and_what_it_replaces_is_told(worker: Worker) -> None:
    assert not worker.mailbox.put("car", 0)
    assert worker.begun.get(timeout=10) == ("car", 0)
    assert [worker.mailbox.put("car", item) for item in (1, 2, 3)] == [False, True, True]
    worker.go.release()
    assert worker.begun.get(timeout=10) == ("car", 3)
    assert worker.begun.empty()


def test_a_sender_with_many_items_does_not_keep_the_others_waiting(worker: Worker) -> None:
    worker.mailbox.put("fast", 0)
    order = [worker.begun.get(timeout=10)[0]]
    for item in range(1, 4):
        for sender in ("fast", "slow", "fast"):
            worker.mailbox.put(sender, item)
        worker.go.release()
        order.append(worker.begun.get(timeout=10)[0])
    assert order == ["fast", "fast", "slow", "fast"]


def test_refused_items_do_not_stop_the_worker(worker: Worker) -> None:
    error = ImageError("no pixels")
    worker.go.release(2)
    worker.mailbox.put("car", error)
    assert worker.refused.get(timeout=10) == ("car", error)
    worker.mailbox.put("car", "good")
    assert worker.begun.get(timeout=10) == ("car", error)
    assert worker.begun.get(timeout=10) == ("car", "good")


def test_any_other_exception_ends_the_worker_and_is_handed_on(worker: Worker) -> None:
    error = ZeroDivisionError()
    worker.go.release()
    worker.mailbox.put("car", error)
    assert worker.mailbox.ended.exception(timeout=10) is error


def test_close_forgets_what_waits(worker: Worker) -> None:
    worker.mailbox.put("car", 0)
    assert worker.begun.get(timeout=10) == ("car", 0)
    worker.mailbox.put("car", 1)
    closing = threading.Thread(target=worker.mailbox.close)
    closing.start()
    worker.go.release(2)
    closing.join(10)
    assert worker.mailbox.ended.done() and worker.begun.empty()
