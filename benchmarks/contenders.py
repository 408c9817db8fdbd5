"""Who is measured: each contender is a namespace of names that rows use, spelt as in the standard library.

A rival's class is subclassed where its method has another name (`green_put` for `put`), which costs nothing a
call. What a contender lacks is simply not in its namespace, and rows say which rivals they apply to.
Modules are imported on demand: a row that compares two contenders loads only these two, and in the one-core
regime plait is imported after the process was confined.
"""

import importlib
import importlib.metadata
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

BASELINE = "stdlib"
CANDIDATE = "plait"
RIVALS = ("aiologic", "culsans")


class LeftOut(Exception):
    """A contender does not take part in a row, for the reason given, which the report repeats."""


def load(name: str) -> SimpleNamespace:
    """The namespace of the contender called `name`; LeftOut where an optional package is missing."""
    if name in RIVALS and version(name) is None:
        raise LeftOut(f"{name} is not installed (pip install {name})")
    return _LOADERS[name]()


def version(name: str) -> str | None:
    """The installed version of a contender's package, None where there is none."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _faces(threading: Any, queue: Any, futures: Any) -> SimpleNamespace:
    return SimpleNamespace(
        Lock=threading.Lock,
        RLock=threading.RLock,
        Condition=threading.Condition,
        Semaphore=threading.Semaphore,
        Event=threading.Event,
        Barrier=threading.Barrier,
        Queue=queue.Queue,
        LifoQueue=queue.LifoQueue,
        PriorityQueue=queue.PriorityQueue,
        SimpleQueue=queue.SimpleQueue,
        Future=futures.Future,
        ThreadPoolExecutor=futures.ThreadPoolExecutor,
        as_completed=futures.as_completed,
    )


def _stdlib() -> SimpleNamespace:
    import concurrent.futures
    import queue
    import threading

    return _faces(threading, queue, concurrent.futures)


def _plait() -> SimpleNamespace:
    return _faces(
        *(importlib.import_module(f"plait.{face}") for face in ("threading", "queue", "concurrent.futures"))
    )


def _aiologic() -> SimpleNamespace:
    import aiologic

    def threaded(cls: Any) -> Any:
        names = {
            "put": cls.green_put,
            "get": cls.green_get,
            "put_async": cls.async_put,
            "get_async": cls.async_get,
        }
        return type(cls.__name__, (cls,), {"__slots__": (), **names})

    return SimpleNamespace(
        Lock=aiologic.Lock,
        RLock=aiologic.RLock,
        Condition=aiologic.Condition,
        Semaphore=aiologic.Semaphore,
        Event=aiologic.REvent,
        Barrier=aiologic.RBarrier,
        Queue=threaded(aiologic.Queue),
        LifoQueue=threaded(aiologic.LifoQueue),
        PriorityQueue=threaded(aiologic.PriorityQueue),
    )


def _culsans() -> SimpleNamespace:
    import culsans

    def threaded(cls: Any) -> Any:
        names = {
            "put": cls.sync_put,
            "get": cls.sync_get,
            "put_async": cls.async_put,
            "get_async": cls.async_get,
        }
        return type(cls.__name__, (cls,), {"__slots__": (), **names})

    return SimpleNamespace(
        Queue=threaded(culsans.Queue),
        LifoQueue=threaded(culsans.LifoQueue),
        PriorityQueue=threaded(culsans.PriorityQueue),
    )


_LOADERS: dict[str, Callable[[], SimpleNamespace]] = {
    BASELINE: _stdlib,
    CANDIDATE: _plait,
    "aiologic": _aiologic,
    "culsans": _culsans,
}
