"""`threading` on plait's engine: the same names, so that changing the import is enough.

Lock, RLock, Condition, Semaphore, BoundedSemaphore, Event and Barrier are native. Thread, local and all
other names are the standard library's own objects.
"""

import threading as _threading
from collections.abc import Callable, Iterable, Mapping
from threading import *
from typing import Any

from plait._engine import (
    Barrier,
    BoundedSemaphore,
    Condition,
    Event,
    Lock,
    RLock,
    Semaphore,
)
from plait._join import _join

__all__ = [*_threading.__all__]


class Timer(_threading.Timer):
    """Calls a function after `interval` seconds unless `cancel()` is called before; as `threading.Timer`.

    Arguments: `interval` in seconds, `function`, and its `args` and `kwargs`.
    """

    def __init__(
        self,
        interval: float,
        function: Callable[..., object],
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(interval, function, args, kwargs)
        self.finished = Event()


def __getattr__(name: str) -> Any:
    """Names that are not public here are the standard library's."""
    return getattr(_threading, name)
