"""Where the tests of locks, queues and timeouts run: asyncio, plait, and plait's primitives on asyncio's loop."""

import asyncio
import types
from collections.abc import Callable, Coroutine
from typing import Any

import plait.asyncio
import plait.asyncio.sync

NAMES = plait.asyncio.sync.__all__


def _on_asyncios_loop() -> Any:
    mixed = types.SimpleNamespace(**{name: getattr(asyncio, name) for name in asyncio.__all__})
    for name in NAMES:
        setattr(mixed, name, getattr(plait.asyncio.sync, name))
    return mixed


SIDES: dict[str, Any] = {"asyncio": asyncio, "plait": plait.asyncio, "plait on asyncio's loop": _on_asyncios_loop()}
OURS = {name: side for name, side in SIDES.items() if name != "asyncio"}


def run(side: Any, main: Callable[[Any], Coroutine[Any, Any, Any]], seconds: float = 20) -> Any:
    """Run `main(side)` on a loop of the side."""

    async def bounded() -> Any:
        return await side.wait_for(main(side), seconds)

    return side.run(bounded())


async def turns(side: Any, count: int = 5) -> None:
    """Let the others go on."""
    for _ in range(count):
        await side.sleep(0)
