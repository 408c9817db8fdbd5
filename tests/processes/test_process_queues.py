"""Queues between processes: order, bounds, sizes, who may be killed, and what the standard library promises."""

import ast
import collections
import io
import multiprocessing
import os
import pickle
import queue
import random
import signal
import subprocess
import sys
import threading
import time
from multiprocessing import reduction
from typing import Any

import pytest

from plait.multiprocessing import _passing, queues, synchronize

METHODS = ("fork", "forkserver", "spawn")
SOON = 30.0
FORK = multiprocessing.get_context("fork")

VALUES = [None, True, 7, -(2**63), 2**70, 1.5, "text", "\u2603\U0001f600", "\ud800", b"bytes", b"", [1, {"a": (2,)}]]
LARGE = [b"x" * 70_000, "y" * 3_000_000, list(range(50_000)), b"z" * 20_000_000]


def echo(incoming: Any, outgoing: Any) -> None:
    for item in iter(incoming.get, "end"):
        outgoing.put(item)


@pytest.mark.parametrize("method", METHODS)
def test_values_of_every_kind_and_size_come_back_in_order(method: str) -> None:
    there, back = queues.Queue(), queues.SimpleQueue()
    process = multiprocessing.get_context(method).Process(target=echo, args=(there, back))
    process.start()
    for value in VALUES + LARGE:
        there.put(value)
    there.put("end")
    for value in VALUES + LARGE:
        got = back.get()
        assert got == value
        assert type(got) is type(value)
    process.join(SOON)
    assert process.exitcode == 0


def test_all_can_be_put_before_any_is_taken() -> None:
    items = queues.Queue()
    for number in range(100_000):
        items.put(number)
    assert items.qsize() == 100_000
    assert [items.get() for _ in range(100_000)] == list(range(100_000))
    assert items.empty()
    with pytest.raises(queue.Empty):
        items.get_nowait()


def test_memory_is_given_back() -> None:
    items = queues.Queue()
    for _ in range(20):
        items.put(b"x" * 5_000_000)
    grown = os.fstat(items._location()).st_blocks * 512
    assert grown > 100_000_000
    for _ in range(20):
        items.get()
    assert os.fstat(items._location()).st_blocks * 512 < 1_000_000


def test_a_bounded_queue_waits() -> None:
    items = queues.Queue(2)
    items.put("a")
    items.put("b")
    assert items.full()
    for how in ((False,), (True, 0.05), (True, 0), (True, -1)):
        with pytest.raises(queue.Full):
            items.put("c", *how)
    thread = threading.Timer(0.2, items.get)
    thread.start()
    begin = time.monotonic()
    items.put("c", timeout=SOON)
    assert time.monotonic() - begin < 5
    thread.join()
    assert [items.get(timeout=1), items.get()] == ["b", "c"]
    begin = time.monotonic()
    with pytest.raises(queue.Empty):
        items.get(timeout=0.2)
    assert 0.19 < time.monotonic() - begin < 2


def produce(items: Any, who: int, count: int) -> None:
    for number in range(count):
        items.put((who, number) if number % 3 else who * 1_000_000 + number)


