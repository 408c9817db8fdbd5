"""`multiprocessing.pool` on plait's engine: ThreadPool rides on plait's thread pool.

Its methods and its results are the standard library's own classes. What is replaced is what lies between: three
threads that handed each call on and each result back. Here a call goes to the pool's queue, and the worker that
made it delivers the result. All other names are the standard library's.

Beyond the standard library: a result cannot be lost. Whoever asks for it gets an exception if the call ended in
SystemExit or KeyboardInterrupt, if the pool was terminated before it began (CancelledError), or if an initializer
failed (BrokenThreadPool). A callback that raises is logged.
"""

from __future__ import annotations

import multiprocessing.pool as _pool
import threading
from collections import deque
from concurrent.futures import CancelledError, _base
from concurrent.futures.thread import BrokenThreadPool
from functools import partial
from multiprocessing import util
from multiprocessing.pool import CLOSE, RUN, TERMINATE, MapResult, Pool
from typing import TYPE_CHECKING, Any

from plait.concurrent.futures._pool import _BROKEN, ThreadPoolExecutor, _cpu_count

if TYPE_CHECKING:
    import weakref
    from collections.abc import Callable, Iterable

    from plait._engine import Worker

    # What the standard library's methods hand on: number of the result, place in it, function, args, kwargs.
    _Task = tuple[int, int, Callable[..., Any], tuple[Any, ...], dict[str, Any]]

__all__ = ["Pool", "ThreadPool"]


class _Fate:
    """What the calls that have not begun get instead of being made, once there is such a thing."""

    error: tuple[type[BaseException], str] | None = None


def _work(
    worker: Worker,
    executor: weakref.ref[ThreadPoolExecutor],
    initializer: Callable[..., object] | None,
    initargs: tuple[Any, ...],
    fate: _Fate,
) -> None:
    """The life of a thread."""
    if initializer is not None:
        try:
            initializer(*initargs)
        except BaseException:
            _base.LOGGER.critical("Exception in initializer:", exc_info=True)
            fate.error = (BrokenThreadPool, _BROKEN)
    worker.run(executor)


class _Threads(ThreadPoolExecutor):
    """The executor below: all its threads are there from the beginning, and are daemons, as in the standard library."""

    def __init__(
        self, processes: int, initializer: Callable[..., Any] | None, initargs: Iterable[Any], fate: _Fate
    ) -> None:
        self._max_workers = processes
        self._initializer = initializer
        self._initargs = tuple(initargs)
        self._fate = fate
        self._threads = set()
        self._thread_name_prefix = "ThreadPool"
        self._worker: Worker = self._open(processes, leaves_at_exit=False)

    def _start_all(self) -> None:
        while (number := self._reserve()) is not None:
            self._add_worker(number)

    def _start(self, name: str, executor: weakref.ref[ThreadPoolExecutor]) -> threading.Thread:
        args = (self._worker, executor, self._initializer, self._initargs, self._fate)
        thread = threading.Thread(name=name, target=_work, args=args, daemon=True)
        thread.start()
        return thread


