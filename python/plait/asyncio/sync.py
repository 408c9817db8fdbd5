"""Locks, queues, timeouts and `sleep` for tasks, as `asyncio`'s; all native."""

from __future__ import annotations

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

try:
    from asyncio import QueueShutDown
except ImportError:  # before Python 3.13

    class QueueShutDown(Exception):  # type: ignore[no-redef]
        """Raised when putting on to or getting from a shut-down Queue."""


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