def consume(items: Any, results: Any) -> None:
    results.put([(x // 1_000_000, x % 1_000_000) if isinstance(x, int) else x for x in iter(items.get, None)])


@pytest.mark.parametrize("maxsize", [0, 5])
def test_four_producers_and_four_consumers(maxsize: int) -> None:
    items, results, count = queues.Queue(maxsize), queues.SimpleQueue(), 2000
    producers = [FORK.Process(target=produce, args=(items, who, count)) for who in range(4)]
    consumers = [FORK.Process(target=consume, args=(items, results)) for _ in range(4)]
    for each in producers + consumers:
        each.start()
    for each in producers:
        each.join(SOON)
    for _ in consumers:
        items.put(None)
    taken = [results.get() for _ in consumers]
    for each in consumers:
        each.join(SOON)
    assert sorted(item for some in taken for item in some) == [(who, n) for who in range(4) for n in range(count)]
    for some in taken:  # each consumer sees the items of a producer in order
        for who in range(4):
            mine = [number for whose, number in some if whose == who]
            assert mine == sorted(mine)


def put_for_ever(items: Any, who: int) -> None:
    number = 0
    while True:
        items.put((who, number, "x" * (number % 900)))
        number += 1


def get_for_ever(items: Any) -> None:
    while True:
        items.get()


@pytest.mark.parametrize("maxsize", [0, 50])
def test_who_is_killed_while_putting_or_getting_harms_nobody(maxsize: int) -> None:
    items = queues.Queue(maxsize)
    chance = random.Random(maxsize)
    for _ in range(25):
        putter = FORK.Process(target=put_for_ever, args=(items, 1))
        other = FORK.Process(target=put_for_ever, args=(items, 2))
        getter = FORK.Process(target=get_for_ever, args=(items,))
        for each in (putter, other, getter):
            each.start()
        time.sleep(0.01 + 0.02 * chance.random())
        for each in chance.sample((putter, other, getter), 3):
            os.kill(each.pid, signal.SIGKILL)
            time.sleep(0.002 * chance.random())
        last = collections.defaultdict(lambda: -1)
        try:
            while True:
                who, number, text = items.get(timeout=0)
                assert len(text) == number % 900
                assert number > last[who]
                last[who] = number
        except queue.Empty:
            pass
        for each in (putter, other, getter):
            each.join()
        while not items.empty():
            items.get()
        items.put("alive", timeout=SOON)
        assert items.get(timeout=SOON) == "alive"
        assert items.qsize() == 0


def work(items: Any) -> None:
    for _ in iter(items.get, None):
        items.task_done()
    items.task_done()


@pytest.mark.parametrize("method", METHODS)
def test_joining(method: str) -> None:
    items = queues.JoinableQueue(3)
    process = multiprocessing.get_context(method).Process(target=work, args=(items,))
    process.start()
    for number in range(50):
        items.put(number)
    items.join()
    assert items.empty()
    items.put(None)
    items.join()
    process.join(SOON)
    with pytest.raises(ValueError, match=r"task_done\(\) called too many times"):
        items.task_done()


def test_closed_queues() -> None:
    for kind in (queues.Queue, queues.JoinableQueue):
        items = kind()
        with pytest.raises(AssertionError, match="not closed"):
            items.join_thread()
        items.put(1)
        items.close()
        items.join_thread()
        items.cancel_join_thread()
        for use in (items.get, lambda items=items: items.put(2), items.get_nowait):
            with pytest.raises(ValueError, match="is closed"):
                use()
        with pytest.raises(OSError, match="is closed"):
            items.empty()
    unused = queues.Queue()
    unused.close()
    assert unused.empty()
    simple = queues.SimpleQueue()
    simple.close()
    simple.close()
    assert simple._reader.closed
    with pytest.raises(OSError, match="is closed"):
        simple.empty()


def test_errors_of_pickling_are_the_callers_or_the_hooks() -> None:
    items = queues.Queue()
    with pytest.raises((pickle.PicklingError, AttributeError)):
        items.put(lambda: 0)
    assert items.qsize() == 0

    class Told(queues.Queue):
        seen: list[Any] = []

        @staticmethod
        def _on_queue_feeder_error(e: BaseException, obj: Any) -> None:
            Told.seen.append((type(e), obj))

    told, bad = Told(), lambda: 0
    told.put(bad)
    assert told.seen[0][1] is bad
    with pytest.raises(RuntimeError, match="should only be shared between processes through inheritance"):
        items.put(synchronize.Lock())
    with pytest.raises(RuntimeError, match="should only be shared between processes through inheritance"):
        items.put(queues.Queue())


class Odd:
    """Pickled by a reducer that was registered for multiprocessing."""


def test_reducers_of_multiprocessing_are_used() -> None:
    reduction.register(Odd, lambda odd: (str, ("reduced",)))
    items = queues.Queue()
    items.put(Odd())
    assert items.get() == "reduced"
    reader, writer = multiprocessing.Pipe(False)
    items.put(writer)
    received = items.get()
    received.send("through")
    assert reader.recv() == "through"
    for end in (reader, writer, received):
        end.close()


def test_an_error_of_unpickling_costs_that_item_only() -> None:
    items = queues.Queue()
    items.put(ast.Pass())  # something that needs pickle
    items.get()

    class Gone:
        pass

    globals()["Gone"] = Gone
    Gone.__qualname__ = "Gone"
    items.put(Gone())
    del globals()["Gone"]
    items.put("next")
    with pytest.raises(AttributeError):
        items.get()
    assert items.get() == "next"


def test_a_queue_reaches_a_process_that_knows_the_pickle_only() -> None:
    items = queues.Queue(9)
    with _passing.spawning():
        pickled = pickle.dumps(items)
    code = f"import pickle; q = pickle.loads({pickled!r}); q.put(q._maxsize); print(q.get())"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert ended.stdout == "9\n", ended.stderr


def test_nothing_is_left_open() -> None:
    queues.Queue().put(io.DEFAULT_BUFFER_SIZE)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        items = queues.Queue()
        items.put([1])
        items.get()
    del items
    assert len(os.listdir("/proc/self/fd")) == before


def test_memory_that_is_not_there_is_an_exception() -> None:
    code = """
import resource
from plait.multiprocessing import queues
q = queues.Queue()
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
try:
    q.put(b"x" * 10_000_000)
except OSError as error:
    print(error.errno)
q.put("small")
print(q.get())
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert ended.stdout.split() == ["27", "small"], ended.stderr
