"""`multiprocessing.Pool`: the engine's pool of processes, with the face of `_calls`.

Beyond the standard library: a process that dies costs the call (or the chunk) that it was making, which fails with
`WorkerDied`; nothing hangs. Lambdas, closures and functions of `__main__` can be called.
"""

from __future__ import annotations

import multiprocessing.pool as _pool
import signal
from multiprocessing import util
from multiprocessing.pool import RUN
from typing import TYPE_CHECKING, Any

from plait._engine import ProcessPoolCore
from plait._processes.opening import opening
from plait.concurrent.futures import _Standing
from plait.concurrent.futures._pool import _cpu_count
from plait.concurrent.futures._process import _GRACE, BrokenProcessPool
from plait.multiprocessing._calls import Calls, Feeds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from multiprocessing.context import BaseContext

    from plait._engine import Crew

__all__ = ["Pool"]


class _Workers(ProcessPoolCore):
    """The executor below."""

    BROKEN = BrokenProcessPool
    crew: Crew

    @property
    def _broken(self) -> str:
        return self.crew.why()


def _end(crew: Crew, feeds: Feeds) -> None:
    feeds.stop()
    crew.close(True, "shutdown")
    crew.kill(signal.SIGTERM)
    if not crew.wait(_GRACE):
        crew.kill(signal.SIGKILL)


class Pool(Calls, metaclass=_Standing):
    """A pool of processes; as `multiprocessing.Pool`.

    processes: how many, by default as many as there are CPUs; the first is there when this returns, the others come
    within milliseconds (all are there if a start method of `multiprocessing` is used). initializer, initargs: called
    first in each process; if it raises, the pool's calls get BrokenProcessPool. maxtasksperchild: a process that has
    made so many calls (chunks, of map) is replaced.
    context: a context of `multiprocessing` that starts the processes. By default plait's zygote does, or the start
    method that the program has set.
    Raises ValueError for less than one process, TypeError for an initializer that cannot be called.
    """

    __module__ = "plait.multiprocessing.pool"
    _standard = _pool.Pool

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: BaseContext | None = None,
    ) -> None:
        self._state = "INIT"
        if processes is None:
            processes = _cpu_count() or 1
        if processes < 1:
            raise ValueError("Number of processes must be at least 1")
        if maxtasksperchild is not None and (not isinstance(maxtasksperchild, int) or maxtasksperchild <= 0):
            raise ValueError("maxtasksperchild must be a positive int or None")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        self._ctx = context
        self._processes = processes
        self._maxtasksperchild = maxtasksperchild
        self._initializer = initializer
        self._initargs = initargs
        self._cache: dict[int, Any] = {}
        self._executor = _Workers()
        starter, hello = opening(
            context, {"initializer": initializer, "initargs": tuple(initargs), "style": "pool"}
        )
        self._crew = self._executor.crew = self._executor._open(
            processes, starter, hello, tasks_per_worker=maxtasksperchild, grace=_GRACE, eager=True
        )
        self._feeds = Feeds()
        try:
            self._crew.start()
        except BaseException:
            _end(self._crew, self._feeds)
            raise
        # At the interpreter's exit, too: what is not done by then is not waited for, as in the standard library.
        self._terminate = util.Finalize(self, _end, args=(self._crew, self._feeds), exitpriority=15)
        self._state = RUN

    @property
    def _pool(self) -> list[Any]:
        return list(self._crew.workers())

    def _repopulate_pool(self) -> None:
        """Does nothing: a process that ends is replaced."""

    def _close(self) -> None:
        self._crew.close(False, "shutdown")

    def _wait(self) -> None:
        self._crew.wait(None)
