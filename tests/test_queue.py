"""Queues, beyond what CPython's own suite asks: order, arguments, errors and their texts, waits."""

import copy
import math
import os
import pickle
import queue as standard
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from types import ModuleType
from typing import Any

import pytest

import plait.queue
from blocked import PATIENCE, Background, alarm_after, outcome, until, waiting

KINDS = ["Queue", "LifoQueue", "PriorityQueue"]

of_each_kind = pytest.mark.parametrize("kind", KINDS)


def side_by_side(calls: Callable[[ModuleType], object]) -> None:
    assert calls(plait.queue) == calls(standard)


@of_each_kind
def test_items_come_out_in_the_order_of_the_kind(kind: str) -> None:
    def order(module: ModuleType) -> list[int]:
        queue = getattr(module, kind)()
        for item in [5, 1, 4, 1, 3]:
            queue.put(item)
        first = [queue.get() for _ in range(2)]
        queue.put(0)
        return first + [queue.get_nowait() for _ in range(queue.qsize())]

    side_by_side(order)


TIMEOUTS: list[Any] = [
    0, 0.0, -1, -0.0, -1e-9, -math.inf, 0.01, False, math.inf, math.nan, 1e10, 10**30, 10**400, "1", b"1", [], object(),
    1j, Decimal("0.01"), Fraction(1, 100), Fraction(-1, 100),
]  # fmt: skip


@pytest.mark.parametrize("timeout", TIMEOUTS, ids=lambda timeout: repr(timeout)[:20])
def test_every_timeout_means_what_it_means_to_the_standard_library(timeout: Any) -> None:
    def calls(module: ModuleType) -> list[tuple[str, str]]:
        queue, full, endless = module.Queue(), module.Queue(1), module.Queue()
        queue.put(1)
        full.put(1)
        outcomes = [
            outcome(lambda: queue.get(True, timeout)),
            outcome(lambda: queue.get(block=False, timeout=timeout)),
            outcome(lambda: full.put(1, False, timeout)),
            outcome(lambda: endless.put(1, timeout=timeout)),
        ]
        if timeout == timeout:  # the standard library turns in a loop for a NaN
            outcomes += [
                outcome(lambda: queue.get(timeout=timeout)),
                outcome(lambda: full.put(2, True, timeout)),
                outcome(lambda: full.put(item=2, block=1, timeout=timeout)),
            ]
        return outcomes

    side_by_side(calls)


def test_a_nan_waits_for_ever_at_rest() -> None:
    queue: plait.queue.Queue[int] = plait.queue.Queue()
    getting = Background(lambda: queue.get(timeout=math.nan))
    until(lambda: waiting(queue.not_empty) == 1)
    queue.put(7)
    assert getting.result() == ("returns", "7")


def test_a_timeout_is_kept() -> None:
    queue: plait.queue.Queue[int] = plait.queue.Queue()
    start = time.monotonic()
    with pytest.raises(standard.Empty):
        queue.get(timeout=0.05)
    assert 0.05 <= time.monotonic() - start < 0.05 + PATIENCE


MISUSES: list[Callable[[Any], object]] = [
    lambda queue: queue.put(),
    lambda queue: queue.put(1, 2, 3, 4),
    lambda queue: queue.put(1, item=2),
    lambda queue: queue.put(1, now=True),
    lambda queue: queue.get(1, 2, 3),
    lambda queue: queue.get(item=1),
    lambda queue: queue.put_nowait(),
    lambda queue: queue.task_done(),
    lambda queue: type(queue)(1, 2),
    lambda queue: type(queue)(size=3),
    lambda queue: type(queue)("3").put(1),
    lambda queue: type(queue)(None).full(),
]


@pytest.mark.parametrize("misuse", MISUSES)
def test_what_a_caller_gets_wrong_is_said_in_the_standard_librarys_words(
    misuse: Callable[[Any], object],
) -> None:
    side_by_side(lambda module: outcome(lambda: misuse(module.Queue())))


@of_each_kind
def test_a_queue_can_be_neither_pickled_nor_copied(kind: str) -> None:
    queue = getattr(plait.queue, kind)()
    for give_away in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot pickle"):
            give_away(queue)


