"""A Future is a promise: one coroutine waits for it, another one keeps it, and goes on running afterwards.

Prints:

    result: 42
    the other coroutine is done: False
    the other coroutine is done: True
    a promise is kept once: invalid state
"""

import asyncio


async def keep(future: asyncio.Future[int], gate: asyncio.Event) -> None:
    await asyncio.sleep(0.01)
    future.set_result(42)
    await gate.wait()


async def main() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    gate = asyncio.Event()
    task = asyncio.create_task(keep(future, gate))
    print("result:", await future)
    print("the other coroutine is done:", task.done())
    gate.set()
    await task
    print("the other coroutine is done:", task.done())
    try:
        future.set_result(43)
    except asyncio.InvalidStateError as error:
        print("a promise is kept once:", error)


asyncio.run(main())
