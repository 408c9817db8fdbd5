"""Blocking work beside coroutines: to_thread keeps the loop free, a process pool computes.

Prints:

    the loop ticked while a thread was blocked: True
    from the thread: read
    from processes: [1, 4, 9]
    from another thread into the loop: 3 strands
"""

import asyncio
import threading
from concurrent.futures import ProcessPoolExecutor


def blocking(gate: threading.Event) -> str:
    gate.wait()
    return "read"


def square(number: int) -> int:
    return number * number


async def strands() -> str:
    await asyncio.sleep(0)
    return "3 strands"


async def main() -> None:
    gate, ticks = threading.Event(), 0
    task = asyncio.create_task(asyncio.to_thread(blocking, gate))
    while ticks < 10:
        await asyncio.sleep(0.001)
        ticks += 1
    print("the loop ticked while a thread was blocked:", not task.done())
    gate.set()
    print("from the thread:", await task)

    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(2) as pool:
        print("from processes:", await asyncio.gather(*[loop.run_in_executor(pool, square, n) for n in (1, 2, 3)]))

    def from_a_thread() -> str:
        return asyncio.run_coroutine_threadsafe(strands(), loop).result()

    print("from another thread into the loop:", await asyncio.to_thread(from_a_thread))


if __name__ == "__main__":
    asyncio.run(main())
