"""plait's processes as a backend of joblib: `plait.register_joblib()`, then `parallel_config(backend="plait")`.

One pool of processes outlives the calls of `Parallel`, as with joblib's own backend. What a call needs is pickled by
plait: arrays go through shared memory and arrive as read-only views.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Any

try:
    from joblib.parallel import (  # type: ignore[import-untyped,import-not-found,unused-ignore]
        AutoBatchingMixin,
        FallbackToBackend,
        ParallelBackendBase,
        SequentialBackend,
        register_parallel_backend,
    )
except ImportError as error:
    raise ImportError("plait.register_joblib() needs joblib 1.5 or later (pip install joblib)") from error

from plait.concurrent.futures import ProcessPoolExecutor
from plait.concurrent.futures._pool import _cpu_count

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

__all__ = ["register_joblib"]


def register_joblib(name: str = "plait", make_default: bool = False) -> None:
    """Make plait's processes known to joblib as a backend: `joblib.Parallel(n_jobs=2, backend="plait")`.

    So that scikit-learn uses them: `with joblib.parallel_config(backend="plait", n_jobs=2): ...`, or make_default=True
    for the whole program. name: by what name they are known.
    Raises ImportError where joblib is missing.
    """
    register_parallel_backend(name, Backend, make_default=make_default)


def _limit_threads(environment: dict[str, str]) -> None:
    """In a worker: the libraries that compute in threads of their own get their share of the cores."""
    os.environ.update(environment)
    if "numpy" in sys.modules:
        try:
            from threadpoolctl import threadpool_limits
        except ImportError:
            return
        threadpool_limits(int(environment["OMP_NUM_THREADS"]))


class _Pools:
    """The pool that calls of `Parallel` share; and those of other sizes, while they are in use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._latest: Any = None
        self._kept: dict[Any, tuple[ProcessPoolExecutor, int]] = {}  # by size and environment; how many use it

    def take(self, workers: int, environment: dict[str, str]) -> Any:
        """A key for `pool()`, to be given back."""
        key = (workers, *environment.items())
        with self._lock:
            pool, users = self._kept.get(key, (None, 0))
            if pool is None or pool._broken or pool._shutdown_thread:
                pool = ProcessPoolExecutor(workers, initializer=_limit_threads, initargs=(environment,))
            self._kept[key] = pool, users + 1
            self._latest = key
            unused = self._drop_unused()
        for old in unused:
            old.shutdown(wait=False)
        return key

    def pool(self, key: Any) -> ProcessPoolExecutor:
        """The pool itself."""
        return self._kept[key][0]

    def give_back(self, key: Any) -> None:
        """It is not used any more by who took it."""
        with self._lock:
            pool, users = self._kept[key]
            self._kept[key] = pool, users - 1
            unused = self._drop_unused()
        for old in unused:
            old.shutdown(wait=False)

    def _drop_unused(self) -> list[ProcessPoolExecutor]:
        keys = [key for key, (_, users) in self._kept.items() if not users and key != self._latest]
        return [self._kept.pop(key)[0] for key in keys]


def _start_anew() -> None:
    """In a forked child: the parent's workers are the parent's."""
    global _pools
    _pools = _Pools()


_pools = _Pools()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)


class Backend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc,unused-ignore]
    """What joblib asks of a backend; its documentation is `joblib.parallel.ParallelBackendBase`'s."""

    supports_retrieve_callback = True
    supports_inner_max_num_threads = True
    uses_threads = False
    supports_sharedmem = False

    _key: Any = None

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """How many processes `n_jobs` stands for: -1 is one for each core, -2 one less."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            return 1
        return n_jobs if n_jobs > 0 else max((_cpu_count() or 1) + 1 + n_jobs, 1)

    def configure(
        self, n_jobs: int = 1, parallel: Any = None, prefer: Any = None, require: Any = None, **kwargs: Any
    ) -> int:
        """Get the pool ready; returns how many processes there are."""
        n_jobs = self.effective_n_jobs(n_jobs)
        if n_jobs == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        self.parallel = parallel
        self._calls: set[Future[Any]] = set()
        self._key = _pools.take(n_jobs, self._prepare_worker_env(n_jobs=n_jobs))
        return n_jobs

    def submit(self, func: Callable[[], Any], callback: Callable[[Any], Any] | None = None) -> Future[Any]:
        """Have a batch of calls made."""
        future: Future[Any] = _pools.pool(self._key).submit(func)
        self._calls.add(future)
        future.add_done_callback(self._calls.discard)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, out: Future[Any]) -> Any:
        """The results of a batch."""
        return out.result()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Stop what is being made and drop what is not; the pool goes on."""
        for future in list(self._calls):
            future.cancel()

    def terminate(self) -> None:
        """The call of `Parallel` is over."""
        if self._key is not None:
            _pools.give_back(self._key)
            self._key = None
        self.reset_batch_stats()
