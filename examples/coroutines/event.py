"""An Event is a flag: two coroutines wait until a third one raises it.

Prints:

    first waits
    second waits
    the flag goes up
    first goes on
    second goes on
    who comes later does not wait
"""

import asyncio


async def wait(name: str, event: asyncio.Event) -> None:
    print(name, "waits")
    await event.wait()
    print(name, "goes on")


async def raise_flag(event: asyncio.Event) -> None:
    await asyncio.sleep(0.01)
    print("the flag goes up")
    event.set()


async def main() -> None:
    event = asyncio.Event()
    await asyncio.gather(wait("first", event), wait("second", event), raise_flag(event))
    await event.wait()
    print("who comes later does not wait")


asyncio.run(main())
