"""wait, wait_for and as_completed on plait's loop and on asyncio's."""

import asyncio as stdlib
import sys
from collections.abc import Callable
from typing import Any

import pytest

import plait.asyncio as asyncio

RUNNERS = pytest.mark.parametrize("run", [asyncio.run, stdlib.run], ids=["plait's loop", "asyncio's loop"])


async def give(value: Any, turns: int = 1) -> Any:
    for _ in range(turns):
        await asyncio.sleep(0)
    return value


async def fail(error: BaseException, turns: int = 1) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)
    raise error


@RUNNERS
def test_wait_for_all(run: Callable[[Any], Any]) -> None:
    async def main() -> None:
        tasks = {asyncio.create_task(give(number, number)) for number in range(5)}
        assert await asyncio.wait(tasks) == (tasks, set())

    run(main())


@RUNNERS
def test_wait_for_the_first(run: Callable[[Any], Any]) -> None:
    async def main() -> None:
        quick, slow = asyncio.create_task(give(1, 1)), asyncio.create_task(give(2, 20))
        assert await asyncio.wait([quick, slow], return_when=asyncio.FIRST_COMPLETED) == ({quick}, {slow})
        assert await slow == 2

    run(main())


@RUNNERS
def test_wait_for_the_first_failure(run: Callable[[Any], Any]) -> None:
    async def main() -> None:
        cancelled = asyncio.create_task(give(0, 20))
        cancelled.cancel()
        good, bad = asyncio.create_task(give(1, 1)), asyncio.create_task(fail(KeyError(), 5))
        slow = asyncio.create_task(give(2, 50))
        done, pending = await asyncio.wait([cancelled, good, bad, slow], return_when=asyncio.FIRST_EXCEPTION)
        assert (done, pending) == ({cancelled, good, bad}, {slow})
        await slow

    run(main())


@RUNNERS
def test_wait_no_longer_than_a_timeout(run: Callable[[Any], Any]) -> None:
    async def main() -> None:
        slow = asyncio.create_task(asyncio.sleep(100))
        assert await asyncio.wait([slow], timeout=0.001) == (set(), {slow})
        assert not slow.done()
        assert not slow._callbacks
        slow.cancel()

    run(main())


def test_a_wait_that_is_cancelled_leaves_the_tasks_alone() -> None:
    async def main() -> None:
        slow = asyncio.create_task(give(1, 20))
        waiting = asyncio.create_task(asyncio.wait([slow]))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not slow._callbacks
        assert await slow == 1

    asyncio.run(main())


def test_wait_refuses_what_it_cannot_wait_for() -> None:
    async def main() -> None:
        coroutine = give(1)
        with pytest.raises(TypeError, match="expect a list of futures, not coroutine"):
            await asyncio.wait(coroutine)
        with pytest.raises(TypeError, match="Passing coroutines is forbidden, use tasks explicitly"):
            await asyncio.wait([coroutine])
        coroutine.close()
        with pytest.raises(ValueError, match="Set of Tasks/Futures is empty"):
            await asyncio.wait([])
        future = asyncio.get_running_loop().create_future()
        with pytest.raises(TypeError, match="expect a list of futures, not Future"):
            await asyncio.wait(future)
        with pytest.raises(ValueError, match="Invalid return_when value: soon"):
            await asyncio.wait([future], return_when="soon")

    asyncio.run(main())


@RUNNERS
def test_wait_for_one(run: Callable[[Any], Any]) -> None:
    async def main() -> None:
        assert await asyncio.wait_for(give(1), 10) == 1
        assert await asyncio.wait_for(give(2), None) == 2
        with pytest.raises(KeyError):
            await asyncio.wait_for(fail(KeyError()), 10)
        slow = asyncio.create_task(asyncio.sleep(100))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(slow, 0.001)
        assert slow.cancelled()

    run(main())


@pytest.mark.parametrize("timeout", [0, -1])
def test_no_time_at_all_does_not_begin(timeout: float) -> None:
    begun = False

    async def begin() -> None:
        nonlocal begun
        begun = True

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(begin(), timeout)
        done = asyncio.get_running_loop().create_future()
        done.set_result(3)
        assert await asyncio.wait_for(done, timeout) == 3

    asyncio.run(main())
    assert not begun


@RUNNERS
def test_as_completed_gives_results_as_they_come(run: Callable[[Any], Any]) -> None:
    async def main() -> list[Any]:
        return [
            await result for result in asyncio.as_completed([give(number, number) for number in (9, 5, 1)])
        ]

    assert run(main()) == [1, 5, 9]


@pytest.mark.skipif(sys.version_info < (3, 13), reason="since 3.13")
@RUNNERS
def test_as_completed_gives_the_tasks_themselves(run: Callable[[Any], Any]) -> None:
    async def main() -> None:
        tasks = [asyncio.create_task(give(number, number)) for number in (9, 5, 1)]
        assert [task async for task in asyncio.as_completed(tasks)] == tasks[::-1]

    run(main())


def test_as_completed_within_a_timeout() -> None:
    async def main() -> None:
        slow = asyncio.create_task(asyncio.sleep(100))
        results = iter(asyncio.as_completed([give(1), slow], timeout=0.01))
        assert await next(results) == 1
        with pytest.raises(TimeoutError):
            await next(results)
        with pytest.raises(StopIteration):
            next(results)
        assert not slow.done()
        slow.cancel()

    asyncio.run(main())


def test_as_completed_for_several_at_once() -> None:
    async def main() -> None:
        tasks = [asyncio.create_task(give(number, 3)) for number in range(4)]
        waits = [asyncio.create_task(wait) for wait in asyncio.as_completed(tasks)]  # type: ignore[arg-type]
        await asyncio.sleep(0)
        waits[0].cancel()
        results = await asyncio.gather(*waits, return_exceptions=True)
        assert isinstance(results[0], asyncio.CancelledError)
        assert set(results[1:]) < set(range(4))

    asyncio.run(main())


def test_ensure_future() -> None:
    class Deferred:
        def __await__(self) -> Any:
            return give("deferred").__await__()

    async def main() -> None:
        task = asyncio.ensure_future(give(1))
        assert isinstance(task, asyncio.Task)
        assert asyncio.ensure_future(task) is task
        assert await asyncio.ensure_future(Deferred()) == "deferred"
        assert await task == 1
        with pytest.raises(TypeError, match="An asyncio.Future, a coroutine or an awaitable is required"):
            asyncio.ensure_future(5)  # type: ignore[call-overload]
        other = asyncio.new_event_loop()
        with pytest.raises(ValueError, match="belongs to a different loop"):
            asyncio.ensure_future(task, loop=other)
        other.close()

    asyncio.run(main())
