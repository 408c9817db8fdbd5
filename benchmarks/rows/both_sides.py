"""One object used by threads and by tasks: what a hand-over costs, and what it costs to be sharable."""

import asyncio
import importlib
import queue
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from itertools import repeat
from typing import Any

from benchmarks import contenders
from benchmarks.row import Group, Run, Setup
from benchmarks.rows import one_thread

GROUP = Group("Threads and tasks")
# "At most 1.2 times a dedicated one", as a ratio of the dedicated one's figure to the shared one's.
SHARED_FLOOR = 1 / 1.2


# A thread sends a number to a task on a loop of another thread, which sends it back.


@contextmanager
def running_loop(name: str) -> Iterator[tuple[Any, Any]]:
    """The asyncio module of a contender, and a loop of it that runs in a thread of its own."""
    contender = contenders.loops(name)
    loop = contender.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield contender.asyncio, loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def _round_trips(
    asyncio: Any,
    loop: Any,
    send: Callable[[int], object],
    receive: Callable[[], int],
    echo: Callable[[int], Coroutine[Any, Any, None]],
) -> Run:
    """`echo(n)` answers n numbers in a task; the calling thread sends them and adds the answers up."""

    def run(n: int) -> object:
        answering = asyncio.run_coroutine_threadsafe(echo(n), loop)
        total = 0
        for number in range(n):
            send(number)
            total += receive()
        answering.result()
        return total

    return run


@contextmanager
def by_shared_queue(contender: str, loop_of: str) -> Iterator[Run]:
    """A queue that threads and tasks share, the contender's, on the loop of another or the same."""
    if contender == contenders.CANDIDATE:
        make = importlib.import_module("plait").Queue
    else:
        make = contenders.load(contender).Queue
    with running_loop(loop_of) as (asyncio, loop):
        there, back = make(), make()
        get, put = there.get_async, back.put_async

        async def echo(n: int) -> None:
            for _ in repeat(None, n):
                await put(await get())

        yield _round_trips(asyncio, loop, there.put, back.get, echo)


@contextmanager
def _by_call_soon_threadsafe(loop_of: str) -> Iterator[Run]:
    with running_loop(loop_of) as (asyncio, loop):
        there = asyncio.Queue()
        back: queue.SimpleQueue[int] = queue.SimpleQueue()

        async def echo(n: int) -> None:
            get, put = there.get, back.put
            for _ in repeat(None, n):
                put(await get())

        def send(number: int) -> None:
            loop.call_soon_threadsafe(there.put_nowait, number)

        yield _round_trips(asyncio, loop, send, back.get, echo)


@contextmanager
def _by_executor(loop_of: str) -> Iterator[Run]:
    with running_loop(loop_of) as (asyncio, loop):
        there: queue.SimpleQueue[int] = queue.SimpleQueue()
        back: queue.SimpleQueue[int] = queue.SimpleQueue()

        async def echo(n: int) -> None:
            get, put = there.get, back.put
            for _ in repeat(None, n):
                put(await loop.run_in_executor(None, get))

        yield _round_trips(asyncio, loop, there.put, back.get, echo)


@contextmanager
def by_coroutine(loop_of: str) -> Iterator[Run]:
    async def answer(number: int) -> int:
        return number

    with running_loop(loop_of) as (asyncio, loop):

        def run(n: int) -> object:
            call = asyncio.run_coroutine_threadsafe
            total = 0
            for number in range(n):
                total += call(answer(number), loop).result()
            return total

        yield run


_SHARED: dict[str, Setup] = {
    name: partial(by_shared_queue, name, contenders.BASELINE)
    for name in (contenders.CANDIDATE, *contenders.THREAD_RIVALS)
}
WAYS: dict[str, Callable[[str], AbstractContextManager[Run]]] = {
    "call_soon_threadsafe": _by_call_soon_threadsafe,
    "run_in_executor": _by_executor,
    "run_coroutine_threadsafe": by_coroutine,
}
for _way, _setup in WAYS.items():
    GROUP.add(
        f"thread_task_{_way}",
        f"thread to task and back, against `{_way}`",
        {"stdlib": partial(_setup, contenders.BASELINE), **_SHARED},
        floor=1,
        goal=8,
        batch=100,
    )


