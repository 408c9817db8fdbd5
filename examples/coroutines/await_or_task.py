"""A coroutine does nothing until it is awaited; a task runs by itself.

Prints:

    called, nothing happened: []
    awaited: 9 ['plus_one']
    the task has run without await: ['plus_one', 'background']
    its result: 7
"""

import asyncio

steps: list[str] = []


async def plus_one() -> int:
    steps.append("plus_one")
    x = await asyncio.sleep(0, 1 + 1)
    y = await asyncio.sleep(0, 1 + 2)
    z = await asyncio.sleep(0, 1 + 3)
    return x + y + z


async def background() -> int:
    steps.append("background")
    return 7


async def main() -> None:
    coroutine = plus_one()
    print("called, nothing happened:", steps)
    print("awaited:", await coroutine, steps)
    task = asyncio.create_task(background())
    await asyncio.sleep(0.01)
    print("the task has run without await:", steps)
    print("its result:", await task)


asyncio.run(main())
