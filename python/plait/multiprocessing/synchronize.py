"""`multiprocessing.synchronize` on plait's engine: nothing has a name, and who dies with a lock harms nobody.

What is more than there: a lock whose holder has died is taken over by the next one that acquires it, whose
`holder_died` is then True; so are the permits of a Semaphore that began with some, if their holder was killed (ended
in order, it keeps them). Waits hear Ctrl-C. A Condition passes by waiters that have died, and a Barrier never waits for
one to leave.
"""

import sys
import threading
import time
import weakref
from collections.abc import Callable
from multiprocessing import context, process, util
from typing import Any

from plait import _engine
from plait.multiprocessing._passing import duplicate

__all__ = ["Barrier", "BoundedSemaphore", "Condition", "Event", "Lock", "RLock", "Semaphore"]

RECURSIVE_MUTEX, SEMAPHORE = 0, 1
_LOCK = 2  # a semaphore of one permit to those who look at `kind`
SEM_VALUE_MAX = _engine.SemLock.SEM_VALUE_MAX


class SemLock(_engine.SemLock):
    """What Lock, RLock, Semaphore and BoundedSemaphore have in common.

    `ctx` is accepted as there; what is made here can be used with every context.
    """

    def __init__(self, kind: int, value: int, maxvalue: int, *, ctx: Any = None) -> None:
        self._create(kind, value, maxvalue)

    @property
    def _semlock(self) -> "SemLock":
        return self

    def __getstate__(self) -> Any:
        context.assert_spawning(self)
        kind, descriptor, offset = self._location()
        return (kind, duplicate(descriptor), offset)

    def __setstate__(self, state: Any) -> None:
        kind, descriptor, offset = state
        self._attach(kind, descriptor.detach(), offset)

    def __reduce__(self) -> Any:
        return (_rebuild, (type(self), self.__getstate__()))

    def _who(self) -> str:
        """Whose it is, in the standard library's words."""
        if self._is_mine():
            name = process.current_process().name
            if threading.current_thread().name != "MainThread":
                name += "|" + threading.current_thread().name
            return name
        if not self._is_zero():
            return "None"
        return "SomeOtherThread" if self._count() > 0 else "SomeOtherProcess"


def _rebuild(kind: Any, state: Any) -> Any:
    rebuilt = kind.__new__(kind)
    rebuilt.__setstate__(state)
    return rebuilt


_counted: "weakref.WeakSet[Semaphore]" = weakref.WeakSet()


def _forget_permits() -> None:
    """This process ends in order: the permits that it has stay taken."""
    for semaphore in list(_counted):
        semaphore._forget()


def _at_end(_: Any = None) -> None:
    util.Finalize(None, _forget_permits, exitpriority=-1000)


_at_end()
util.register_after_fork(_forget_permits, _at_end)  # a child of multiprocessing begins without finalizers


class Semaphore(SemLock):
    """`Semaphore(value=1)`: as `multiprocessing.Semaphore`.

    Permits come back from a process that was killed, but never beyond `value`; those of one that began with 0 do not.
    """

    def __init__(self, value: int = 1, *, ctx: Any = None) -> None:
        self._begin(value, SEM_VALUE_MAX)

    def _begin(self, value: int, most: int) -> None:
        self._create(SEMAPHORE, value, most)
        if value:
            _counted.add(self)

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state)
        _counted.add(self)

    def get_value(self) -> int:
        """How many permits there are now."""
        return self._get_value()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}(value={self._get_value()})>"


class BoundedSemaphore(Semaphore):
    """`BoundedSemaphore(value=1)`: ValueError when it is released more often than acquired."""

    def __init__(self, value: int = 1, *, ctx: Any = None) -> None:
        self._begin(value, value)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}(value={self._get_value()}, maxvalue={self.maxvalue})>"


class Lock(SemLock):
    """A lock between processes, as `multiprocessing.Lock`: anybody may release it.

    The lock of a process that has died is taken over by the next one, whose `holder_died` is True until it acquires
    again.
    """

    def __init__(self, *, ctx: Any = None) -> None:
        self._create(_LOCK)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}(owner={self._who()})>"


class RLock(SemLock):
    """A lock that its thread may acquire again, as `multiprocessing.RLock`. As for deaths, see `Lock`."""

    def __init__(self, *, ctx: Any = None) -> None:
        self._create(RECURSIVE_MUTEX)

    def __repr__(self) -> str:
        name = self._who()
        count = {"None": "0", "SomeOtherThread": "nonzero", "SomeOtherProcess": "nonzero"}.get(name, str(self._count()))
        return f"<{type(self).__name__}({name}, {count})>"


class _Number:
    """A number of the condition, as its semaphores in the standard library have it."""

    def __init__(self, value: Callable[[], int]) -> None:
        self.get_value = value