# One side only: the shared object beside the one that asyncio has for tasks, or plait's own for threads.


@contextmanager
def _in_a_task(
    make: Callable[[], Any], use: Callable[[Any, int], Coroutine[Any, Any, object]]
) -> Iterator[Run]:
    shared = make()
    with closing(asyncio.new_event_loop()) as loop:
        yield lambda n: loop.run_until_complete(use(shared, n))


async def _async_with(lock: Any, n: int) -> object:
    for _ in repeat(None, n):
        async with lock:
            pass
    async with lock:
        return "released"


async def _put_get(queue: Any, n: int) -> object:
    put, get = queue.put, queue.get
    item = None
    for number in repeat(7, n):
        await put(number)
        item = await get()
    return item


async def _put_get_async(queue: Any, n: int) -> object:
    put, get = queue.put_async, queue.get_async
    item = None
    for number in repeat(7, n):
        await put(number)
        item = await get()
    return item


async def _set_wait_clear(event: Any, n: int) -> object:
    set_, wait, clear = event.set, getattr(event, "wait_async", event.wait), event.clear
    for _ in repeat(None, n):
        set_()
        await wait()
        clear()
    return event.is_set()


def _shared(name: str) -> Any:
    return getattr(importlib.import_module("plait"), name)()


def _rival(contender: str, name: str) -> Any:
    return getattr(contenders.load(contender), name)()


for _name, _title, _use in (
    ("Semaphore", "Semaphore `async with`", _async_with),
    ("Lock", "Lock `async with`", _async_with),
    ("Event", "Event set+wait+clear in a task", _set_wait_clear),
):
    _setups = {
        "stdlib": partial(_in_a_task, getattr(asyncio, _name), _use),
        "plait": partial(_in_a_task, partial(_shared, _name), _use),
    }
    if _use is _async_with:
        _setups["aiologic"] = partial(_in_a_task, partial(_rival, "aiologic", _name), _use)
    GROUP.add(f"task_{_name.lower()}", f"{_title}, against asyncio's", _setups, floor=SHARED_FLOOR)

GROUP.add(
    "task_queue",
    "Queue put+get in a task, against asyncio's",
    {
        "stdlib": partial(_in_a_task, asyncio.Queue, _put_get),
        "plait": partial(_in_a_task, partial(_shared, "Queue"), _put_get_async),
        **{
            name: partial(_in_a_task, partial(_rival, name, "Queue"), _put_get_async)
            for name in contenders.THREAD_RIVALS
        },
    },
    floor=SHARED_FLOOR,
)


# The thread side: only of interest where the shared class is not the one that plait.threading has anyway.


def _thread_side(name: str, face: str, shared: bool) -> Any:
    ours = getattr(importlib.import_module("plait"), name)
    dedicated = getattr(importlib.import_module(face), name)
    if ours is dedicated:
        raise contenders.LeftOut(f"plait.{name} is {face}.{name}")
    return (ours if shared else dedicated)()


@contextmanager
def _in_a_thread(make: Callable[[], Any], use: Callable[[Any], Run]) -> Iterator[Run]:
    yield use(make())


for _name, _face, _title, _run in (
    ("Lock", "plait.threading", "Lock `with`", one_thread.with_lock),
    ("Semaphore", "plait.threading", "Semaphore `with`", one_thread.with_lock),
    ("Queue", "plait.queue", "Queue put+get", one_thread.put_get),
):
    GROUP.add(
        f"thread_{_name.lower()}",
        f"{_title} in a thread, against {_face}'s",
        {
            "dedicated": partial(_in_a_thread, partial(_thread_side, _name, _face, False), _run),
            "plait": partial(_in_a_thread, partial(_thread_side, _name, _face, True), _run),
        },
        floor=SHARED_FLOOR,
    )
