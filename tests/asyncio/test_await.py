"""Native coroutines: what asyncio, the interpreter and the collector see of them."""

import asyncio
import collections.abc
import gc
import inspect
import weakref
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

import plait.asyncio
from tests.asyncio.primitives import OURS, run, turns

MAKERS: dict[str, Callable[[], Any]] = {
    "sleep": lambda: plait.asyncio.sleep(0),
    "Lock.acquire": lambda: plait.asyncio.Lock().acquire(),
    "Semaphore.acquire": lambda: plait.asyncio.Semaphore().acquire(),
    "Event.wait": lambda: plait.asyncio.Event().wait(),
    "Queue.get": lambda: plait.asyncio.Queue().get(),
    "Queue.put": lambda: plait.asyncio.Queue().put(1),
    "Queue.join": lambda: plait.asyncio.Queue().join(),
    "Condition.wait": lambda: plait.asyncio.Condition().wait(),
    "Barrier.wait": lambda: plait.asyncio.Barrier(2).wait(),
}


@pytest.mark.parametrize("name", MAKERS)
def test_it_is_a_coroutine_and_says_its_name(name: str) -> None:
    wait = MAKERS[name]()
    assert asyncio.iscoroutine(wait)
    assert isinstance(wait, collections.abc.Coroutine)
    assert inspect.isawaitable(wait)
    assert (wait.__qualname__, wait.__name__) == (name, name.rpartition(".")[2])
    assert repr(wait).startswith(f"<coroutine object {name} at 0x")
    wait.close()


@pytest.mark.parametrize("name", MAKERS)
def test_one_that_is_never_awaited_warns_as_pythons_do(name: str) -> None:
    with pytest.warns(RuntimeWarning, match=f"^coroutine '{name}' was never awaited$"):
        MAKERS[name]()


@pytest.mark.filterwarnings("error")
def test_one_that_was_closed_does_not_warn() -> None:
    wait = plait.asyncio.sleep(0)
    wait.close()
    wait.close()
    del wait
    gc.collect()


def test_it_starts_when_it_is_awaited() -> None:
    queue = plait.asyncio.Queue[int]()
    lock = plait.asyncio.Lock()

    async def main(side: Any) -> None:
        put, acquire = queue.put(1), lock.acquire()
        assert (queue.qsize(), lock.locked()) == (0, False)
        await put
        await acquire
        assert (queue.qsize(), lock.locked()) == (1, True)

    run(plait.asyncio, main)


@pytest.mark.parametrize("side", OURS.values(), ids=OURS)
@pytest.mark.parametrize("value", [None, 5, (1, 2), (), ValueError("x"), StopIteration(3), True])
def test_any_value_comes_out(side: Any, value: object) -> None:
    async def main(side: Any) -> None:
        queue = side.Queue()
        for _ in range(3):
            assert await side.sleep(0, value) is value
            assert await side.sleep(0.0001, value) is value
            await queue.put(value)
            assert await queue.get() is value
            assert await side.create_task(side.sleep(0, value)) is value
            assert await side.wait_for(side.sleep(0, value), 5) is value

    run(side, main)


def test_a_value_that_came_out_is_not_kept() -> None:
    class Thing:
        pass

    async def main(side: Any) -> None:
        queue = side.Queue()
        thing = Thing()
        gone = weakref.ref(thing)
        queue.put_nowait(thing)
        del thing
        thing = await queue.get()
        del thing
        await side.sleep(0)
        await side.sleep(0)
        assert gone() is None

    run(plait.asyncio, main)


def test_it_can_be_stepped_by_hand() -> None:
    wait = plait.asyncio.sleep(0, 7)
    with pytest.raises(TypeError, match="can't send non-None value to a just-started coroutine"):
        wait.send(1)
    assert not wait.cr_suspended
    assert wait.send(None) is None
    assert wait.cr_suspended
    with pytest.raises(StopIteration) as stopped:
        wait.send(None)
    assert (stopped.value.value, stopped.value.args) == (7, (7,))
    for step in (lambda: wait.send(None), lambda: wait.throw(KeyError()), lambda: next(iter(wait))):
        with pytest.raises(RuntimeError, match="^cannot reuse already awaited coroutine$"):
            step()


