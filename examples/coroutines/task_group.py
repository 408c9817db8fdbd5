"""A TaskGroup: when one fails the others are cancelled, and every error is told.

Prints:

    squares: [0, 1, 4, 9, 16]
    cancelled: slow
    errors: first, second
"""

import asyncio


async def square(number: int) -> int:
    await asyncio.sleep(0.01)
    return number * number


async def fail(reason: str, gate: asyncio.Event) -> None:
    await gate.wait()
    raise ValueError(reason)


async def slow() -> None:
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        print("cancelled: slow")
        raise


async def main() -> None:
    # No await inside: leaving the block waits for all of them.
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(square(number)) for number in range(5)]
    print("squares:", [task.result() for task in tasks])

    gate = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail("first", gate))
            group.create_task(fail("second", gate))
            group.create_task(slow())
            await asyncio.sleep(0)
            gate.set()
    except* ValueError as errors:
        print("errors:", ", ".join(str(error) for error in errors.exceptions))


asyncio.run(main())
