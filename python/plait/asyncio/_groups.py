"""Waiting for many: gather, TaskGroup, wait, wait_for, as_completed, shield; and amap, which asyncio does not have."""

from __future__ import annotations

import inspect
import operator
import sys
from asyncio import coroutines, events, futures
from asyncio.exceptions import CancelledError

from plait._engine.asyncio import AsyncMap, TaskGroup, ensure_future, gather, shield, wait
from plait._engine.asyncio import _AsCompletedIterator as AsCompleted
from plait._engine.asyncio import timeout as _timeout

TYPE_CHECKING = False  # `typing` takes longer to import than the rest of this
if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Iterator
    from typing import Any, TypeVar

    _T = TypeVar("_T")
    _R = TypeVar("_R")

__all__ = ["TaskGroup", "amap", "as_completed", "ensure_future", "gather", "shield", "wait", "wait_for"]


if sys.version_info >= (3, 12):

    async def wait_for(fut: Awaitable[_T], timeout: float | None) -> _T:
        """Await `fut` for at most `timeout` seconds (None: for ever), then cancel it and raise TimeoutError.

        It is awaited by the calling task itself. What it returns in spite of being cancelled is returned; what it
        raises is raised. If the wait is cancelled, so is `fut`: put it into `shield()` to prevent that. As
        `asyncio.wait_for`.
        """
        if timeout is not None and timeout <= 0:
            # The coroutine must not begin, so it cannot be awaited under a timeout.
            future = ensure_future(fut)
            if future.done():
                return future.result()
            await _cancel_and_wait(future)
            try:
                return future.result()
            except CancelledError as error:
                raise TimeoutError from error
        async with _timeout(timeout):
            return await fut

    async def _cancel_and_wait(future: Any) -> None:
        """Cancel a future and wait until it is done, itself to be cancelled at any time."""
        waiter = events.get_running_loop().create_future()

        def done(_future: object) -> None:
            if not waiter.done():
                waiter.set_result(None)

        future.add_done_callback(done)
        try:
            future.cancel()
            await waiter
        finally:
            future.remove_done_callback(done)

else:
    # Of 3.11: it awaits in a task of its own, which its users can see.
    from asyncio.tasks import wait_for


if sys.version_info >= (3, 13):

    def as_completed(fs: Iterable[Awaitable[_T]], *, timeout: float | None = None) -> AsCompleted:
        """Give awaitables as they are done.

        `async for task in as_completed(tasks)` gives the tasks and futures themselves (and the tasks that were made of
        coroutines); plain `for` gives coroutines, each with the result of the next one that is done. After `timeout`
        seconds TimeoutError is raised. As `asyncio.as_completed`.
        """
        if inspect.isawaitable(fs):
            raise TypeError(f"expects an iterable of awaitables, not {type(fs).__name__}")
        return AsCompleted(fs, timeout)

else:

    def as_completed(fs: Iterable[Awaitable[_T]], *, timeout: float | None = None) -> Iterator[Any]:
        """Give coroutines, each with the result of the next of `fs` that is done. As `asyncio.as_completed`."""
        if futures.isfuture(fs) or coroutines.iscoroutine(fs):
            raise TypeError(f"expect an iterable of futures, not {type(fs).__name__}")
        yield from AsCompleted(fs, timeout)


def amap(
    fn: Callable[[_T], Awaitable[_R]],
    items: Iterable[_T] | AsyncIterable[_T],
    *,
    limit: int,
    ordered: bool = True,
    buffer: int | None = None,
    return_exceptions: bool = False,
    progress: bool | str = False,
) -> AsyncMap[_R]:
    """Await `fn(item)` for each item, at most `limit` at a time: `async for page in amap(fetch, urls, limit=50):`.

    `await amap(...)` gives all results as a list. Nothing begins before the first of either.

    fn: an asynchronous function, or any other that returns an awaitable.
    items: an iterable, also an asynchronous or an endless one: items are pulled when they are needed.
    limit: how many calls run at a time, at most.
    ordered: results come in the order of the items; else as they are done.
    buffer: how many results may wait to be taken before no further call begins, beside the calls that run (None: as
        many as `limit`). A slow consumer slows the calls down.
    return_exceptions: exceptions are results like any other. Else the first one cancels the calls that run, and is
        raised when they have ended; results that have not been taken are lost.
    progress: show a tqdm bar (at a terminal, if tqdm is installed); a str is its title.

    Leaving the loop early cancels the calls that run. To have them ended when it is left, use it as a context manager:

        async with amap(fetch, urls, limit=50) as pages:
            async for page in pages:
                ...

    Raises TypeError and ValueError for wrong arguments, at once.
    """
    if not callable(fn):
        raise TypeError(f"amap() needs a function, not {type(fn).__name__}")
    limit = _count("limit", limit, 1)
    buffer = limit if buffer is None else _count("buffer", buffer, 0)
    asynchronous = hasattr(items, "__aiter__")
    if not asynchronous and not hasattr(items, "__iter__") and not hasattr(items, "__getitem__"):
        raise TypeError(f"amap() needs an iterable of items, not {type(items).__name__}")
    bar = None
    if progress is not False:
        bar = _bar(items, None if progress is True else str(progress))
    source: Any = items
    if not asynchronous:
        source = iter(source)
    return AsyncMap(fn, source, asynchronous, limit, buffer, bool(ordered), bool(return_exceptions), bar)


def _count(name: str, value: Any, least: int) -> int:
    """An argument that is a number of things."""
    if isinstance(value, bool):
        raise TypeError(f"amap() needs an int as {name}, not bool")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"amap() needs an int as {name}, not {type(value).__name__}") from None
    if number < least:
        raise ValueError(f"amap() needs a {name} of {least} or more, not {number}")
    return number


def _bar(items: Any, title: str | None) -> Any:
    """tqdm's bar, or None."""
    from plait.progress import progress

    try:
        total = len(items)
    except TypeError:
        total = None
    bar: Any = progress((), total=total, desc=title)
    return bar if hasattr(bar, "update") else None
