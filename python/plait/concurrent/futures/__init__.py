"""`concurrent.futures` on plait's engine: the same names, so that changing the import is enough.

Future, ThreadPoolExecutor, ProcessPoolExecutor, wait and as_completed are native. The executor of interpreters,
Executor and the exceptions are the standard library's own.

Beyond the standard library: a Future can be awaited in a task of any running event loop (`await pool.submit(f)`);
`map` has 3.14's `buffersize` on every version, and `progress` shows a bar; what a pool of processes can do more, its
class says.
"""

from __future__ import annotations

import concurrent.futures as _futures
import sys as _sys
from concurrent.futures import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    BrokenExecutor,
    CancelledError,
    Executor,
    InvalidStateError,
    TimeoutError,
    _base,
)
from concurrent.futures._base import DoneAndNotDoneFutures
from importlib import import_module as _import_module
from time import monotonic as _monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from plait._engine import Collector as _Collector
from plait._engine import FutureCore as _FutureCore
from plait._engine import _done_of, _use_face
from plait._engine.asyncio import wrap_future as _wrap_future
from plait.threading import Condition as _Condition  # noqa: F401  # the engine makes one for `_condition`

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from plait.concurrent.futures._errors import MemoryLimitExceeded as MemoryLimitExceeded
    from plait.concurrent.futures._errors import TaskTimeout as TaskTimeout
    from plait.concurrent.futures._errors import WorkerDied as WorkerDied
    from plait.concurrent.futures._process import ProcessPoolExecutor as ProcessPoolExecutor

__all__ = [
    "ALL_COMPLETED",
    "FIRST_COMPLETED",
    "FIRST_EXCEPTION",
    "BrokenExecutor",
    "CancelledError",
    "Executor",
    "Future",
    "InvalidStateError",
    "MemoryLimitExceeded",
    "ProcessPoolExecutor",
    "TaskTimeout",
    "ThreadPoolExecutor",
    "TimeoutError",
    "WorkerDied",
    "as_completed",
    "wait",
]

_T = TypeVar("_T")
_StdlibFuture = _base.Future
_DONE = ("CANCELLED_AND_NOTIFIED", "FINISHED")


class _Standing(type):
    """The class of a class that stands for one of the standard library's: its instances count as instances.

    So a future that was made before `plait.install()` still is a `concurrent.futures.Future` after it.
    """

    _standard: type | None = None

    def __instancecheck__(cls, instance: object) -> bool:
        if super().__instancecheck__(instance):
            return True
        standard = cls.__dict__.get("_standard")
        return standard is not None and isinstance(instance, standard)


if TYPE_CHECKING:

    class Future(_base.Future[_T], metaclass=_Standing):
        """The result of a call that may not have ended yet."""

        def __await__(self) -> Generator[Any, None, _T]: ...

else:

    class Future(_FutureCore, _StdlibFuture, metaclass=_Standing):
        """The result of a call that may not have ended yet; as `concurrent.futures.Future`.

        Made by executors. Can be awaited in a task of any running event loop: `await pool.submit(f)`; the loop is not
        blocked, and cancelling the task cancels the call if it has not begun.
        """

        __slots__ = ()
        _standard = _StdlibFuture

        def __init__(self) -> None:
            """Make a pending future. Executors do that; others only in tests."""

        def __await__(self) -> Generator[Any, None, Any]:
            from asyncio import get_running_loop

            return _wrap_future(self, loop=get_running_loop()).__await__()


# --- what the engine calls -----------------------------------------------------------------------------


def _callback_failed(future: Future[Any], error: Exception) -> None:
    _base.LOGGER.error("exception calling callback for %r", future, exc_info=error)


def _see_to_requests() -> None:
    """Does nothing: calling a Python function is what lets the interpreter see to its requests."""


def _worker_failed(error: BaseException) -> None:
    _base.LOGGER.critical("Exception in worker", exc_info=error)


