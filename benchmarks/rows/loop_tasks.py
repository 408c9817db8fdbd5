"""Coroutines, what a loop does all day: switches, tasks, futures, callbacks, timers."""

import asyncio as standard
from itertools import repeat
from typing import Any

from benchmarks.rows.loops import LoopGroup, drive

GROUP = LoopGroup("Loop: tasks and futures")
MANY = 1000
TASKS = 100
SLEEPERS = 50_000


async def switches(asyncio: Any, n: int) -> object:
    """Give way n times."""
    sleep = asyncio.sleep
    for _ in repeat(None, n):
        await sleep(0)
    return n


def bare_switch(n: int) -> object:
    """`coro.send(None)` of the same coroutine, by hand."""
    return drive([switches(standard, n)], n)


@GROUP.task("sleep(0), one task", floor=7, goal=11, best=2, bare=bare_switch)
async def switch_1(asyncio: Any, n: int) -> object:
    return await switches(asyncio, n)


def bare_switches(n: int) -> object:
    """The same of a hundred coroutines in turn."""
    each = n // TASKS
    return drive([switches(standard, each) for _ in range(TASKS)], each)


@GROUP.task("sleep(0), 100 tasks", floor=4.5, goal=7, best=2, bare=bare_switches, batch=TASKS)
async def switch_100(asyncio: Any, n: int) -> object:
    tasks = [asyncio.create_task(switches(asyncio, n // TASKS)) for _ in range(TASKS)]
    for task in tasks:
        result = await task
    return result


async def seven() -> int:
    """What a task of these rows does."""
    return 7


@GROUP.task("gather of 1000, each", floor=7, goal=12, best=4.5, batch=MANY)
async def gather(asyncio: Any, n: int) -> object:
    total = 0
    for _ in repeat(None, n // MANY):
        total += sum(await asyncio.gather(*[seven() for _ in repeat(None, MANY)]))
    return total


@GROUP.task("TaskGroup of 1000, each", floor=7, goal=12, best=4.5, batch=MANY)
async def task_group(asyncio: Any, n: int) -> object:
    total = 0
    for _ in repeat(None, n // MANY):
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(seven()) for _ in repeat(None, MANY)]
        total += sum([task.result() for task in tasks])
    return total


@GROUP.task("`await create_task(f())`", floor=7, goal=11, best=3)
async def create_task(asyncio: Any, n: int) -> object:
    create_task = asyncio.create_task
    total = 0
    for _ in repeat(None, n):
        total += await create_task(seven())
    return total


@GROUP.task("future, call_soon(set_result), await", floor=7, goal=11, best=2)
async def future_call_soon(asyncio: Any, n: int) -> object:
    loop = asyncio.get_running_loop()
    create_future, call_soon = loop.create_future, loop.call_soon
    for _ in repeat(None, n):
        future = create_future()
        call_soon(future.set_result, None)
        await future
    return n


@GROUP.task("two tasks hand a future to and fro", floor=4.5, goal=9, best=1.8)
async def hand_over(asyncio: Any, n: int) -> object:
    create_future = asyncio.get_running_loop().create_future
    there, back = create_future(), create_future()

    async def answer() -> None:
        nonlocal there
        for _ in repeat(None, n):
            number = await there
            there = create_future()
            back.set_result(number)

    task = asyncio.create_task(answer())
    total = 0
    for _ in repeat(None, n):
        there.set_result(7)
        total += await back
        back = create_future()
    await task
    return total


@GROUP.task("50,000 sleeps of 1 ms, each", floor=15, goal=25, best=7, batch=SLEEPERS, whole=True)
async def sleeps(asyncio: Any, n: int) -> object:
    sleep = asyncio.sleep
    await asyncio.gather(*[sleep(0.001) for _ in repeat(None, n)])
    return n


@GROUP.task("`async with timeout(10)`", floor=5, goal=8, best=5)
async def timeout(asyncio: Any, n: int) -> object:
    timeout = asyncio.timeout
    for _ in repeat(None, n):
        async with timeout(10):
            pass
    return n


@GROUP.task("call_soon chain", floor=6, goal=9, best=1.1)
async def call_soon_chain(asyncio: Any, n: int) -> object:
    loop = asyncio.get_running_loop()
    call_soon, done = loop.call_soon, loop.create_future()
    left = n

    def step() -> None:
        nonlocal left
        left -= 1
        if left:
            call_soon(step)
        else:
            done.set_result(n)

    call_soon(step)
    return await done


# Floor and goal are against asyncio; "twice the best of them" is the floor against the best rival, too.
@GROUP.task("to_thread", floor=2, goal=10, best=2)
async def to_thread(asyncio: Any, n: int) -> object:
    to_thread = asyncio.to_thread
    total = 0
    for _ in repeat(None, n):
        total += await to_thread(int, "7")
    return total
