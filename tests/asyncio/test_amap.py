"""amap: a function over many items, a few at a time."""

import asyncio as stdlib
import contextvars
import gc
import itertools
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

import plait.asyncio as asyncio
from plait.asyncio import amap

RUNNERS = pytest.mark.parametrize("run", [asyncio.run, stdlib.run], ids=["plait's loop", "asyncio's loop"])


class Calls:
    """Doubles numbers, after as many turns as `turns` says; knows how many run."""

    def __init__(self, turns: Callable[[int], int] = lambda _: 2) -> None:
        self.turns = turns
        self.running = self.most = self.begun = self.cancelled = 0

    async def __call__(self, number: int) -> int:
        self.begun += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            for _ in range(self.turns(number)):
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        return 2 * number


@RUNNERS
def test_results_one_by_one_in_order(run: Callable[[Any], Any]) -> None:
    calls = Calls(lambda number: 7 - number % 7)

    async def main() -> list[int]:
        return [result async for result in amap(calls, range(100), limit=5)]

    assert run(main()) == list(range(0, 200, 2))
    assert calls.most == 5


@RUNNERS
def test_all_results_as_a_list(run: Callable[[Any], Any]) -> None:
    calls = Calls(lambda number: 7 - number % 7)

    async def main() -> list[int]:
        return await amap(calls, range(100), limit=5)

    assert run(main()) == list(range(0, 200, 2))
    assert calls.most == 5


def test_results_as_they_come() -> None:
    async def main() -> list[int]:
        return [result async for result in amap(Calls(lambda n: 10 - n), range(5), limit=5, ordered=False)]

    assert asyncio.run(main()) == [8, 6, 4, 2, 0]


def test_nothing_gives_nothing() -> None:
    async def main() -> None:
        assert await amap(Calls(), [], limit=3) == []
        assert [result async for result in amap(Calls(), (), limit=3)] == []

    asyncio.run(main())


def test_items_are_pulled_when_they_are_needed() -> None:
    pulled = 0

    def items() -> Iterator[int]:
        nonlocal pulled
        while True:
            pulled += 1
            yield pulled

    async def main() -> None:
        results = amap(Calls(), items(), limit=3, buffer=2)
        assert pulled == 0
        async for result in results:
            for _ in range(20):
                await asyncio.sleep(0)  # a slow consumer
            assert pulled <= result // 2 + 5
            if result == 40:
                break

    asyncio.run(main())


@pytest.mark.parametrize("ordered", [True, False])
def test_items_that_come_asynchronously(ordered: bool) -> None:
    calls, closed = Calls(), False

    async def items() -> AsyncIterator[int]:
        nonlocal closed
        try:
            for number in range(50):
                await asyncio.sleep(0)
                yield number
        finally:
            closed = True

    async def main() -> None:
        assert sorted(await amap(calls, items(), limit=4, ordered=ordered)) == list(range(0, 100, 2))
        assert calls.most <= 4
        assert closed

    asyncio.run(main())


def test_an_endless_asynchronous_source_is_closed() -> None:
    closed = False

    async def items() -> AsyncIterator[int]:
        nonlocal closed
        try:
            for number in itertools.count():
                yield number
        finally:
            closed = True

    async def main() -> None:
        async with amap(Calls(), items(), limit=4) as results:
            async for _ in results:
                break
        assert closed

    asyncio.run(main())


@RUNNERS
def test_the_first_error_cancels_the_rest(run: Callable[[Any], Any]) -> None:
    calls = Calls(lambda number: 3 if number == 10 else 1000)

    async def call(number: int) -> int:
        if number == 10:
            raise KeyError(number)
        return await calls(number)

    async def main() -> None:
        with pytest.raises(KeyError):
            await amap(call, itertools.count(7), limit=4)
        assert calls.running == 0
        assert calls.cancelled == calls.begun == 3
        results = amap(call, itertools.count(10), limit=4)
        with pytest.raises(KeyError):
            await anext(results)
        with pytest.raises(StopAsyncIteration):
            await anext(results)
        assert calls.running == 0

    run(main())


def test_errors_as_results() -> None:
    async def call(number: int) -> int:
        if number % 3 == 0:
            raise KeyError(number)
        return number

    async def main() -> None:
        results = await amap(call, range(6), limit=2, return_exceptions=True)
        assert [str(result) for result in results] == ["0", "1", "2", "3", "4", "5"]
        assert [type(result) for result in results] == [KeyError, int, int] * 2

    asyncio.run(main())


