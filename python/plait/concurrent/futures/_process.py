"""ProcessPoolExecutor: arguments, how workers start, and shutting down. Everything else is native (`ProcessPoolCore`).

The class derives from the standard library's, so that `isinstance` holds where one is asked for. Nothing of that one
is used; of its private attributes those are there that programs read (`_processes`, `_max_workers`, `_broken`, ...).
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import weakref
from concurrent.futures.process import BrokenProcessPool as BrokenProcessPool
from concurrent.futures.process import ProcessPoolExecutor as _StdlibExecutor
from math import ceil
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from plait._engine import ProcessPoolCore
from plait.concurrent.futures import _Standing
from plait.concurrent.futures._mapping import as_they_come, in_chunks, in_order, shown
from plait.concurrent.futures._pool import _cpu_count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from multiprocessing.context import BaseContext
    from typing import ParamSpec

    from plait._engine import Crew
    from plait.concurrent.futures import Future

    _P = ParamSpec("_P")

__all__ = ["ProcessPoolExecutor"]

_T = TypeVar("_T")

# Seconds from the exception that stops a call to the signal that ends its worker.
_GRACE = 2.0
# Seconds: for a process to start, and from one look whether it has to the next.
_STARTING, _MOMENT = 5.0, 0.0005

# Pools that may not be over, to be waited for at the interpreter's exit: also those whose executor is collected.
_crews: list[Crew] = []


def _leave() -> None:
    # A program that Ctrl-C has ended: its workers have not heard of it, and would be waited for.
    last = getattr(sys, "last_type", None)
    hurry = last is not None and issubclass(last, KeyboardInterrupt) and not hasattr(sys, "ps1")
    for crew in _crews:
        crew.close(hurry, "exit")
        if hurry:
            crew.kill(signal.SIGTERM)
    try:
        for crew in _crews:
            crew.wait(None)
    except BaseException:
        for crew in _crews:
            crew.kill(signal.SIGKILL)
        raise


def _enlist(crew: Crew) -> None:
    _crews[:] = [other for other in _crews if not other.wait(0)]
    _crews.append(crew)


# As the standard library's pool: before the interpreter joins threads, and not in a child for its parent's.
threading._register_atexit(_leave)  # type: ignore[attr-defined]
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_crews.clear)


class _Options(NamedTuple):
    """What `options()` sets for the calls that are made through it. None: as the pool has it."""

    timeout: float | None
    retries: int | None
    priority: int


class ProcessPoolExecutor(ProcessPoolCore, _StdlibExecutor, metaclass=_Standing):
    """Has calls made by a pool of processes; as `concurrent.futures.ProcessPoolExecutor`.

    max_workers: how many processes there may be; they are started when a call finds none idle. By default as many as
    the CPUs.
    mp_context: a context of `multiprocessing` that starts the processes. By default plait's zygote does: one process
    that is forked for each worker, which costs a few milliseconds and has nothing of the program's threads and locks;
    but where the program has set a start method that is not the version's default, that one.
    initializer, initargs: called first in each process; if it raises, the pool is broken: what is queued, and every
    later submit(), gets BrokenProcessPool.
    max_tasks_per_child: a process that has made so many calls is replaced; not with the start method fork.

    Beyond the standard library, and keyword-only:
    retries: so many times a call whose process died is made again, elsewhere. timeout: in seconds; a call that runs
    longer is stopped and fails with TaskTimeout (what its process imports for it first is not counted, up to a minute).
    memory_limit: in bytes, for each process; the call that exceeds it
    fails with MemoryLimitExceeded. max_deaths: so many processes may die (crash, or be killed by others than the pool);
    with one more the pool is broken, and everything that is not done fails. 0 is the standard library's rule.
    finalizer, finargs: called last in each process that ends in good order. copy: arrays that come through shared
    memory can be written to (they are copied); else they are read-only views.

    A process that dies costs the call that it was making, which fails with WorkerDied (a BrokenProcessPool); nothing
    else is lost. Functions and arguments are pickled, those of `__main__`, lambdas and closures by value where
    cloudpickle is installed.
    Raises ValueError for max_workers or max_tasks_per_child below 1, TypeError for an initializer or finalizer that
    cannot be called.
    """

    __module__ = "plait.concurrent.futures"
    BROKEN = BrokenProcessPool
    _standard = _StdlibExecutor

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: BaseContext | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        max_tasks_per_child: int | None = None,
        retries: int = 0,
        timeout: float | None = None,
        memory_limit: int | None = None,
        max_deaths: int | None = None,
        finalizer: Callable[..., object] | None = None,
        finargs: tuple[Any, ...] = (),
        copy: bool = False,
    ) -> None:
        from plait._processes.opening import opening

        if max_workers is None:
            max_workers = _cpu_count() or 1
        if max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if finalizer is not None and not callable(finalizer):
            raise TypeError("finalizer must be a callable")
        if max_tasks_per_child is not None:
            if not isinstance(max_tasks_per_child, int):
                raise TypeError("max_tasks_per_child must be an integer")
            if max_tasks_per_child <= 0:
                raise ValueError("max_tasks_per_child must be >= 1")
        _check_options(timeout, retries)
        if memory_limit is not None and memory_limit <= 0:
            raise ValueError("memory_limit must be greater than 0")
        if max_deaths is not None and max_deaths < 0:
            raise ValueError(f"max_deaths must be None or at least 0, not {max_deaths}")
        import multiprocessing

        asked = mp_context
        if mp_context is None:
            mp_context = multiprocessing.get_context("spawn" if max_tasks_per_child is not None else None)
        self._mp_context = mp_context
        forks = asked is not None and mp_context.get_start_method(allow_none=False) == "fork"
        if max_tasks_per_child is not None and forks:
            raise ValueError(
                "max_tasks_per_child is incompatible with the 'fork' multiprocessing start method;"
                " supply a different mp_context."
            )
        self._safe_to_dynamically_spawn_children = not forks
        self._max_workers = max_workers
        self._initializer: Any = initializer
        self._initargs = initargs
        self._max_tasks_per_child = max_tasks_per_child
        starter, hello = opening(
            asked,
            {
                "initializer": initializer,
                "initargs": initargs,
                "finalizer": finalizer,
                "finargs": finargs,
                "copy": copy,
            },
        )
        self._crew = self._open(
            ceil(max_workers),
            starter,
            hello,
            tasks_per_worker=max_tasks_per_child,
            retries=retries,
            timeout=timeout,
            grace=_GRACE,
            memory_limit=memory_limit,
            max_deaths=max_deaths,
            eager=forks,
            copy=copy,
        )
        _enlist(self._crew)

    def __reduce__(self) -> Any:
        raise TypeError(f"cannot pickle {type(self).__name__!r} object")

    if TYPE_CHECKING:

        def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]: ...

    def options(
        self, *, timeout: float | None = None, retries: int | None = None, priority: int = 0
    ) -> _Calls:
        """The pool with other settings for some calls: `pool.options(timeout=2).submit(f, x)`; has submit() and map().

        timeout: in seconds, for each call, which is stopped then and fails with TaskTimeout. retries: how many times a
        call whose process died is made again. Both None: as the pool has it.
        priority: calls with a higher one are begun first; 0 is usual.
        """
        _check_options(timeout, retries or 0)
        return _Calls(self, _Options(timeout, retries, priority))

    def map(
        self,
        fn: Callable[..., _T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
        progress: bool | Mapping[str, Any] = False,
        ordered: bool = True,
    ) -> Iterator[_T]:
        """Call `fn` with the items of `iterables`, as `map` does, in the pool's processes; the results come in order.

        timeout: in seconds from now, for all results together; then the iterator raises TimeoutError.
        chunksize: so many calls are sent together, which pays for many short ones; a process that dies costs them all.
        buffersize: at most so many calls (chunks) are ahead of the results that were taken, and the iterables are
        read no faster (as in 3.14); None reads them to the end at once.
        progress: True shows a progress bar where tqdm is installed; a dict gives its arguments, as for
        `plait.progress`. ordered: False gives each result as soon as it is there.
        What `fn` raises is raised by the iterator, in its place; the calls that have not begun are cancelled then.
        """
        return self._mapped(None, fn, iterables, timeout, chunksize, buffersize, progress, ordered)

    def _mapped(
        self,
        options: _Options | None,
        fn: Callable[..., _T],
        iterables: tuple[Iterable[Any], ...],
        timeout: float | None,
        chunksize: int,
        buffersize: int | None,
        progress: bool | Mapping[str, Any],
        ordered: bool,
    ) -> Iterator[_T]:
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        usual = options is None and type(self).submit is ProcessPoolCore.submit
        if usual and ordered and buffersize is None and chunksize == 1:
            if timeout is not None:
                timeout + 0.0  # raises what the standard library raises
            results: Iterator[_T] = self._map(fn, iterables, timeout)
        else:
            submitter = self if options is None else _Calls(self, options)
            run = in_order if ordered else as_they_come
            if chunksize == 1:
                results = run(submitter, fn, iterables, timeout, buffersize)
            else:
                results = in_chunks(run, submitter, fn, iterables, timeout, buffersize, chunksize)
        return shown(results, iterables, progress)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls. Those submitted are still made, unless `cancel_futures` cancels what has not begun.

        wait: return when the last has ended and the processes are gone.
        """
        if cancel_futures and wait:
            self._let_begin()
        self._crew.close(cancel_futures, "shutdown")
        if wait and self._crew.wait(None) and self._crew in _crews:
            _crews.remove(self._crew)

    def _let_begin(self) -> None:
        """Give the first calls the time that a process takes to start, if none has ended yet.

        The standard library counts the first calls as begun when they have been handed to processes that are only
        starting; programs (and its tests) rely on one at least being made.
        """
        end = monotonic() + _STARTING
        while monotonic() < end:
            stats = self._crew.stats()
            begun = stats["finished"] or any(worker["running"] for worker in stats["workers"])
            if begun or not stats["unsettled"]:
                return
            sleep(_MOMENT)

    def __exit__(self, kind: Any, value: object, traceback: object) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            # The workers have not heard of it: what they run would be waited for.
            self.kill_workers()
        self.shutdown(wait=True)

    def terminate_workers(self) -> None:
        """Take no more calls, cancel what has not begun, and end all processes with SIGTERM; as in 3.14."""
        self._force_shutdown(operation="terminate")

    def kill_workers(self) -> None:
        """Take no more calls, cancel what has not begun, and end all processes with SIGKILL; as in 3.14."""
        self._force_shutdown(operation="kill")

    def _force_shutdown(self, operation: str) -> None:
        if operation not in ("terminate", "kill"):
            raise ValueError(f"Unsupported operation: {operation!r}")
        processes = self._crew.workers()
        self._crew.close(True, "shutdown")
        self._crew.kill(signal.SIGTERM if operation == "terminate" else signal.SIGKILL)
        for process in processes:
            getattr(process, operation)()

    def stats(self) -> dict[str, Any]:
        """What the pool has done: numbers of calls by their ends, times summed up, deaths, retries, and its workers."""
        return self._crew.stats()

    # --- what programs read of the standard library's private attributes -------------------------------

    @property
    def _processes(self) -> dict[int, Any] | None:  # type: ignore[override]
        if self._shutdown_thread:
            return None
        return {process.pid: process for process in self._crew.workers()}

    @property
    def _shutdown_thread(self) -> bool:  # type: ignore[override]
        return self._crew.gate() in ("shutdown", "exit")

    @property
    def _broken(self) -> str | bool:  # type: ignore[override]
        return (self._crew.why() or True) if self._crew.gate() == "broken" else False

    @property
    def _pending_work_items(self) -> dict[int, Any]:  # type: ignore[override]
        return dict.fromkeys(range(self._crew.stats()["unsettled"]))

    @property
    def _executor_manager_thread(self) -> _Upkeep:  # type: ignore[override]
        return _Upkeep(self._crew)

    @property
    def _call_queue(self) -> _Upkeep:
        return _Upkeep(self._crew)


