"""The ways of `map` that are not one native call: lazily, in chunks, as completed, with a bar; for both executors."""

from __future__ import annotations

import weakref
from collections import deque
from itertools import islice, repeat
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from plait._processes.chunks import of_chunks, starmap_chunk

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
    from concurrent.futures import Future

    class Submitter(Protocol):
        """What has a submit()."""

        def submit(self, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
            """As an executor's."""

    _Iterables = tuple[Iterable[Any], ...]
    # in_order or as_they_come.
    Run = Callable[[Submitter, Callable[..., Any], _Iterables, float | None, int | None], Iterator[Any]]

_T = TypeVar("_T")


def check_buffersize(buffersize: int | None) -> None:
    """Raise what the standard library raises."""
    if buffersize is not None and not isinstance(buffersize, int):
        raise TypeError("buffersize must be an integer or None")
    if buffersize is not None and buffersize < 1:
        raise ValueError("buffersize must be None or > 0")


def in_order(
    executor: Submitter,
    fn: Callable[..., _T],
    iterables: _Iterables,
    timeout: float | None,
    buffersize: int | None,
) -> Iterator[_T]:
    """The results in order: of a map that reads its iterables lazily, or whose executor has a submit() of its own."""
    check_buffersize(buffersize)
    end = None if timeout is None else timeout + monotonic()
    calls = zip(*iterables, strict=False)
    futures = deque(executor.submit(fn, *args) for args in islice(calls, buffersize))
    # The results do not keep the executor alive.
    return _results(_weakly(executor), fn, calls if buffersize else iter(()), futures, end)


def _weakly(executor: Submitter) -> Callable[[], Submitter | None]:
    weakly = getattr(executor, "_weakly", None)
    return weakly() if weakly else weakref.ref(executor)


def _results(
    executor: Callable[[], Submitter | None],
    fn: Callable[..., _T],
    calls: Iterator[tuple[Any, ...]],
    futures: deque[Future[_T]],
    end: float | None,
) -> Generator[_T, None, None]:
    try:
        while futures:
            if pool := executor():
                futures.extend(pool.submit(fn, *args) for args in islice(calls, 1))
            del pool
            # No reference to the future or to its result stays here while the caller has it.
            yield _result_or_cancel(futures, end)
    finally:
        for future in futures:
            future.cancel()


def _result_or_cancel(futures: deque[Future[_T]], end: float | None) -> _T:
    future = futures.popleft()
    try:
        return future.result(None if end is None else end - monotonic())
    finally:
        future.cancel()
        del future


def as_they_come(
    executor: Submitter,
    fn: Callable[..., _T],
    iterables: _Iterables,
    timeout: float | None,
    buffersize: int | None,
) -> Iterator[_T]:
    """The results of a map, each as soon as it is there."""
    check_buffersize(buffersize)
    end = None if timeout is None else timeout + monotonic()
    calls = zip(*iterables, strict=False)
    ahead = _Ahead(fn)
    ahead.submit(executor, islice(calls, buffersize))
    return _any_results(_weakly(executor), calls if buffersize else iter(()), ahead, end)


class _Ahead:
    """The calls that were submitted and whose results were not taken."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.fn = fn
        self.futures: set[Future[Any]] = set()
        self.done: SimpleQueue[Future[Any]] = SimpleQueue()

    def submit(self, executor: Submitter, calls: Iterable[tuple[Any, ...]]) -> None:
        for args in calls:
            future = executor.submit(self.fn, *args)
            self.futures.add(future)
            future.add_done_callback(self.done.put)

    def next(self, end: float | None) -> Any:
        try:
            future = self.done.get(timeout=None if end is None else max(0.0, end - monotonic()))
        except Empty:
            raise TimeoutError from None
        self.futures.discard(future)
        try:
            return future.result()
        finally:
            del future


def _any_results(
    executor: Callable[[], Submitter | None],
    calls: Iterator[tuple[Any, ...]],
    ahead: _Ahead,
    end: float | None,
) -> Generator[Any, None, None]:
    try:
        while ahead.futures:
            if pool := executor():
                ahead.submit(pool, islice(calls, 1))
            del pool
            yield ahead.next(end)
    finally:
        for future in ahead.futures:
            future.cancel()


def in_chunks(
    run: Run,
    executor: Submitter,
    fn: Callable[..., _T],
    iterables: _Iterables,
    timeout: float | None,
    buffersize: int | None,
    chunksize: int,
) -> Iterator[_T]:
    """The results of a map whose calls are made `chunksize` together, each chunk as one call."""
    calls = zip(*iterables, strict=False)
    chunks = iter(lambda: tuple(islice(calls, chunksize)), ())
    call, before = of_chunks(starmap_chunk, fn)
    return _flat(run(executor, call, (*map(repeat, before), chunks), timeout, buffersize))


def _flat(lists: Iterator[list[_T]]) -> Generator[_T, None, None]:
    """The items of the lists; none is held here while the caller has it."""
    for items in lists:
        items.reverse()
        while items:
            yield items.pop()


def shown(
    results: Iterator[_T], iterables: _Iterables, progress: bool | Mapping[str, Any]
) -> Iterator[_T]:
    """The results, with a progress bar if one is asked for."""
    if progress is False:
        return results
    from plait.progress import progress as bar

    options = {} if progress is True else dict(progress)
    try:
        options.setdefault("total", min(len(iterable) for iterable in iterables))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        pass  # not known, or no iterables
    return iter(bar(results, **options))
