"""Who is measured: each contender is a namespace of names that rows use, spelt as in the standard library.

A rival's class is subclassed where its method has another name (`green_put` for `put`), which costs nothing a
call. What a contender lacks is simply not in its namespace, and rows say which rivals they apply to.
Modules are imported on demand: a row that compares two contenders loads only these two, and in the one-core
regime plait is imported after the process was confined.
"""

import importlib
import importlib.metadata
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any

BASELINE = "stdlib"
CANDIDATE = "plait"
THREAD_RIVALS = ("aiologic", "culsans")
LOOP_RIVALS = ("uvloop", "rloop")
PROCESS_RIVALS = ("loky", "mpire", "pebble", "faster-fifo")
RIVALS = (*THREAD_RIVALS, *LOOP_RIVALS, *PROCESS_RIVALS)
# Beside the baseline, other ways of the standard library's, and what two processes do without any pool.
OTHER_WAYS = ("mp.Pool", "SimpleQueue", "fork", "ideal")
# No rival, but a measure: what a switch costs where nobody schedules, so what no loop can save.
BARE = "bare"


class LeftOut(Exception):
    """A contender does not take part in a row, for the reason given, which the report repeats."""


def load(name: str) -> SimpleNamespace:
    """The namespace of the contender called `name`; LeftOut where an optional package is missing."""
    if name in RIVALS:
        needs(name)
    return _LOADERS[name]()


def needs(name: str) -> None:
    """LeftOut where the rival's package is missing."""
    if version(name) is None:
        raise LeftOut(f"{name} is not installed (pip install {name})")


@dataclass(frozen=True, slots=True)
class Loops:
    """A contender of the rows about coroutines: the module that programs import as asyncio, and its loop."""

    name: str
    asyncio: Any
    new_event_loop: Callable[[], Any]


def loops(name: str) -> Loops:
    """The loop of the contender called `name`. A rival brings a loop only: the rest is the standard library's."""
    if name == CANDIDATE:
        try:
            ours = importlib.import_module("plait.asyncio")
        except ModuleNotFoundError:
            raise LeftOut("plait.asyncio is not in this build") from None
        return Loops(name, ours, ours.new_event_loop)
    asyncio = importlib.import_module("asyncio")
    if name == BASELINE:
        return Loops(name, asyncio, asyncio.new_event_loop)
    needs(name)
    if _switches_the_gil_on(name):
        raise LeftOut(f"{name} is not ready for a free-threaded interpreter: it switches the GIL on")
    return Loops(name, asyncio, importlib.import_module(name).new_event_loop)


@cache
def _switches_the_gil_on(name: str) -> bool:
    """Asked of another process: once it is on, every later figure of this one would be wrong."""
    if getattr(sys, "_is_gil_enabled", lambda: True)():
        return False
    code = f"import sys, {name}; sys.exit(sys._is_gil_enabled())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode != 0


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