class Condition:
    """`Condition(lock=None)`: as `multiprocessing.Condition`; a new RLock if none is given.

    At most 500 can wait at once. `holder_died` is its lock's.
    """

    def __init__(self, lock: Any = None, *, ctx: Any = None) -> None:
        self._table = _engine.WaitTable()
        self._table._create()
        self._use(lock or RLock(ctx=ctx))

    def _use(self, lock: Any) -> None:
        self._lock = lock
        self.acquire = lock.acquire
        self.release = lock.release

    def __getstate__(self) -> Any:
        context.assert_spawning(self)
        descriptor, offset = self._table._location()
        return (self._lock, duplicate(descriptor), offset)

    def __setstate__(self, state: Any) -> None:
        lock, descriptor, offset = state
        self._table = _engine.WaitTable()
        self._table._attach(descriptor.detach(), offset)
        self._use(lock)

    def __enter__(self) -> Any:
        return self._lock.__enter__()

    def __exit__(self, *error: Any) -> Any:
        return self._lock.__exit__(*error)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}({self._lock}, {self._table.waiting()})>"

    @property
    def holder_died(self) -> bool:
        """Whether the lock was last taken over from a process that died with it."""
        return bool(self._lock.holder_died)

    @property
    def _sleeping_count(self) -> _Number:
        return _Number(self._table.waiting)

    @property
    def _woken_count(self) -> _Number:
        return _Number(lambda: 0)

    @property
    def _wait_semaphore(self) -> _Number:
        return _Number(lambda: 0)

    def wait(self, timeout: float | None = None) -> bool:
        """Releases the lock, waits to be notified, `timeout` seconds at most, and takes it again. Whether it was."""
        lock = self._lock._semlock
        assert lock._is_mine(), "must acquire() condition before using wait()"
        place = self._table.enter()
        count = lock._count()
        for _ in range(count):
            self._lock.release()
        interrupted = True
        try:
            self._table.wait(place, timeout)
            interrupted = False
        finally:
            notified = self._table.leave(place)
            if notified and interrupted:
                self._table.notify(1)  # meant for somebody who goes on
            self._take_back(count)
        return notified

    def _take_back(self, count: int) -> None:
        """Acquires the lock in spite of signals; what a handler has raised is raised when it is ours."""
        kept: BaseException | None = None
        while count:
            try:
                self._lock.acquire()
            except BaseException as error:
                kept = error
            else:
                count -= 1
        if kept is not None:
            raise kept

    def notify(self, n: int = 1) -> None:
        """Wakes up to `n` that wait, those first that have waited longest."""
        assert self._lock._semlock._is_mine(), "lock is not owned"
        self._table.notify(n)

    def notify_all(self) -> None:
        """Wakes all that wait."""
        self.notify(sys.maxsize)

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        """Waits until `predicate()` is true, `timeout` seconds at most, and returns what it returned last."""
        result = predicate()
        end = None if timeout is None else time.monotonic() + timeout
        while not result:
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                break
            self.wait(left)
            result = predicate()
        return result


class _Placed:
    """Pickling of what is a place in shared memory and nothing else."""

    def __getstate__(self) -> Any:
        context.assert_spawning(self)
        descriptor, offset = self._location()  # type: ignore[attr-defined]
        return (duplicate(descriptor), offset)

    def __setstate__(self, state: Any) -> None:
        descriptor, offset = state
        self._attach(descriptor.detach(), offset)  # type: ignore[attr-defined]

    def __reduce__(self) -> Any:
        return (_rebuild, (type(self), self.__getstate__()))


class Event(_Placed, _engine.SharedEvent):
    """A flag between processes, as `multiprocessing.Event`.

    `wait` is True also if the flag was cleared again before the waiter could look.
    """

    def __init__(self, *, ctx: Any = None) -> None:
        self._create()

    def __repr__(self) -> str:
        return f"<{type(self).__qualname__} at {id(self):#x} {'set' if self.is_set() else 'unset'}>"


class Barrier(_Placed, _engine.SharedBarrier):
    """`Barrier(parties, action=None, timeout=None)`: as `multiprocessing.Barrier`.

    It breaks if the process dies that runs the action.
    """

    def __init__(
        self, parties: int, action: Callable[[], Any] | None = None, timeout: float | None = None, *, ctx: Any = None
    ) -> None:
        if parties < 1:
            raise ValueError("parties must be >= 1")
        self._create(parties)
        self._action, self._timeout = action, timeout

    def __getstate__(self) -> Any:
        return (*super().__getstate__(), self._action, self._timeout)

    def __setstate__(self, state: Any) -> None:
        *where, self._action, self._timeout = state
        super().__setstate__(where)

    def wait(self, timeout: float | None = None) -> int:
        """Waits until all parties have come, `timeout` seconds at most; returns this one's place (from 0).

        BrokenBarrierError if it is broken, or is meanwhile: by a timeout, `abort`, `reset` or the action.
        """
        return self._wait(self._action, self._timeout if timeout is None else timeout)

    def __repr__(self) -> str:
        name = f"<{type(self).__module__}.{type(self).__qualname__} at {id(self):#x}: "
        return name + ("broken>" if self.broken else f"waiters={self.n_waiting}/{self.parties}>")


