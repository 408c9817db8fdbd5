"""What the two pools of `multiprocessing` share: calls go to an executor, results are futures (`_results`)."""

from __future__ import annotations

import multiprocessing.pool as _pool
import threading
import warnings
from concurrent.futures import BrokenExecutor
from functools import partial
from itertools import chain, islice
from multiprocessing import util
from multiprocessing.pool import CLOSE, RUN, TERMINATE
from typing import TYPE_CHECKING, Any

from plait._processes.chunks import map_chunk, of_chunks, starmap_chunk
from plait.multiprocessing._results import (
    AsyncResult,
    IMapIterator,
    IMapUnorderedIterator,
    MapResult,
    error_of,
    failed,
    terminated,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from plait.concurrent.futures import Future
    from plait.multiprocessing._results import Callback

__all__ = ["Calls", "Feeds"]

# Iterables of these types are read by the caller of imap: to ask them takes no time and raises nothing.
_AT_HAND = (list, tuple, range, str, bytes, dict, set, frozenset)


def _flat(lists: list[list[Any]]) -> list[Any]:
    return list(chain.from_iterable(lists))


def _only(values: list[Any]) -> Any:
    return values[0]


class Feeds:
    """The threads that read what imap was given: it may take its time, and raise."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._active = 0
        self.stopped = False
        self._last: Callable[[], object] | None = None

    def start(self, feed: Callable[[], object]) -> None:
        """Run it in a thread."""
        with self._changed:
            self._active += 1
        threading.Thread(target=self._run, args=(feed,), name="Pool_feeder", daemon=True).start()

    def _run(self, feed: Callable[[], object]) -> None:
        try:
            feed()
        finally:
            del feed
            with self._changed:
                self._active -= 1
                last = None if self._active else self._last
                self._changed.notify_all()
            if last is not None:
                last()

    def stop(self) -> None:
        """Have them end at the next item."""
        self.stopped = True

    def after_the_last(self, then: Callable[[], object]) -> None:
        """Call `then` when no thread reads any more: now, or in the last of them."""
        with self._changed:
            self._last = then
            if self._active:
                return
        then()

    def join(self) -> None:
        """Wait until none reads any more, or they were told to stop."""
        with self._changed:
            while self._active and not self.stopped:
                self._changed.wait(0.1)


class Calls(_pool.Pool):
    """A pool whose calls go to `_executor`."""

    _executor: Any
    _feeds: Feeds
    _terminate: Callable[[], object]

    if TYPE_CHECKING:
        _state: str
        _processes: int

        def _check_running(self) -> None: ...

    def __del__(self, _warn: Callable[..., None] = warnings.warn, _running: str = RUN) -> None:
        if self._state == _running:
            _warn(f"unclosed running multiprocessing pool {self!r}", ResourceWarning, source=self)

    def _submit(self, func: Callable[..., Any], /, *args: Any, **kwds: Any) -> Future[Any]:
        """Submit a call; a pool that is broken, or that is terminated meanwhile, is what the call fails with."""
        try:
            future: Future[Any] = self._executor.submit(func, *args, **kwds)
        except BrokenExecutor as error:
            return failed(error)
        except RuntimeError:
            if self._state != TERMINATE:
                raise
            return failed(terminated())
        return future

    # --- one call --------------------------------------------------------------------------------------

    def apply(
        self, func: Callable[..., Any], args: Iterable[Any] = (), kwds: Mapping[str, Any] = {}
    ) -> Any:
        """Call `func(*args, **kwds)` in a process and return what it returns."""
        self._check_running()
        future = self._submit(func, *args, **kwds)
        error = error_of(future)
        if error is None:
            return future.result()
        try:
            raise error
        finally:
            del error, future

    def apply_async(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = {},
        callback: Callback = None,
        error_callback: Callback = None,
    ) -> AsyncResult:
        """As apply(), but returns a result to be asked at once.

        callback: called with what `func` returns, error_callback: with what it raises, in a thread of the pool.
        """
        self._check_running()
        return AsyncResult(self, [self._submit(func, *args, **kwds)], _only, callback, error_callback)

    # --- all items, in chunks --------------------------------------------------------------------------

    def _map_async(
        self,
        func: Callable[..., Any],
        iterable: Any,
        mapper: Callable[..., Any],
        chunksize: int | None = None,
        callback: Callback = None,
        error_callback: Callback = None,
    ) -> MapResult:
        self._check_running()
        if not hasattr(iterable, "__len__"):
            iterable = list(iterable)
        length = len(iterable)
        if chunksize is None:
            chunksize = -(-length // (self._processes * 4))
        stars = mapper is not _pool.mapstar  # type: ignore[attr-defined]
        if chunksize == 1:
            # The function by itself, which is sent to each worker once.
            futures = list(self._singly(func, iterable, stars))
            return MapResult(self, futures, list, callback, error_callback)
        chunk = starmap_chunk if stars else map_chunk
        futures = list(self._chunks(chunk, func, iterable, chunksize)) if length else []
        return MapResult(self, futures, _flat, callback, error_callback)

    def _chunks(
        self, chunk: Callable[..., Any], func: Callable[..., Any], iterable: Iterable[Any], chunksize: int
    ) -> Iterator[Future[Any]]:
        submit = self._submit
        call, before = of_chunks(chunk, func)
        try:
            items = iter(iterable)
            while part := tuple(islice(items, chunksize)):
                if self._feeds.stopped:
                    yield failed(terminated())
                    return
                yield submit(call, *before, part)
        except Exception as error:
            yield failed(error)

    # --- one by one ------------------------------------------------------------------------------------

    def imap(  # type: ignore[override]  # a generator, where there are chunks; there too
        self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int = 1
    ) -> Iterator[Any]:
        """The results of `map(func, iterable)` as an iterator that waits for each; with `next(timeout)`."""
        return self._imap(IMapIterator, func, iterable, chunksize)

    def imap_unordered(  # type: ignore[override]
        self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int = 1
    ) -> Iterator[Any]:
        """As imap(), but each result comes as soon as it is there."""
        return self._imap(IMapUnorderedIterator, func, iterable, chunksize)

    def _imap(
        self,
        kind: type[IMapIterator | IMapUnorderedIterator],
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int,
    ) -> Iterator[Any]:
        self._check_running()
        if chunksize < 1:
            raise ValueError(f"Chunksize must be 1+, not {chunksize!r}")
        result = kind(self)
        if chunksize == 1:
            futures = self._singly(func, iterable)
        else:
            futures = self._chunks(map_chunk, func, iterable, chunksize)
        if type(iterable) in _AT_HAND:
            result.feed(futures)
        else:
            self._feeds.start(partial(result.feed, futures))
        if chunksize == 1:
            return result
        return (item for items in result for item in items)

    def _singly(
        self, func: Callable[..., Any], iterable: Iterable[Any], stars: bool = False
    ) -> Iterator[Future[Any]]:
        submit = self._submit
        try:
            for item in iterable:
                if self._feeds.stopped:
                    yield failed(terminated())
                    return
                yield submit(func, *item) if stars else submit(func, item)
        except Exception as error:
            yield failed(error)

    # --- the end ---------------------------------------------------------------------------------------

    def _close(self) -> None:
        """Have the executor take no more calls."""
        raise NotImplementedError

    def _wait(self) -> None:
        """Wait until the executor's workers are gone."""
        raise NotImplementedError

    def close(self) -> None:
        """Take no more calls; those that were submitted are still made."""
        util.debug("closing pool")
        if self._state == RUN:
            self._state = CLOSE
            self._feeds.after_the_last(self._close)

    def terminate(self) -> None:
        """Take no more calls. What has not begun fails with CancelledError; processes are ended."""
        util.debug("terminating pool")
        self._state = TERMINATE
        self._terminate()

    def join(self) -> None:
        """Wait until the workers are gone; after close() or terminate(). ValueError before."""
        util.debug("joining pool")
        if self._state == RUN:
            raise ValueError("Pool is still running")
        if self._state not in (CLOSE, TERMINATE):
            raise ValueError("In unknown state")
        self._feeds.join()
        self._wait()
