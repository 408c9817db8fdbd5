"""`multiprocessing.context` with pools, queues and locks of plait's; processes, pipes and managers stay what they are.

The functions named as a context's methods are those methods: plait's contexts have them, and `plait.install()` puts
them in the standard library's. The start method is one for both: whoever sets it sets it for `multiprocessing` too.

Beyond the standard library: `get_context("zygote")`, whose pools are started by plait's zygote whatever start method
is set; its `Process` is that of forkserver.
"""

from __future__ import annotations

import multiprocessing.context as _context
from multiprocessing.context import (
    AuthenticationError,
    BaseContext,
    BufferTooShort,
    Process,
    ProcessError,
    TimeoutError,
    assert_spawning,
    get_spawning_popen,
    set_spawning_popen,
)
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "OURS",
    "AuthenticationError",
    "BaseContext",
    "BufferTooShort",
    "DefaultContext",
    "ForkContext",
    "ForkServerContext",
    "Process",
    "ProcessError",
    "SpawnContext",
    "TimeoutError",
    "ZygoteContext",
    "assert_spawning",
    "get_spawning_popen",
    "set_spawning_popen",
]


def Pool(
    self: Any,
    processes: int | None = None,
    initializer: Callable[..., object] | None = None,
    initargs: Iterable[Any] = (),
    maxtasksperchild: int | None = None,
) -> Any:
    """Returns a pool of processes; see `plait.multiprocessing.pool.Pool`."""
    from plait.multiprocessing.pool import Pool as kind

    context = None if isinstance(self, _context.DefaultContext) else self
    return kind(processes, initializer, initargs, maxtasksperchild, context=context)


def Lock(self: Any) -> Any:
    """Returns a lock that is not taken; see `plait.multiprocessing.synchronize.Lock`."""
    from plait.multiprocessing.synchronize import Lock as kind

    return kind(ctx=self.get_context())


def RLock(self: Any) -> Any:
    """Returns a lock that its owner may take again; see `plait.multiprocessing.synchronize.RLock`."""
    from plait.multiprocessing.synchronize import RLock as kind

    return kind(ctx=self.get_context())


def Condition(self: Any, lock: Any = None) -> Any:
    """Returns a condition; see `plait.multiprocessing.synchronize.Condition`."""
    from plait.multiprocessing.synchronize import Condition as kind

    return kind(lock, ctx=self.get_context())


def Semaphore(self: Any, value: int = 1) -> Any:
    """Returns a semaphore; see `plait.multiprocessing.synchronize.Semaphore`."""
    from plait.multiprocessing.synchronize import Semaphore as kind

    return kind(value, ctx=self.get_context())


def BoundedSemaphore(self: Any, value: int = 1) -> Any:
    """Returns a semaphore with a bound; see `plait.multiprocessing.synchronize.BoundedSemaphore`."""
    from plait.multiprocessing.synchronize import BoundedSemaphore as kind

    return kind(value, ctx=self.get_context())


def Event(self: Any) -> Any:
    """Returns an event; see `plait.multiprocessing.synchronize.Event`."""
    from plait.multiprocessing.synchronize import Event as kind

    return kind(ctx=self.get_context())


def Barrier(
    self: Any, parties: int, action: Callable[[], object] | None = None, timeout: float | None = None
) -> Any:
    """Returns a barrier; see `plait.multiprocessing.synchronize.Barrier`."""
    from plait.multiprocessing.synchronize import Barrier as kind

    return kind(parties, action, timeout, ctx=self.get_context())


def Queue(self: Any, maxsize: int = 0) -> Any:
    """Returns a queue; see `plait.multiprocessing.queues.Queue`."""
    from plait.multiprocessing.queues import Queue as kind

    return kind(maxsize, ctx=self.get_context())


def JoinableQueue(self: Any, maxsize: int = 0) -> Any:
    """Returns a queue that counts what is done; see `plait.multiprocessing.queues.JoinableQueue`."""
    from plait.multiprocessing.queues import JoinableQueue as kind

    return kind(maxsize, ctx=self.get_context())


