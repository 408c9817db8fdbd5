"""What asyncio's loop takes by name plait's takes by name, and says the same where it is wrong."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import plait.asyncio

CALLS: dict[str, Callable[[Any], Any]] = {
    "call_soon": lambda loop: loop.call_soon(callback=int),
    "call_soon_threadsafe": lambda loop: loop.call_soon_threadsafe(callback=int),
    "call_later": lambda loop: loop.call_later(delay=0, callback=int),
    "call_later, one": lambda loop: loop.call_later(0, callback=int),
    "call_at": lambda loop: loop.call_at(callback=int, when=loop.time()),
    "set_debug": lambda loop: loop.set_debug(enabled=False),
    "run_in_executor": lambda loop: loop.run_in_executor(executor=None, func=int),
    "cancel": lambda loop: loop.create_future().cancel(msg="why"),
}
WRONG: dict[str, Callable[[Any], Any]] = {
    "call_soon, twice": lambda loop: loop.call_soon(int, callback=int),
    "call_later, twice": lambda loop: loop.call_later(0, int, callback=int),
    "call_later, delay twice": lambda loop: loop.call_later(0, delay=0, callback=int),
    "call_later, no callback": lambda loop: loop.call_later(0),
    "call_soon, nothing": lambda loop: loop.call_soon(),
    "call_soon, unknown": lambda loop: loop.call_soon(int, other=1),
}


def in_a_loop(call: Callable[[Any], Any]) -> None:
    async def main() -> None:
        made = call(asyncio.get_running_loop())
        if asyncio.isfuture(made):
            await made
        await asyncio.sleep(0)

    plait.asyncio.run(main())


@pytest.mark.parametrize("name", CALLS)
def test_by_name(name: str) -> None:
    in_a_loop(CALLS[name])


@pytest.mark.parametrize("name", WRONG)
def test_wrong(name: str) -> None:
    with pytest.raises(TypeError, match="multiple values|missing|unexpected"):
        in_a_loop(WRONG[name])
