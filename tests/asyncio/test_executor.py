"""Calls in threads: run_in_executor, to_thread, and back."""

import asyncio
import concurrent.futures
import contextvars
import threading
import time

import pytest

import plait.asyncio
import plait.concurrent.futures


def run(main):
    return plait.asyncio.run(main)


def test_the_loops_own_pool_is_plaits():
    async def main():
        loop = asyncio.get_running_loop()
        name = await loop.run_in_executor(None, lambda: threading.current_thread().name)
        return name, type(loop._default_executor)

    name, pool = run(main())
    assert name.startswith("asyncio")
    assert pool is plait.concurrent.futures.ThreadPoolExecutor


@pytest.mark.parametrize(
    "pool", [plait.concurrent.futures.ThreadPoolExecutor, concurrent.futures.ThreadPoolExecutor]
)
def test_results_and_errors(pool):
    async def main():
        loop = asyncio.get_running_loop()
        with pool(2) as executor:
            assert await loop.run_in_executor(executor, pow, 2, 10) == 1024
            with pytest.raises(ZeroDivisionError):
                await loop.run_in_executor(executor, divmod, 1, 0)

    run(main())


def test_a_cancelled_future_cancels_the_job_that_has_not_begun():
    begun = []

    async def main():
        loop = asyncio.get_running_loop()
        with plait.concurrent.futures.ThreadPoolExecutor(1) as executor:
            hold = threading.Event()
            first = loop.run_in_executor(executor, hold.wait)
            second = loop.run_in_executor(executor, begun.append, 1)
            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second
            await asyncio.sleep(0)
            hold.set()
            await first

    run(main())
    assert begun == []


def test_to_thread_carries_the_context():
    variable = contextvars.ContextVar("variable")

    async def main():
        variable.set(7)
        return await asyncio.to_thread(variable.get)

    assert run(main()) == 7


def test_a_result_that_comes_late_is_slept_for_not_spun_for():
    async def main():
        before = time.process_time()
        await asyncio.to_thread(time.sleep, 0.5)
        return time.process_time() - before

    assert run(main()) < 0.1


def test_a_loop_that_expects_a_result_still_polls_and_keeps_time():
    async def main():
        loop = asyncio.get_running_loop()
        stop = False
        ticks = 0

        async def jobs():
            while not stop:
                await asyncio.to_thread(int)

        def tick():
            nonlocal ticks
            ticks += 1

        task = asyncio.create_task(jobs())
        for at in range(10):
            loop.call_later(0.01 * at, tick)
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
        writer.write(b"ping")
        assert await asyncio.wait_for(reader.readexactly(4), 5) == b"ping"
        writer.close()
        server.close()
        await asyncio.sleep(0.2)
        stop = True
        await task
        return ticks

    async def echo(reader, writer):
        writer.write(await reader.read(100))
        writer.close()

    assert run(main()) == 10
