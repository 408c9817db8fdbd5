"""A queue used by tasks of running event loops, alone and together with threads."""

import asyncio
import gc
import threading
import weakref
from typing import Any

import pytest

import plait.queue
from blocked import PATIENCE, Background, until, waiting

of_each_kind = pytest.mark.parametrize("kind", ["Queue", "LifoQueue", "PriorityQueue"])


async def suspended(awaitable: Any) -> "asyncio.Task[Any]":
    """A task that waits, by the time that this returns."""
    task = asyncio.ensure_future(awaitable)
    await asyncio.sleep(0)
    assert not task.done()
    return task


@of_each_kind
def test_tasks_put_get_and_join(kind: str) -> None:
    async def main() -> list[int]:
        queue = getattr(plait.queue, kind)(1)
        assert await queue.put_async(1) is None
        putting = await suspended(queue.put_async(2))
        joining = await suspended(queue.join_async())
        seen = [await queue.get_async()]
        await putting
        seen.append(await queue.get_async())
        getting = await suspended(queue.get_async())
        queue.put(3)
        seen.append(await getting)
        for _ in seen:
            queue.task_done()
        await joining
        return seen

    assert asyncio.run(main()) == [1, 2, 3]


@of_each_kind
def test_threads_and_the_tasks_of_two_loops_share_one_queue(kind: str) -> None:
    queue = getattr(plait.queue, kind)(4)
    each = 100
    seen: list[int] = []

    async def produce(start: int) -> None:
        for item in range(start, start + each):
            await queue.put_async(item)

    async def consume() -> None:
        async for item in queue:
            seen.append(item)
            queue.task_done()

    def consume_in_thread() -> None:
        while True:
            try:
                seen.append(queue.get())
            except plait.queue.ShutDown:
                return
            queue.task_done()

    takers = [Background(lambda: asyncio.run(consume())), Background(consume_in_thread)]
    makers = [
        Background(lambda: asyncio.run(produce(0))),
        Background(lambda: [queue.put(item) for item in range(each, 2 * each)]),
    ]
    for maker in makers:
        assert maker.result()[0] == "returns"
    queue.join()
    queue.shutdown()
    for taker in takers:
        assert taker.result() == ("returns", "None")
    assert sorted(seen) == list(range(2 * each))


def test_a_cancelled_getter_takes_nothing() -> None:
    async def main() -> None:
        queue: plait.queue.Queue[int] = plait.queue.Queue()
        first, second = await suspended(queue.get_async()), await suspended(queue.get_async())
        queue.put(1)  # notifies the first one, which is cancelled before it runs
        first.cancel()
        assert await asyncio.wait_for(second, PATIENCE) == 1
        with pytest.raises(asyncio.CancelledError):
            await first
        third = await suspended(queue.get_async())
        third.cancel()
        await asyncio.sleep(0)
        assert waiting(queue.not_empty) == 0
        queue.put(2)
        assert queue.get_nowait() == 2

    asyncio.run(main())


def test_a_loop_over_a_queue_ends_with_it() -> None:
    async def main() -> list[int]:
        queue: plait.queue.Queue[int] = plait.queue.Queue()
        for item in range(3):
            queue.put(item)
        queue.shutdown()
        return [item async for item in queue]

    assert asyncio.run(main()) == [0, 1, 2]


def test_shutdown_reaches_the_tasks() -> None:
    async def main() -> None:
        queue: plait.queue.Queue[int] = plait.queue.Queue(1)
        getting = await suspended(queue.get_async())
        threading.Thread(target=queue.shutdown).start()
        with pytest.raises(plait.queue.ShutDown):
            await getting
        with pytest.raises(plait.queue.ShutDown):
            await queue.put_async(1)
        with pytest.raises(plait.queue.ShutDown):
            await queue.get_async()

    asyncio.run(main())


def test_a_getter_of_a_closed_loop_passes_its_item_on() -> None:
    queue: plait.queue.Queue[int] = plait.queue.Queue()
    loop = asyncio.new_event_loop()
    getting = loop.create_task(queue.get_async())
    loop.run_until_complete(asyncio.sleep(0))
    later = Background(queue.get)
    until(lambda: waiting(queue.not_empty) == 2)
    loop.close()
    queue.put(1)
    assert later.result() == ("returns", "1")
    del getting
    gc.collect()


def test_a_wait_that_is_dropped_leaves_nothing_behind() -> None:
    class Item: ...

    async def main() -> None:
        queue: plait.queue.Queue[Item] = plait.queue.Queue(1)
        item = Item()
        gone = weakref.ref(item)
        queue.put(Item())
        putting = await suspended(queue.put_async(item))
        putting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await putting
        del putting, item
        await asyncio.sleep(0)  # asyncio itself holds on to the task until then
        gc.collect()
        assert gone() is None
        assert waiting(queue.not_full) == 0

    asyncio.run(main())
