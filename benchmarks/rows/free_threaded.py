"""Free-threaded CPython: two threads at once. Scaling rows compare plait with itself on one thread."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import pbkdf2_hmac
from itertools import repeat
from types import SimpleNamespace
from typing import Any

from benchmarks import contenders
from benchmarks.row import Group, Run

GROUP = Group("Free-threaded: two threads at once", free_threaded_only=True)
# So many at least, an even number, so that the start of the second thread is lost in them.
TRANSFERS = 1000


def _put_get(queue: Any, n: int) -> None:
    put, get = queue.put, queue.get
    for number in repeat(7, n):
        put(number)
        get()


@contextmanager
def _own_queues(threads: int) -> Iterator[Run]:
    queues = [contenders.load(contenders.CANDIDATE).Queue() for _ in range(threads)]
    yield _in_parallel([partial(_put_get, queue) for queue in queues])


def _in_parallel(works: list[Callable[[int], None]]) -> Run:
    """Share `n` evenly: the calling thread does the first share, a thread each the others."""

    def run(n: int) -> object:
        share = n // len(works)
        others = [threading.Thread(target=work, args=(share,)) for work in works[1:]]
        for other in others:
            other.start()
        works[0](share)
        for other in others:
            other.join()
        return n

    return run


# On two cores 2.0 is the end of the scale, start of a thread included: 1.95 is 2.0 as it is rounded.
GROUP.add(
    "own_queues",
    "put+get in two threads on queues of their own, against one thread",
    {"plait, one thread": partial(_own_queues, 1), "plait": partial(_own_queues, 2)},
    floor=1.95,
    goal=2.0,
    batch=TRANSFERS,
)


def _append_pop(items: list[int], n: int) -> None:
    put, get = items.append, items.pop
    for number in repeat(7, n):
        put(number)
        get()


@contextmanager
def _own_lists(threads: int) -> Iterator[Run]:
    yield _in_parallel([partial(_append_pop, []) for _ in range(threads)])


# What this interpreter, and what this machine, give to threads that share nothing: the row above cannot scale better.
# (Two cores of a virtual machine may be two threads of one core.)
GROUP.add(
    "own_lists",
    "control without plait: append+pop in two threads on lists of their own, against one thread",
    {"one thread": partial(_own_lists, 1), contenders.CANDIDATE: partial(_own_lists, 2)},
    batch=TRANSFERS,
)


def _hash(n: int) -> None:
    """Nothing but C and registers."""
    pbkdf2_hmac("sha256", b"password", b"salt", n)


@contextmanager
def _own_hashes(threads: int) -> Iterator[Run]:
    yield _in_parallel([_hash] * threads)


GROUP.add(
    "own_hashes",
    "control without Python: SHA-256 in two threads, against one thread",
    {"one thread": partial(_own_hashes, 1), contenders.CANDIDATE: partial(_own_hashes, 2)},
    batch=TRANSFERS,
)


@GROUP.row("put+get in two threads on one shared Queue", "aiologic", "culsans", floor=3, batch=TRANSFERS)
def shared_queue(lib: SimpleNamespace) -> Iterator[Run]:
    queue = lib.Queue()
    yield _in_parallel([partial(_put_get, queue), partial(_put_get, queue)])


def small_work(number: int) -> int:
    """Some 20 to 40 µs of Python: small for a pool, large beside the cost of a call."""
    total = 0
    for step in range(1000):
        total += step ^ number
    return total


BATCH = 1000  # the start and the end of a map are lost in it


@contextmanager
def _pool(workers: int) -> Iterator[Run]:
    numbers = range(BATCH)
    with contenders.load(contenders.CANDIDATE).ThreadPoolExecutor(workers) as pool:

        def run(n: int) -> object:
            return sum(sum(pool.map(small_work, numbers)) for _ in repeat(None, n // BATCH))

        yield run


GROUP.add(
    "pool_scaling",
    "a pool's map of small functions, two workers against one",
    {"plait, one worker": partial(_pool, 1), "plait": partial(_pool, 2)},
    floor=1.9,
    batch=BATCH,
)
