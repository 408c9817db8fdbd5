"""as_completed gives results as they get ready: three sleeps, started in another order than they end.

Prints:

    1
    2
    3
"""

import asyncio


async def one() -> int:
    await asyncio.sleep(0.1)
    return 1


async def two() -> int:
    await asyncio.sleep(0.2)
    return 2


async def three() -> int:
    await asyncio.sleep(0.3)
    return 3


async def main() -> None:
    for future in asyncio.as_completed([three(), one(), two()]):
        print(await future)


asyncio.run(main())
