"""Pools of two processes of every contender, warmed up, behind the same three methods.

All start their workers from a clean process of their own (forkserver, loky's own, plait's zygote): none copies the
measured process.
"""

import multiprocessing
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks import contenders
from benchmarks.calls import noop
from benchmarks.contenders import BASELINE, CANDIDATE, LeftOut

POOL = "mp.Pool"
WORKERS = 2


@dataclass(frozen=True, slots=True)
class Processes:
    """`submit` gives what `result` takes; `call` is one call and its result; `map` has chunks of one item."""

    submit: Callable[..., Any]
    result: Callable[[Any], Any]
    call: Callable[..., Any]
    map: Callable[[Callable[..., Any], Iterable[Any]], Iterable[Any]]
    pool: Any


def context() -> Any:
    """How the standard library's processes are started."""
    return multiprocessing.get_context("forkserver")


def ours(name: str) -> Any:
    """`plait.multiprocessing`'s class of that name; LeftOut where this build does not have it."""
    import plait.multiprocessing

    found = getattr(plait.multiprocessing, name, None)
    if found is None or found is getattr(multiprocessing, name):
        raise LeftOut(f"plait.multiprocessing.{name} is not in this build")
    return found


def needs_numpy() -> Any:
    """numpy; LeftOut where it is not installed."""
    try:
        import numpy
    except ImportError:
        raise LeftOut("numpy is not installed (pip install numpy)") from None
    return numpy


@contextmanager
def processes(name: str) -> Iterator[Processes]:
    """The contender's pool, which has made calls before and is shut down after."""
    with _OPENERS[name](name) as pool:
        assert list(pool.map(noop, range(200))) == [None] * 200
        yield pool


def executor(name: str) -> Callable[[], Any]:
    """What makes a ProcessPoolExecutor, of the standard library or of plait."""
    if name == CANDIDATE:
        from plait.concurrent.futures import ProcessPoolExecutor as Ours

        return partial(Ours, WORKERS)
    from concurrent.futures import ProcessPoolExecutor

    way = multiprocessing.get_context("fork") if name == "fork" else context()
    return partial(ProcessPoolExecutor, WORKERS, mp_context=way)


@contextmanager
def _executor(name: str) -> Iterator[Processes]:
    with executor(name)() as pool:
        yield _of_executor(pool)


def _of_executor(pool: Any) -> Processes:
    submit = pool.submit

    def call(fn: Callable[..., Any], *args: Any) -> Any:
        return submit(fn, *args).result()

    return Processes(submit, lambda future: future.result(), call, pool.map, pool)


@contextmanager
def _loky(name: str) -> Iterator[Processes]:
    contenders.needs(name)
    import loky

    pool = loky.ProcessPoolExecutor(WORKERS)
    try:
        yield _of_executor(pool)
    finally:
        pool.shutdown(wait=True)


@contextmanager
def _pool(name: str) -> Iterator[Processes]:
    with (ours("Pool")(WORKERS) if name == CANDIDATE else context().Pool(WORKERS)) as pool:
        yield Processes(
            lambda fn, *args: pool.apply_async(fn, args),
            lambda result: result.get(),
            lambda fn, *args: pool.apply(fn, args),
            lambda fn, items: pool.map(fn, items, 1),
            pool,
        )
        pool.close()
        pool.join()


@contextmanager
def _mpire(name: str) -> Iterator[Processes]:
    contenders.needs(name)
    import mpire

    with mpire.WorkerPool(WORKERS, start_method="forkserver", keep_alive=True) as pool:
        yield Processes(
            lambda fn, *args: pool.apply_async(fn, args),
            lambda result: result.get(),
            lambda fn, *args: pool.apply(fn, args),
            lambda fn, items: pool.map(fn, items, chunk_size=1),
            pool,
        )


@contextmanager
def _pebble(name: str) -> Iterator[Processes]:
    contenders.needs(name)
    import pebble

    with pebble.ProcessPool(WORKERS, context=context()) as pool:

        def submit(fn: Callable[..., Any], *args: Any) -> Any:
            return pool.schedule(fn, args=args)

        yield Processes(
            submit,
            lambda future: future.result(),
            lambda fn, *args: submit(fn, *args).result(),
            lambda fn, items: pool.map(fn, items, chunksize=1).result(),
            pool,
        )


_OPENERS: dict[str, Any] = {
    BASELINE: _executor,
    CANDIDATE: _executor,
    POOL: _pool,
    "loky": _loky,
    "mpire": _mpire,
    "pebble": _pebble,
}


@contextmanager
def our_pool(name: str) -> Iterator[Processes]:
    """`multiprocessing.Pool`, the standard library's or plait's, warmed up."""
    with _pool(name) as pool:
        pool.map(noop, range(200))
        yield pool


class _Burner:
    """A thread that computes, for as long as somebody wants it."""

    def __init__(self) -> None:
        self.wanted = 0

    def run(self) -> None:
        while self.wanted:
            for _ in range(10_000):
                pass


_burner = _Burner()


@contextmanager
def beside_a_burner(inner: Any) -> Iterator[Any]:
    """The context manager `inner` while a thread of this process computes: one for all contenders of the row."""
    with inner as value:
        _burner.wanted += 1
        if _burner.wanted == 1:
            threading.Thread(target=_burner.run, daemon=True).start()
        try:
            yield value
        finally:
            _burner.wanted -= 1
