"""`multiprocessing.pool` on plait's engine: Pool, and ThreadPool, which rides on plait's thread pool.

What lies between a call and its result in the standard library, three threads that handed each call on and each result
back, is not there: a result asks the call's future. All other names are the standard library's.

Beyond the standard library: a result cannot be lost. Whoever asks for it gets an exception if the call ended in
SystemExit or KeyboardInterrupt, if its process died (WorkerDied), if the pool was terminated before it began
(CancelledError), or if an initializer failed (BrokenThreadPool, BrokenProcessPool). A callback that raises is logged.
"""

from __future__ import annotations

import multiprocessing.pool as _pool
import threading
from multiprocessing import util
from multiprocessing.pool import RUN
from typing import TYPE_CHECKING, Any

from plait.concurrent.futures import _Standing
from plait.concurrent.futures._pool import ThreadPoolExecutor, _cpu_count, _work
from plait.multiprocessing._calls import Calls, Feeds
from plait.multiprocessing._process_pool import Pool

if TYPE_CHECKING:
    import weakref
    from collections.abc import Callable, Iterable

__all__ = ["Pool", "ThreadPool"]


class _Threads(ThreadPoolExecutor):
    """The executor below: all its threads are there from the beginning, and are daemons, as in the standard library."""

    def __init__(
        self, processes: int, initializer: Callable[..., Any] | None, initargs: Iterable[Any]
    ) -> None:
        self._max_workers = processes
        self._initializer = initializer
        self._initargs = tuple(initargs)
        self._threads = set()
        self._thread_name_prefix = "ThreadPool"
        self._worker = self._open(processes, leaves_at_exit=False)

    def _start_all(self) -> None:
        while (number := self._reserve()) is not None:
            self._add_worker(number)

    def _start(self, name: str, executor: weakref.ref[ThreadPoolExecutor]) -> threading.Thread:
        args = (self._worker, executor, self._initializer, self._initargs)
        thread = threading.Thread(name=name, target=_work, args=args, daemon=True)
        thread.start()
        return thread


def _end(executor: _Threads, feeds: Feeds) -> None:
    feeds.stop()
    executor._close(True)


class ThreadPool(Calls, _pool.ThreadPool, metaclass=_Standing):
    """A pool of threads with the interface of `multiprocessing.Pool`; as `multiprocessing.pool.ThreadPool`.

    processes: how many threads, by default as many as there are CPUs. initializer, initargs: called first in each
    thread; if it raises, the pool's calls get BrokenThreadPool.
    Raises ValueError for less than one thread, TypeError for an initializer that cannot be called.
    """

    _standard = _pool.ThreadPool

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: Iterable[Any] = (),
    ) -> None:
        self._pool: list[threading.Thread] = []
        self._state = "INIT"
        if processes is None:
            processes = _cpu_count() or 1
        if processes < 1:
            raise ValueError("Number of processes must be at least 1")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        self._processes = processes
        self._cache: dict[int, Any] = {}
        self._feeds = Feeds()
        self._executor = _Threads(processes, initializer, initargs)
        self._executor._start_all()
        self._pool.extend(self._executor._threads)
        self._terminate = util.Finalize(self, _end, args=(self._executor, self._feeds), exitpriority=15)
        self._state = RUN

    def _close(self) -> None:
        self._executor._close(False)

    def _wait(self) -> None:
        self._executor.shutdown(wait=True)


def __getattr__(name: str) -> Any:
    """Names that are not public here are the standard library's."""
    return getattr(_pool, name)
