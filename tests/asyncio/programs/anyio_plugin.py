"""For anyio's pytest plugin: async tests and fixtures on the loop that LOOP_FACTORY names, or on asyncio's own."""

import asyncio
import importlib
import os

import anyio
import pytest
import seen


@pytest.fixture(scope="module")
def anyio_backend():
    if not (name := os.environ.get("LOOP_FACTORY")):
        return "asyncio"
    module, _, attribute = name.rpartition(".")
    return "asyncio", {"loop_factory": getattr(importlib.import_module(module), attribute)}


@pytest.fixture(scope="module")
async def served(anyio_backend):
    async def echo(stream) -> None:
        async with stream:
            async for data in stream:
                await stream.send(data)

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as group,
    ):
        group.start_soon(listener.serve, echo)
        yield listener.extra(anyio.abc.SocketAttribute.local_port)
        group.cancel_scope.cancel()


@pytest.mark.anyio
async def test_the_loop() -> None:
    seen.loop()
    assert asyncio.get_running_loop().is_running()


@pytest.mark.anyio
@pytest.mark.parametrize("size", [1, 1000, 300_000])
async def test_echo(served: int, size: int) -> None:
    async with await anyio.connect_tcp("127.0.0.1", served) as stream:
        await stream.send(b"x" * size)
        got = 0
        while got < size:
            got += len(await stream.receive())
    assert got == size


@pytest.mark.anyio
async def test_a_failure_is_a_failure() -> None:
    with anyio.move_on_after(0.01):
        await anyio.sleep_forever()
    assert asyncio.current_task() is None
