"""Futures that are awaited, and asyncio with plait's pool."""

import asyncio
import contextlib

import pytest

import plait
from blocked import PATIENCE, Background
from plait.concurrent.futures import Future, ThreadPoolExecutor


def test_a_future_can_be_awaited_as_it_is():
    async def main():
        with ThreadPoolExecutor(1) as pool:
            assert await pool.submit(pow, 2, 5) == 32
            with pytest.raises(ZeroDivisionError):
                await pool.submit(divmod, 1, 0)
            done = Future()
            done.set_result(1)
            assert await done == 1
            assert await asyncio.gather(pool.submit(abs, -1), pool.submit(abs, -2)) == [1, 2]
            assert await asyncio.wait_for(pool.submit(abs, -3), PATIENCE) == 3

    asyncio.run(main())


def test_cancelling_the_task_cancels_the_call_and_the_other_way_round():
    async def main():
        queued, cancelled = Future(), Future()

        async def get(future):
            return await future

        task = asyncio.create_task(get(queued))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert queued.cancelled()
        task = asyncio.create_task(get(cancelled))
        await asyncio.sleep(0)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


@pytest.mark.parametrize("installed", [False, True])
def test_asyncio_takes_the_pool_and_its_futures(installed):
    async def main():
        with ThreadPoolExecutor(1) as pool:
            loop = asyncio.get_running_loop()
            assert await loop.run_in_executor(pool, pow, 2, 3) == 8
            assert await asyncio.wrap_future(pool.submit(abs, -4)) == 4
            loop.set_default_executor(pool)
            assert await asyncio.to_thread(abs, -5) == 5

    with plait.installed() if installed else contextlib.nullcontext():
        asyncio.run(main())


def test_two_loops_wait_for_one_future():
    future = Future()

    async def get():
        return await future

    loops = [Background(lambda: asyncio.run(get())) for _ in range(2)]
    future.set_result("both")
    assert [loop.result() for loop in loops] == [("returns", "'both'")] * 2


def test_awaiting_outside_a_loop_says_so():
    with pytest.raises(RuntimeError, match="no running event loop"):
        Future().__await__()
