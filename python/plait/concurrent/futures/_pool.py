"""ThreadPoolExecutor: arguments, threads and shutting down. Queue and workers' loop are native (`PoolCore`).

The class derives from the standard library's, so that `isinstance` holds where one is asked for (as in asyncio's
`loop.set_default_executor`). Nothing of that one is used.
"""

from __future__ import annotations

import os
import threading
import weakref
from concurrent.futures import _base
from concurrent.futures.thread import BrokenThreadPool as BrokenThreadPool
from concurrent.futures.thread import ThreadPoolExecutor as _StdlibExecutor
from itertools import count
from math import ceil
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, TypeVar

from plait._engine import PoolCore, _close_all_pools
from plait.concurrent.futures import _Standing
from plait.concurrent.futures._mapping import check_buffersize, in_order, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import ParamSpec

    from plait._engine import Worker
    from plait.concurrent.futures import Future

    _P = ParamSpec("_P")

_T = TypeVar("_T")

_BROKEN = "A thread initializer failed, the thread pool is not usable anymore"
_cpu_count: Callable[[], int | None] = getattr(os, "process_cpu_count", os.cpu_count)

# The threads that are alive, to be joined at the interpreter's exit.
_workers: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


def _leave() -> None:
    _close_all_pools()
    for thread in list(_workers):
        thread.join()


# As the standard library's pool: before the interpreter joins threads, and not in a child for its parent's.
threading._register_atexit(_leave)  # type: ignore[attr-defined]
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_workers.clear)


def _work(
    worker: Worker,
    executor: weakref.ref[ThreadPoolExecutor],
    initializer: Callable[..., Any] | None,
    initargs: tuple[Any, ...],
) -> None:
    """The life of a worker thread."""
    if initializer is not None:
        try:
            initializer(*initargs)
        except BaseException:
            _base.LOGGER.critical("Exception in initializer:", exc_info=True)
            for future in worker.fail():
                if future.set_running_or_notify_cancel():
                    future.set_exception(BrokenThreadPool(_BROKEN))
            return
    worker.run(executor)


class _Backlog:
    """What `ThreadPoolExecutor._work_queue` is read for: how many calls are queued."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool

    def qsize(self) -> int:
        """How many calls no worker has taken yet."""
        return self._pool._load()[0]

    def empty(self) -> bool:
        """Whether there are none."""
        return not self.qsize()


class ThreadPoolExecutor(PoolCore, _StdlibExecutor, metaclass=_Standing):
    """Has calls made by a pool of threads; as `concurrent.futures.ThreadPoolExecutor`.

    max_workers: how many threads there may be; they are started when a call finds none idle. By default as many as
    the CPUs and 4 more, at most 32.
    thread_name_prefix: what the threads' names begin with. initializer, initargs: called first in each thread; if it
    raises, the pool is broken: what is queued, and every later submit(), gets BrokenThreadPool.
    Raises ValueError for max_workers below 1, TypeError for an initializer that cannot be called.
    """

    __module__ = "plait.concurrent.futures"
    BROKEN = BrokenThreadPool
    _standard = _StdlibExecutor
    _counter = count().__next__

    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., Any] | None = None,
        initargs: tuple[Any, ...] = (),
        **ctxkwargs: Any,
    ) -> None:
        if ctxkwargs:
            # From 3.14 on there is such a parameter, for the pool of interpreters.
            where = "prepare_context" if hasattr(_StdlibExecutor, "prepare_context") else "__init__"
            name = next(iter(ctxkwargs))
            raise TypeError(f"ThreadPoolExecutor.{where}() got an unexpected keyword argument {name!r}")
        if max_workers is None:
            max_workers = min(32, (_cpu_count() or 1) + 4)
        if max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        self._max_workers = max_workers
        self._initializer = initializer
        self._initargs = initargs
        self._threads: set[threading.Thread] = set()
        self._thread_name_prefix = thread_name_prefix or f"ThreadPoolExecutor-{type(self)._counter()}"
        self._worker = self._open(ceil(max_workers))

    def _add_worker(self, number: int) -> None:
        """Start a thread: called by submit() when a call finds none idle."""
        # The thread does not keep the executor alive.
        self._threads.add(self._start(f"{self._thread_name_prefix or self}_{number}", weakref.ref(self)))

    def _start(self, name: str, executor: weakref.ref[ThreadPoolExecutor]) -> threading.Thread:
        args = (self._worker, executor, self._initializer, self._initargs)
        thread = threading.Thread(name=name, target=_work, args=args)
        thread.start()
        _workers.add(thread)
        return thread

    def _forget_workers(self) -> None:
        """In a forked child: the threads are the parent's."""
        self._threads.clear()

    if TYPE_CHECKING:

        def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]: ...

    def map(
        self,
        fn: Callable[..., _T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
        progress: bool | Mapping[str, Any] = False,
    ) -> Iterator[_T]:
        """Call `fn` with the items of `iterables`, as `map` does, in the pool's threads; the results come in order.

        timeout: in seconds from now, for all results together; then the iterator raises TimeoutError.
        chunksize: has no effect. buffersize: at most so many calls are ahead of the results that were taken, and the
        iterables are read no faster (as in 3.14); None reads them to the end at once.
        progress: True shows a progress bar where tqdm is installed; a dict gives its arguments, as for
        `plait.progress`.
        What `fn` raises is raised by the iterator, in its place; the calls that have not begun are cancelled then.
        """
        check_buffersize(buffersize)
        if timeout is not None:
            timeout + monotonic()  # raises what the standard library raises
        results: Iterator[_T]
        if buffersize is None and type(self).submit is PoolCore.submit:
            results = self._map(fn, iterables, timeout)
        else:
            results = in_order(self, fn, iterables, timeout, buffersize)
        return shown(results, iterables, progress)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls. Those submitted are still made, unless `cancel_futures` cancels what has not begun.

        wait: return when the last has ended and the threads are gone.
        """
        self._close(cancel_futures)
        if wait:
            while self._is_growing():
                sleep(0.001)  # a submit() in another thread was accepted, and has not added its thread yet
            for thread in tuple(self._threads):
                thread.join()

    @property
    def _shutdown(self) -> bool:  # type: ignore[override]
        return self._gate() in ("shutdown", "exit")

    @property
    def _broken(self) -> str | bool:  # type: ignore[override]
        return _BROKEN if self._gate() == "broken" else False

    @property
    def _work_queue(self) -> _Backlog:  # type: ignore[override]
        return _Backlog(self)
