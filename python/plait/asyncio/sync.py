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
