"""Calls that block: seen to wait, in a thread of their own, or ended by a signal."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

PATIENCE = 10  # seconds, for what has to happen at once, on a busy machine


def outcome(call: Callable[[], object]) -> tuple[str, str]:
    """What a call returned, or the name and text of what it raised."""
    try:
        return "returns", repr(call())
    except Exception as error:
        return type(error).__name__, str(error)


@contextmanager
def alarm_after(seconds: float) -> Iterator[None]:
    """SIGALRM raises KeyboardInterrupt in the main thread after a while."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def until(true: Callable[[], bool]) -> None:
    """Lets the other threads run until something that they do is to be seen."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.001)


def waiting(condition: Any) -> int:
    """How many stand in the waiter list of one of plait's conditions."""
    return int(repr(condition).rsplit(" ", 1)[1].rstrip(")>"))


class Background:
    """A call in a thread of its own, and its outcome."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.outcome: tuple[str, str] | None = None
        self._thread = threading.Thread(target=self._run, args=(call,))
        self._thread.start()

    def _run(self, call: Callable[[], object]) -> None:
        self.outcome = outcome(call)

    def result(self) -> tuple[str, str]:
        self._thread.join(PATIENCE)
        assert self.outcome is not None, "still blocked"
        return self.outcome
