"""A Lock: while one coroutine is inside, no other enters the block, even where it awaits.

Prints:

    without the lock: 1
    with the lock: 100
"""

import asyncio

counter = 0


async def plus_one() -> None:
    global counter
    local = counter
    await asyncio.sleep(0)  # here the others run
    counter = local + 1


async def careful(lock: asyncio.Lock) -> None:
    async with lock:
        await plus_one()


async def main() -> None:
    global counter
    await asyncio.gather(*[plus_one() for _ in range(100)])
    print("without the lock:", counter)
    counter = 0
    lock = asyncio.Lock()
    await asyncio.gather(*[careful(lock) for _ in range(100)])
    print("with the lock:", counter)


asyncio.run(main())
