"""`threading` on plait's engine: the same names, so that changing the import is enough.

Lock, RLock, Condition, Semaphore, BoundedSemaphore, Event and Barrier are native. Thread, local and all
other names are the standard library's own objects.
"""

from __future__ import annotations

import sys
import threading as _threading
from threading import (
    TIMEOUT_MAX,
    BrokenBarrierError,
    ExceptHookArgs,
    Thread,
    ThreadError,
    active_count,
    current_thread,
    enumerate,
    get_ident,
    get_native_id,
    getprofile,
    gettrace,
    local,
    main_thread,
    setprofile,
    settrace,
    stack_size,
)

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

TYPE_CHECKING = False  # `typing` takes longer to import than the rest of this
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from threading import excepthook
    from typing import Any

__all__ = [
    "TIMEOUT_MAX",
    "Barrier",
    "BoundedSemaphore",
    "BrokenBarrierError",
    "Condition",
    "Event",
    "ExceptHookArgs",
    "Lock",
    "RLock",
    "Semaphore",
    "Thread",
    "ThreadError",
    "Timer",
    "active_count",
    "current_thread",
    "enumerate",
    "excepthook",
    "get_ident",
    "get_native_id",
    "getprofile",
    "gettrace",
    "local",
    "main_thread",
    "setprofile",
    "settrace",
    "stack_size",
]

if sys.version_info >= (3, 12):
    from threading import setprofile_all_threads, settrace_all_threads

    __all__ += ["setprofile_all_threads", "settrace_all_threads"]
__all__ += [name for name in _threading.__all__ if name not in __all__]


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
        self.finished = Event()  # type: ignore[assignment]  # plait's Event has what typeshed's has


class _Module(type(sys)):  # type: ignore[misc]
    """`threading.excepthook` is set by assignment, and the interpreter looks for it in its own module."""

    @property
    def excepthook(self) -> Any:
        return _threading.excepthook

    @excepthook.setter
    def excepthook(self, hook: Any) -> None:
        _threading.excepthook = hook


sys.modules[__name__].__class__ = _Module


def __getattr__(name: str) -> Any:
    """Names that are not public here are the standard library's."""
    return getattr(_threading, name)
