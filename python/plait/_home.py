"""An event loop in a thread of its own, for coroutine functions that threads submit."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import plait.asyncio as asyncio

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future

__all__ = ["Home"]


class Home:
    """A running loop of plait's; it runs until `close()`, and then until the last call has ended."""

    def __init__(self) -> None:
        self._open = 0  # calls that have not ended; only the loop's thread touches it
        self._closing = False
        self._loop: asyncio.AbstractEventLoop
        self._end: asyncio.Event
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="plait-pool-loop", daemon=True)
        self._thread.start()
        ready.wait()

    def _run(self, ready: threading.Event) -> None:
        asyncio.run(self._main(ready))

    async def _main(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        ready.set()
        await self._end.wait()

    def submit(self, fn: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Future[Any]:
        """Run the coroutine that `fn` returns, as a task of the loop."""
        return asyncio.run_coroutine_threadsafe(self._call(fn, args, kwargs), self._loop)

    async def _call(self, fn: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        self._open += 1
        try:
            return await fn(*args, **kwargs)
        finally:
            self._open -= 1
            self._end_if_over()

    def _end_if_over(self) -> None:
        if self._closing and not self._open:
            self._end.set()

    def close(self) -> None:
        """Wait until the last call has ended, then end the loop. Nothing is submitted after it."""
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            # After the tasks that were submitted before it, which have begun then.
            self._loop.call_soon_threadsafe(self._loop.call_soon, self._close_here)
            self._thread.join()

    def _close_here(self) -> None:
        self._closing = True
        self._end_if_over()
