"""A stalled loop is named: the stack of the callback that holds it, while it holds it.

The standard library's debug mode tells afterwards that a callback was slow, and which; not where it was so long, and
never if it does not come back. Here a thread looks, as long as the loop runs, and only if asked: in debug mode, or with
`PLAIT_STALL=seconds` in the environment.
"""

from __future__ import annotations

import sys
import threading
import traceback
from asyncio.log import logger

TYPE_CHECKING = False  # `typing` takes longer to import than the rest of this
if TYPE_CHECKING:
    from plait.asyncio.loop import EventLoop

__all__ = ["Stall"]

LEAST = 0.005  # between two looks, in seconds


class Stall:
    """Watches one loop until `end()`. `seconds` is a number as text; None is the loop's `slow_callback_duration`."""

    def __init__(self, loop: EventLoop, seconds: str | None) -> None:
        self._loop = loop
        self._thread_id = loop._thread_id or threading.get_ident()  # who sets debug mode may be another thread
        self._seconds = None
        if seconds:
            try:
                self._seconds = float(seconds)
            except ValueError:
                raise ValueError(f"PLAIT_STALL is a number of seconds, not {seconds!r}") from None
        self._ended = threading.Lock()
        self._ended.acquire()
        loop._time_callbacks(True)
        self._thread = threading.Thread(target=self._watch, name="plait-stall", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop watching."""
        self._loop._time_callbacks(False)
        self._ended.release()
        if self._thread is not threading.current_thread():
            self._thread.join(1)

    def _limit(self) -> float:
        return self._loop.slow_callback_duration if self._seconds is None else self._seconds

    def _watch(self) -> None:
        told = 0
        while not self._ended.acquire(timeout=max(LEAST, min(self._limit() / 4, 3600))):
            running = self._loop._callback_running()
            if running is None:
                continue
            number, seconds = running
            limit = self._limit()
            if number != told and seconds >= limit:
                told = number
                self._tell(number, seconds)

    def _tell(self, number: int, seconds: float) -> None:
        frame = sys._current_frames().get(self._thread_id)
        if frame is None:
            return
        stack = "".join(traceback.format_stack(frame))
        del frame
        now = self._loop._callback_running()
        if now is not None and now[0] == number:  # else the stack is another's
            logger.warning(
                "One callback has held the event loop for %.3f seconds. It is here (most recent call last):\n%s",
                seconds,
                stack.rstrip(),
            )