def _done_already(future: Future[Any], state: str) -> None:
    raise InvalidStateError(f"{state}: {future!r}")


def _unexpected_state(future: Future[Any], state: str) -> None:
    _base.LOGGER.critical("Future %s in unexpected state: %s", id(future), state)
    raise RuntimeError("Future in unexpected state")


def _refuse(pool: Any, why: str) -> None:
    if why == "broken":
        raise pool.BROKEN(pool._broken)
    if why == "exit":
        raise RuntimeError("cannot schedule new futures after interpreter shutdown")
    raise RuntimeError("cannot schedule new futures after shutdown")


# Futures that live by the standard library's methods: its own, and those whose private attributes are in use.


def _look(future: Any) -> tuple[bool, bool]:
    """Whether `wait` calls the future done, and whether it has failed."""
    with future._condition:
        done = future._state in _DONE
        return done, done and future._exception is not None


def _watch(future: Any, collector: _Collector) -> None:
    """Have the future tell the collector when it is done."""
    with future._condition:
        if future._state not in _DONE:
            future._waiters.append(collector)
            return
        failed = future._exception is not None
    if failed:
        collector.add_exception(future)
    else:
        collector.add_result(future)


def _unwatch(future: Any, collector: _Collector) -> None:
    with future._condition:
        if collector in future._waiters:
            future._waiters.remove(collector)


# --- wait and as_completed -----------------------------------------------------------------------------


def wait(
    fs: Iterable[_base.Future[_T]], timeout: float | None = None, return_when: str = ALL_COMPLETED
) -> DoneAndNotDoneFutures[_T]:
    """Wait until all of the futures are done, or what `return_when` says; as `concurrent.futures.wait`.

    fs: futures, of any executors, plait's and the standard library's. timeout: in seconds; None waits as long as it
    takes.
    return_when: ALL_COMPLETED, FIRST_COMPLETED, or FIRST_EXCEPTION (the first that raises; all, if none does).
    Returns two sets, `done` and `not_done`.
    """
    fs = set(fs)
    done, failed = _done_of(fs)
    enough = len(done) == len(fs) or {FIRST_COMPLETED: bool(done), FIRST_EXCEPTION: failed}.get(return_when, False)
    if not enough:
        if return_when not in (ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION):
            raise ValueError(f"Invalid return condition: {return_when!r}")
        collector = _Collector(fs - done, return_when, timeout)
        try:
            collector.watch()
        except BaseException:
            collector.close()
            raise
        done.update(collector.wait())
    return DoneAndNotDoneFutures(done, fs - done)


def as_completed(
    fs: Iterable[_base.Future[_T]], timeout: float | None = None
) -> Generator[_base.Future[_T], None, None]:
    """Give the futures one by one as they become done; as `concurrent.futures.as_completed`.

    fs: as for `wait`; one that is given twice comes once. timeout: in seconds, for all of them together.
    Raises TimeoutError when the time is over and not all are done.
    """
    if timeout is not None:
        timeout + _monotonic()  # raises what the standard library raises
    fs = set(fs)
    collector = _Collector(fs, FIRST_COMPLETED, timeout)
    try:
        collector.watch()
        yield from collector
    finally:
        collector.close()


from plait.concurrent.futures._pool import ThreadPoolExecutor  # noqa: E402

_use_face(_sys.modules[__name__], Future)

# What needs a module of its own is imported when it is asked for, as in the standard library.
_LATER = {
    "MemoryLimitExceeded": "_errors",
    "ProcessPoolExecutor": "_process",
    "TaskTimeout": "_errors",
    "WorkerDied": "_errors",
}
if "InterpreterPoolExecutor" in _futures.__dir__():
    __all__ += ["InterpreterPoolExecutor"]


def __getattr__(name: str) -> Any:
    """The executor of interpreters, and names that are not public, are the standard library's."""
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _LATER:
        value = getattr(_import_module(f"{__name__}.{_LATER[name]}"), name)
        globals()[name] = value
        return value
    return getattr(_futures, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