def SimpleQueue(self: Any) -> Any:
    """Returns a queue without much; see `plait.multiprocessing.queues.SimpleQueue`."""
    from plait.multiprocessing.queues import SimpleQueue as kind

    return kind(ctx=self.get_context())


def RawValue(self: Any, typecode_or_type: Any, *args: Any) -> Any:
    """Returns a shared value without a lock; see `plait.multiprocessing.sharedctypes.RawValue`."""
    from plait.multiprocessing.sharedctypes import RawValue as make

    return make(typecode_or_type, *args)


def RawArray(self: Any, typecode_or_type: Any, size_or_initializer: Any) -> Any:
    """Returns a shared array without a lock; see `plait.multiprocessing.sharedctypes.RawArray`."""
    from plait.multiprocessing.sharedctypes import RawArray as make

    return make(typecode_or_type, size_or_initializer)


def Value(self: Any, typecode_or_type: Any, *args: Any, lock: Any = True) -> Any:
    """Returns a shared value; see `plait.multiprocessing.sharedctypes.Value`."""
    from plait.multiprocessing.sharedctypes import Value as make

    return make(typecode_or_type, *args, lock=lock, ctx=self.get_context())


def Array(self: Any, typecode_or_type: Any, size_or_initializer: Any, *, lock: Any = True) -> Any:
    """Returns a shared array; see `plait.multiprocessing.sharedctypes.Array`."""
    from plait.multiprocessing.sharedctypes import Array as make

    return make(typecode_or_type, size_or_initializer, lock=lock, ctx=self.get_context())


# The methods of a context that are plait's.
OURS: dict[str, Callable[..., Any]] = {
    method.__name__: method
    for method in (Pool, Lock, RLock, Condition, Semaphore, BoundedSemaphore, Event, Barrier)
    + (Queue, JoinableQueue, SimpleQueue, RawValue, RawArray, Value, Array)
}

if TYPE_CHECKING:

    class _Ours:
        """A context with plait's own methods."""

else:
    _Ours = type("_Ours", (), OURS)


class ForkContext(_Ours, _context.ForkContext):
    """Processes are forked."""


class SpawnContext(_Ours, _context.SpawnContext):
    """Processes are started anew."""


class ForkServerContext(_Ours, _context.ForkServerContext):
    """Processes are forked by a server of the standard library's."""


class ZygoteContext(ForkServerContext):
    """Workers of pools are forked by plait's zygote; other processes by the standard library's server."""

    _name = "zygote"


_contexts: dict[str | None, BaseContext] = {
    kind._name: kind() for kind in (ForkContext, SpawnContext, ForkServerContext, ZygoteContext)
}
_standard: Any = _context._default_context


class DefaultContext(_Ours, _context.DefaultContext):
    """What the functions of `plait.multiprocessing` are methods of. Its start method is `multiprocessing`'s."""

    def __init__(self) -> None:
        """There is one."""
        self._set: BaseContext | None = None

    @property
    def chosen(self) -> BaseContext | None:
        """The context of the start method that the program has set; None where it goes by the default."""
        actual: BaseContext | None = _standard._actual_context
        return None if actual is _standard._default_context and actual is not self._set else actual

    @property
    def _default_context(self) -> BaseContext:
        return _ours(_standard._default_context)

    @property
    def _actual_context(self) -> BaseContext | None:
        return None if _standard._actual_context is None else _ours(_standard._actual_context)

    def get_context(self, method: str | None = None) -> Any:
        """The context of a start method: "fork", "spawn", "forkserver", "zygote"; None: the one that is set.

        Raises ValueError for one that there is not.
        """
        if method == "zygote":
            return _contexts[method]
        return _ours(_standard.get_context(method))

    def set_start_method(self, method: str | None, force: bool = False) -> None:
        """Set how processes start, for `multiprocessing` and for this; as `multiprocessing.set_start_method`."""
        _standard.set_start_method(method, force)
        self._set = _standard._actual_context


def _ours(context: BaseContext) -> BaseContext:
    """Plait's context for one of the standard library's; a foreign one stays what it is."""
    if type(context).__module__ != _context.__name__:
        return context
    return _contexts.get(context.get_start_method(), context)


_default_context = DefaultContext()