def _check_options(timeout: float | None, retries: int) -> None:
    if timeout is not None and timeout <= 0:
        raise ValueError("timeout must be None or > 0")
    if retries < 0:
        raise ValueError("retries must be >= 0")


class _Upkeep:
    """Stands for the thread that the standard library's pool has, and for its queue: to be joined."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew

    def join(self, timeout: float | None = None) -> None:
        """Wait until the pool is over."""
        self._crew.wait(timeout)

    join_thread = join

    def is_alive(self) -> bool:
        """Whether it is not."""
        return not self._crew.wait(0)


class _Calls:
    """A pool with settings of their own for the calls that are made through this; see `options()`."""

    def __init__(self, pool: ProcessPoolExecutor, options: _Options) -> None:
        self._pool = pool
        self._options = options

    def _weakly(self) -> Callable[[], _Calls | None]:
        """What the results of `map` keep: they do not keep the pool alive."""
        reference, options = weakref.ref(self._pool), self._options
        return lambda: _Calls(pool, options) if (pool := reference()) else None

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """As the pool's."""
        timeout, retries, priority = self._options
        future: Future[_T] = self._pool._submit(
            fn, args, kwargs, timeout=timeout, retries=retries, priority=priority
        )
        return future

    def map(
        self,
        fn: Callable[..., _T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
        progress: bool | Mapping[str, Any] = False,
        ordered: bool = True,
    ) -> Iterator[_T]:
        """As the pool's; its timeout is that for all results, the one of `options()` is for each call."""
        return self._pool._mapped(
            self._options, fn, iterables, timeout, chunksize, buffersize, progress, ordered
        )
