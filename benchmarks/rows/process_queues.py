"""Queues between processes."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from multiprocessing import Pipe
from typing import Any

from benchmarks import contenders
from benchmarks.calls import END, consume, consume_many, echo, produce
from benchmarks.contenders import BASELINE, CANDIDATE
from benchmarks.pools import context, ours
from benchmarks.row import Group, Run
from benchmarks.values import CONTAINERS, LEFT, OWN, PLAIN, SPEAKING

GROUP = Group("Processes: queues")
SIMPLE_QUEUE, FASTER_FIFO = "SimpleQueue", "faster-fifo"
BATCH = 200


def _queue(name: str) -> Any:
    if name == CANDIDATE:
        return ours("Queue")()
    if name == FASTER_FIFO:
        contenders.needs(name)
        import faster_fifo

        return faster_fifo.Queue(1_000_000)
    return context().SimpleQueue() if name == SIMPLE_QUEUE else context().Queue()


@contextmanager
def _child(target: Callable[..., None], *args: Any, pipe: bool = True) -> Iterator[Any]:
    """A child with one end of a pipe; the other end. It ends when it is sent 0."""
    here, there = Pipe()
    child = context().Process(target=target, args=(*args, *((there,) if pipe else ())))
    child.start()
    there.close()
    try:
        yield here
    finally:
        if pipe:
            here.send(0)
        child.join()
        here.close()


def _close(queue: Any) -> None:
    if hasattr(queue, "join_thread"):
        queue.close()
        queue.join_thread()
    elif hasattr(queue, "close"):
        queue.close()


@contextmanager
def _one_to_one(name: str, item: object) -> Iterator[Run]:
    queue = _queue(name)
    with _child(consume_many if name == FASTER_FIFO else consume, queue) as pipe:

        def run(n: int) -> object:
            put = queue.put
            pipe.send(n)
            for _ in range(n):
                put(item)
            return str(pipe.recv())

        yield run
    _close(queue)


@contextmanager
def _round_trip(name: str) -> Iterator[Run]:
    there, back = _queue(name), _queue(name)
    with _child(echo, there, back, pipe=False):

        def run(n: int) -> object:
            for number in range(n):
                there.put(number)
                last = back.get()
            return last == n - 1

        try:
            yield run
        finally:
            there.put(END)
    _close(there)
    _close(back)


@contextmanager
def _many(name: str, each: int = 4) -> Iterator[Run]:
    queue = _queue(name)
    with ExitStack() as stack:
        pipes = [
            stack.enter_context(_child(target, queue)) for target in (consume, produce) for _ in range(each)
        ]

        def run(n: int) -> object:
            for pipe in pipes:
                pipe.send(n // each)
            return [pipe.recv() is not None for pipe in pipes]

        yield run
    _close(queue)


def _add(name: str, title: str, body: Any, *rivals: str, **fields: Any) -> None:
    names = (BASELINE, CANDIDATE, *rivals)
    GROUP.add(name, title, {each: partial(body, each) for each in names}, batch=BATCH, **fields)


_add(
    "process_queue_ints",
    "Queue, one producer, one consumer, `int`",
    partial(_one_to_one, item=7),
    SIMPLE_QUEUE,
    FASTER_FIFO,
    floor=25,
    goal=55,
    others={SIMPLE_QUEUE: 15, FASTER_FIFO: 1},
)
_add(
    "process_queue_containers",
    "Queue, one producer, one consumer, a dict with a tuple, a list and a dict",
    partial(_one_to_one, item=CONTAINERS),
    SIMPLE_QUEUE,
    floor=4,
    goal=7,
)
_add(
    "process_queue_plain",
    "Queue, one producer, one consumer, the same dict with an object of a plain class",
    partial(_one_to_one, item=PLAIN),
    SIMPLE_QUEUE,
    floor=4,
    goal=7,
)
_add(
    "process_queue_speaking",
    "Queue, one producer, one consumer, the same dict with a date and a decimal",
    partial(_one_to_one, item=SPEAKING),
    SIMPLE_QUEUE,
    floor=4,
    goal=7,
)
_add(
    "process_queue_own",
    "Queue, one producer, one consumer, the same dict with an object of an own __reduce__",
    partial(_one_to_one, item=OWN),
    SIMPLE_QUEUE,
    floor=4,
    goal=7,
)
_add(
    "process_queue_left",
    "Queue, one producer, one consumer, the same dict with a list in two places, left to pickle",
    partial(_one_to_one, item=LEFT),
    SIMPLE_QUEUE,
    floor=4,
    goal=7,
)
_add("process_queue_round_trip", "Queue, there and back", _round_trip, SIMPLE_QUEUE, floor=2, goal=80)
_add("process_queue_many", "Queue, four producers, four consumers", _many, floor=8)