@pytest.mark.parametrize(
    "maxsize", [0, -1, 1, 2, True, 2.5, 0.5, math.inf, -math.inf, math.nan, 10**30, -(10**30)]
)
def test_any_number_is_a_maxsize(maxsize: Any) -> None:
    def fill(module: ModuleType) -> list[object]:
        queue = module.Queue(maxsize)
        seen: list[object] = [queue.maxsize == maxsize or maxsize != maxsize, queue.full()]
        for item in range(4):
            seen.append(outcome(lambda item=item: queue.put_nowait(item)))
            seen += [queue.qsize(), queue.full()]
        queue.maxsize = 4
        return [*seen, queue.full(), queue.maxsize]

    side_by_side(fill)


def test_the_exceptions_are_the_standard_librarys() -> None:
    assert plait.queue.Empty is standard.Empty
    assert plait.queue.Full is standard.Full
    assert plait.queue.SimpleQueue is standard.SimpleQueue
    if sys.version_info >= (3, 13):
        assert plait.queue.ShutDown is standard.ShutDown
    assert issubclass(plait.queue.ShutDown, Exception)


def test_a_queue_takes_attributes_weak_references_and_a_subscript() -> None:
    queue: Any = plait.queue.Queue()
    queue.colour = "red"
    assert queue.__dict__ == {"colour": "red"}
    assert weakref.ref(queue)() is queue
    assert repr(plait.queue.Queue[int]) == "plait.queue.Queue[int]"
    assert repr(queue).startswith("<plait.queue.Queue object at 0x")


# --- waits ----------------------------------------------------------------------------------------

BLOCKED: dict[str, Callable[[Any], object]] = {
    "get": lambda queue: queue.get(),
    "put": lambda queue: queue.put(0),
    "join": lambda queue: queue.join(),
}


@of_each_kind
@pytest.mark.parametrize("blocked", BLOCKED)
def test_a_signal_ends_every_wait_and_the_queue_stays_usable(kind: str, blocked: str) -> None:
    queue = getattr(plait.queue, kind)(1)
    if blocked != "get":
        queue.put(1)
    for _ in range(2):
        start = time.monotonic()
        with pytest.raises(KeyboardInterrupt), alarm_after(0.02):
            BLOCKED[blocked](queue)
        assert time.monotonic() - start < 0.02 + 0.1
    assert [waiting(each) for each in (queue.not_empty, queue.not_full, queue.all_tasks_done)] == [0, 0, 0]
    assert not queue.mutex.locked()
    if blocked == "get":
        queue.put(1)
    assert queue.get(timeout=0) == 1
    queue.task_done()
    queue.join()


def test_a_notified_getter_that_is_interrupted_passes_it_on() -> None:
    queue: plait.queue.Queue[int] = plait.queue.Queue()
    interrupted: list[BaseException] = []

    def put_and_interrupt(*_: object) -> None:
        # The main thread stands first in the list, and is notified while it handles this signal.
        queue.put(1)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, put_and_interrupt)
    late: list[Background] = []

    def second() -> None:
        until(lambda: waiting(queue.not_empty) == 1)
        late.append(Background(queue.get))
        until(lambda: waiting(queue.not_empty) == 2)
        os.kill(os.getpid(), signal.SIGALRM)

    starter = threading.Thread(target=second)
    starter.start()
    try:
        queue.get()
    except KeyboardInterrupt as error:
        interrupted.append(error)
    finally:
        signal.signal(signal.SIGALRM, before)
    starter.join(PATIENCE)
    assert interrupted
    assert late[0].result() == ("returns", "1")


@of_each_kind
def test_four_threads_lose_and_double_nothing(kind: str) -> None:
    queue = getattr(plait.queue, kind)(3)
    each, seen, lock = 300, [], threading.Lock()

    def produce(start: int) -> None:
        for item in range(start, start + each):
            queue.put(item)

    def consume() -> None:
        mine = []
        while (item := queue.get()) >= 0 and item < 10**6:
            mine.append(item)
            queue.task_done()
        with lock:
            seen.extend(mine)

    makers = [threading.Thread(target=produce, args=(start,)) for start in (0, each)]
    takers = [threading.Thread(target=consume) for _ in range(2)]
    for thread in makers + takers:
        thread.start()
    for thread in makers:
        thread.join(PATIENCE)
    queue.join()
    assert queue.unfinished_tasks == 0
    for _ in takers:
        queue.put(10**6)
    for thread in takers:
        thread.join(PATIENCE)
    assert sorted(seen) == list(range(2 * each))
    assert queue.empty()
