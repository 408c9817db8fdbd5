"""gather runs several coroutines at once: results in order, the first error only, and nobody is cancelled for it.

Prints:

    [1, 2, 3] in less time than one after the other: True
    error: first
    the third went on: done
    with return_exceptions: [ValueError('first'), KeyError('second'), 'done']
"""

import asyncio
import time


async def number(value: int, seconds: float) -> int:
    await asyncio.sleep(seconds)
    return value


async def fail(error: Exception, seconds: float) -> None:
    await asyncio.sleep(seconds)
    raise error


finished = asyncio.Event()


async def succeed(seconds: float) -> str:
    await asyncio.sleep(seconds)
    finished.set()
    return "done"


async def main() -> None:
    begin = time.monotonic()
    numbers = await asyncio.gather(number(1, 0.1), number(2, 0.2), number(3, 0.3))
    print(numbers, "in less time than one after the other:", time.monotonic() - begin < 0.6)

    third = asyncio.create_task(succeed(0.1))
    try:
        await asyncio.gather(fail(ValueError("first"), 0.01), fail(KeyError("second"), 0.05), third)
    except (ValueError, KeyError) as error:
        print("error:", *error.args)
    await finished.wait()
    print("the third went on:", await third)

    results = await asyncio.gather(
        fail(ValueError("first"), 0.01), fail(KeyError("second"), 0.02), succeed(0.03), return_exceptions=True
    )
    print("with return_exceptions:", results)


asyncio.run(main())
