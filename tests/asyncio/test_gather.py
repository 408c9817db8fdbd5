"""gather and shield on plait's loop: results, errors, cancellation, and the order in which things happen."""

import asyncio as stdlib
import gc
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import plait.asyncio as asyncio


async def give(value: Any, turns: int = 0) -> Any:
    for _ in range(turns):
        await asyncio.sleep(0)
    return value


async def fail(error: BaseException, turns: int = 0) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)
    raise error


def test_results_come_in_the_order_of_the_arguments() -> None:
    async def main() -> list[Any]:
        return await asyncio.gather(give(1, 3), give(2), give(3, 1))

    assert asyncio.run(main()) == [1, 2, 3]


def test_the_same_awaitable_twice_is_one_child() -> None:
    async def main() -> list[Any]:
        coroutine, task = give("c"), asyncio.create_task(give("t"))
        return await asyncio.gather(coroutine, task, coroutine, task, give("x"))

    assert asyncio.run(main()) == ["c", "t", "c", "t", "x"]


def test_the_same_awaitable_twice_is_one_child_where_only_the_arguments_hold_it() -> None:
    async def main() -> list[Any]:
        return await asyncio.gather(*[give("c")] * 3)

    assert asyncio.run(main()) == ["c", "c", "c"]


def test_nothing_gives_an_empty_list() -> None:
    async def main() -> list[Any]:
        return await asyncio.gather()

    assert asyncio.run(main()) == []


def test_the_first_error_is_raised_and_the_others_run_on() -> None:
    async def main() -> list[str]:
        seen: list[str] = []

        async def slow() -> None:
            await asyncio.sleep(0.001)
            seen.append("slow")

        with pytest.raises(ValueError, match="first"):
            await asyncio.gather(slow(), fail(ValueError("first")), fail(KeyError("second"), 1))
        assert not seen
        await asyncio.sleep(0.01)
        return seen

    assert asyncio.run(main()) == ["slow"]


def test_errors_as_results() -> None:
    async def main() -> list[Any]:
        cancelled = asyncio.create_task(give(1, 10))
        cancelled.cancel("why")
        return await asyncio.gather(fail(KeyError(1)), give(2), cancelled, return_exceptions=True)

    error, two, cancelled = asyncio.run(main())
    assert isinstance(error, KeyError)
    assert two == 2
    assert isinstance(cancelled, asyncio.CancelledError)
    assert cancelled.args == ("",)


def test_cancelling_it_cancels_the_children_and_ends_when_they_have() -> None:
    async def main() -> None:
        log: list[str] = []

        async def child() -> None:
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                await asyncio.sleep(0)
                log.append("cleaned up")
                raise

        outer = asyncio.gather(child(), child(), return_exceptions=True)
        await asyncio.sleep(0)
        assert outer.cancel("stop")
        assert not outer.done()
        assert outer._cancel_requested
        with pytest.raises(asyncio.CancelledError):
            await outer
        assert log == ["cleaned up"] * 2
        assert not outer.cancel()

    asyncio.run(main())


def test_a_child_that_somebody_cancels_counts_as_an_error() -> None:
    async def main() -> None:
        child, other = asyncio.create_task(give(1, 5)), asyncio.create_task(give(2, 5))
        outer = asyncio.gather(child, other)
        child.cancel("gone")
        with pytest.raises(asyncio.CancelledError, match="gone"):
            await outer
        assert not outer.cancelled()
        assert not other.cancelled()
        assert await other == 2

    asyncio.run(main())


def test_futures_of_another_loop_are_refused() -> None:
    foreign = asyncio.new_event_loop()

    async def main() -> None:
        future = foreign.create_future()
        with pytest.raises(ValueError, match="belongs to a different loop"):
            asyncio.gather(asyncio.get_running_loop().create_future(), future)

    try:
        asyncio.run(main())
    finally:
        foreign.close()


def test_what_cannot_be_awaited_is_refused_and_what_had_begun_is_forgotten() -> None:
    async def main() -> None:
        with pytest.raises(TypeError, match="An asyncio.Future, a coroutine or an awaitable is required"):
            asyncio.gather(fail(ValueError("nobody asks")), 5)  # type: ignore[call-overload]
        await asyncio.sleep(0.001)

    asyncio.run(main())


def test_any_awaitable_will_do() -> None:
    class Deferred:
        def __await__(self) -> Any:
            return give("deferred").__await__()

    async def main() -> list[Any]:
        return await asyncio.gather(Deferred(), give(1))

    assert asyncio.run(main()) == ["deferred", 1]


@pytest.mark.parametrize("runner", [asyncio.run, stdlib.run], ids=["plait's loop", "asyncio's loop"])
def test_futures_of_both_kinds(runner: Callable[[Any], Any]) -> None:
    async def main() -> list[Any]:
        loop = asyncio.get_running_loop()
        theirs: Awaitable[Any] = stdlib.Future(loop=loop)
        ours = asyncio.Future(loop=loop)
        loop.call_soon(theirs.set_result, 1)  # type: ignore[attr-defined]
        loop.call_soon(ours.set_result, 2)
        c_task = stdlib.Task(give(3, 2), loop=loop)
        return await asyncio.gather(theirs, ours, c_task, give(4))

    assert runner(main()) == [1, 2, 3, 4]


def test_callbacks_run_in_asyncios_order() -> None:
    def order(module: Any, run: Callable[[Any], Any]) -> list[str]:
        log: list[str] = []

        async def child(name: str, turns: int) -> None:
            await give(None, turns)
            log.append(f"{name} ends")

        async def other() -> None:
            for turn in range(8):
                log.append(f"turn {turn}")
                await module.sleep(0)

        async def main() -> None:
            watch = module.create_task(other())
            tasks = [module.create_task(child("a", 2)), module.create_task(child("b", 1))]
            for task, name in zip(tasks, "ab", strict=True):
                task.add_done_callback(lambda _, name=name: log.append(f"{name} told"))
            outer = module.gather(*tasks)
            outer.add_done_callback(lambda _: log.append("gather told"))
            await outer
            log.append("main goes on")
            await watch

        run(main())
        return log

    assert order(asyncio, asyncio.run) == order(stdlib, stdlib.run)


def test_a_thousand_leave_nothing_behind() -> None:
    class Result:
        pass

    async def make() -> Result:
        await asyncio.sleep(0)
        return Result()

    async def main() -> list[weakref.ref[Result]]:
        results = await asyncio.gather(*(make() for _ in range(1000)))
        return [weakref.ref(result) for result in results]

    left = asyncio.run(main())
    gc.collect()
    assert not any(ref() for ref in left)


def test_shield_is_cancelled_and_the_task_runs_on() -> None:
    async def main() -> None:
        inner = asyncio.create_task(give("done", 5))

        async def caller() -> None:
            await asyncio.shield(inner)

        outer = asyncio.create_task(caller())
        await asyncio.sleep(0)
        outer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await outer
        assert not inner.cancelled()
        assert await inner == "done"

    asyncio.run(main())


def test_shield_gives_what_the_task_gives() -> None:
    async def main() -> None:
        assert await asyncio.shield(give(1, 1)) == 1
        with pytest.raises(KeyError):
            await asyncio.shield(fail(KeyError(), 1))
        inner = asyncio.create_task(give(1, 5))
        outer = asyncio.shield(inner)
        inner.cancel()
        with pytest.raises(asyncio.CancelledError):
            await outer
        done = asyncio.get_running_loop().create_future()
        done.set_result(2)
        assert asyncio.shield(done) is done

    asyncio.run(main())
