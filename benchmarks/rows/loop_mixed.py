"""Tasks and futures that are not the loop's own: the C types of `_asyncio`, named as such, on every loop.

On the other loops the C types are what a program gets anyway; on plait's the first and the third row put a task of
the C type in place of plait's, the second and the third row cross the two kinds.
"""

import _asyncio
import asyncio as standard
from itertools import repeat
from typing import Any

from benchmarks.rows.loop_tasks import switches
from benchmarks.rows.loops import LoopGroup

GROUP = LoopGroup("Loop: the C types beside plait's")


@GROUP.task("sleep(0) in a task of the C type", floor=3)
async def c_task(asyncio: Any, n: int) -> object:
    task = _asyncio.Task(switches(standard, n), loop=asyncio.get_running_loop())
    return await task


@GROUP.task("our task awaits a C future", floor=3)
async def c_future(asyncio: Any, n: int) -> object:
    loop = asyncio.get_running_loop()
    call_soon = loop.call_soon
    for _ in repeat(None, n):
        future = _asyncio.Future(loop=loop)
        call_soon(future.set_result, None)
        await future
    return n


@GROUP.task("a C task awaits our future", floor=3)
async def c_task_our_future(asyncio: Any, n: int) -> object:
    loop = asyncio.get_running_loop()

    async def await_ours() -> int:
        create_future, call_soon = loop.create_future, loop.call_soon
        for _ in repeat(None, n):
            future = create_future()
            call_soon(future.set_result, None)
            await future
        return n

    task = _asyncio.Task(await_ours(), loop=loop)
    return await task
