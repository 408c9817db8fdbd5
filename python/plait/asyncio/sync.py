"""Locks, queues, timeouts and `sleep` for tasks, as `asyncio`'s; all native."""

from __future__ import annotations

import sys

from plait._engine.asyncio import (
    Barrier,
    BoundedSemaphore,
    Condition,
    Event,
    LifoQueue,
    Lock,
    PriorityQueue,
    Queue,
    Semaphore,
    Timeout,
    sleep,
    timeout,
    timeout_at,
)

if sys.version_info >= (3, 13):
    from asyncio import QueueShutDown
else:

    class QueueShutDown(Exception):
        """Raised when putting on to or getting from a shut-down Queue."""


async def _sleep(delay: float, result: object = None) -> object:
    """Coroutine that completes after a given time (in seconds)."""


# What `inspect` and `unittest.mock` ask: a function of Python's would have it.
for _name in ("__name__", "__qualname__"):
    setattr(sleep, _name, "sleep")
for _name in ("__doc__", "__module__", "__code__", "__defaults__", "__kwdefaults__"):
    setattr(sleep, _name, getattr(_sleep, _name))
setattr(sleep, "__annotations__", {})  # noqa: B010 (it is no function to a type checker)

__all__ = [
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "LifoQueue",
    "Lock",
    "PriorityQueue",
    "Queue",
    "QueueShutDown",
    "Semaphore",
    "Timeout",
    "sleep",
    "timeout",
    "timeout_at",
]
