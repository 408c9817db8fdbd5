"""Two threads that wait for each other, in three regimes: quiet, on one core, beside two busy processes.

The main thread is one of the two; the other is started for each sample, which is some 100 µs of 60 ms and the
same for everyone.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import repeat
from types import SimpleNamespace

from benchmarks.row import REGIMES, Group, Run

GROUP = Group("Two threads", regimes=REGIMES)
# A sample has at least so many operations, so that the start of its second thread is lost in them.
TRANSFERS, HAND_OVERS = 1000, 100


@contextmanager
def _beside(partner: Callable[[int], object], n: int) -> Iterator[None]:
    """Run `partner(n)` in a second thread beside the block."""
    thread = threading.Thread(target=partner, args=(n,), daemon=True)
    thread.start()
    yield
    thread.join()


@GROUP.row("Queue(100) transfer", "aiologic", "culsans", floor=3.5, goal=12, batch=TRANSFERS)
def queue_transfer(lib: SimpleNamespace) -> Iterator[Run]:
    queue = lib.Queue(100)
    put, get = queue.put, queue.get

    def produce(n: int) -> None:
        for number in range(n):
            put(number)

    def run(n: int) -> object:
        total = 0
        with _beside(produce, n):
            for _ in repeat(None, n):
                total += get()
        return total

    yield run


@GROUP.row("Barrier(2) wait", "aiologic", floor=2, goal=40, batch=HAND_OVERS)
def barrier_pair(lib: SimpleNamespace) -> Iterator[Run]:
    wait = lib.Barrier(2).wait

    def meet(n: int) -> None:
        for _ in repeat(None, n):
            wait()

    def run(n: int) -> object:
        with _beside(meet, n):
            meet(n)
        return n

    yield run


@GROUP.row("submit().result(), one at a time", floor=1.5, goal=25, batch=HAND_OVERS)
def submit_result(lib: SimpleNamespace) -> Iterator[Run]:
    with lib.ThreadPoolExecutor(2) as pool:
        submit = pool.submit

        def run(n: int) -> object:
            total = 0
            for _ in repeat(None, n):
                total += submit(int, 1).result()
            return total

        yield run


@GROUP.row("Queue ping-pong", "aiologic", "culsans", floor=1, goal=20, batch=HAND_OVERS)
def queue_ping_pong(lib: SimpleNamespace) -> Iterator[Run]:
    there, back = lib.Queue(), lib.Queue()

    def pong(n: int) -> None:
        put, get = back.put, there.get
        for _ in repeat(None, n):
            put(get())

    def run(n: int) -> object:
        put, get = there.put, back.get
        total = 0
        with _beside(pong, n):
            for number in range(n):
                put(number)
                total += get()
        return total

    yield run


@GROUP.row("Event ping-pong", "aiologic", floor=1, goal=20, batch=HAND_OVERS)
def event_ping_pong(lib: SimpleNamespace) -> Iterator[Run]:
    there, back = lib.Event(), lib.Event()

    def pong(n: int) -> None:
        for _ in repeat(None, n):
            there.wait()
            there.clear()
            back.set()

    def run(n: int) -> object:
        with _beside(pong, n):
            for _ in repeat(None, n):
                there.set()
                back.wait()
                back.clear()
        return there.is_set() or back.is_set()

    yield run


@GROUP.row("Condition ping-pong", "aiologic", floor=1, goal=20, batch=HAND_OVERS)
def condition_ping_pong(lib: SimpleNamespace) -> Iterator[Run]:
    condition = lib.Condition()
    turn = 0

    def pong(n: int) -> None:
        nonlocal turn
        for _ in repeat(None, n):
            with condition:
                while turn != 1:
                    condition.wait()
                turn = 0
                condition.notify()

    def run(n: int) -> object:
        nonlocal turn
        with _beside(pong, n):
            for _ in repeat(None, n):
                with condition:
                    turn = 1
                    condition.notify()
                    while turn != 0:
                        condition.wait()
        return turn

    yield run
