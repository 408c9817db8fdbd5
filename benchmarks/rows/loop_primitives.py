"""Coroutines that wait for each other: queues, locks, semaphores, events."""

from itertools import repeat
from typing import Any

from benchmarks.rows.loops import LoopGroup

GROUP = LoopGroup("Loop: queues and locks")
HOLDERS = 10
CALLERS = 10_000


@GROUP.task("Queue(1) transfer", floor=10, goal=18, best=5)
async def queue_1(asyncio: Any, n: int) -> object:
    queue = asyncio.Queue(1)

    async def produce() -> None:
        put = queue.put
        for _ in repeat(None, n):
            await put(7)

    task = asyncio.create_task(produce())
    get, total = queue.get, 0
    for _ in repeat(None, n):
        total += await get()
    await task
    return total


@GROUP.task("Lock, 10 tasks", floor=9, goal=14, best=4, batch=HOLDERS)
async def lock_10(asyncio: Any, n: int) -> object:
    lock, sleep, total = asyncio.Lock(), asyncio.sleep, 0

    async def hold() -> None:
        nonlocal total
        for _ in repeat(None, n // HOLDERS):
            async with lock:
                before = total
                await sleep(0)
                total = before + 1

    await asyncio.gather(*[hold() for _ in range(HOLDERS)])
    return total


async def enter_and_leave(asyncio: Any, lock: Any, n: int) -> object:
    """`async with` of what nobody else wants."""
    for _ in repeat(None, n):
        async with lock:
            pass
    return lock.locked()


@GROUP.task("Lock `async with`, uncontended", floor=2.5, goal=3.3)
async def lock_free(asyncio: Any, n: int) -> object:
    return await enter_and_leave(asyncio, asyncio.Lock(), n)


@GROUP.task("Semaphore `async with`, uncontended", floor=4, goal=5)
async def semaphore_free(asyncio: Any, n: int) -> object:
    return await enter_and_leave(asyncio, asyncio.Semaphore(2), n)


@GROUP.task("Semaphore(2), 10,000 tasks, each", floor=6, goal=10, best=4, batch=CALLERS, whole=True)
async def semaphore_2(asyncio: Any, n: int) -> object:
    semaphore, sleep = asyncio.Semaphore(2), asyncio.sleep
    inside = most = 0

    async def call() -> None:
        nonlocal inside, most
        async with semaphore:
            inside += 1
            most = max(most, inside)
            await sleep(0)
            inside -= 1

    await asyncio.gather(*[call() for _ in repeat(None, n)])
    return most


@GROUP.task("Event ping-pong", floor=6, goal=10, best=3)
async def event_ping_pong(asyncio: Any, n: int) -> object:
    there, back = asyncio.Event(), asyncio.Event()

    async def answer() -> None:
        for _ in repeat(None, n):
            await there.wait()
            there.clear()
            back.set()

    task = asyncio.create_task(answer())
    for _ in repeat(None, n):
        there.set()
        await back.wait()
        back.clear()
    await task
    return n
