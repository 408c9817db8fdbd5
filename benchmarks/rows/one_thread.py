"""One thread, nobody waits: what a primitive costs when it is free, which is how most programs meet it."""

import queue as queues
import threading
from collections.abc import Iterator
from itertools import repeat
from types import SimpleNamespace

from benchmarks import contenders
from benchmarks.row import Group, Run

GROUP = Group("One thread")


@GROUP.row("Queue put+get", "aiologic", "culsans", floor=10, goal=15)
def queue(lib: SimpleNamespace) -> Iterator[Run]:
    yield put_get(lib.Queue())


@GROUP.row("LifoQueue put+get", "aiologic", "culsans")
def lifo_queue(lib: SimpleNamespace) -> Iterator[Run]:
    yield put_get(lib.LifoQueue())


@GROUP.row("PriorityQueue put+get", "aiologic", "culsans")
def priority_queue(lib: SimpleNamespace) -> Iterator[Run]:
    yield put_get(lib.PriorityQueue())


def put_get(queue: queues.Queue[int]) -> Run:
    """Put an item and take it out again."""
    put, get = queue.put, queue.get

    def run(n: int) -> object:
        item = None
        for number in repeat(7, n):
            put(number)
            item = get()
        return item

    return run


@GROUP.row("SimpleQueue put+get")
def simple_queue(lib: SimpleNamespace) -> Iterator[Run]:
    if lib.Queue is not queues.Queue and lib.SimpleQueue is queues.SimpleQueue:
        raise contenders.LeftOut("plait.queue.SimpleQueue is the standard library's")
    yield put_get(lib.SimpleQueue())


@GROUP.row("Semaphore `with`", "aiologic", floor=8, goal=12)
def semaphore(lib: SimpleNamespace) -> Iterator[Run]:
    yield with_lock(lib.Semaphore(1))


@GROUP.row("Event set+wait+clear", "aiologic", floor=12, goal=18)
def event(lib: SimpleNamespace) -> Iterator[Run]:
    event = lib.Event()
    set_, wait, clear = event.set, event.wait, event.clear

    def run(n: int) -> object:
        for _ in repeat(None, n):
            set_()
            wait()
            clear()
        return event.is_set()

    yield run


@GROUP.row("Condition `with`+notify", "aiologic", floor=3, goal=4)
def condition(lib: SimpleNamespace) -> Iterator[Run]:
    yield _with_notify(lib.Condition())


@GROUP.row("Condition around the standard library's RLock", "aiologic")
def condition_foreign(lib: SimpleNamespace) -> Iterator[Run]:
    yield _with_notify(lib.Condition(threading.RLock()))


def _with_notify(condition: threading.Condition) -> Run:
    notify = condition.notify

    def run(n: int) -> object:
        for _ in repeat(None, n):
            with condition:
                notify()
        with condition:
            return "released"

    return run


@GROUP.row("Lock `with`", "aiologic", floor=1.2, goal=1.5)
def lock(lib: SimpleNamespace) -> Iterator[Run]:
    yield with_lock(lib.Lock())


@GROUP.row("RLock `with`", "aiologic", floor=1.2, goal=1.5)
def rlock(lib: SimpleNamespace) -> Iterator[Run]:
    yield with_lock(lib.RLock())


def with_lock(lock: threading.Lock) -> Run:
    """Enter and leave."""

    def run(n: int) -> object:
        for _ in repeat(None, n):
            with lock:
                pass
        with lock:
            return "released"

    return run


@GROUP.row("Barrier(1) wait", "aiologic")
def barrier(lib: SimpleNamespace) -> Iterator[Run]:
    wait = lib.Barrier(1).wait

    def run(n: int) -> object:
        place = None
        for _ in repeat(None, n):
            place = wait()
        return place

    yield run


@GROUP.row("Future made+set+read")
def future(lib: SimpleNamespace) -> Iterator[Run]:
    make = lib.Future

    def run(n: int) -> object:
        result = None
        for number in repeat(7, n):
            future = make()
            future.set_result(number)
            result = future.result()
        return result

    yield run
