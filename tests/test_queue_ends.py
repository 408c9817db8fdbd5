"""The ends of queues: shutdown on every version, the collector, fork."""

import gc
import os
import signal
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import plait.queue
from blocked import PATIENCE, Background, until, waiting

of_each_kind = pytest.mark.parametrize("kind", ["Queue", "LifoQueue", "PriorityQueue"])
BLOCKED: dict[str, Callable[[Any], object]] = {
    "get": lambda queue: queue.get(),
    "put": lambda queue: queue.put(0),
}


@of_each_kind
def test_shutdown_ends_puts_at_once_and_gets_when_empty(kind: str) -> None:
    queue = getattr(plait.queue, kind)()
    queue.put(1)
    queue.shutdown()
    assert queue.is_shutdown is True
    for put in (queue.put, queue.put_nowait, lambda item: queue.put(item, timeout=-1)):
        with pytest.raises(plait.queue.ShutDown):
            put(2)
    assert queue.get() == 1
    for get in (queue.get, queue.get_nowait, lambda: queue.get(timeout=-1)):
        with pytest.raises(plait.queue.ShutDown):
            get()


@of_each_kind
@pytest.mark.parametrize("blocked", ["get", "put"])
def test_shutdown_wakes_all_that_wait(kind: str, blocked: str) -> None:
    queue = getattr(plait.queue, kind)(1)
    if blocked == "put":
        queue.put(1)
    condition = queue.not_empty if blocked == "get" else queue.not_full
    calls = [Background(lambda: BLOCKED[blocked](queue)) for _ in range(3)]
    until(lambda: waiting(condition) == 3)
    queue.shutdown()
    assert [call.result() for call in calls] == [("ShutDown", "")] * 3


@of_each_kind
def test_an_immediate_shutdown_drains_and_releases_joins(kind: str) -> None:
    queue = getattr(plait.queue, kind)()
    for item in range(3):
        queue.put(item)
    queue.get()
    joining = Background(queue.join)
    until(lambda: waiting(queue.all_tasks_done) == 1)
    queue.shutdown(immediate=True)
    assert (queue.qsize(), queue.unfinished_tasks) == (0, 1)
    queue.task_done()
    assert joining.result() == ("returns", "None")


class Loud:
    """Calls something when it is finalized."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.call = call

    def __del__(self) -> None:
        self.call()


@of_each_kind
@pytest.mark.parametrize("shown", [False, True])
def test_a_finalizer_that_the_collector_runs_may_use_the_same_queue(kind: str, shown: bool) -> None:
    queue = getattr(plait.queue, kind)()
    if shown:
        assert len(queue.queue) == 0
    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for number in range(300):
            loud = Loud(lambda: queue.put((1,)))
            loud.self = loud  # type: ignore[attr-defined]
            del loud
            queue.put((0, [number]))
            queue.get()
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    assert queue.unfinished_tasks == 600
    assert queue.qsize() == 300


def test_a_drained_items_finalizer_may_use_the_queue() -> None:
    queue: plait.queue.Queue[Any] = plait.queue.Queue()
    seen: list[bool] = []
    queue.put(Loud(lambda: seen.append(queue.empty())))
    queue.shutdown(immediate=True)
    assert seen == [True]


@of_each_kind
@pytest.mark.parametrize("shown", [False, True])
def test_a_cycle_through_an_item_is_collected(kind: str, shown: bool) -> None:
    queue = getattr(plait.queue, kind)()
    queue.put([queue])
    if shown:
        assert len(queue.queue) == 1
    gone = weakref.ref(queue)
    del queue
    gc.collect()
    assert gone() is None


def test_items_are_freed_with_their_queue() -> None:
    class Item: ...

    queue: plait.queue.Queue[Item] = plait.queue.Queue()
    item = Item()
    gone = weakref.ref(item)
    queue.put(item)
    del item, queue
    gc.collect()
    assert gone() is None


def exit_status(child: Callable[[], bool]) -> int:
    """Of a forked child that ends with whether the call returns True; whatever happens in it."""
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(PATIENCE)
            os._exit(0 if child() else 1)
        finally:
            os._exit(2)
    return os.waitpid(pid, 0)[1]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_a_queue_that_works() -> None:
    queue: plait.queue.Queue[int] = plait.queue.Queue(1)
    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            queue.put(1)
            queue.get()

    def use_it() -> bool:
        while not queue.empty():
            queue.get()
        queue.put(2)
        return queue.get(timeout=PATIENCE) == 2

    churning = threading.Thread(target=churn)
    blocked = Background(lambda: plait.queue.Queue().get(timeout=0.2))
    churning.start()
    try:
        assert [exit_status(use_it) for _ in range(5)] == [0] * 5
    finally:
        stop.set()
        churning.join(PATIENCE)
        blocked.result()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_forked_while_another_thread_is_inside_a_hook_has_a_queue_that_works() -> None:
    inside, leave = threading.Event(), threading.Event()

    class Slow(plait.queue.Queue[int]):
        def _put(self, item: int) -> None:
            if item == 0:
                inside.set()
                assert leave.wait(PATIENCE)
            super()._put(item)

    queue = Slow()

    def use_it() -> bool:
        queue.put(1)
        return queue.get(timeout=PATIENCE) == 1 and not queue.mutex.locked()

    putting = Background(lambda: queue.put(0))
    assert inside.wait(PATIENCE)
    try:
        assert queue.mutex.locked()
        assert exit_status(use_it) == 0
        assert queue.mutex.locked()
    finally:
        leave.set()
    assert putting.result() == ("returns", "None")
    assert queue.get_nowait() == 0
