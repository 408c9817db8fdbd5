"""plait: Python's threads, processes and coroutines on one Rust engine.

What is not native is imported from its face when it is first asked for, so that `import plait` and `plait run`
stay quick and bring in nothing that the program has not asked for.
"""

from __future__ import annotations

from plait._engine import (
    Barrier,
    BoundedSemaphore,
    Condition,
    DeadlockError,
    DeadlockWarning,
    Event,
    Lock,
    RLock,
    Semaphore,
    __version__,
)
from plait._install import install, installed, uninstall
from plait.progress import progress

TYPE_CHECKING = False  # `typing` takes longer to import than the rest of this
if TYPE_CHECKING:
    from typing import Any

    from plait._joblib import register_joblib
    from plait._pool import Pool
    from plait._processes.start import prestart
    from plait.concurrent.futures import (
        Future,
        MemoryLimitExceeded,
        ProcessPoolExecutor,
        TaskTimeout,
        ThreadPoolExecutor,
        WorkerDied,
    )
    from plait.queue import LifoQueue, PriorityQueue, Queue
    from plait.threading import Timer

_FACES = {
    "plait.threading": ("Timer",),
    "plait.queue": ("LifoQueue", "PriorityQueue", "Queue"),
    "plait._processes.start": ("prestart",),
    "plait._joblib": ("register_joblib",),
    "plait._pool": ("Pool",),
    "plait.concurrent.futures": (
        "Future",
        "MemoryLimitExceeded",
        "ProcessPoolExecutor",
        "TaskTimeout",
        "ThreadPoolExecutor",
        "WorkerDied",
    ),
}
_FROM = {name: face for face, names in _FACES.items() for name in names}

__all__ = [
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "DeadlockError",
    "DeadlockWarning",
    "Event",
    "Future",
    "LifoQueue",
    "Lock",
    "MemoryLimitExceeded",
    "Pool",
    "PriorityQueue",
    "ProcessPoolExecutor",
    "Queue",
    "RLock",
    "Semaphore",
    "TaskTimeout",
    "ThreadPoolExecutor",
    "Timer",
    "WorkerDied",
    "__version__",
    "install",
    "installed",
    "prestart",
    "progress",
    "register_joblib",
    "uninstall",
]


def __getattr__(name: str) -> Any:
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_FROM[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