def test_what_is_thrown_in_comes_out() -> None:
    fresh, begun = plait.asyncio.sleep(0), plait.asyncio.sleep(0)
    begun.send(None)
    for wait in (fresh, begun):
        with pytest.raises(KeyError, match="x"):
            wait.throw(KeyError("x"))
        with pytest.raises(RuntimeError, match="already awaited"):
            wait.send(None)
    with pytest.raises(KeyError, match="y"):
        plait.asyncio.sleep(0).throw(KeyError, "y")


def test_two_cannot_await_the_same_one() -> None:
    async def main(side: Any) -> None:
        wait = side.sleep(0.01)
        task = side.create_task(wait)
        await turns(side)
        with pytest.raises(RuntimeError, match="^coroutine is being awaited already$"):
            await wait
        await task
        with pytest.raises(RuntimeError, match="^cannot reuse already awaited coroutine$"):
            await wait

    run(plait.asyncio, main)


def test_a_machine_cannot_be_entered_twice() -> None:
    """What it calls tries to step it."""
    condition = plait.asyncio.Condition()
    errors: list[str] = []

    async def main(side: Any) -> None:
        def predicate() -> bool:
            try:
                wait.send(None)
            except ValueError as error:
                errors.append(str(error))
            return True

        async with condition:
            wait = condition.wait_for(predicate)
            assert await wait is True

    run(plait.asyncio, main)
    assert errors == ["coroutine already executing"]


@pytest.mark.parametrize("side", OURS.values(), ids=OURS)
def test_tasks_show_it(side: Any) -> None:
    async def main(side: Any) -> None:
        task = side.create_task(side.Event().wait())
        await turns(side)
        assert "coro=<Event.wait()" in repr(task)
        assert task.get_stack() == []
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    run(side, main)


def test_a_cycle_through_a_parked_one_is_collected() -> None:
    async def waits(event: Any) -> None:
        await event.wait()

    loop = plait.asyncio.new_event_loop()
    loop.set_exception_handler(lambda loop, context: None)
    event = plait.asyncio.Event()
    gone = weakref.ref(event)
    task = loop.create_task(waits(event))
    loop.run_until_complete(plait.asyncio.sleep(0))
    loop.close()
    del task, event, loop
    gc.collect()
    assert gone() is None


def test_an_abandoned_one_cleans_up() -> None:
    lock = plait.asyncio.Lock()

    async def main(side: Any) -> None:
        await lock.acquire()
        waiting = lock.acquire()
        waiting.send(None)
        assert len(lock._waiters) == 1
        del waiting
        gc.collect()
        assert len(lock._waiters) == 0
        closed = lock.acquire()
        closed.send(None)
        closed.close()
        assert len(lock._waiters) == 0

    run(plait.asyncio, main)


def test_sleep_is_a_coroutine_function_to_whoever_asks() -> None:
    assert inspect.iscoroutinefunction(plait.asyncio.sleep)
    assert list(inspect.signature(plait.asyncio.sleep).parameters) == ["delay", "result"]
    with mock.patch.object(plait.asyncio, "sleep") as sleep:
        assert isinstance(sleep, mock.AsyncMock)
    assert "sleep" in repr(plait.asyncio.sleep)
    wrong: list[tuple[tuple[int, ...], dict[str, int]]] = [((), {}), ((1, 2, 3), {}), ((), {"x": 1})]
    for args, kwargs in wrong:
        with pytest.raises(TypeError, match=r"sleep\(\)"):
            plait.asyncio.sleep(*args, **kwargs)  # type: ignore[arg-type, call-overload]

    async def main(side: Any) -> None:
        assert await side.sleep(delay=0, result=1) == 1
        assert await side.sleep(0, result=2) == 2
        assert await side.sleep(*(0, 3)) == 3

    run(plait.asyncio, main)