def test_an_error_of_the_source_or_of_the_function_itself() -> None:
    calls = Calls(lambda _: 1000)

    def items() -> Iterator[int]:
        yield 1
        raise OSError("no more")

    def function(number: int) -> Any:
        raise ZeroDivisionError

    async def main() -> None:
        with pytest.raises(OSError, match="no more"):
            await amap(calls, items(), limit=3)
        assert calls.running == 0
        with pytest.raises(ZeroDivisionError):
            await amap(function, [1], limit=3)
        with pytest.raises(TypeError, match="needs a function that returns an awaitable, not int"):
            await amap(lambda number: number, [1], limit=3)

    asyncio.run(main())


@RUNNERS
def test_leaving_the_loop_cancels_the_rest(run: Callable[[Any], Any]) -> None:
    calls = Calls(lambda number: 1 if number < 2 else 1000)

    async def main() -> None:
        async for _ in amap(calls, itertools.count(), limit=4):
            break
        for _ in range(3):
            await asyncio.sleep(0)
        assert calls.running == 0
        assert calls.cancelled >= 3

    run(main())


def test_closing_waits_until_the_calls_have_ended() -> None:
    ended = 0

    async def call(number: int) -> int:
        nonlocal ended
        try:
            await asyncio.sleep(number)
        finally:
            await asyncio.sleep(0.001)
            ended += 1
        return number

    async def main() -> None:
        async with amap(call, itertools.count(), limit=3) as results:
            async for result in results:
                assert result == 0
                break
        assert ended == 4
        results = amap(call, [0, 100], limit=2)
        await anext(results)
        await results.aclose()
        assert ended == 6
        await results.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(results)

    asyncio.run(main())


def test_cancelled_while_it_is_awaited() -> None:
    calls = Calls(lambda _: 1000)

    async def whole() -> None:
        await amap(calls, itertools.count(), limit=3)

    async def main() -> None:
        task = asyncio.create_task(whole())
        await asyncio.sleep(0.001)
        task.cancel("enough")
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await task
        assert calls.running == 0
        assert calls.cancelled == 3

    asyncio.run(main())


def test_several_consumers_share_the_results() -> None:
    async def main() -> None:
        results = amap(Calls(lambda number: number % 5), range(100), limit=5)

        async def consume() -> list[int]:
            return [result async for result in results]

        shares = await asyncio.gather(*(consume() for _ in range(3)))
        assert sorted(itertools.chain(*shares)) == list(range(0, 200, 2))

    asyncio.run(main())


def test_each_call_has_a_context_of_its_own() -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable")

    async def call(number: int) -> int:
        before = variable.get()
        variable.set(number)
        return before

    async def main() -> None:
        variable.set(7)
        assert await amap(call, range(10), limit=2) == [7] * 10
        assert variable.get() == 7

    asyncio.run(main())


def test_a_hundred_thousand_items_need_no_more_memory_than_a_few() -> None:
    async def call(number: int) -> int:
        await asyncio.sleep(0)
        return number

    async def main() -> tuple[int, int]:
        seen, early = 0, 0
        async for result in amap(call, range(100_000), limit=100):
            seen += 1
            if seen == 2_000:
                gc.collect()
                early = tracemalloc.get_traced_memory()[0]
                tracemalloc.reset_peak()
            assert result == seen - 1
        return seen, tracemalloc.get_traced_memory()[1] - early

    tracemalloc.start()
    try:
        seen, more = asyncio.run(main())
    finally:
        tracemalloc.stop()
    assert seen == 100_000
    assert more < 1_000_000


def test_a_progress_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)

    async def main() -> None:
        await amap(Calls(), range(30), limit=3, progress="pages")

    asyncio.run(main())
    shown = capsys.readouterr().err
    assert "pages" in shown
    assert "30/30" in shown


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"limit": 0}, ValueError, "limit of 1 or more, not 0"),
        ({"limit": "3"}, TypeError, "int as limit, not str"),
        ({"limit": True}, TypeError, "int as limit, not bool"),
        ({"limit": 3, "buffer": -1}, ValueError, "buffer of 0 or more, not -1"),
        ({"limit": 3, "fn": None}, TypeError, "needs a function, not NoneType"),
        ({"limit": 3, "items": 5}, TypeError, "iterable of items, not int"),
        ({}, TypeError, "limit"),
    ],
)
def test_wrong_arguments_are_refused_at_once(
    arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        amap(**{"fn": Calls(), "items": [1], **arguments})
