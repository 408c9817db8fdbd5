"""`to_thread`, on asyncio and on plait, each on both loops."""

import asyncio
import contextvars
import inspect
import threading

import pytest
from sides import SIDES, new_loop


@pytest.fixture(params=[("asyncio", "asyncio"), ("plait", "plait"), ("plait", "asyncio"), ("asyncio", "plait")])
def pair(request):
    """Whose function on whose loop."""
    functions, loops = request.param
    return SIDES[functions].to_thread, SIDES[loops]


def test_result_error_and_arguments(pair):
    to_thread, loops = pair

    async def main():
        with pytest.raises(ZeroDivisionError):
            await to_thread(divmod, 1, 0)
        assert await to_thread(threading.current_thread) is not threading.current_thread()
        return await to_thread(divmod, 7, 2), await to_thread(dict, [("b", 2)], a=1)

    with new_loop(loops) as loop:
        assert loop.run_until_complete(main()) == ((3, 1), {"b": 2, "a": 1})


def test_the_context_is_the_tasks(pair):
    to_thread, loops = pair
    variable = contextvars.ContextVar("variable")

    def look():
        seen = variable.get()
        variable.set("the thread's")
        return seen

    async def main():
        variable.set("before")
        waiting = to_thread(look)
        variable.set("when it was awaited")
        return await waiting, variable.get()

    with new_loop(loops) as loop:
        assert loop.run_until_complete(main()) == ("when it was awaited", "when it was awaited")


def test_it_begins_when_it_is_awaited(pair):
    to_thread, loops = pair
    called = []

    async def main():
        waiting = to_thread(called.append, 1)
        await asyncio.sleep(0.01)
        assert called == []
        await asyncio.create_task(waiting)
        assert called == [1]

    with new_loop(loops) as loop:
        loop.run_until_complete(main())


def test_cancelling_ends_the_wait_and_not_the_call(pair):
    to_thread, loops = pair
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def work():
        begun.set()
        assert go_on.wait(10)
        ended.set()

    async def main():
        task = asyncio.ensure_future(to_thread(work))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not ended.is_set()
        go_on.set()

    with new_loop(loops) as loop:
        loop.run_until_complete(main())
    assert ended.wait(10)


def test_an_error_that_is_a_cancellation(pair):
    """What the function raises is what the task gets, also if it looks like a cancellation."""
    to_thread, loops = pair

    def fail():
        raise asyncio.CancelledError("not from outside")

    async def main():
        task = asyncio.ensure_future(to_thread(fail))
        await asyncio.wait([task])
        return task.cancelled()

    with new_loop(loops) as loop:
        assert loop.run_until_complete(main())


@pytest.mark.parametrize("side", SIDES.values(), ids=SIDES)
def test_calls_that_are_wrong(side):
    assert inspect.iscoroutinefunction(side.to_thread)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'func'"):
        side.to_thread()
    waiting = side.to_thread(int)
    with pytest.raises(RuntimeError, match="no running event loop"):
        waiting.send(None)
    with pytest.warns(RuntimeWarning, match="coroutine 'to_thread' was never awaited"):
        side.to_thread(int)
