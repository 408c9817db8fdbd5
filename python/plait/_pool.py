"""`Pool`: threads, processes, interpreters, or whichever suits the function, behind one interface."""

from __future__ import annotations

import sys
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, TypeVar

from plait._chooser import Chooser
from plait._follower import awaitable
from plait.concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from plait.concurrent.futures._mapping import in_order, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Literal, ParamSpec

    from plait.concurrent.futures import Future

    _P = ParamSpec("_P")
    Kind = Literal["thread", "process", "interpreter", "auto"]

_T = TypeVar("_T")

__all__ = ["Pool"]

_KINDS = ("thread", "process", "interpreter", "auto")


class Pool(Executor):
    """Has calls made by threads, by processes, by interpreters, or by whichever suits each function.

    kind: "thread" is `plait.ThreadPoolExecutor`, "process" `plait.ProcessPoolExecutor`, "interpreter" the standard
    library's `InterpreterPoolExecutor` (Python 3.14). "auto" makes the first calls of each function on threads and
    measures them: a function that waits stays there, one that computes goes to processes, provided that its
    arguments and results can be pickled, and a coroutine function goes to an event loop of the pool's own; `stats()`
    says what was chosen, and why. No call is made twice.
    max_workers: how many there may be, of threads and of processes each; None: as the executors have it.
    initializer, initargs: called first in each thread, process or interpreter.
    options: what else the executor takes: `thread_name_prefix` that of threads; `retries`, `timeout`,
    `memory_limit`, `mp_context` and so on that of processes. "auto" takes them all.

    "auto" presumes that what a function does is its result: a call in a process that changes an argument, an object
    or a global changes a copy. (It sees where a function assigns to globals, to variables of the function around it
    or, as a method, to attributes, and where it has a list, say, of the function around it; those stay on threads.)

    The futures can be awaited: `await pool.submit(f)`.
    Raises ValueError for a kind that does not exist, RuntimeError for "interpreter" before Python 3.14, and what the
    executor raises for its arguments.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        kind: Kind = "auto",
        *,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        **options: Any,
    ) -> None:
        if kind not in _KINDS:
            raise ValueError(f"kind must be one of {', '.join(map(repr, _KINDS))}, not {kind!r}")
        options = {"initializer": initializer, "initargs": initargs, **options}
        self._kind = kind
        self._executor: Any = _MAKERS[kind](max_workers, options)

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Have `fn(*args, **kwargs)` called; returns its future, which can be awaited.

        "auto": the future of a coroutine function's call has what the coroutine returns.
        Raises RuntimeError after shutdown().
        """
        return awaitable(self._executor.submit(fn, *args, **kwargs))

    def map(
        self,
        fn: Callable[..., _T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
        progress: bool | Mapping[str, Any] = False,
    ) -> Iterator[_T]:
        """Call `fn` with the items of `iterables`, as `map` does; the results come in order.

        timeout: in seconds from now, for all results together; then the iterator raises TimeoutError.
        chunksize: so many calls are sent to a process together; has no effect on other kinds.
        buffersize: at most so many calls are ahead of the results that were taken, and the iterables are read no
        faster; None reads them to the end at once. progress: True shows a progress bar where tqdm is installed; a
        dict gives its arguments, as for `plait.progress`.
        """
        if self._kind in ("thread", "process"):
            results: Iterator[_T] = self._executor.map(
                fn, *iterables, timeout=timeout, chunksize=chunksize, buffersize=buffersize, progress=progress
            )
            return results
        return shown(in_order(self, fn, iterables, timeout, buffersize), iterables, progress)

    def stats(self) -> dict[str, Any]:
        """What the pool is and has done: `kind`, `workers`, and more by kind.

        "auto": `functions`, by name: `runs_on` ("thread", "process", "loop", or "trial" while it is being measured),
        `why` in words, `calls` by where they went, and seconds a measured call, `cpu` and `wall`.
        "process", and "auto" under `processes`: what `ProcessPoolExecutor.stats()` says.
        """
        executor = self._executor
        stats = {"kind": self._kind, "workers": executor._max_workers}
        if self._kind in ("auto", "process"):
            return {**executor.stats(), **stats}
        if self._kind == "thread":
            stats["queued"] = executor._load()[0]
        return stats

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls. Those submitted are still made, unless `cancel_futures` cancels what has not begun.

        wait: return when the last has ended and the workers are gone.
        """
        self._executor.shutdown(wait, cancel_futures=cancel_futures)


def _thread(max_workers: int | None, options: dict[str, Any]) -> Executor:
    return ThreadPoolExecutor(max_workers, **options)


def _process(max_workers: int | None, options: dict[str, Any]) -> Executor:
    return ProcessPoolExecutor(max_workers, **options)


def _interpreter(max_workers: int | None, options: dict[str, Any]) -> Executor:
    try:
        from concurrent.futures import InterpreterPoolExecutor  # type: ignore[attr-defined,unused-ignore]
    except ImportError:
        version = ".".join(map(str, sys.version_info[:2]))
        raise RuntimeError(
            f'kind="interpreter" needs concurrent.futures.InterpreterPoolExecutor, which Python {version} does not '
            'have (3.14 and later do): take "process" or "auto"'
        ) from None
    executor: Executor = InterpreterPoolExecutor(max_workers, **options)
    return executor


_MAKERS: dict[str, Callable[[int | None, dict[str, Any]], Any]] = {
    "thread": _thread,
    "process": _process,
    "interpreter": _interpreter,
    "auto": Chooser,
}
