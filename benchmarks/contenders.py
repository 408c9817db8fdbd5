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


_FACES = {
    "threading": ("Lock", "RLock", "Condition", "Semaphore", "Event", "Barrier"),
    "queue": ("Queue", "LifoQueue", "PriorityQueue", "SimpleQueue"),
    "concurrent.futures": ("Future", "ThreadPoolExecutor", "as_completed"),
}


class _Modules(SimpleNamespace):
    """The names of the standard library's modules, or of plait's, each module imported when a name asks for it."""

    def __init__(self, package: str) -> None:
        super().__init__()
        self._where = {name: f"{package}{face}" for face, names in _FACES.items() for name in names}

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self._where[name]), name)


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
    BASELINE: lambda: _Modules(""),
    CANDIDATE: lambda: _Modules("plait."),
    "aiologic": _aiologic,
    "culsans": _culsans,
}
