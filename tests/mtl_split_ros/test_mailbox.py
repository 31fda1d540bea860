"""The mailbox: the newest item of every sender, the senders in turn, and no exception without a trace."""

import threading
import time
from collections.abc import Iterator, Mapping
from queue import Queue

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_split_core.errors import ImageError, InputError
from mtl_split_core.serving import Choice
from mtl_split_ros.mailbox import Mailbox


class Worker:
    """A mailbox whose workers wait for `go` before every item, so that a test decides what is waiting meanwhile."""

    def __init__(self, workers: int = 1) -> None:
        self.begun: Queue[tuple[str, object]] = Queue()
        self.refused: Queue[tuple[str, InputError]] = Queue()
        self.go = threading.Semaphore(0)
        works = [self._work] * workers
        self.mailbox: Mailbox[str, object] = Mailbox(works, lambda *refused: self.refused.put(refused))

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
    assert worker.mailbox.put("car", 0) is None
    assert worker.begun.get(timeout=10) == ("car", 0)
    assert [worker.mailbox.put("car", item) for item in (1, 2, 3)] == [None, 1, 2]
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
    assert worker.mailbox.ended[0].exception(timeout=10) is error


def test_close_forgets_what_waits(worker: Worker) -> None:
    worker.mailbox.put("car", 0)
    assert worker.begun.get(timeout=10) == ("car", 0)
    worker.mailbox.put("car", 1)
    closing = threading.Thread(target=worker.mailbox.close)
    closing.start()
    worker.go.release(2)
    closing.join(10)
    assert worker.mailbox.ended[0].done() and worker.begun.empty()


def test_several_workers_are_at_items_of_different_senders() -> None:
    worker = Worker(2)
    for sender, item in [("one", 0), ("two", 0)]:
        worker.mailbox.put(sender, item)
    assert {worker.begun.get(timeout=10)[0] for _ in range(2)} == {"one", "two"}
    worker.go.release(2)
    worker.mailbox.close()
    assert all(ended.done() for ended in worker.mailbox.ended)


def test_an_idle_worker_passes_over_a_sender_whose_last_item_is_at_work() -> None:
    worker = Worker(2)
    worker.mailbox.put("car", 0)
    assert worker.begun.get(timeout=10) == ("car", 0)
    assert not worker.mailbox.put("car", 1) and worker.mailbox.put("car", 2)
    worker.mailbox.put("bus", 0)
    assert worker.begun.get(timeout=10) == ("bus", 0)
    worker.go.release(3)
    assert worker.begun.get(timeout=10) == ("car", 2)
    worker.mailbox.close()


def test_the_order_is_handed_in_and_what_is_hopeless_is_given_up() -> None:
    begun: Queue[tuple[str, int]] = Queue()
    given_up: Queue[tuple[str, int]] = Queue()
    go = threading.Event()

    def work(sender: str, item: int) -> None:
        begun.put((sender, item))
        go.wait(10)

    def choose(waiting: Mapping[str, int]) -> Choice[str]:
        good = [sender for sender, item in waiting.items() if item > 0]
        return Choice(max(good, key=waiting.__getitem__, default=None), tuple(waiting.keys() - good))

    mailbox: Mailbox[str, int] = Mailbox([work], lambda sender, error: None, choose, lambda *one: given_up.put(one))
    mailbox.put("first", 1)
    assert begun.get(timeout=10) == ("first", 1)
    for item, sender in enumerate(("zero", "one", "two")):
        mailbox.put(sender, item)
    go.set()
    assert [begun.get(timeout=10) for _ in range(2)] == [("two", 2), ("one", 1)]
    assert given_up.get(timeout=10) == ("zero", 0)
    mailbox.put("zero", 0)
    assert given_up.get(timeout=10) == ("zero", 0)
    mailbox.close()
    assert begun.empty() and given_up.empty()


@given(st.lists(st.sampled_from("abc"), max_size=40), st.integers(1, 4))
def test_each_sender_is_answered_in_order_and_up_to_its_newest_item(senders: list[str], workers: int) -> None:
    begun: Queue[tuple[str, int]] = Queue()

    def work(sender: str, item: int) -> None:
        time.sleep(0)  # lets the other threads run
        begun.put((sender, item))

    mailbox: Mailbox[str, int] = Mailbox([work] * workers, lambda sender, error: None)
    dropped = sum(mailbox.put(sender, item) is not None for item, sender in enumerate(senders))
    done = [begun.get(timeout=10) for _ in range(len(senders) - dropped)]
    mailbox.close()
    for sender in set(senders):
        items = [item for who, item in done if who == sender]
        assert items == sorted(items)
        assert items[-1] == max(item for item, who in enumerate(senders) if who == sender)