class _Calls:
    """Stands where the standard library's queue of tasks stands, and gives them to the executor."""

    def __init__(self, executor: _Threads, cache: dict[int, Any], fate: _Fate) -> None:
        self._executor = executor
        self._cache = cache
        self._fate = fate
        self._feeds: deque[tuple[Iterable[_Task], Callable[[int], object]]] = deque()
        self._feed_lock = threading.Lock()
        self._feeder: threading.Thread | None = None

    def put(self, item: tuple[Iterable[_Task], Callable[[int], object] | None]) -> None:
        """Take the calls of one result. Those of imap come from the caller's iterator: a thread reads it."""
        tasks, set_length = item
        if set_length is not None:
            with self._feed_lock:
                self._feeds.append((tasks, set_length))
                if self._feeder is None:
                    self._feeder = threading.Thread(name="ThreadPool_feeder", target=self._feed, daemon=True)
                    self._feeder.start()
            return
        lock = threading.Lock()
        for task in tasks:
            self._submit(task, lock)

    def join(self) -> None:
        """Wait until the iterators of imap have been read."""
        while (feeder := self._feeder) is not None:
            feeder.join()

    def _feed(self) -> None:
        while True:
            with self._feed_lock:
                if not self._feeds:
                    self._feeder = None
                    return
                tasks, set_length = self._feeds.popleft()
            lock = threading.Lock()
            length = 0
            for task in tasks:
                self._submit(task, lock)
                length += 1
                if self._fate.error:
                    break
            set_length(length)
            del tasks, set_length

    def _submit(self, task: _Task, lock: threading.Lock) -> None:
        job, place, function, args, kwargs = task
        result = self._cache[job]
        if place == 0:
            result._callback = _logged(result, getattr(result, "_callback", None))
            result._error_callback = _logged(result, getattr(result, "_error_callback", None))
        try:
            self._executor.submit(self._call, result, place, lock, function, args, kwargs)
        except RuntimeError as error:
            kind, text = self._fate.error or (type(error), str(error))
            self._deliver(result, place, lock, False, kind(text))

    def _call(
        self,
        result: Any,
        place: int,
        lock: threading.Lock,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        value: Any
        try:
            if self._fate.error:
                kind, text = self._fate.error
                raise kind(text)
            value, success = function(*args, **kwargs), True
        except BaseException as error:
            value, success = error, False
        self._deliver(result, place, lock, success, value)
        del value  # an exception's traceback holds this frame

    @staticmethod
    def _deliver(result: Any, place: int, lock: threading.Lock, success: bool, value: Any) -> None:
        if isinstance(result, MapResult):
            # Counts without a lock of its own.
            with lock:
                result._set(place, (success, value))  # type: ignore[attr-defined]
        else:
            result._set(place, (success, value))


def _logged(result: Any, callback: Callable[[Any], object] | None) -> Callable[[Any], object] | None:
    """The callback, with what it raises logged: the result has to be delivered whatever happens."""
    return partial(_call_back, result, callback) if callback else None


def _call_back(result: Any, callback: Callable[[Any], object], value: Any) -> None:
    try:
        callback(value)
    except Exception:
        _base.LOGGER.exception("exception calling callback for %r", result)


def _end(fate: _Fate, executor: _Threads) -> None:
    fate.error = (CancelledError, "the pool was terminated")
    executor._close(False)


class ThreadPool(_pool.ThreadPool):
    """A pool of threads with the interface of `multiprocessing.Pool`; as `multiprocessing.pool.ThreadPool`.

    processes: how many threads, by default as many as there are CPUs. initializer, initargs: called first in each
    thread; if it raises, the pool's calls get BrokenThreadPool.
    Raises ValueError for less than one thread, TypeError for an initializer that cannot be called.
    """

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
        fate = _Fate()
        self._executor = _Threads(processes, initializer, initargs, fate)
        self._taskqueue = _Calls(self._executor, self._cache, fate)
        self._executor._start_all()
        self._pool.extend(self._executor._threads)
        self._terminate = util.Finalize(self, _end, args=(fate, self._executor), exitpriority=15)
        self._state = RUN

    def close(self) -> None:
        """Take no more calls; those that were submitted are still made."""
        util.debug("closing pool")
        if self._state == RUN:
            self._state = CLOSE
            if self._taskqueue._feeder is None:
                self._executor._close(False)

    def join(self) -> None:
        """Wait until the threads are gone; after close() or terminate(). ValueError before."""
        util.debug("joining pool")
        if self._state == RUN:
            raise ValueError("Pool is still running")
        if self._state not in (CLOSE, TERMINATE):
            raise ValueError("In unknown state")
        self._taskqueue.join()
        self._executor.shutdown(wait=True)


def __getattr__(name: str) -> Any:
    """Names that are not public here are the standard library's."""
    return getattr(_pool, name)
