"""What `Pool` returns: results over futures, with the methods of the standard library's and deriving from them.

Nothing hands a result on: who asks waits for the future itself. A result with a callback is ready when the callback
has returned, as in the standard library; so it has a future of its own, which is completed then.
"""

from __future__ import annotations

import multiprocessing.pool as _pool
import threading
from concurrent.futures import CancelledError, _base
from concurrent.futures.process import _RemoteTraceback
from multiprocessing import TimeoutError
from multiprocessing.pool import RemoteTraceback  # type: ignore[attr-defined]
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Any

from plait.concurrent.futures import Future

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Callback = Callable[[Any], object] | None


def failed(error: BaseException) -> Future[Any]:
    """A future that has failed with it."""
    future: Future[Any] = Future()
    future.set_exception(error)
    return future


def terminated() -> CancelledError:
    """What becomes of the calls that a pool will not make."""
    return CancelledError("the pool was terminated")


def error_of(future: _base.Future[Any], timeout: float | None = None) -> BaseException | None:
    """What the call raised, as a pool tells it; None if it returned."""
    try:
        error = future.exception(timeout)
    except CancelledError:
        return terminated()
    cause = None if error is None else error.__cause__
    if error is not None and type(cause) is _RemoteTraceback:
        error.__cause__ = RemoteTraceback(cause.tb)
    return error


def _call(callback: Callback, value: Any, result: object) -> None:
    """Call back. What that raises is logged: the result has to be delivered whatever happens."""
    if callback is not None:
        try:
            callback(value)
        except Exception:
            _base.LOGGER.exception("exception calling callback for %r", result)


class AsyncResult(_pool.ApplyResult):  # type: ignore[type-arg]
    """The result of `apply_async`, `map_async` or `starmap_async`; as `multiprocessing.pool.AsyncResult`."""

    def __init__(
        self,
        pool: object,
        parts: list[Future[Any]],
        gather: Callable[[list[Any]], Any],
        callback: Callback,
        error_callback: Callback,
    ) -> None:
        self._pool: object = pool  # a pool with results outstanding is not collected
        self._parts = parts
        self._gather = gather
        self._callback = callback
        self._error_callback = error_callback
        self._waited = 0  # so many parts are known to be done
        self._end: Future[Any] | None = None  # what get() returns, once that is known
        self._lock = threading.Lock()
        if (callback is not None or error_callback is not None) and parts:
            self._called: Future[Any] | None = Future()
            self._left = len(parts)
            for part in parts:
                part.add_done_callback(self._count)
        else:
            self._called = None

    def _count(self, _part: _base.Future[Any]) -> None:
        with self._lock:
            self._left -= 1
            if self._left:
                return
        end, called = self._settle(), self._called
        error = end.exception()
        if error is None:
            _call(self._callback, end.result(), self)
        else:
            _call(self._error_callback, error, self)
        self._callback = self._error_callback = None
        if called is not None:
            called.set_result(None)

    def _settle(self) -> Future[Any]:
        """The end, all parts being done."""
        with self._lock:
            if self._end is None:
                end: Future[Any] = Future()
                error = next(filter(None, map(error_of, self._parts)), None)
                if error is not None:
                    end.set_exception(error)
                else:
                    end.set_result(self._gather([part.result() for part in self._parts]))
                self._end, self._parts, self._pool = end, [], None
            return self._end

    def _wait(self, timeout: float | None) -> Future[Any] | None:
        """The end, or None if it has not come in time."""
        until = None if timeout is None else monotonic() + timeout
        if self._end is not None and (self._called is None or self._called.done()):
            return self._end
        if self._called is not None:
            waited = [self._called]
        else:
            waited = self._parts
        for number in range(self._waited, len(waited)):
            future = waited[number]
            try:
                future.exception(None if until is None else max(0.0, until - monotonic()))
            except CancelledError:
                pass
            except BaseException:
                if not future.done():
                    if until is not None and monotonic() >= until:
                        return None
                    raise
            self._waited = number + 1
        return self._settle()

    def ready(self) -> bool:
        """Whether the call has ended."""
        return self._wait(0) is not None

    def successful(self) -> bool:
        """Whether it ended without raising; ValueError if it has not ended."""
        end = self._wait(0)
        if end is None:
            raise ValueError(f"{self!r} not ready")
        return end.exception() is None

    def wait(self, timeout: float | None = None) -> None:
        """Wait for the end, for `timeout` seconds at most."""
        self._wait(timeout)

    def get(self, timeout: float | None = None) -> Any:
        """What was returned; what was raised is raised. TimeoutError if the end does not come in `timeout` seconds."""
        end = self._wait(timeout)
        if end is None:
            raise TimeoutError
        return end.result()


class MapResult(AsyncResult, _pool.MapResult):  # type: ignore[type-arg]
    """The result of `map_async` or `starmap_async`; as `multiprocessing.pool.MapResult`."""


class _Next:
    """What the two iterators share: a line of futures, fed by another thread or filled already, ended by None."""

    _pool: object
    _futures: SimpleQueue[_base.Future[Any] | None]

    def __init__(self, pool: object) -> None:
        self._pool = pool
        self._futures = SimpleQueue()
        self._lock = threading.Lock()
        self._head: _base.Future[Any] | None = None
        self._ended = False

    def __iter__(self) -> Any:
        return self

    def _take(self, until: float | None) -> _base.Future[Any]:
        """The next future; StopIteration after the last, TimeoutError where there is none in time."""
        if self._ended:
            raise StopIteration
        try:
            future = self._futures.get(timeout=None if until is None else max(0.0, until - monotonic()))
        except Empty:
            raise TimeoutError from None
        if future is None:
            self._ended, self._pool = True, None
            raise StopIteration
        return future

    def next(self, timeout: float | None = None) -> Any:
        """The next result; TimeoutError if it does not come in `timeout` seconds."""
        until = None if timeout is None else monotonic() + timeout
        with self._lock:
            future = self._head or self._take(until)
            self._head = future
            try:
                error = error_of(future, None if until is None else max(0.0, until - monotonic()))
            except BaseException:
                if until is not None and not future.done() and monotonic() >= until:
                    raise TimeoutError from None
                raise
            self._head = None
        try:
            if error is not None:
                raise error
            return future.result()
        finally:
            del future, error

    __next__ = next


class IMapIterator(_Next, _pool.IMapIterator):  # type: ignore[type-arg]
    """The results of `imap`; as `multiprocessing.pool.IMapIterator`."""

    def feed(self, futures: Iterable[Future[Any]]) -> None:
        """Take all of the calls, as they are made. Once."""
        for future in futures:
            self._futures.put(future)
        self._futures.put(None)


class IMapUnorderedIterator(_Next, _pool.IMapUnorderedIterator):  # type: ignore[type-arg]
    """The results of `imap_unordered`; as `multiprocessing.pool.IMapUnorderedIterator`."""

    def feed(self, futures: Iterable[Future[Any]]) -> None:
        """Take all of the calls, as they are made. Once."""
        count = _Countdown(self._futures)
        for future in futures:
            count.more()
            future.add_done_callback(count.done)
        count.last()


class _Countdown:
    """Puts futures in the line as they end, and None after the last."""

    def __init__(self, line: SimpleQueue[_base.Future[Any] | None]) -> None:
        self._line = line
        self._lock = threading.Lock()
        self._left = 1

    def more(self) -> None:
        with self._lock:
            self._left += 1

    def done(self, future: _base.Future[Any]) -> None:
        self._line.put(future)
        self.last()

    def last(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left:
                return
        self._line.put(None)
