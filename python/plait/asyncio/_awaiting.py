"""Coroutines that the native half puts around what is not one, or not yet to begin."""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` takes longer to import than the rest of this
if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Coroutine
    from typing import Any, TypeVar

    from plait._engine.asyncio import Future, Work

    _T = TypeVar("_T")


async def awaiting(awaitable: Awaitable[_T]) -> _T:
    """An awaitable as a coroutine."""
    return await awaitable


async def when_open(gate: Future[Any], coro: Coroutine[Any, Any, _T]) -> _T:
    """The coroutine, once `gate` is done."""
    try:
        await gate
    except BaseException:
        coro.close()
        raise
    return await coro


async def feed(work: Work, source: AsyncIterable[Any]) -> None:
    """Begin a call for each item, as there is room."""
    items = aiter(source)
    try:
        while True:
            gate = work._gate()
            if gate is not None:
                await gate
            else:
                try:
                    item = await anext(items)
                except StopAsyncIteration:
                    break
                work._start(item)
    finally:
        close = getattr(items, "aclose", None)
        if close is not None:
            await close()
